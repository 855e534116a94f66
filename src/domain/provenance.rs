//! Which software and which models made a result.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// What a model may be used for, as its manifest states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntendedUse {
    /// Research and evaluation; not a medical device.
    Research,
    /// Demonstration on synthetic data only.
    Demonstration,
    /// The site declares the model cleared for clinical use.
    Clinical,
}

/// A model that took part in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// Role: `myocardium`, `scar-detector`, `scar-encoder`, `scar-decoder`.
    pub role: String,
    /// Name of the manifest.
    pub name: String,
    /// Version of the manifest.
    pub version: String,
    /// SHA-256 of the ONNX file, hex.
    pub sha256: String,
    /// SPDX licence expression of the weights.
    pub licence: String,
    /// Intended use.
    pub intended_use: IntendedUse,
}

/// The strictest intended use of the models that took part; without any, research.
pub fn intended_use(models: &[ModelRef]) -> IntendedUse {
    let any = |wanted| models.iter().any(|m| m.intended_use == wanted);
    match () {
        () if !models.is_empty() && models.iter().all(|m| m.intended_use == IntendedUse::Clinical) => {
            IntendedUse::Clinical
        }
        () if any(IntendedUse::Demonstration) => IntendedUse::Demonstration,
        () => IntendedUse::Research,
    }
}

/// The sentence on use that stands in everything a person may read alone.
pub fn use_notice(models: &[ModelRef]) -> &'static str {
    match intended_use(models) {
        IntendedUse::Research => "AI result, not verified. For research and evaluation only; not a medical device.",
        IntendedUse::Demonstration => "AI result, not verified. Demonstration on synthetic data only.",
        IntendedUse::Clinical => "AI result, not verified by a physician.",
    }
}

/// Digest of everything that can change a result: manifests, effective configuration of infer, quantify and encode,
/// crate and ONNX Runtime versions.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PipelineVersion(String);

impl PipelineVersion {
    /// Digest of the parts, in order.
    pub fn of(parts: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hex::encode(hasher.finalize()))
    }

    /// A digest that was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// Hex text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PipelineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

impl fmt::Debug for PipelineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipelineVersion({self})")
    }
}
