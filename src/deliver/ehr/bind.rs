//! From the stored Bundle to what one EHR is sent: the logical patient and order give way to the resources that were
//! matched, types that the EHR does not take give way to logical references. Values are never touched.

use super::matching::Match;
use fhir_wire::Capability;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What stands before the birth date in the display of a logical patient reference.
const BORN: &str = "born ";
/// Types without which the values still arrive.
pub const OPTIONAL: [&str; 4] = ["Device", "Provenance", "Media", "CodeSystem"];

/// Whom and what the images name, read from the stored Bundle. No `Debug`: it is a patient.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// PatientID.
    pub patient_id: String,
    /// IssuerOfPatientID.
    pub patient_issuer: Option<String>,
    /// Birth date, `YYYY-MM-DD` or empty.
    pub birth_date: String,
    /// AccessionNumber.
    pub accession_number: String,
    /// Its issuer.
    pub accession_issuer: Option<String>,
}

/// The resources of a Bundle.
pub fn resources(bundle: &Value) -> impl Iterator<Item = &Value> {
    bundle["entry"].as_array().into_iter().flatten().map(|entry| &entry["resource"])
}

/// Reads whom the Bundle is about.
pub fn named(bundle: &Value) -> Named {
    let Some(resource) = resources(bundle).find(|resource| resource.get("subject").is_some()) else {
        return Named::default();
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let issuer = |identifier: &Value| identifier["assigner"]["display"].as_str().map(str::to_owned);
    // Not every resource about the patient answers the order: a picture does not.
    let ordered = resources(bundle).find(|resource| resource.get("basedOn").is_some());
    let order = ordered.map_or(&Value::Null, |resource| &resource["basedOn"][0]["identifier"]);
    let subject = &resource["subject"];
    let born = subject["display"].as_str().and_then(|display| display.strip_prefix(BORN));
    Named {
        patient_id: text(&subject["identifier"]["value"]),
        patient_issuer: issuer(&subject["identifier"]),
        birth_date: born.unwrap_or_default().to_owned(),
        accession_number: text(&order["value"]),
        accession_issuer: issuer(order),
    }
}

/// Puts the matched Patient and order into every resource that names them. Without an order `basedOn` goes: an
/// accession number that nobody checked must not look like a link.
pub fn bind(mut bundle: Value, matched: &Match) -> Value {
    for resource in resources_mut(&mut bundle) {
        if let Some(subject) = resource.get_mut("subject") {
            *subject = json!({ "reference": matched.patient, "type": "Patient" });
        }
        match &matched.order {
            Some(order) => {
                if let Some(based_on) = resource.get_mut("basedOn") {
                    *based_on = json!([{ "reference": order, "type": "ServiceRequest" }]);
                }
            }
            // `shift_remove` keeps the order of the other elements.
            None => drop(resource.shift_remove("basedOn")),
        }
    }
    bundle
}

/// Leaves out optional types that the EHR does not declare. References to them keep their text and get the identifier.
pub fn reduce(bundle: Value, capability: &Capability) -> Value {
    // A statement without any type says nothing.
    let refused = |kind: &str| !capability.resources.is_empty() && !capability.offers(kind, "create");
    let kinds: Vec<&str> = OPTIONAL.into_iter().filter(|kind| refused(kind)).collect();
    without(bundle, &kinds)
}

/// The Bundle without some types.
pub fn without(mut bundle: Value, kinds: &[&str]) -> Value {
    let is_gone = |entry: &Value| kinds.iter().any(|kind| entry["resource"]["resourceType"] == *kind);
    let mut logical = HashMap::new();
    if let Some(entries) = bundle["entry"].as_array_mut() {
        for entry in entries.iter().filter(|entry| is_gone(entry)) {
            if let Some(url) = entry["fullUrl"].as_str() {
                logical.insert(url.to_owned(), entry["resource"]["identifier"][0].clone());
            }
        }
        entries.retain(|entry| !is_gone(entry));
    }
    for resource in resources_mut(&mut bundle) {
        unlink(resource, &logical);
    }
    bundle
}

/// Takes references to resources that are not there (fullUrl -> identifier) out of a resource: they keep their text and get
/// the identifier. A picture that is not there is not listed at all: its link may not be logical.
pub fn unlink(resource: &mut Map<String, Value>, gone: &HashMap<String, Value>) {
    if let Some(Value::Array(media)) = resource.get_mut("media") {
        media.retain(|picture| !picture["link"]["reference"].as_str().is_some_and(|url| gone.contains_key(url)));
        if media.is_empty() {
            resource.shift_remove("media");
        }
    }
    resource.values_mut().for_each(|value| make_logical(value, gone));
}

fn make_logical(value: &mut Value, logical: &HashMap<String, Value>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| make_logical(item, logical)),
        Value::Object(map) => {
            let gone = map.get("reference").and_then(Value::as_str).and_then(|url| logical.get(url)).cloned();
            if let Some(identifier) = gone {
                map.shift_remove("reference");
                if identifier.is_object() {
                    map.insert("identifier".into(), identifier);
                }
            }
            map.values_mut().for_each(|item| make_logical(item, logical));
        }
        _ => {}
    }
}

/// Replaces references to entries by references to what they became.
pub fn resolve(value: &mut Value, ids: &HashMap<String, String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, ids)),
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("reference")
                && let Some(id) = ids.get(reference)
            {
                reference.clone_from(id);
            }
            map.values_mut().for_each(|item| resolve(item, ids));
        }
        _ => {}
    }
}

fn resources_mut(bundle: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let entries = bundle["entry"].as_array_mut().into_iter().flatten();
    entries.filter_map(|entry| entry.get_mut("resource").and_then(Value::as_object_mut))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bundle() -> Value {
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
            { "fullUrl": "urn:uuid:d", "resource": { "resourceType": "Device", "identifier": [{ "system": "s", "value": "v" }] } },
            { "fullUrl": "urn:uuid:o", "resource": { "resourceType": "Observation", "status": "preliminary",
                "subject": { "type": "Patient", "identifier": { "value": "P1", "assigner": { "display": "H" } },
                    "display": "born 1960-02-03" },
                "basedOn": [{ "identifier": { "value": "A1" } }],
                "device": { "reference": "urn:uuid:d", "display": "scargate" },
                "valueQuantity": { "value": 21.3 } } },
        ] })
    }

    fn matched(order: Option<&str>) -> Match {
        Match { patient: "Patient/7".into(), order: order.map(str::to_owned) }
    }

    #[test]
    fn what_the_images_name_is_read_back() {
        let named = named(&bundle());
        assert_eq!((named.patient_id.as_str(), named.patient_issuer.as_deref()), ("P1", Some("H")));
        assert_eq!((named.birth_date.as_str(), named.accession_number.as_str()), ("1960-02-03", "A1"));
    }

    #[test]
    fn the_order_is_found_behind_resources_that_do_not_name_it() {
        let mut bundle = bundle();
        let picture =
            json!({ "resource": { "resourceType": "Media", "subject": { "identifier": { "value": "P1" } } } });
        bundle["entry"].as_array_mut().unwrap().insert(0, picture);
        assert_eq!(named(&bundle).accession_number, "A1");
    }

    #[test]
    fn binding_changes_patient_and_order_and_nothing_else() {
        let bound = bind(bundle(), &matched(Some("ServiceRequest/9")));
        let observation = &bound["entry"][1]["resource"];
        assert_eq!(observation["subject"], json!({ "reference": "Patient/7", "type": "Patient" }));
        assert_eq!(observation["basedOn"][0]["reference"], "ServiceRequest/9");
        let mut restored = bound.clone();
        restored["entry"][1]["resource"]["subject"] = bundle()["entry"][1]["resource"]["subject"].clone();
        restored["entry"][1]["resource"]["basedOn"] = bundle()["entry"][1]["resource"]["basedOn"].clone();
        assert_eq!(restored, bundle());
        assert_eq!(bind(bundle(), &matched(Some("ServiceRequest/9"))).to_string(), bound.to_string());
    }

    #[test]
    fn an_order_that_was_not_found_is_not_named() {
        assert!(bind(bundle(), &matched(None))["entry"][1]["resource"].get("basedOn").is_none());
    }

    #[test]
    fn a_picture_that_is_not_taken_is_not_listed() {
        let mut bundle = bundle();
        let entries = bundle["entry"].as_array_mut().unwrap();
        entries.push(json!({ "fullUrl": "urn:uuid:m", "resource": { "resourceType": "Media", "identifier": [{ "value": "p" }] } }));
        entries.push(json!({ "resource": { "resourceType": "DiagnosticReport",
            "media": [{ "comment": "c", "link": { "reference": "urn:uuid:m" } }] } }));
        let rest = without(bundle, &["Media"]);
        assert_eq!(rest["entry"][2]["resource"], json!({ "resourceType": "DiagnosticReport" }));
    }

    #[test]
    fn a_type_that_is_not_taken_becomes_a_logical_reference() {
        let mut capability = Capability::default();
        assert_eq!(reduce(bundle(), &capability), bundle(), "an empty statement says nothing");
        capability.resources.insert("Observation".into(), fhir_wire::ResourceCapability::default());
        let reduced = reduce(bundle(), &capability);
        assert_eq!(reduced["entry"].as_array().unwrap().len(), 1);
        let observation = &reduced["entry"][0]["resource"];
        assert_eq!(
            observation["device"],
            json!({ "display": "scargate", "identifier": { "system": "s", "value": "v" } })
        );
        assert_eq!(observation["valueQuantity"]["value"], 21.3);
    }
}
