//! The Provenance: which images, models and software made the result.

use super::Facts;
use super::line::{DIGEST_SYSTEM, PIPELINE_SYSTEM, RUN_SYSTEM, identifier};
use super::part::{Entry, dicom_uid, hl7, imaging_study};
use super::{device, when};
use crate::domain::provenance::IntendedUse;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The Provenance of all result resources. It has no identifier in R4: a tag with the run's id makes it findable, so
/// that a repeated transaction does not write it twice.
pub fn entry(facts: &Facts<'_>, targets: &[&Entry]) -> Entry {
    let run = facts.run.to_string();
    let mut entities = vec![json!({ "role": "source", "what": imaging_study(facts) })];
    entities.extend(instances(facts));
    entities.push(digest(facts.input_digest.as_str(), "input digest: SHA-256 over the MR instances of the study"));
    if let Some(seg) = facts.seg {
        entities.push(digest(&seg.sha256(), "DICOM Segmentation, SHA-256 of the object"));
    }
    entities.extend(facts.models.iter().map(model));
    let pipeline = format!("pipeline version; execution provider {}; revision {}", facts.provider, facts.revision);
    entities.push(source(identifier(PIPELINE_SYSTEM, facts.pipeline.as_str()), &pipeline));
    let resource = json!({
        "resourceType": "Provenance",
        "meta": { "tag": [{ "system": RUN_SYSTEM, "code": run }] },
        "target": targets.iter().map(|t| t.reference()).collect::<Vec<Value>>(),
        "recorded": when::instant(facts.issued),
        "activity": hl7("v3-DataOperation", "CREATE", "create"),
        "agent": [device::agent(facts)],
        "entity": entities,
    });
    let token: String = url::form_urlencoded::byte_serialize(format!("{RUN_SYSTEM}|{run}").as_bytes()).collect();
    Entry::once(facts, resource, "provenance", format!("_tag={token}"))
}

/// Every source instance once: a multi-frame source stands in the stack many times.
fn instances(facts: &Facts<'_>) -> Vec<Value> {
    let unique: BTreeSet<&str> = facts.sources.iter().map(|s| s.sop_instance.as_str()).collect();
    unique.into_iter().map(|uid| source(dicom_uid(uid), "source MR image")).collect()
}

fn model(model: &crate::domain::provenance::ModelRef) -> Value {
    let using = match model.intended_use {
        IntendedUse::Research => "research",
        IntendedUse::Demonstration => "demonstration",
        IntendedUse::Clinical => "clinical",
    };
    let text = format!(
        "model {}: {} {}, licence {}, intended use {using}; SHA-256 of the file",
        model.role, model.name, model.version, model.licence
    );
    digest(&model.sha256, &text)
}

fn digest(sha256: &str, text: &str) -> Value {
    source(identifier(DIGEST_SYSTEM, sha256), text)
}

fn source(identifier: Value, text: &str) -> Value {
    json!({ "role": "source", "what": { "identifier": identifier, "display": text } })
}
