//! HTTP to the EHR: one policy for timeouts, certificate authority, answer sizes and redirects.

use super::classify;
use super::matching::is_id;
use crate::config;
use crate::deliver::backoff;
use crate::failure::{Code, Failure, certificate_fault};
use bytes::BytesMut;
use futures::StreamExt;
use reqwest::{Method, RequestBuilder, header};
use std::time::Duration;
use time::OffsetDateTime;
use url::Url;

/// A client and the bound on what it reads.
pub struct Http {
    client: reqwest::Client,
    max_bytes: usize,
}

/// What came back.
pub struct Answer {
    /// Status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// `Type/id` that the peer names in `Location`.
    pub location: Option<String>,
    /// Body, complete.
    pub body: Vec<u8>,
}

impl Http {
    /// From `[ehr]` and `[limits]`.
    ///
    /// # Errors
    /// `config-invalid` when the certificate authority's file cannot be used.
    pub fn new(ehr: &config::Ehr, max_bytes: u64) -> Result<Self, Failure> {
        let invalid = |text: &str| Failure::permanent(Code::ConfigInvalid, text);
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(ehr.connect_timeout_secs.max(1)))
            .timeout(Duration::from_secs(ehr.timeout_secs.max(1)))
            // A redirect could carry a token or a result to another origin.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("scargate/", env!("CARGO_PKG_VERSION")));
        if crate::config::is_loopback(&ehr.url) {
            // A proxy of the environment is for what is outside; results for this machine stay on it.
            builder = builder.no_proxy();
        }
        if !ehr.ca_file.as_os_str().is_empty() {
            let pem = std::fs::read(&ehr.ca_file).map_err(|_| invalid("ehr.ca_file cannot be read"))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            builder = builder.tls_certs_only(certificates.map_err(|_| invalid("ehr.ca_file is not PEM"))?);
        }
        let client = builder.build().map_err(|_| invalid("the HTTP client for the EHR cannot be set up"))?;
        Ok(Self { client, max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX) })
    }

    /// A request.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request and reads its answer, whatever its status.
    ///
    /// # Errors
    /// `ehr-unavailable` when no complete answer came; the texts hold no URL.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request.send().await.map_err(unavailable)?;
        let text = |name: header::HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok());
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: text(header::RETRY_AFTER).and_then(|v| backoff::retry_after(v, OffsetDateTime::now_utc())),
            location: text(header::LOCATION).and_then(type_and_id),
            body: Vec::new(),
        };
        let (mut stream, mut body) = (response.bytes_stream(), BytesMut::new());
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(unavailable)?;
            if body.len() + piece.len() > self.max_bytes {
                return Err(Failure::permanent(Code::EhrRefused, "the answer is above limits.json_bytes"));
            }
            body.extend_from_slice(&piece);
        }
        answer.body = body.into();
        Ok(answer)
    }
}

/// `[base]/Type/id[/_history/version]` -> `Type/id`.
fn type_and_id(location: &str) -> Option<String> {
    let path = location.split("/_history/").next()?;
    let mut parts = path.rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    (is_id(id) && kind.bytes().all(|b| b.is_ascii_alphabetic()) && !kind.is_empty()).then(|| format!("{kind}/{id}"))
}

/// No complete answer: the peer may or may not have done the work.
fn unavailable(error: reqwest::Error) -> Failure {
    if let Some(fault) = certificate_fault(&error) {
        return Failure::credentials(Code::EhrUntrusted, fault);
    }
    let what = match () {
        () if error.is_timeout() => "timed out",
        () if error.is_connect() => "no connection",
        () => "the connection broke",
    };
    Failure::transient(Code::EhrUnavailable, what).caused_by(error.without_url())
}

impl Answer {
    /// True for 2xx.
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The failure that a status which is no success stands for.
    pub fn failure(&self) -> Failure {
        classify::failure(self.status, self.retry_after, &self.issues())
    }

    /// Codes of the OperationOutcome, if the body is one.
    pub fn issues(&self) -> String {
        fhir_wire::outcome(&self.body).map(|outcome| outcome.summary()).unwrap_or_default()
    }

    /// True when the peer says that it does not do this at all, rather than not now or not with these values.
    pub fn not_supported(&self) -> bool {
        matches!(self.status, 404 | 405 | 501) || (self.status == 400 && self.issues().contains("not-supported"))
    }

    #[cfg(test)]
    pub(crate) fn test(status: u16, body: &str) -> Self {
        Self { status, retry_after: None, location: None, body: body.as_bytes().to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_names_type_and_id_or_nothing() {
        for good in ["http://ehr/fhir/Observation/a-1/_history/2", "Observation/a-1", "/fhir/Observation/a-1"] {
            assert_eq!(type_and_id(good).as_deref(), Some("Observation/a-1"), "{good}");
        }
        for bad in ["", "a-1", "Observation/", "Observation/a?b", "Observation/../Patient"] {
            assert_eq!(type_and_id(bad), None, "{bad}");
        }
    }
}
