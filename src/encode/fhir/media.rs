//! The bullseye as Media, for readers that show pictures beside a report.

use super::Facts;
use super::line::{PICTURE_SYSTEM, RUN_SYSTEM, identifier, query};
use super::part::{Entry, imaging_study, subject, unsigned_meta};
use super::when;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The Media, a new one for each run, so that a picture never changes under a report; `None` when there is no picture.
pub fn entry(facts: &Facts<'_>) -> Option<Entry> {
    let picture = facts.bullseye?;
    let value = format!("{}.{}", facts.run, picture.name);
    let resource = json!({
        "resourceType": "Media",
        "meta": unsigned_meta(),
        "identifier": [identifier(PICTURE_SYSTEM, &value), identifier(RUN_SYSTEM, &facts.run.to_string())],
        "status": "completed",
        "partOf": [imaging_study(facts)],
        "subject": subject(facts),
        "createdDateTime": when::instant(facts.issued),
        "content": {
            "contentType": picture.kind.media_type(),
            "title": "LGE transmurality by AHA segment, AI result, not verified",
            "data": STANDARD.encode(&picture.bytes),
        },
        "note": [{ "text": facts.use_notice() }],
    });
    Some(Entry::once(facts, resource, &value, query(PICTURE_SYSTEM, &value)))
}
