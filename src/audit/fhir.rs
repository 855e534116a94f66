//! A ledger event as FHIR R4 AuditEvent: IHE BALP for what goes over REST to the EHR, DICOM PS3.15 A.5 event types for
//! the imaging side, a code of ours beside them for every kind.

use crate::domain::codes::PRIVATE_SYSTEM;
use crate::domain::events::EventKind;
use crate::failure::Code;
use crate::store::{ChainHead, StoredEvent, SubjectIdentity};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

/// Code system of the subtypes that name our kinds.
fn kind_system() -> String {
    PRIVATE_SYSTEM.replace("/lge", "/audit-event-kind")
}

/// What the standards call a kind.
struct Shape {
    kind: Value,
    subtype: Option<Value>,
    action: &'static str,
    /// True when data flow from us to the peer, false for the other way, `None` when nobody else takes part.
    sends: Option<bool>,
}

/// The AuditEvent of a ledger event. `subject` adds who stands behind the pseudonym; `position` where it is sealed.
pub fn audit_event(event: &StoredEvent, subject: Option<&SubjectIdentity>, position: Option<&ChainHead>) -> Value {
    let detail = event.detail();
    let shape = shape(event);
    let own = json!({ "system": kind_system(), "code": event.kind });
    let subtypes: Vec<Value> = shape.subtype.iter().cloned().chain([own]).collect();
    let mut resource = json!({
        "resourceType": "AuditEvent",
        "id": event.id,
        "type": shape.kind,
        "subtype": subtypes,
        "action": shape.action,
        "recorded": event.recorded_at.format(&Rfc3339).unwrap_or_default(),
        "outcome": outcome(&event.outcome),
        "agent": agents(event, &shape),
        "source": { "observer": { "display": "scargate" }, "type": [{
            "system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4",
            "display": "Application Server",
        }] },
        "entity": entities(event, &detail, subject, position),
    });
    if let Some(text) = outcome_text(&detail) {
        resource["outcomeDesc"] = json!(text);
    }
    if resource["entity"].as_array().is_some_and(Vec::is_empty) {
        // FHIR: an array may not be empty.
        if let Some(map) = resource.as_object_mut() {
            map.remove("entity");
        }
    }
    resource
}

fn dcm(code: &str, display: &str) -> Value {
    json!({ "system": DCM, "code": code, "display": display })
}

fn shape(event: &StoredEvent) -> Shape {
    let to_ehr = event.peer.as_deref() == Some("ehr");
    let activity = || dcm("110100", "Application Activity");
    let (kind, subtype, action, sends) = match event.kind.parse::<EventKind>() {
        Ok(EventKind::ApplicationStart) => (activity(), Some(dcm("110120", "Application Start")), "E", None),
        Ok(EventKind::ApplicationStop) => (activity(), Some(dcm("110121", "Application Stop")), "E", None),
        Ok(EventKind::RetrieveIntent) => (dcm("110102", "Begin Transferring DICOM Instances"), None, "E", Some(false)),
        Ok(EventKind::RetrieveOutcome) => (dcm("110104", "DICOM Instances Transferred"), None, "C", Some(false)),
        Ok(EventKind::Analysis) => (dcm("110103", "DICOM Instances Accessed"), None, "R", None),
        Ok(EventKind::DeliveryIntent) if to_ehr => (dcm("110106", "Export"), None, "E", Some(true)),
        Ok(EventKind::DeliveryIntent) => (dcm("110102", "Begin Transferring DICOM Instances"), None, "E", Some(true)),
        Ok(EventKind::DeliveryOutcome) if to_ehr => (
            json!({
                "system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest",
                "display": "RESTful Operation",
            }),
            Some(json!({
                "system": "http://hl7.org/fhir/restful-interaction", "code": "update", "display": "update",
            })),
            "U",
            Some(true),
        ),
        Ok(EventKind::DeliveryOutcome) => (dcm("110104", "DICOM Instances Transferred"), None, "C", Some(true)),
        Ok(EventKind::Query) => (dcm("110112", "Query"), None, "E", None),
        Ok(EventKind::AuditExport) => (dcm("110101", "Audit Log Used"), None, "R", None),
        Ok(EventKind::AccessRefused) => (dcm("110113", "Security Alert"), None, "E", None),
        _ => (activity(), None, "E", None),
    };
    Shape { kind, subtype, action, sends }
}

fn outcome(name: &str) -> &'static str {
    match name {
        "success" => "0",
        "minor-failure" => "4",
        _ => "8",
    }
}

fn outcome_text(detail: &Value) -> Option<String> {
    let code: Code = detail.get("code")?.as_str()?.parse().ok()?;
    Some(format!("{code}: {}", code.meaning()))
}

/// Source and destination of the data, and the person or client who asked (BALP's user agent).
fn agents(event: &StoredEvent, shape: &Shape) -> Value {
    let by_person = event.actor != "scargate";
    let agent = |code: &str, display: &str, name: &str, requestor: bool| {
        json!({
            "type": { "coding": [dcm(code, display)] },
            "who": { "display": name },
            "requestor": requestor,
            "network": { "address": name, "type": "1" },
        })
    };
    let (source, destination) = ("Source Role ID", "Destination Role ID");
    let peer = event.peer.as_deref().unwrap_or("unknown");
    let mut agents = match shape.sends {
        Some(true) => {
            vec![agent("110153", source, "scargate", !by_person), agent("110152", destination, peer, false)]
        }
        Some(false) => {
            vec![agent("110153", source, peer, false), agent("110152", destination, "scargate", !by_person)]
        }
        None => vec![agent("110150", "Application", "scargate", !by_person)],
    };
    if by_person {
        agents.push(json!({
            "type": { "coding": [{ "system": PARTICIPATION, "code": "IRCP", "display": "information recipient" }] },
            "who": { "display": event.actor },
            "requestor": true,
        }));
    }
    Value::Array(agents)
}

fn entity(kind: (&str, &str), role: (&str, &str), identifier: Value) -> Value {
    json!({
        "what": { "identifier": identifier },
        "type": { "system": ENTITY_TYPE, "code": kind.0, "display": kind.1 },
        "role": { "system": OBJECT_ROLE, "code": role.0, "display": role.1 },
    })
}

fn entities(
    event: &StoredEvent,
    detail: &Value,
    subject: Option<&SubjectIdentity>,
    position: Option<&ChainHead>,
) -> Vec<Value> {
    let mut list = Vec::new();
    if let Some(pseudonym) = &event.subject {
        let study = subject.map_or_else(
            || json!({ "system": "urn:scargate:audit:pseudonym", "value": pseudonym }),
            |known| json!({ "system": "urn:dicom:uid", "value": format!("urn:oid:{}", known.study_uid) }),
        );
        list.push(entity(("2", "System Object"), ("3", "Report"), study));
    }
    if let Some((known, patient)) = subject.and_then(|known| known.patient_id.as_ref().map(|id| (known, id))) {
        let mut identifier = json!({ "value": patient });
        if let Some(issuer) = &known.issuer_of_patient_id {
            identifier["assigner"] = json!({ "display": issuer });
        }
        list.push(entity(("1", "Person"), ("1", "Patient"), identifier));
    }
    if let Some(run) = event.run_id {
        let identifier = json!({ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{run}") });
        list.push(entity(("2", "System Object"), ("20", "Job"), identifier));
    }
    let facts = facts(detail, position);
    if !facts.is_empty() {
        if event.kind == EventKind::Query.name() {
            // BALP: the query entity carries the request itself, base64, and no `what`.
            list.push(json!({
                "type": { "system": ENTITY_TYPE, "code": "2", "display": "System Object" },
                "role": { "system": OBJECT_ROLE, "code": "24", "display": "Query" },
                "query": STANDARD.encode(detail.to_string()),
                "detail": facts,
            }));
        } else {
            let identifier = json!({ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", event.id) });
            let mut own = entity(("4", "Other"), ("13", "Security Resource"), identifier);
            own["detail"] = Value::Array(facts);
            list.push(own);
        }
    }
    list
}

/// The event's own facts and where it is sealed, as AuditEvent.entity.detail.
fn facts(detail: &Value, position: Option<&ChainHead>) -> Vec<Value> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut facts: Vec<Value> = detail
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| json!({ "type": key, "valueString": text(value) }))
        .collect();
    if let Some(position) = position {
        facts.push(json!({ "type": "ledger-sequence", "valueString": position.sequence.to_string() }));
        facts.push(json!({ "type": "ledger-hash", "valueString": hex::encode(position.hash) }));
    }
    facts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::canonical;
    use crate::domain::events::{Event, EventOutcome};
    use time::macros::datetime;
    use uuid::Uuid;

    fn stored(kind: EventKind, peer: Option<&str>, actor: &str, detail: Value) -> StoredEvent {
        let mut event = Event::ours(kind);
        event.peer = peer.map(str::to_owned);
        event.actor = actor.into();
        event.detail = detail;
        event.outcome = EventOutcome::MinorFailure;
        let (id, at) = (Uuid::from_u128(1), datetime!(2026-01-02 03:04:05 UTC));
        StoredEvent {
            id,
            recorded_at: at,
            canonical: canonical::of(&event, id, at, Some("abc")),
            kind: kind.name().into(),
            outcome: "minor-failure".into(),
            actor: actor.into(),
            subject: Some("abc".into()),
            run_id: None,
            peer: peer.map(str::to_owned),
        }
    }

    #[test]
    fn roles_follow_the_flow_of_data() {
        let codes = |event: &Value| -> Vec<(String, String)> {
            let agents = event["agent"].as_array().unwrap();
            let text = |v: &Value| v.as_str().unwrap().to_owned();
            agents.iter().map(|a| (text(&a["type"]["coding"][0]["code"]), text(&a["who"]["display"]))).collect()
        };
        let pair = |a: (&str, &str), b: (&str, &str)| vec![(a.0.into(), a.1.into()), (b.0.into(), b.1.into())];
        let sent = audit_event(&stored(EventKind::DeliveryOutcome, Some("pacs"), "scargate", Value::Null), None, None);
        assert_eq!(codes(&sent), pair(("110153", "scargate"), ("110152", "pacs")));
        let got = audit_event(&stored(EventKind::RetrieveOutcome, Some("pacs"), "scargate", Value::Null), None, None);
        assert_eq!(codes(&got), pair(("110153", "pacs"), ("110152", "scargate")));
    }

    #[test]
    fn every_kind_has_what_r4_requires_and_one_requestor() {
        for kind in EventKind::ALL {
            for actor in ["scargate", "dr. no"] {
                let event = audit_event(&stored(*kind, Some("ehr"), actor, json!({ "n": 1 })), None, None);
                assert!(event["type"]["code"].is_string() && event["recorded"].is_string(), "{event}");
                let agents = event["agent"].as_array().unwrap();
                assert_eq!(agents.iter().filter(|a| a["requestor"] == true).count(), 1, "{event}");
                assert!(["C", "R", "U", "D", "E"].contains(&event["action"].as_str().unwrap()), "{event}");
                assert_eq!(event["outcome"], "4");
                // sev-1: name and query exclude each other.
                let entities = event["entity"].as_array().unwrap();
                assert!(entities.iter().all(|e| e.get("name").is_none() || e.get("query").is_none()), "{event}");
            }
        }
    }

    #[test]
    fn identities_appear_only_when_they_are_given() {
        let event = stored(EventKind::Analysis, None, "scargate", json!({ "code": "pacs-refused" }));
        let plain = audit_event(&event, None, None);
        assert_eq!(plain["entity"][0]["what"]["identifier"]["value"], "abc");
        assert_eq!(plain["outcomeDesc"], format!("pacs-refused: {}", Code::PacsRefused.meaning()));
        let known = SubjectIdentity {
            pseudonym: "abc".into(),
            study_uid: "1.2.3".into(),
            patient_id: Some("P1".into()),
            issuer_of_patient_id: None,
            patient_name: None,
            accession_number: None,
        };
        let full = audit_event(&event, Some(&known), None);
        assert_eq!(full["entity"][0]["what"]["identifier"]["value"], "urn:oid:1.2.3");
        assert_eq!(full["entity"][1]["what"]["identifier"]["value"], "P1");
    }
}
