//! The lines of a result as the EHR holds them: found by their stable identifiers, compared with what we send and with
//! what we last wrote.

use super::bind::resources;
use super::client::Client;
use super::matching::{is_id, same_resource};
use crate::failure::{Code, Failure};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Identifier system of result lines.
const LINE_SYSTEM: &str = crate::domain::codes::LINE_IDENTIFIER_SYSTEM;
/// Identifier system of runs.
const RUN_SYSTEM: &str = "https://scargate.org/fhir/identifier/run";

/// A line that the EHR holds.
#[derive(Debug, Clone)]
pub struct Existing {
    /// `Type/id`.
    pub id: String,
    /// `meta.versionId`; `None` from a server without versions.
    pub version: Option<String>,
    resource: Value,
}

impl Existing {
    fn receipt(&self) -> Value {
        json!({ "id": self.id, "version": self.version })
    }
}

/// All lines of a result that the EHR holds, by line.
#[derive(Debug, Clone, Default)]
pub struct Lines(BTreeMap<String, Existing>);

/// The line that a resource of ours is; `None` for Device and Provenance.
pub fn line_of(resource: &Value) -> Option<&str> {
    identifier(resource, LINE_SYSTEM)
}

fn identifier<'a>(resource: &'a Value, system: &str) -> Option<&'a str> {
    let identifiers = resource["identifier"].as_array()?;
    identifiers.iter().find(|i| i["system"] == system)?["value"].as_str()
}

impl Lines {
    /// Reads the lines of `bundle` from the EHR: one search per resource type.
    ///
    /// # Errors
    /// Held with `ehr-changed` when a line stands twice; failures of the exchange.
    pub async fn read(client: &Client, bundle: &Value) -> Result<Self, Failure> {
        let ours = resources(bundle).filter(|resource| line_of(resource).is_some());
        let kinds: BTreeSet<&str> = ours.filter_map(|resource| resource["resourceType"].as_str()).collect();
        let mut found = Vec::new();
        for kind in kinds {
            let lines = resources(bundle).filter(|r| r["resourceType"] == kind).filter_map(line_of);
            let tokens: Vec<String> = lines.map(|line| format!("{LINE_SYSTEM}|{line}")).collect();
            found.extend(client.search(kind, &[("identifier", &tokens.join(","))]).await?);
        }
        Self::of(found, bundle)
    }

    fn of(found: Vec<Value>, bundle: &Value) -> Result<Self, Failure> {
        let wanted: BTreeSet<&str> = resources(bundle).filter_map(line_of).collect();
        let mut lines = BTreeMap::new();
        for resource in found {
            let Some(line) = line_of(&resource).filter(|line| wanted.contains(line)).map(str::to_owned) else {
                continue;
            };
            let id = resource["id"].as_str().filter(|id| is_id(id));
            let id = id.ok_or_else(|| Failure::permanent(Code::EhrRefused, "a resource without an id"))?;
            let existing = Existing {
                id: format!("{}/{id}", resource["resourceType"].as_str().unwrap_or_default()),
                version: resource["meta"]["versionId"].as_str().map(str::to_owned),
                resource,
            };
            if lines.insert(line, existing).is_some() {
                return Err(Failure::held(Code::EhrChanged, "a line of the result stands more than once"));
            }
        }
        Ok(Self(lines))
    }

    /// The line of a resource of ours.
    pub fn get(&self, resource: &Value) -> Option<&Existing> {
        self.0.get(line_of(resource)?)
    }

    /// True when the EHR holds every line of `bundle` with the values we send.
    pub fn hold(&self, bundle: &Value) -> bool {
        resources(bundle)
            .filter(|resource| line_of(resource).is_some())
            .all(|resource| self.get(resource).is_some_and(|existing| same(resource, &existing.resource)))
    }

    /// True when the EHR holds this one with the values we send.
    pub fn holds(&self, resource: &Value) -> bool {
        self.get(resource).is_some_and(|existing| same(resource, &existing.resource))
    }

    /// Refuses to write over what is not ours any more. A line may be replaced when it is exactly the version that we
    /// wrote last (`receipt`) and nobody signed or withdrew it.
    ///
    /// # Errors
    /// Held with `ehr-changed`. With `overwrite`, by a person's decision, only for what was signed or withdrawn.
    pub fn may_be_replaced(&self, bundle: &Value, receipt: Option<&Value>, overwrite: bool) -> Result<(), Failure> {
        for resource in resources(bundle) {
            let Some(existing) = self.get(resource) else { continue };
            if same(resource, &existing.resource) {
                continue;
            }
            let held = |detail: &str| Err(Failure::held(Code::EhrChanged, detail));
            let status = existing.resource["status"].as_str().unwrap_or_default();
            if !matches!(status, "preliminary" | "registered") {
                return held("a line of the result was signed or withdrawn in the EHR");
            }
            if overwrite {
                continue;
            }
            if identifier(resource, RUN_SYSTEM) == identifier(&existing.resource, RUN_SYSTEM) {
                return held("a line of this very result has other values in the EHR");
            }
            let known = receipt.and_then(|receipt| receipt["lines"].get(line_of(resource)?));
            match known {
                None => return held("a line of the result stands in the EHR, but there is no record of writing it"),
                Some(known) if known["id"] != existing.id.as_str() || known["version"] != json!(existing.version) => {
                    return held("a line of the result was changed in the EHR since it was written");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// What we wrote, to be compared with when the next revision replaces it. Holds ids and versions of the EHR, no
    /// values and nothing of the patient.
    pub fn receipt(&self, mode: &str) -> Value {
        let lines = self.0.iter().map(|(line, existing)| (line.clone(), existing.receipt()));
        json!({ "mode": mode, "lines": lines.collect::<Map<String, Value>>() })
    }

    /// The receipt of a delivery that failed midway: lines that stand as we send them now, and for the others what was
    /// written before. `None` when none of this delivery stands yet.
    pub fn incomplete(&self, bundle: &Value, before: Option<&Value>) -> Option<Value> {
        let mut lines = before.and_then(|receipt| receipt["lines"].as_object()).cloned().unwrap_or_default();
        let ours = resources(bundle).filter(|resource| self.holds(resource));
        let stand: Vec<(&str, Value)> =
            ours.filter_map(|resource| Some((line_of(resource)?, self.get(resource)?.receipt()))).collect();
        let all = resources(bundle).filter(|resource| line_of(resource).is_some()).count();
        let incomplete = json!({ "written": stand.len(), "of": all });
        let any = !stand.is_empty();
        lines.extend(stand.into_iter().map(|(line, receipt)| (line.to_owned(), receipt)));
        any.then(|| json!({ "mode": "single", "incomplete": incomplete, "lines": lines }))
    }
}

/// Whether the EHR's resource says what ours says: status, value or reason of absence, patient, run, words. Servers add
/// and reformat, so that the whole resource is not compared.
fn same(ours: &Value, theirs: &Value) -> bool {
    let code = |value: &Value, at: &str| value[at]["coding"][0]["code"].clone();
    let number = |value: &Value| value["valueQuantity"]["value"].as_f64();
    let subject = ours["subject"]["reference"].as_str().unwrap_or_default();
    ours["status"] == theirs["status"]
        && identifier(ours, RUN_SYSTEM) == identifier(theirs, RUN_SYSTEM)
        && number(ours) == number(theirs)
        && ours["valueQuantity"]["code"] == theirs["valueQuantity"]["code"]
        && ["code", "valueCodeableConcept", "dataAbsentReason"].iter().all(|at| code(ours, at) == code(theirs, at))
        && ours["conclusion"] == theirs["conclusion"]
        && same_resource(theirs["subject"]["reference"].as_str().unwrap_or_default(), subject)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(run: &str, value: f64) -> Value {
        json!({ "resourceType": "Observation", "status": "preliminary",
            "identifier": [{ "system": LINE_SYSTEM, "value": "l" }, { "system": RUN_SYSTEM, "value": run }],
            "code": { "coding": [{ "code": "c" }] }, "subject": { "reference": "Patient/1" },
            "valueQuantity": { "value": value, "code": "g" } })
    }

    fn bundle(resource: Value) -> Value {
        json!({ "entry": [{ "resource": resource }] })
    }

    fn stored(resource: Value, version: &str) -> Lines {
        let mut resource = resource;
        resource["id"] = "o1".into();
        resource["meta"] = json!({ "versionId": version });
        Lines::of(vec![resource], &bundle(line("x", 0.0))).unwrap()
    }

    #[test]
    fn what_was_written_is_recognised_and_nothing_else_is() {
        let ours = bundle(line("r1", 2.0));
        assert!(stored(line("r1", 2.0), "1").hold(&ours));
        for changed in [line("r1", 2.1), line("r0", 2.0)] {
            assert!(!stored(changed, "1").hold(&ours));
        }
        let mut other_patient = line("r1", 2.0);
        other_patient["subject"]["reference"] = "Patient/2".into();
        assert!(!stored(other_patient, "1").hold(&ours));
        assert!(!Lines::default().hold(&ours));
    }

    #[test]
    fn a_predecessor_is_replaced_only_in_the_version_that_we_wrote() {
        let ours = bundle(line("r2", 3.0));
        let receipt = stored(line("r1", 2.0), "4").receipt("transaction");
        assert!(stored(line("r1", 2.0), "4").may_be_replaced(&ours, Some(&receipt), false).is_ok());
        for (lines, receipt) in [
            (stored(line("r1", 2.0), "5"), Some(&receipt)),
            (stored(line("r1", 2.0), "4"), None),
            (stored(line("r2", 9.0), "4"), Some(&receipt)),
        ] {
            assert_eq!(lines.may_be_replaced(&ours, receipt, false).unwrap_err().code, Code::EhrChanged);
        }
        let mut signed = line("r1", 2.0);
        signed["status"] = "final".into();
        assert!(
            stored(signed, "4").may_be_replaced(&ours, Some(&receipt), false).is_err(),
            "no unread number replaces a signed one"
        );
    }

    #[test]
    fn a_doubled_line_is_held() {
        let mut twin = line("r1", 2.0);
        twin["id"] = "a".into();
        assert_eq!(Lines::of(vec![twin.clone(), twin], &bundle(line("r1", 2.0))).unwrap_err().code, Code::EhrChanged);
    }
}
