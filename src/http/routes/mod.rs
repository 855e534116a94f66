//! One file per group of routes; this one lists them all.

mod deliveries;
mod fhir;
mod health;
mod runs;
mod webhook;

use super::Problem;
use crate::failure::Code;
use actix_web::web::{self, ServiceConfig};

/// Every route that we serve.
pub(super) fn all(app: &mut ServiceConfig) {
    app.service(health::live)
        .service(health::ready)
        .service(webhook::pacs)
        .service(fhir::code_system)
        .service(runs::start)
        .service(runs::list)
        .service(runs::show)
        .service(runs::artefact)
        .service(runs::retry)
        .service(runs::cancel)
        .service(deliveries::release)
        .service(deliveries::discard);
}

/// Bodies that are not JSON, or too large, are told so in our own words.
pub(super) fn json_config(limit: usize) -> web::JsonConfig {
    web::JsonConfig::default().limit(limit).error_handler(|error, _| {
        let code = match error {
            actix_web::error::JsonPayloadError::OverflowKnownLength { .. }
            | actix_web::error::JsonPayloadError::Overflow { .. } => Code::TooLarge,
            _ => Code::BadRequest,
        };
        Problem::new(code, "the body is not the JSON that this route takes").into()
    })
}

/// Answer to an unknown path.
pub(super) async fn nothing_here() -> Result<&'static str, Problem> {
    Err(Problem::new(Code::NotFound, "no such route"))
}
