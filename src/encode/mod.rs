//! (Stack, labels, measures) to DICOM and FHIR bytes: pure functions, checked against one another before anything is sent.

pub mod agree;
pub mod bullseye;
pub mod dicom;
pub mod fhir;
pub mod object;
pub mod overlay;
pub mod pdf;
pub mod pictures;
pub mod rejection;
pub mod seg;
pub mod sr;
pub mod words;

/// Why an output could not be encoded. Always a fault of ours or an impossible input, never of a peer.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The stack and the labels do not belong together.
    #[error("labels do not match the stack: {0}")]
    Mismatch(&'static str),
    /// There is nothing to write.
    #[error("nothing was segmented")]
    Empty,
    /// The DICOM library refused the object.
    #[error("DICOM object could not be written: {0}")]
    Write(String),
    /// A picture could not be compressed.
    #[error("picture could not be written: {0}")]
    Picture(#[from] image::ImageError),
    /// A FHIR resource could not be built.
    #[error("FHIR resource could not be built: {0}")]
    Fhir(String),
}

impl From<EncodeError> for crate::failure::Failure {
    fn from(error: EncodeError) -> Self {
        Self::permanent(crate::failure::Code::Internal, error.to_string())
    }
}
