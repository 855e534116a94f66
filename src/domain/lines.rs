//! Identifiers that stay the same over all revisions of a study: one per line of the result.

use crate::domain::codes::{Code, LINE_IDENTIFIER_SYSTEM};
use crate::domain::uid::Uid;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Identifier system of runs of ours; tells which run wrote a resource.
pub const RUN_SYSTEM: &str = "https://scargate.org/fhir/identifier/run";
/// Identifier system of the software in one pipeline version at one installation.
pub const DEVICE_SYSTEM: &str = "https://scargate.org/fhir/identifier/device";
/// Identifier system of pictures of ours: run and name.
pub const PICTURE_SYSTEM: &str = "https://scargate.org/fhir/identifier/picture";
/// Identifier system of the versions of our code scheme.
pub const SCHEME_SYSTEM: &str = "https://scargate.org/fhir/identifier/code-scheme";
/// Identifier system of SHA-256 digests: model files, inputs, objects.
pub const DIGEST_SYSTEM: &str = "https://scargate.org/fhir/identifier/sha256";
/// Identifier system of pipeline versions.
pub const PIPELINE_SYSTEM: &str = "https://scargate.org/fhir/identifier/pipeline-version";

/// Value of a line's identifier: digest of the study, code of the measure, and the AHA segment where there is one.
///
/// The StudyInstanceUID itself is left out because the value stands in request URLs, which servers log.
pub fn line_value(study: &Uid, line: &str, segment: Option<u8>) -> String {
    let mut digest = hex::encode(Sha256::digest(study.as_str().as_bytes()));
    digest.truncate(32);
    match segment {
        Some(number) => format!("{digest}.{line}.{number:02}"),
        None => format!("{digest}.{line}"),
    }
}

/// Identifier of the line of a measure, (system, value).
pub fn line_identifier(study: &Uid, code: Code, segment: Option<u8>) -> (&'static str, String) {
    (LINE_IDENTIFIER_SYSTEM, line_value(study, code.value, segment))
}

/// An Identifier.
pub fn identifier(system: &str, value: &str) -> Value {
    json!({ "system": system, "value": value })
}

/// `identifier=system|value`, percent-encoded, as conditional requests want it.
pub fn query(system: &str, value: &str) -> String {
    let token = format!("{system}|{value}");
    let encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    format!("identifier={encoded}")
}
