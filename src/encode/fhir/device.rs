//! The Device: this software with its versions and the digests of its models.

use super::Facts;
use super::line::{DEVICE_SYSTEM, DIGEST_SYSTEM, PIPELINE_SYSTEM, identifier, query};
use super::part::{Entry, full_url, hl7};
use crate::domain::codes::ARTIFICIAL_INTELLIGENCE;
use serde_json::{Value, json};

/// What identifies the device: the installation and its pipeline version. A new model or version is a new Device, so
/// that no Observation ever changes what made it.
fn value(facts: &Facts<'_>) -> String {
    format!("{}.{}", facts.device_serial, facts.pipeline.as_str())
}

/// A reference to the Device.
pub fn reference(facts: &Facts<'_>) -> Value {
    json!({ "reference": full_url(facts, &value(facts)), "display": format!("scargate {}", env!("CARGO_PKG_VERSION")) })
}

/// The Device, created unless it is there.
pub fn entry(facts: &Facts<'_>) -> Entry {
    let mut versions = vec![
        version("software", env!("CARGO_PKG_VERSION")),
        version("pipeline (SHA-256 of models, configuration and versions)", facts.pipeline.as_str()),
        version("execution provider", facts.provider),
    ];
    let mut identifiers =
        vec![identifier(DEVICE_SYSTEM, &value(facts)), identifier(PIPELINE_SYSTEM, facts.pipeline.as_str())];
    for model in facts.models {
        let what = format!("model {} {} {}", model.role, model.name, model.version);
        versions.push(version(&what, &format!("sha256:{}", model.sha256)));
        identifiers.push(identifier(DIGEST_SYSTEM, &model.sha256));
    }
    let resource = json!({
        "resourceType": "Device",
        "identifier": identifiers,
        "status": "active",
        "manufacturer": "scargate",
        "serialNumber": facts.device_serial,
        "deviceName": [{ "name": "scargate LGE quantification", "type": "model-name" }],
        "type": { "coding": [{
            "system": ARTIFICIAL_INTELLIGENCE.fhir_system(),
            "code": ARTIFICIAL_INTELLIGENCE.value,
            "display": ARTIFICIAL_INTELLIGENCE.meaning,
        }], "text": "AI software" },
        "version": versions,
        "note": [{ "text": facts.use_notice() }],
    });
    let name = value(facts);
    Entry::once(facts, resource, &name, query(DEVICE_SYSTEM, &name))
}

fn version(what: &str, value: &str) -> Value {
    json!({ "type": { "text": what }, "value": value })
}

/// The agent that wrote the result, for Provenance.
pub fn agent(facts: &Facts<'_>) -> Value {
    json!({ "type": hl7("provenance-participant-type", "assembler", "Assembler"), "who": reference(facts) })
}
