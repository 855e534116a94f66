//! FHIR R4 JSON on the wire: what we write is parsed into fhir-sdk's typed resources before it leaves, what peers
//! answer is read leniently into small structs.
//!
//! fhir-sdk's enum of all resources makes every crate that touches it slow to build, so nothing of it (and nothing
//! generic) crosses the border of this crate. R4B is the R4-compatible model it offers; the resources that we write are
//! the same in both.

mod answer;
mod check;

pub use answer::{Capability, Issue, Outcome, ResourceCapability, Searchset, capability, outcome, searchset};
pub use check::check_bundle;

/// Why bytes are not the FHIR they should be. Texts name places, never values: values may describe a patient.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// Not JSON.
    #[error("not JSON: line {line}, column {column}")]
    NotJson {
        /// 1-based line.
        line: usize,
        /// 1-based column.
        column: usize,
    },
    /// JSON, but not of the type that was expected.
    #[error("not a {expected}")]
    WrongType {
        /// Resource type that was expected.
        expected: &'static str,
    },
    /// A required element is missing, a code is unknown or a type is wrong.
    #[error("line {line} is not valid FHIR: {kind}")]
    Invalid {
        /// 1-based line.
        line: usize,
        /// What was wrong, without the value.
        kind: String,
    },
}
