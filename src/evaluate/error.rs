//! What can be wrong with the folders, options and files that an evaluation is given.

use crate::failure::{Code, Failure};
use std::path::{Path, PathBuf};

/// Why an evaluation cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A folder holds nothing that can be read as labels or images.
    #[error(
        "{0}: no label PNG (<case>_slice<k>.png), NIfTI (<case>.nii, .nii.gz) or DICOM SEG (<case>.dcm, <case>/**/*.dcm)"
    )]
    Empty(PathBuf),
    /// A folder holds more than one kind of file.
    #[error("{0}: holds more than one of PNG, NIfTI and DICOM SEG; put each kind into a folder of its own")]
    Mixed(PathBuf),
    /// Prediction and reference of a case do not belong together.
    #[error("case {case}: {why}")]
    Unmatched {
        /// Name of the case.
        case: String,
        /// Why.
        why: String,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Option(String),
}

impl Error {
    /// An I/O error at a path.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// A fault of a file.
    pub(super) fn file(path: &Path, why: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), why: why.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::permanent(Code::BadRequest, error.to_string())
    }
}
