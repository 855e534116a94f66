//! Writing a bound Bundle: as one transaction where the EHR offers it, else resource by resource in dependency order.

use super::bind::{resolve, unlink};
use super::client::{Client, Write};
use super::http::Answer;
use super::lines::{Existing, Lines, line_of};
use super::matching::is_id;
use crate::failure::{Code, Failure};
use fhir_wire::Capability;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashMap;

/// How a Bundle was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One request, all or nothing.
    Transaction,
    /// One request per resource.
    Single,
}

impl Mode {
    /// Name in receipts and audit events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Single => "single",
        }
    }
}

/// What a transaction came to.
pub enum Sent {
    /// The EHR took it.
    Accepted,
    /// The EHR does not do transactions, whatever it declares.
    NotOffered,
}

/// Sends the Bundle as a transaction. Lines that exist are replaced in the version that was read (`ifMatch`).
///
/// # Errors
/// Of the exchange, or as the EHR's status says.
pub async fn transaction(
    client: &Client,
    bundle: &Value,
    lines: &Lines,
    capability: &Capability,
) -> Result<Sent, Failure> {
    let mut request = bundle.clone();
    for entry in request["entry"].as_array_mut().into_iter().flatten() {
        match lines.get(&entry["resource"]) {
            Some(existing) => replace_in_place(entry, existing),
            None => create_once(entry, capability),
        }
    }
    let answer = client.write(Write { method: Method::POST, path: "", body: &request, if_match: None }).await?;
    match () {
        () if answer.ok() => Ok(Sent::Accepted),
        () if answer.not_supported() => Ok(Sent::NotOffered),
        () => Err(answer.failure()),
    }
}

fn replace_in_place(entry: &mut Value, existing: &Existing) {
    let mut request = json!({ "method": "PUT", "url": existing.id });
    if let Some(version) = &existing.version {
        request["ifMatch"] = json!(format!("W/\"{version}\""));
    }
    entry["request"] = request;
    entry["resource"]["id"] = json!(existing.id.split('/').next_back());
}

/// The stored request is a conditional update. An EHR that does not offer it gets a conditional create: nothing was
/// there a moment ago. A condition on a tag goes only to an EHR that declares to search by it.
fn create_once(entry: &mut Value, capability: &Capability) {
    let kind = entry["resource"]["resourceType"].as_str().unwrap_or_default().to_owned();
    let declared = capability.resources.get(&kind);
    let by_tag = entry["request"]["ifNoneExist"].as_str().is_some_and(|query| query.starts_with("_tag="));
    if by_tag && !declared.is_some_and(|resource| resource.search_params.contains("_tag")) {
        entry["request"] = json!({ "method": "POST", "url": kind });
    }
    let offered = declared.is_none_or(|resource| resource.conditional_update);
    let url = entry["request"]["url"].as_str().unwrap_or_default().to_owned();
    if let (false, Some((_, query))) = (offered, url.split_once('?')) {
        entry["request"] = json!({ "method": "POST", "url": kind, "ifNoneExist": query });
    }
}

/// Writes resource by resource: searched, then created or replaced; what is there already is left alone, so that an
/// interrupted delivery goes on where it stopped.
///
/// # Errors
/// Of the exchanges, or as the EHR's statuses say. What was written before stays; the next attempt finds it.
pub async fn single(client: &Client, bundle: &Value, lines: &Lines) -> Result<(), Failure> {
    let (mut ids, mut refused) = (HashMap::new(), HashMap::new());
    for entry in bundle["entry"].as_array().into_iter().flatten() {
        let mut resource = entry["resource"].clone();
        resolve(&mut resource, &ids);
        if let Some(resource) = resource.as_object_mut() {
            unlink(resource, &refused);
        }
        let id = match line_of(&resource) {
            Some(_) => Some(line(client, entry, &resource, lines).await?),
            None => once(client, entry, &resource).await?,
        };
        let Some(url) = entry["fullUrl"].as_str() else { continue };
        match id {
            Some(id) => drop(ids.insert(url.to_owned(), id)),
            None => drop(refused.insert(url.to_owned(), resource["identifier"][0].clone())),
        }
    }
    Ok(())
}

/// Writes a line; returns its `Type/id`.
async fn line(client: &Client, entry: &Value, resource: &Value, lines: &Lines) -> Result<String, Failure> {
    let Some(existing) = lines.get(resource) else {
        let query = query_of(&entry["request"]);
        let answer = create(client, resource, query).await?;
        return created(client, resource, &answer).await;
    };
    if !lines.holds(resource) {
        let mut body = resource.clone();
        body["id"] = json!(existing.id.split('/').next_back());
        let if_match = existing.version.as_deref();
        let write = Write { method: Method::PUT, path: &existing.id, body: &body, if_match };
        let answer = client.write(write).await?;
        if !answer.ok() {
            return Err(answer.failure());
        }
    }
    Ok(existing.id.clone())
}

/// Writes a resource that is no line (Device, Provenance) unless it is there. `None` when the EHR refuses the type: the
/// values do without.
async fn once(client: &Client, entry: &Value, resource: &Value) -> Result<Option<String>, Failure> {
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    if let Some(found) = find_once(client, kind, resource).await? {
        return Ok(Some(found));
    }
    let answer = match create(client, resource, query_of(&entry["request"])).await {
        Ok(answer) => answer,
        Err(failure) if failure.code == Code::EhrRefused => {
            tracing::warn!(kind, code = failure.code.as_str(), "the EHR refuses an optional resource");
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    Ok(answer.location.clone().or_else(|| id_in_body(&answer, kind)))
}

/// Looks for a Device by its first identifier, for a Provenance by the report that it is about and its moment.
async fn find_once(client: &Client, kind: &str, resource: &Value) -> Result<Option<String>, Failure> {
    let own = &resource["identifier"][0];
    let (name, value) = match (own["system"].as_str(), own["value"].as_str()) {
        (Some(system), Some(value)) => ("identifier", format!("{system}|{value}")),
        _ => {
            let targets = resource["target"].as_array().and_then(|targets| targets.last());
            let Some(target) = targets.and_then(|t| t["reference"].as_str()) else { return Ok(None) };
            ("target", target.to_owned())
        }
    };
    let found = match client.search(kind, &[(name, &value)]).await {
        Ok(found) => found,
        // An optional type that cannot be searched is written, at worst twice after an interruption.
        Err(failure) if failure.code == Code::EhrRefused => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let is_it = |candidate: &&Value| match name {
        "identifier" => {
            candidate["identifier"].as_array().is_some_and(|all| all.iter().any(|i| same_identifier(i, own)))
        }
        _ => candidate["recorded"] == resource["recorded"] || candidate["meta"]["tag"] == resource["meta"]["tag"],
    };
    let id = found.iter().find(is_it).and_then(|found| found["id"].as_str()).filter(|id| is_id(id));
    Ok(id.map(|id| format!("{kind}/{id}")))
}

fn same_identifier(a: &Value, b: &Value) -> bool {
    a["system"] == b["system"] && a["value"] == b["value"]
}

/// The condition under which an entry is created: its own, or that of the conditional update it stands for.
fn query_of(request: &Value) -> &str {
    let url = request["url"].as_str().unwrap_or_default();
    request["ifNoneExist"].as_str().or_else(|| url.split_once('?').map(|(_, query)| query)).unwrap_or_default()
}

async fn create(client: &Client, resource: &Value, if_none_exist: &str) -> Result<Answer, Failure> {
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    let answer = client.create(kind, resource, if_none_exist).await?;
    if answer.ok() { Ok(answer) } else { Err(answer.failure()) }
}

/// Where a new line stands: as the answer says, else by searching for it.
async fn created(client: &Client, resource: &Value, answer: &Answer) -> Result<String, Failure> {
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    if let Some(id) = answer.location.clone().or_else(|| id_in_body(answer, kind)) {
        return Ok(id);
    }
    let lines = Lines::read(client, &json!({ "entry": [{ "resource": resource }] })).await?;
    let found = lines.get(resource).map(|existing| existing.id.clone());
    found.ok_or_else(|| Failure::transient(Code::EhrUnavailable, "a resource that was created is not found yet"))
}

fn id_in_body(answer: &Answer, kind: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(&answer.body).ok()?;
    let id = value["id"].as_str().filter(|id| value["resourceType"] == kind && is_id(id))?;
    Some(format!("{kind}/{id}"))
}
