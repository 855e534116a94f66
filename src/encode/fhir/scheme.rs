//! The private code scheme as a CodeSystem, for readers that look up what a code means.

use super::Facts;
use super::line::{SCHEME_SYSTEM, identifier, query};
use super::part::Entry;
use crate::domain::codes::{PRIVATE_SCHEME, PRIVATE_SCHEME_NAME, PRIVATE_SYSTEM, private_codes};
use serde_json::{Value, json};

/// Names the scheme in the version of this software: a version never changes.
fn value() -> String {
    format!("{PRIVATE_SCHEME}-{}", env!("CARGO_PKG_VERSION"))
}

/// The CodeSystem, without an id.
pub fn code_system() -> Value {
    let concepts: Vec<_> =
        private_codes().iter().map(|code| json!({ "code": code.value, "display": code.meaning })).collect();
    json!({
        "resourceType": "CodeSystem",
        "url": PRIVATE_SYSTEM,
        "identifier": [identifier(SCHEME_SYSTEM, &value())],
        "version": env!("CARGO_PKG_VERSION"),
        "name": "ScargateLge",
        "title": PRIVATE_SCHEME_NAME,
        "status": "active",
        "experimental": true,
        "content": "complete",
        "count": concepts.len(),
        "concept": concepts,
    })
}

/// The CodeSystem, created unless the EHR has this version; `None` where the site does not want it there.
pub(super) fn entry(facts: &Facts<'_>) -> Option<Entry> {
    let value = value();
    facts.code_system.then(|| Entry::once(facts, code_system(), &value, query(SCHEME_SYSTEM, &value)))
}
