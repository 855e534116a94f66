//! What a run puts out: bytes that are stored once and delivered as they are.

use super::uid::Uid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::str::FromStr;

/// Kind of an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtefactKind {
    /// DICOM Segmentation.
    Seg,
    /// DICOM SR, TID 1500.
    Sr,
    /// DICOM result image (RGB Secondary Capture).
    ResultImage,
    /// Key Object Selection that retires earlier objects.
    RejectionNote,
    /// FHIR Bundle (JSON) with the resources to write.
    FhirBundle,
    /// The measures as JSON.
    Measures,
    /// The result on a page (PDF); travels inside the FHIR Bundle.
    Report,
    /// Overlay picture (PNG) for pages and the command line; not delivered.
    Overlay,
}

impl ArtefactKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Seg,
        Self::Sr,
        Self::ResultImage,
        Self::RejectionNote,
        Self::FhirBundle,
        Self::Measures,
        Self::Report,
        Self::Overlay,
    ];

    /// Stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seg => "seg",
            Self::Sr => "sr",
            Self::ResultImage => "result-image",
            Self::RejectionNote => "rejection-note",
            Self::FhirBundle => "fhir-bundle",
            Self::Measures => "measures",
            Self::Report => "report",
            Self::Overlay => "overlay",
        }
    }

    /// Media type of the bytes.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Seg | Self::Sr | Self::ResultImage | Self::RejectionNote => "application/dicom",
            Self::FhirBundle => "application/fhir+json",
            Self::Measures => "application/json",
            Self::Report => "application/pdf",
            Self::Overlay => "image/png",
        }
    }
}

impl FromStr for ArtefactKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|k| k.name() == text).ok_or_else(|| format!("unknown artefact kind `{text}`"))
    }
}

/// DICOM identity of an artefact, recorded in the outbox so that our own objects are known for certain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DicomIdentity {
    /// SOPClassUID.
    pub sop_class: Uid,
    /// SOPInstanceUID.
    pub sop_instance: Uid,
    /// SeriesInstanceUID.
    pub series: Uid,
}

/// Bytes with what they are.
#[derive(Debug, Clone)]
pub struct Artefact {
    /// Kind.
    pub kind: ArtefactKind,
    /// Name within the run, e.g. `seg`, `overlay-03`.
    pub name: String,
    /// Set for DICOM objects.
    pub dicom: Option<DicomIdentity>,
    /// The bytes; delivered and re-sent as they are, never re-encoded.
    pub bytes: Vec<u8>,
}

impl Artefact {
    /// SHA-256 of the bytes, hex: the content address.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.bytes))
    }
}
