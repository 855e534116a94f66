//! What can go wrong with models, and which public code it becomes.

use super::manifest::Role;
use crate::failure::{Code, Failure};
use std::path::PathBuf;

/// Errors of manifests, sessions and forward passes. Texts name files, tensors and shapes, never a study.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// A manifest cannot be read or breaks the contract.
    #[error("{path}: {text}")]
    Manifest {
        /// The manifest file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// The ONNX file is missing, has another digest, or is not self-contained.
    #[error("{path}: {text}")]
    File {
        /// The ONNX or probe file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// Inputs or outputs of the ONNX file are not those that the manifest promises.
    #[error("{role}: expected {expected}, found {found}")]
    Contract {
        /// The model.
        role: Role,
        /// What the manifest promises.
        expected: String,
        /// What the file or the output holds.
        found: String,
    },
    /// The models do not fit one another.
    #[error("{0}")]
    Mismatch(String),
    /// ONNX Runtime's shared library cannot be used.
    #[error("infer.library: {0}")]
    Library(String),
    /// The required execution provider is not available or not in use.
    #[error("{0}")]
    Provider(String),
    /// ONNX Runtime refuses the model.
    #[error("{role}: ONNX Runtime cannot load the model: {text}")]
    Load {
        /// The model.
        role: Role,
        /// ONNX Runtime's words.
        text: String,
    },
    /// A forward pass failed.
    #[error("{role}: forward pass failed: {text}")]
    Run {
        /// The model.
        role: Role,
        /// ONNX Runtime's words.
        text: String,
    },
    /// The model's answer to its stored probe is not the stored one.
    #[error(
        "{role}: the answer to the stored probe differs by {difference:.2e} of its largest value, allowed {allowed:.0e}"
    )]
    Probe {
        /// The model.
        role: Role,
        /// Largest difference over largest stored value.
        difference: f64,
        /// Tolerance of the manifest.
        allowed: f64,
    },
}

impl From<InferError> for Failure {
    fn from(error: InferError) -> Self {
        let text = error.to_string();
        match error {
            InferError::Library(_) => Failure::permanent(Code::ConfigInvalid, text),
            InferError::Provider(_) => Failure::permanent(Code::ProviderMissing, text),
            // Memory of a shared machine or device may be short for a moment; attempts of a run are counted.
            InferError::Run { .. } => Failure::transient(Code::InferenceFailed, text),
            _ => Failure::permanent(Code::ModelInvalid, text),
        }
    }
}
