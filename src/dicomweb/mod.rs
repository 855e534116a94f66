//! DICOMweb client of the PACS: QIDO-RS, WADO-RS and STOW-RS (PS3.18 chapter 10), streaming, bounded, one transport policy.
//!
//! The client is our own, on reqwest: the `dicom-web` crate (0.7) makes its own HTTP client that can be given neither
//! timeouts nor a certificate authority, drops the body of a failed STOW, takes an empty 204 for an error and buffers a
//! whole part. It is the cross-check of this room in the tests instead: both must say the same of a real PACS.
//!
//! What a hospital can rely on: a request never leaves the configured origin and never takes a proxy from the
//! environment; a silent peer is given up after `pacs.idle_timeout_secs`; every answer has a byte cap; an exchange that
//! is safe to repeat is repeated `pacs.request_retries` times; a store is never repeated here, since only the caller can
//! ask the PACS what arrived. Error texts hold no URL, UID or patient data.

mod error;
mod json;
mod multipart;
mod qido;
mod retrieve;
mod spool;
mod stow;
mod transport;
mod xml;

pub use error::Error;
pub use json::Attributes;
pub use qido::{InstanceEntry, SeriesEntry, StudyEntry, StudyQuery};
pub use retrieve::Syntax;
pub use stow::{StoreItem, StoreOutcome};

use crate::config;
use crate::failure::Failure;
use spool::Spool;
use transport::Transport;

/// Media type of answers in the DICOM JSON model.
const JSON: &str = "application/dicom+json";

/// A client of one PACS. Cheap to share behind an `Arc`; all methods take `&self`.
pub struct Client {
    transport: Transport,
    spool: Spool,
    limits: config::Limits,
    page_size: usize,
}

impl Client {
    /// Builds the client; sends nothing.
    ///
    /// # Errors
    /// `config-invalid` when the CA file is not usable, `spool-full` when the spool cannot be made.
    pub fn new(pacs: &config::Pacs, limits: &config::Limits, spool: &config::Spool) -> Result<Self, Failure> {
        Ok(Self {
            transport: Transport::new(pacs)?,
            spool: Spool::new(spool)?,
            limits: limits.clone(),
            page_size: pacs.page_size.max(1),
        })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dicomweb::Client")
    }
}
