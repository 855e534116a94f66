//! The bytes of an ONNX file before ONNX Runtime sees them: digest, place on disk, and whether it is self-contained.

use super::error::InferError;
use super::manifest::Manifest;
use sha2::{Digest, Sha256};
use std::path::Path;

/// SHA-256 of bytes, lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Reads a file named by the manifest; a link that leads out of the manifest's folder is refused.
///
/// # Errors
/// [`InferError::File`] when it cannot be read or lies elsewhere.
pub fn read_beside(folder: &Path, name: &str) -> Result<Vec<u8>, InferError> {
    let path = folder.join(name);
    let fault = |text: String| InferError::File { path: path.clone(), text };
    let real = path.canonicalize().map_err(|error| fault(error.to_string()))?;
    let home = folder.canonicalize().map_err(|error| fault(error.to_string()))?;
    if !real.starts_with(&home) {
        return Err(fault("leads out of the model's folder".to_owned()));
    }
    std::fs::read(&real).map_err(|error| fault(error.to_string()))
}

/// The ONNX file of a manifest: digest checked, weights inside the file. The bytes that were checked are the bytes that
/// are loaded.
///
/// # Errors
/// [`InferError::File`].
pub fn read_model(manifest: &Manifest) -> Result<Vec<u8>, InferError> {
    let bytes = read_beside(&manifest.folder, &manifest.file)?;
    let fault = |text: String| InferError::File { path: manifest.folder.join(&manifest.file), text };
    let found = sha256_hex(&bytes);
    if found != manifest.sha256 {
        return Err(fault(format!("digest is {found}, the manifest says {}", manifest.sha256)));
    }
    match has_external_data(&bytes) {
        Some(false) => Ok(bytes),
        Some(true) => Err(fault("holds weights in external files; only self-contained files are accepted".to_owned())),
        None => Err(fault("is not a well-formed ONNX file".to_owned())),
    }
}

/// Whether any tensor of a serialised `ModelProto` keeps its data outside; `None` when the bytes are not well-formed.
///
/// Only messages on the way to a `TensorProto` are entered (field numbers of onnx.proto): ModelProto.graph 7 and
/// .functions 25, GraphProto.node 1, .initializer 5, .sparse_initializer 15, FunctionProto.node 7, NodeProto.attribute 5,
/// AttributeProto.t 5, .g 6, .tensors 10, .graphs 11, .sparse_tensor 22, .sparse_tensors 23, SparseTensorProto.values 1,
/// .indices 2. In a TensorProto, external_data is field 13 and data_location = EXTERNAL is field 14 = 1.
pub fn has_external_data(bytes: &[u8]) -> Option<bool> {
    search(bytes, Message::Model, 0)
}

#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Message {
    fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Node, 5) => Self::Attribute,
            _ => return None,
        })
    }
}

/// Deepest nesting of sub-graphs that is followed.
const DEPTH: usize = 64;

fn search(mut bytes: &[u8], message: Message, depth: usize) -> Option<bool> {
    if depth > DEPTH {
        return None;
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = key >> 3;
        match key & 7 {
            0 => {
                let value = varint(&mut bytes)?;
                if matches!(message, Message::Tensor) && field == 14 && value != 0 {
                    return Some(true);
                }
            }
            1 => bytes = bytes.get(8..)?,
            5 => bytes = bytes.get(4..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inside, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                if matches!(message, Message::Tensor) && field == 13 {
                    return Some(true);
                }
                if let Some(child) = message.child(field)
                    && search(inside, child, depth + 1)?
                {
                    return Some(true);
                }
            }
            _ => return None,
        }
    }
    Some(false)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn field(number: u64, inside: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, number << 3 | 2);
        push(&mut out, inside.len() as u64);
        out.extend_from_slice(inside);
        out
    }

    fn push(out: &mut Vec<u8>, mut value: u64) {
        while value > 0x7f {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    #[test]
    fn external_data_is_found_wherever_a_tensor_can_stand() {
        let external = [14 << 3, 1];
        let initializer = field(7, &field(5, &external));
        let constant = field(7, &field(1, &field(5, &field(5, &external))));
        let sub_graph = field(7, &field(1, &field(5, &field(6, &field(5, &field(13, b"location"))))));
        let function = {
            let mut key = Vec::new();
            push(&mut key, 25 << 3 | 2);
            let inside = field(7, &field(5, &field(5, &external)));
            push(&mut key, inside.len() as u64);
            key.extend(inside);
            key
        };
        for (what, bytes) in
            [("initializer", initializer), ("constant", constant), ("sub-graph", sub_graph), ("function", function)]
        {
            assert_eq!(has_external_data(&bytes), Some(true), "{what}");
        }
        // The same bytes in a place that holds no tensor, e.g. a doc string, mean nothing.
        assert_eq!(has_external_data(&field(6, &external)), Some(false));
        assert_eq!(has_external_data(&field(7, &field(5, &[14 << 3, 0]))), Some(false));
    }

    #[test]
    fn truncated_or_foreign_bytes_are_refused() {
        assert_eq!(has_external_data(b"\x3a\x7fabc"), None);
        assert_eq!(has_external_data(&[0xff; 12]), None);
        assert_eq!(has_external_data(b"<html>not a model</html>"), None);
    }
}
