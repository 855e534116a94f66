//! Checks of resources that we wrote, against the typed model.

use crate::WireError;
use fhir_sdk::r4b::resources::Bundle;
use serde_json::Value;

/// Parses a Bundle and every resource in it into the typed model: required elements, types and codes with a required
/// binding. Elements that FHIR does not know pass: the typed model ignores them.
///
/// One type from one kind of input, and never back to JSON: each further use would compile the model again, at a
/// minute and a gigabyte apiece.
///
/// # Errors
/// The first fault found.
pub fn check_bundle(bytes: &[u8]) -> Result<(), WireError> {
    match serde_json::from_slice::<Bundle>(bytes) {
        Ok(_) => Ok(()),
        Err(error) if error.is_data() => Err(WireError::Invalid { line: error.line(), kind: without_values(&error) }),
        Err(error) => Err(not_json(&error)),
    }
}

pub(crate) fn json(bytes: &[u8]) -> Result<Value, WireError> {
    serde_json::from_slice(bytes).map_err(|error| not_json(&error))
}

fn not_json(error: &serde_json::Error) -> WireError {
    WireError::NotJson { line: error.line(), column: error.column() }
}

/// Keeps the part of serde's message that names fields of the model; drops what could quote the input.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        return text.split(" at line").next().unwrap_or("missing field").to_owned();
    }
    let known = ["Unknown value", "invalid type", "unknown variant", "invalid value"];
    known.into_iter().find(|start| text.starts_with(start)).unwrap_or("does not match the model").to_owned()
}
