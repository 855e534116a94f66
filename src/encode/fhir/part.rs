//! Parts that resources are put together from.

use super::Facts;
use super::line::{identifier, query};
use crate::domain::codes::Code;
use serde_json::{Value, json};
use uuid::Uuid;

/// System of DICOM UIDs as FHIR identifiers; values carry the prefix `urn:oid:`.
pub const DICOM_UID_SYSTEM: &str = "urn:dicom:uid";

/// One entry of the transaction.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `urn:uuid:` of this entry, the same for the same run and line.
    pub full_url: String,
    /// The resource.
    pub resource: Value,
    /// How it is written.
    pub request: Value,
}

impl Entry {
    /// A resource that is written in place of the earlier one with the same line identifier.
    pub fn replacing(facts: &Facts<'_>, resource: Value, (system, value): (&str, String)) -> Self {
        let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
        let request = json!({ "method": "PUT", "url": format!("{kind}?{}", query(system, &value)) });
        Self { full_url: full_url(facts, &value), resource, request }
    }

    /// A resource that is written unless the query finds one.
    pub fn once(facts: &Facts<'_>, resource: Value, name: &str, if_none_exist: String) -> Self {
        let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
        let request = json!({ "method": "POST", "url": kind, "ifNoneExist": if_none_exist });
        Self { full_url: full_url(facts, name), resource, request }
    }

    /// Bundle.entry.
    pub fn json(&self) -> Value {
        json!({ "fullUrl": self.full_url, "resource": self.resource, "request": self.request })
    }

    /// A reference to the resource of this entry.
    pub fn reference(&self) -> Value {
        json!({ "reference": self.full_url })
    }
}

/// `urn:uuid:` derived from the run and a name.
pub fn full_url(facts: &Facts<'_>, name: &str) -> String {
    format!("urn:uuid:{}", Uuid::new_v5(&facts.run.0, name.as_bytes()))
}

/// A CodeableConcept; the first code gives the text.
pub fn concept(codes: &[Code]) -> Value {
    let codings: Vec<Value> = codes.iter().map(|code| coding(*code)).collect();
    json!({ "coding": codings, "text": codes.first().map_or("", |code| code.meaning) })
}

fn coding(code: Code) -> Value {
    json!({ "system": code.fhir_system(), "code": code.value, "display": code.meaning })
}

/// A CodeableConcept with one code of an HL7 terminology.
pub fn hl7(system: &str, code: &str, display: &str) -> Value {
    json!({ "coding": [{ "system": format!("http://terminology.hl7.org/CodeSystem/{system}"), "code": code, "display": display }] })
}

/// `meta.security` of a result that no person has verified: asserted by artificial intelligence.
pub fn unsigned_meta() -> Value {
    json!({ "security": [{
        "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
        "code": "AIAST",
        "display": "Artificial Intelligence asserted",
    }] })
}

/// The patient as the images name them: PatientID, its issuer and the birth date, which is all that `deliver` needs to
/// find the Patient that takes this reference's place. The birth date stands in `display`, as `born YYYY-MM-DD`: a
/// logical reference has no other place for it that validators accept without a profile of ours.
pub fn subject(facts: &Facts<'_>) -> Value {
    let identity = facts.identity;
    let id = identity.patient_id.trim();
    if id.is_empty() {
        return json!({ "type": "Patient", "display": "not identified in the images" });
    }
    let kind = hl7("v2-0203", "MR", "Medical record number");
    let identifier = stated(kind, id, identity.issuer_of_patient_id.as_deref());
    let mut subject = json!({ "type": "Patient", "identifier": identifier });
    let born = super::when::date_only(&identity.patient_birth_date);
    set(&mut subject, "display", born.map(|date| json!(format!("born {date}"))));
    subject
}

/// The order as the images name it, by accession number; `deliver` replaces or removes it. `None` without a number.
pub fn based_on(facts: &Facts<'_>) -> Option<Value> {
    let number = facts.identity.accession_number.trim();
    let kind = hl7("v2-0203", "ACSN", "Accession ID");
    let issuer = facts.identity.issuer_of_accession_number.as_deref();
    (!number.is_empty()).then(|| json!([{ "type": "ServiceRequest", "identifier": stated(kind, number, issuer) }]))
}

/// An identifier as the images state it; the issuer is a name of theirs, not a system.
fn stated(kind: Value, value: &str, issuer: Option<&str>) -> Value {
    let mut identifier = json!({ "type": kind, "value": value });
    let issuer = issuer.map(str::trim).filter(|issuer| !issuer.is_empty());
    set(&mut identifier, "assigner", issuer.map(|name| json!({ "display": name })));
    identifier
}

/// The imaging study, by its UID.
pub fn imaging_study(facts: &Facts<'_>) -> Value {
    json!({ "type": "ImagingStudy", "identifier": dicom_uid(facts.identity.study.as_str()), "display": "cardiac MR study" })
}

/// The segmentation that the values were counted from, by its SOP Instance UID.
pub fn segmentation(facts: &Facts<'_>) -> Option<Value> {
    let dicom = facts.seg?.dicom.as_ref()?;
    Some(json!({
        "type": "DocumentReference",
        "identifier": dicom_uid(dicom.sop_instance.as_str()),
        "display": "DICOM Segmentation",
    }))
}

/// Identifier of a DICOM UID.
pub fn dicom_uid(uid: &str) -> Value {
    identifier(DICOM_UID_SYSTEM, &format!("urn:oid:{uid}"))
}

/// Puts `value` into `object` unless it is `None`.
pub fn set(object: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(map), Some(value)) = (object.as_object_mut(), value) {
        map.insert(key.to_owned(), value);
    }
}

/// Rounds a mass (g) or a percentage to 0.1: finer digits would claim an accuracy that contours do not have. The one
/// rounding between `quantify` and the EHR, used for coded values and for the text alike.
pub fn round(value: f64) -> f64 {
    // Adding 0.0 turns -0.0 into 0.0.
    (value * 10.0).round() / 10.0 + 0.0
}
