//! The EHR as a FHIR server: authentication, reads, searches by `POST _search`, writes.

use super::http::{Answer, Http};
use super::smart::Smart;
use crate::config::{self, EhrAuth, Secret};
use crate::failure::{Code, Failure};
use fhir_wire::Capability;
use reqwest::{Method, RequestBuilder, header};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use url::Url;

/// A CapabilityStatement is read again after this.
const CAPABILITY_LIFE: Duration = Duration::from_secs(600);
/// R4, said on every request.
const FHIR_JSON: &str = "application/fhir+json; fhirVersion=4.0";
/// Pages of a search that are read; a match list longer than one page is ambiguous anyway.
const PAGE: &str = "100";

/// A client of one EHR.
pub struct Client {
    http: Http,
    base: Url,
    auth: Auth,
    capability: Mutex<Option<(Arc<Capability>, Instant)>>,
}

enum Auth {
    None,
    Basic { username: String, password: Secret },
    Smart(Box<Smart>),
}

/// A write: method, path below the base (with query), body, and a precondition.
#[derive(Debug, Clone)]
pub struct Write<'a> {
    /// `POST` or `PUT`.
    pub method: Method,
    /// Below the base; empty for a transaction.
    pub path: &'a str,
    /// Resource or Bundle.
    pub body: &'a Value,
    /// `If-Match`.
    pub if_match: Option<&'a str>,
}

impl Client {
    /// From `[ehr]` and `[limits]`.
    ///
    /// # Errors
    /// `config-invalid`.
    pub fn new(ehr: &config::Ehr, limits: &config::Limits) -> Result<Self, Failure> {
        let base = ehr.url.clone();
        let auth = match ehr.auth {
            EhrAuth::None => Auth::None,
            EhrAuth::Basic => Auth::Basic { username: ehr.username.clone(), password: ehr.password.clone() },
            EhrAuth::Smart => Auth::Smart(Box::new(Smart::new(ehr, base.clone())?)),
        };
        Ok(Self { http: Http::new(ehr, limits.json_bytes)?, base, auth, capability: Mutex::new(None) })
    }

    /// What the EHR can do; read once in a while.
    ///
    /// # Errors
    /// Of the exchange; `ehr-refused` when the EHR does not speak R4.
    pub async fn capability(&self) -> Result<Arc<Capability>, Failure> {
        let mut held = self.capability.lock().await;
        if let Some((capability, _)) = held.as_ref().filter(|(_, read)| read.elapsed() < CAPABILITY_LIFE) {
            return Ok(capability.clone());
        }
        let answer = self.send(Method::GET, "metadata", |request| request).await?;
        if !answer.ok() {
            return Err(answer.failure());
        }
        let capability = fhir_wire::capability(&answer.body).map_err(|error| {
            Failure::permanent(Code::EhrRefused, "metadata is not a CapabilityStatement").caused_by(error)
        })?;
        if !capability.fhir_version.starts_with('4') {
            return Err(Failure::permanent(Code::EhrRefused, "the EHR does not speak FHIR R4"));
        }
        let capability = Arc::new(capability);
        *held = Some((capability.clone(), Instant::now()));
        Ok(capability)
    }

    /// Searches by `POST _search`, so that identifiers of patients stand in no URL.
    ///
    /// # Errors
    /// Of the exchange; `ehr-refused` when the answer is no searchset or has more than one page.
    pub async fn search(&self, kind: &str, parameters: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
        let mut form = parameters.to_vec();
        form.push(("_count", PAGE));
        let path = format!("{kind}/_search");
        // A server that caches searches must not show us the past.
        let answer = self
            .send(Method::POST, &path, |request| request.header(header::CACHE_CONTROL, "no-cache").form(&form))
            .await?;
        if !answer.ok() {
            return Err(answer.failure());
        }
        let set = fhir_wire::searchset(&answer.body)
            .map_err(|error| Failure::permanent(Code::EhrRefused, "the answer is not a searchset").caused_by(error))?;
        if set.more {
            return Err(Failure::permanent(Code::EhrRefused, "a search found more than one page"));
        }
        // Servers that ignore an unknown parameter answer with everything: keep what we asked for.
        Ok(set.matches.into_iter().filter(|resource| resource["resourceType"] == kind).collect())
    }

    /// Writes, and returns the answer whatever its status.
    ///
    /// # Errors
    /// When no complete answer came.
    pub async fn write(&self, write: Write<'_>) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(write.body)
            .map_err(|_| Failure::permanent(Code::Internal, "a resource cannot be written as JSON"))?;
        self.send(write.method.clone(), write.path, |request| {
            let request =
                request.header(header::CONTENT_TYPE, FHIR_JSON).header("Prefer", "return=minimal").body(body.clone());
            match write.if_match {
                Some(version) => request.header(header::IF_MATCH, format!("W/\"{version}\"")),
                None => request,
            }
        })
        .await
    }

    /// Creates a resource unless the query finds one, where the EHR knows `If-None-Exist`.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn create(&self, kind: &str, resource: &Value, if_none_exist: &str) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(resource)
            .map_err(|_| Failure::permanent(Code::Internal, "a resource cannot be written as JSON"))?;
        self.send(Method::POST, kind, |request| {
            let request = request.header(header::CONTENT_TYPE, FHIR_JSON).body(body.clone());
            if if_none_exist.is_empty() { request } else { request.header("If-None-Exist", if_none_exist) }
        })
        .await
    }

    /// Sends with credentials; a token that is refused is renewed once.
    async fn send(
        &self,
        method: Method,
        path: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer, Failure> {
        let url = self.url(path)?;
        let request = || build(self.http.request(method.clone(), url.clone()).header(header::ACCEPT, FHIR_JSON));
        match &self.auth {
            Auth::None => self.http.send(request()).await,
            Auth::Basic { username, password } => {
                self.http.send(request().basic_auth(username, Some(password.expose()))).await
            }
            Auth::Smart(smart) => {
                let token = smart.token(&self.http).await?;
                let answer = self.http.send(request().bearer_auth(&token)).await?;
                if answer.status != 401 {
                    return Ok(answer);
                }
                smart.refused(&token).await;
                let token = smart.token(&self.http).await?;
                self.http.send(request().bearer_auth(&token)).await
            }
        }
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        let base = self.base.as_str().trim_end_matches('/');
        let text = if path.is_empty() { base.to_owned() } else { format!("{base}/{path}") };
        Url::parse(&text).map_err(|_| Failure::permanent(Code::Internal, "a path is not valid"))
    }
}
