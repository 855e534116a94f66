//! The right patient and the right order: found by identifier and proven, or the delivery is held. Nothing is guessed.

use super::bind::Named;
use super::client::Client;
use crate::config::{self, OrderMatch};
use crate::failure::{Code, Failure};
use serde_json::Value;

/// Which Patient and ServiceRequest a result is bound to.
#[derive(Clone, PartialEq, Eq)]
pub struct Match {
    /// `Patient/<id>`.
    pub patient: String,
    /// `ServiceRequest/<id>`.
    pub order: Option<String>,
}

/// Finds both.
///
/// # Errors
/// Held with `patient-*` or `order-mismatch`; failures of the exchange.
pub async fn find(client: &Client, ehr: &config::Ehr, named: &Named) -> Result<Match, Failure> {
    let patient = patient(client, ehr, named).await?;
    let order = match ehr.order {
        OrderMatch::None => None,
        OrderMatch::Optional | OrderMatch::Required => order(client, ehr, named, &patient).await?,
    };
    if order.is_none() && ehr.order == OrderMatch::Required {
        return Err(Failure::held(Code::OrderMismatch, "no order has the study's accession number"));
    }
    Ok(Match { patient, order })
}

async fn patient(client: &Client, ehr: &config::Ehr, named: &Named) -> Result<String, Failure> {
    let id = named.patient_id.trim();
    if id.is_empty() {
        return Err(Failure::held(Code::PatientNotFound, "the study names no PatientID"));
    }
    let system = patient_system(ehr, named)?;
    let token = token(&system, id);
    let found = client.search("Patient", &[("identifier", &token)]).await?;
    // The server's word is not enough: some ignore parameters that they do not know.
    let matching: Vec<&Value> = found.iter().filter(|patient| has_identifier(patient, &system, id)).collect();
    let patient = judge(&matching, named)?;
    Ok(format!("Patient/{patient}"))
}

/// The identifier system of the study's patient. Without one a bare value could match a patient of another hospital.
fn patient_system(ehr: &config::Ehr, named: &Named) -> Result<String, Failure> {
    let issuer = named.patient_issuer.as_deref().map(str::trim).filter(|issuer| !issuer.is_empty());
    let system = match issuer {
        Some(issuer) => ehr.patient_systems.get(issuer).cloned().unwrap_or_default(),
        None => ehr.patient_system.clone(),
    };
    match (system.is_empty(), issuer.is_some()) {
        (false, _) => Ok(system),
        (true, true) => Err(Failure::held(
            Code::PatientNotFound,
            "the issuer of the PatientID has no identifier system: add it to ehr.patient_systems",
        )),
        (true, false) => {
            Err(Failure::held(Code::PatientNotFound, "the PatientID has no issuer and ehr.patient_system is not set"))
        }
    }
}

/// Judges the candidates; returns the logical id of the one that is right.
fn judge<'a>(candidates: &[&'a Value], named: &Named) -> Result<&'a str, Failure> {
    let replaced = |patient: &Value| {
        patient["active"] == false || list(&patient["link"]).any(|link| link["type"] == "replaced-by")
    };
    // A merged record keeps its identifiers: beside its living successor it does not count.
    let living: Vec<&&Value> = candidates.iter().filter(|patient| !replaced(patient)).collect();
    let patient = match (living.as_slice(), candidates.is_empty()) {
        ([one], _) => one,
        ([], true) => return Err(Failure::held(Code::PatientNotFound, "")),
        ([], false) => return Err(Failure::held(Code::PatientReplaced, "")),
        _ => return Err(Failure::held(Code::PatientAmbiguous, format!("{} patients", living.len()))),
    };
    let ours: String = named.birth_date.chars().filter(char::is_ascii_digit).collect();
    let theirs: String = text(&patient["birthDate"]).chars().filter(char::is_ascii_digit).collect();
    if ours.len() != 8 || ours != theirs {
        let detail = if ours.len() == 8 && theirs.len() == 8 { "" } else { "a birth date is missing or not complete" };
        return Err(Failure::held(Code::PatientMismatch, detail));
    }
    let id = patient["id"].as_str().filter(|id| is_id(id));
    id.ok_or_else(|| Failure::permanent(Code::EhrRefused, "a patient without an id"))
}

async fn order(client: &Client, ehr: &config::Ehr, named: &Named, patient: &str) -> Result<Option<String>, Failure> {
    let number = named.accession_number.trim();
    let issuer = named.accession_issuer.as_deref().map(str::trim).filter(|issuer| !issuer.is_empty());
    // An issuer that is a URI or OID is a system by itself; a local name is not.
    let system = match issuer {
        Some(oid) if oid.bytes().all(|b| b.is_ascii_digit() || b == b'.') => format!("urn:oid:{oid}"),
        Some(uri) if uri.contains(':') => uri.to_owned(),
        _ => ehr.accession_system.clone(),
    };
    if number.is_empty() || system.is_empty() {
        return Ok(None);
    }
    let found = client.search("ServiceRequest", &[("identifier", &token(&system, number))]).await?;
    let matching: Vec<&Value> = found.iter().filter(|order| has_identifier(order, &system, number)).collect();
    let order = match matching.as_slice() {
        [] => return Ok(None),
        [one] => one,
        _ => return Err(Failure::held(Code::OrderMismatch, "several orders have the study's accession number")),
    };
    if !same_resource(text(&order["subject"]["reference"]), patient) {
        return Err(Failure::held(Code::OrderMismatch, "the order belongs to another patient"));
    }
    if matches!(text(&order["status"]), "revoked" | "entered-in-error") {
        return Err(Failure::held(Code::OrderMismatch, "the order was revoked"));
    }
    let id = order["id"].as_str().filter(|id| is_id(id));
    id.map(|id| Some(format!("ServiceRequest/{id}")))
        .ok_or_else(|| Failure::permanent(Code::EhrRefused, "an order without an id"))
}

/// `system|value` of a token search; `\`, `|`, `$` and `,` have a meaning there (R4 search, 3.1.1.4.1).
fn token(system: &str, value: &str) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace(',', "\\,").replace('$', "\\$").replace('|', "\\|");
    format!("{}|{}", escape(system), escape(value))
}

fn has_identifier(resource: &Value, system: &str, value: &str) -> bool {
    list(&resource["identifier"]).any(|i| i["system"] == system && i["value"] == value && i["use"] != "old")
}

/// Whether a reference, relative or absolute, with or without a version, means `Type/id`.
pub fn same_resource(reference: &str, wanted: &str) -> bool {
    let plain = reference.split("/_history/").next().unwrap_or_default();
    plain == wanted || plain.strip_suffix(wanted).is_some_and(|start| start.ends_with('/'))
}

/// A FHIR id: it becomes part of a path.
pub fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(birth_date: &str) -> Named {
        Named { patient_id: "1".into(), birth_date: birth_date.into(), ..Named::default() }
    }

    fn code(candidates: &[Value], birth_date: &str) -> Result<String, Code> {
        let candidates: Vec<&Value> = candidates.iter().collect();
        judge(&candidates, &named(birth_date)).map(str::to_owned).map_err(|failure| {
            assert_eq!(failure.class, crate::failure::Class::Held);
            failure.code
        })
    }

    #[test]
    fn a_patient_is_one_living_and_born_on_the_day() {
        let good = json!({ "id": "a", "birthDate": "1960-02-03" });
        let merged = json!({ "id": "b", "birthDate": "1960-02-03", "link": [{ "type": "replaced-by" }] });
        let inactive = json!({ "id": "c", "birthDate": "1960-02-03", "active": false });
        let ageless = json!({ "id": "d" });
        let year = json!({ "id": "e", "birthDate": "1960" });
        let all = |list: &[&Value]| list.iter().map(|v| (*v).clone()).collect::<Vec<_>>();
        assert_eq!(code(&all(&[&good]), "19600203"), Ok("a".into()));
        assert_eq!(code(&all(&[&good, &merged]), "19600203"), Ok("a".into()));
        assert_eq!(code(&[], "19600203"), Err(Code::PatientNotFound));
        assert_eq!(code(&all(&[&good, &good]), "19600203"), Err(Code::PatientAmbiguous));
        assert_eq!(code(&all(&[&merged]), "19600203"), Err(Code::PatientReplaced));
        assert_eq!(code(&all(&[&inactive]), "19600203"), Err(Code::PatientReplaced));
        assert_eq!(code(&all(&[&good]), "19600204"), Err(Code::PatientMismatch));
        assert_eq!(code(&all(&[&good]), ""), Err(Code::PatientMismatch));
        assert_eq!(code(&all(&[&ageless]), "19600203"), Err(Code::PatientMismatch));
        assert_eq!(code(&all(&[&year]), "1960"), Err(Code::PatientMismatch));
    }

    #[test]
    fn references_are_compared_by_type_and_id() {
        assert!(same_resource("Patient/1", "Patient/1"));
        assert!(same_resource("http://ehr/fhir/Patient/1/_history/3", "Patient/1"));
        assert!(!same_resource("Patient/11", "Patient/1"));
        assert!(!same_resource("http://ehr/XPatient/1", "Patient/1"));
        assert!(!same_resource("", "Patient/1"));
    }

    #[test]
    fn separators_in_identifiers_are_escaped() {
        assert_eq!(token("urn:x", "a|b,c$d\\e"), "urn:x|a\\|b\\,c\\$d\\\\e");
    }
}
