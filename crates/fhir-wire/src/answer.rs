//! What EHRs answer, read leniently: only the elements that we act on, and never refused for the rest.

use crate::WireError;
use crate::check::json;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What an EHR says it can do (CapabilityStatement, `rest` of mode `server`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capability {
    /// `fhirVersion`, e.g. `4.0.1`.
    pub fhir_version: String,
    /// Transactions are offered (system-level interaction).
    pub transaction: bool,
    /// By resource type.
    pub resources: BTreeMap<String, ResourceCapability>,
}

/// What an EHR offers for one resource type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceCapability {
    /// `create`, `update`, `read`, `search-type` ..
    pub interactions: BTreeSet<String>,
    /// `If-None-Exist`.
    pub conditional_create: bool,
    /// `PUT Type?search`.
    pub conditional_update: bool,
    /// Names of search parameters.
    pub search_params: BTreeSet<String>,
}

impl Capability {
    /// Whether an interaction is declared for a type.
    pub fn offers(&self, resource: &str, interaction: &str) -> bool {
        self.resources.get(resource).is_some_and(|r| r.interactions.contains(interaction))
    }
}

/// Reads a CapabilityStatement.
///
/// # Errors
/// When the bytes are not JSON, or not a CapabilityStatement.
pub fn capability(bytes: &[u8]) -> Result<Capability, WireError> {
    let value = typed(bytes, "CapabilityStatement")?;
    let mut out = Capability { fhir_version: text(&value["fhirVersion"]), ..Capability::default() };
    let servers = list(&value["rest"]).filter(|rest| rest["mode"] != "client");
    for rest in servers {
        out.transaction |= codes(&rest["interaction"]).contains("transaction");
        for resource in list(&rest["resource"]) {
            let entry = ResourceCapability {
                interactions: codes(&resource["interaction"]),
                conditional_create: resource["conditionalCreate"] == true,
                conditional_update: resource["conditionalUpdate"] == true,
                search_params: list(&resource["searchParam"]).map(|p| text(&p["name"])).collect(),
            };
            out.resources.insert(text(&resource["type"]), entry);
        }
    }
    Ok(out)
}

/// One issue of an OperationOutcome. Diagnostics are left out: peers quote patient data there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// `fatal | error | warning | information`
    pub severity: String,
    /// `invalid`, `conflict`, `duplicate` ..
    pub code: String,
    /// FHIRPath of the element, when it holds nothing but names and indices.
    pub expression: Option<String>,
}

/// An OperationOutcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its issues.
    pub issues: Vec<Issue>,
}

impl Outcome {
    /// Codes and places of fatal and error issues, for delivery details; at most five.
    pub fn summary(&self) -> String {
        let serious = self.issues.iter().filter(|i| matches!(i.severity.as_str(), "fatal" | "error"));
        let words: Vec<String> = serious
            .take(5)
            .map(|i| match &i.expression {
                Some(place) => format!("{} at {place}", i.code),
                None => i.code.clone(),
            })
            .filter(|word| !word.is_empty())
            .collect();
        words.join(", ")
    }
}

/// Reads an OperationOutcome; `None` when the bytes are something else.
pub fn outcome(bytes: &[u8]) -> Option<Outcome> {
    let value = typed(bytes, "OperationOutcome").ok()?;
    let issues = list(&value["issue"]).map(|issue| Issue {
        severity: code_of(&issue["severity"]),
        code: code_of(&issue["code"]),
        expression: list(&issue["expression"]).map(text).find(|path| is_path(path)),
    });
    Some(Outcome { issues: issues.collect() })
}

/// A page of search results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Searchset {
    /// Resources that match (not includes, not outcomes).
    pub matches: Vec<Value>,
    /// There is a further page.
    pub more: bool,
}

/// Reads a searchset Bundle.
///
/// # Errors
/// When the bytes are not JSON, or not a searchset.
pub fn searchset(bytes: &[u8]) -> Result<Searchset, WireError> {
    let value = typed(bytes, "Bundle")?;
    if value["type"] != "searchset" {
        return Err(WireError::WrongType { expected: "searchset Bundle" });
    }
    let is_match = |entry: &&Value| {
        let mode = entry["search"]["mode"].as_str().unwrap_or("match");
        mode == "match" && entry["resource"]["resourceType"] != "OperationOutcome"
    };
    let matches = list(&value["entry"]).filter(is_match).filter_map(|e| e.get("resource").cloned()).collect();
    Ok(Searchset { matches, more: list(&value["link"]).any(|link| link["relation"] == "next") })
}

fn typed(bytes: &[u8], expected: &'static str) -> Result<Value, WireError> {
    let value = json(bytes)?;
    if value["resourceType"] == expected { Ok(value) } else { Err(WireError::WrongType { expected }) }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn codes(interactions: &Value) -> BTreeSet<String> {
    list(interactions).map(|i| text(&i["code"])).collect()
}

/// A short code or nothing: a peer may put anything here, and it goes into logs.
fn code_of(value: &Value) -> String {
    let code = value.as_str().unwrap_or_default();
    let plain = code.len() <= 32 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if plain { code.to_owned() } else { String::new() }
}

fn is_path(path: &str) -> bool {
    path.len() <= 120 && path.bytes().all(|b| b.is_ascii_alphanumeric() || b".[]()".contains(&b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_statement_is_read_by_server_mode() {
        let text = br#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server",
            "interaction":[{"code":"transaction"}],"resource":[{"type":"Observation","conditionalUpdate":true,
            "interaction":[{"code":"create"},{"code":"update"}],"searchParam":[{"name":"identifier"}]}]}]}"#;
        let capability = capability(text).unwrap();
        assert!(capability.transaction && capability.offers("Observation", "update"));
        assert!(!capability.offers("Device", "create"));
        assert!(capability.resources["Observation"].conditional_update);
    }

    #[test]
    fn an_outcome_keeps_codes_and_drops_free_text() {
        let text = br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid",
            "diagnostics":"Doe^John is wrong","expression":["Observation.subject[0]"]},
            {"severity":"error","code":"Doe John"}]}"#;
        let outcome = outcome(text).unwrap();
        assert_eq!(outcome.summary(), "invalid at Observation.subject[0]");
    }

    #[test]
    fn a_searchset_counts_matches_only() {
        let text = br#"{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"x"}],"entry":[
            {"resource":{"resourceType":"Patient","id":"1"},"search":{"mode":"match"}},
            {"resource":{"resourceType":"Organization","id":"2"},"search":{"mode":"include"}},
            {"resource":{"resourceType":"OperationOutcome"},"search":{"mode":"outcome"}},
            {"resource":{"resourceType":"Patient","id":"3"}}]}"#;
        let set = searchset(text).unwrap();
        assert_eq!(set.matches.iter().map(|r| r["id"].as_str().unwrap()).collect::<Vec<_>>(), ["1", "3"]);
        assert!(set.more);
        assert!(searchset(br#"{"resourceType":"Bundle","type":"transaction"}"#).is_err());
    }
}
