//! Taking a model in: the digest and the probe that a manifest needs are made here, from the file itself, so that nobody
//! writes them by hand. The probe is a drawn picture, no patient; what the model answers to it is what `models check`
//! expects from then on.

use super::detector::Found;
use super::error::InferError;
use super::manifest::{Contract, Manifest, ProbeTensor};
use super::onnx;
use super::runtime::Runtime;
use super::sam;
use super::session::{Model, Tensor};
use crate::config::Infer;
use crate::failure::Failure;
use std::path::Path;
use toml::{Table, Value};

const INPUT: &str = "probe-input.f32";
const OUTPUT: &str = "probe-output.f32";
const TOLERANCE: f64 = 1e-3;

/// Writes digest and probe of the model in a folder into its manifest. Everything else must be there and fit the file. The
/// manifest is written anew: comments are lost, keys keep their values.
///
/// # Errors
/// `model-invalid` when the manifest lacks a key or contradicts the file, or a file cannot be written; `config-invalid`
/// without ONNX Runtime.
pub fn adopt(config: &Infer, folder: &Path) -> Result<Manifest, Failure> {
    let runtime = Runtime::load(&config.library)?;
    let path = folder.join("manifest.toml");
    let fault = |text: String| InferError::Manifest { path: path.clone(), text };
    let text = std::fs::read_to_string(&path).map_err(|error| fault(error.to_string()))?;
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| fault(error.message().to_owned()))?;
    let file = table.get("file").and_then(Value::as_str).ok_or_else(|| fault("`file` is missing".to_owned()))?;
    let digest = onnx::sha256_hex(&onnx::read_beside(folder, file)?);
    table.insert("sha256".to_owned(), Value::String(digest));
    // A probe that only has the right form: the true one needs the open model.
    let any = [ProbeTensor { name: "any".to_owned(), shape: vec![1] }];
    table.insert("probe".to_owned(), probe(&any, &any));
    let manifest = Manifest::parse(&table.to_string(), folder).map_err(fault)?;
    let model = Model::open(&runtime, manifest, &super::engine::options(config))?;
    let feeds = feeds(&model);
    let borrowed: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let names = model.output_names();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let answers: Vec<(String, Tensor)> = names.iter().cloned().zip(model.run(&borrowed, &wanted)?).collect();
    // Rows of a detector may be anything where it sees nothing; they are dropped when it is used.
    let detector = matches!(model.manifest.contract, Contract::Detector { .. });
    if !detector && answers.iter().any(|(_, tensor)| tensor.data.iter().any(|value| !value.is_finite())) {
        return Err(fault("the model's answer to a drawn picture is not finite".to_owned()).into());
    }
    table.insert("probe".to_owned(), probe(&shapes(&feeds), &shapes(&answers)));
    for (name, tensors) in [(INPUT, &feeds), (OUTPUT, &answers)] {
        let bytes: Vec<u8> = tensors.iter().flat_map(|(_, t)| t.data.iter().flat_map(|v| v.to_le_bytes())).collect();
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|error| InferError::File { path, text: error.to_string() })?;
    }
    let text = toml::to_string(&table).map_err(|error| fault(error.to_string()))?;
    std::fs::write(&path, text).map_err(|error| fault(error.to_string()))?;
    let manifest = Manifest::read(folder)?;
    // What `models check` does: the stored answer must come back.
    Model::load(&runtime, manifest.clone(), &super::engine::options(config))?;
    Ok(manifest)
}

fn shapes(tensors: &[(String, Tensor)]) -> Vec<ProbeTensor> {
    tensors.iter().map(|(name, tensor)| ProbeTensor { name: name.clone(), shape: tensor.shape.clone() }).collect()
}

fn probe(inputs: &[ProbeTensor], outputs: &[ProbeTensor]) -> Value {
    let side = |tensors: &[ProbeTensor]| {
        let one = |tensor: &ProbeTensor| {
            let shape = tensor.shape.iter().map(|n| Value::Integer(i64::try_from(*n).unwrap_or(i64::MAX))).collect();
            let mut table = Table::new();
            table.insert("name".to_owned(), Value::String(tensor.name.clone()));
            table.insert("shape".to_owned(), Value::Array(shape));
            Value::Table(table)
        };
        Value::Array(tensors.iter().map(one).collect())
    };
    let mut table = Table::new();
    table.insert("input".to_owned(), Value::String(INPUT.to_owned()));
    table.insert("output".to_owned(), Value::String(OUTPUT.to_owned()));
    table.insert("tolerance".to_owned(), Value::Float(TOLERANCE));
    table.insert("inputs".to_owned(), side(inputs));
    table.insert("outputs".to_owned(), side(outputs));
    Value::Table(table)
}

/// Inputs for one forward pass: a drawn heart for image models, waves and a box for a decoder.
fn feeds(model: &Model) -> Vec<(String, Tensor)> {
    let input = &model.manifest.input;
    let (channels, size) = (input.channels, input.size);
    let shape = vec![1, channels, size, size];
    let Contract::Decoder { frame, .. } = &model.manifest.contract else {
        let plane: Vec<f32> = (0..size * size).map(|i| drawn(i / size, i % size, size)).collect();
        let batch = model.batch(1);
        let (shape, data) = (vec![batch, channels, size, size], plane.repeat(channels * batch));
        return vec![(input.name.clone(), Tensor { shape, data })];
    };
    let data = (0..channels * size * size).map(|i| (i as f32 * 0.37).sin() * 0.5).collect();
    let embedding = Tensor { shape, data };
    let side = *frame as f32;
    let found = Found { edges: [0.25 * side, 0.25 * side, 0.75 * side, 0.75 * side], score: 1.0 };
    let mut feeds: Vec<(String, Tensor)> = vec![(input.name.clone(), embedding.clone())];
    feeds.extend(sam::prompt(model, &embedding, &found).into_iter().map(|(name, tensor)| (name.to_owned(), tensor)));
    feeds
}

/// A bright cavity, a dark ring with a bright sector, grey around: values from 0 to 1.
fn drawn(row: usize, column: usize, size: usize) -> f32 {
    let half = size as f32 / 2.0;
    let (y, x) = ((row as f32 + 0.5 - half) / half, (column as f32 + 0.5 - half) / half);
    match (x.hypot(y), x > y.abs()) {
        (radius, _) if radius < 0.35 => 0.6,
        (radius, true) if radius < 0.6 => 0.95,
        (radius, false) if radius < 0.6 => 0.1,
        _ => 0.3 + 0.1 * (6.0 * x).sin() * (5.0 * y).cos(),
    }
}
