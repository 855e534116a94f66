//! The one mapping of failures to HTTP answers: problem documents (RFC 9457) with our public code.

use crate::failure::{Class, Code, Failure};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;

/// A failure on its way out of a route.
#[derive(Debug)]
pub struct Problem(pub Failure);

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    action: &'a str,
}

impl<F: Into<Failure>> From<F> for Problem {
    fn from(failure: F) -> Self {
        Self(failure.into())
    }
}

impl Problem {
    /// An answer with a code and words of our own.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Failure::permanent(code, detail))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let code = self.0.code;
        // Details of our own faults may name internals; they are in the log under the run id.
        let detail = if matches!(code, Code::Internal) { "" } else { self.0.detail.as_str() };
        if code == Code::Internal {
            tracing::error!(reason = %self.0, "request failed");
        }
        let mut response = HttpResponse::build(self.status_code());
        if let Class::Transient { retry_after } = self.0.class {
            let secs = retry_after.map_or(5, |after| after.as_secs().max(1));
            response.insert_header(("Retry-After", secs.to_string()));
        }
        response.content_type("application/problem+json").json(Document {
            kind: format!("urn:scargate:problem:{code}"),
            title: code.meaning(),
            status: code.http_status(),
            code: code.as_str(),
            detail,
            action: code.action(),
        })
    }
}
