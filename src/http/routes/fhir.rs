//! The private code system, as the FHIR resource that our Observations' codes point to.

use crate::domain::codes::{PRIVATE_SCHEME, PRIVATE_SCHEME_NAME, PRIVATE_SYSTEM, private_codes};
use actix_web::{HttpResponse, get};
use serde_json::json;

/// CodeSystem of the LGE measures.
#[get("/fhir/CodeSystem/lge")]
pub(super) async fn code_system() -> HttpResponse {
    let concepts: Vec<_> =
        private_codes().iter().map(|code| json!({ "code": code.value, "display": code.meaning })).collect();
    HttpResponse::Ok().content_type("application/fhir+json").json(json!({
        "resourceType": "CodeSystem",
        "id": "lge",
        "url": PRIVATE_SYSTEM,
        "identifier": [{ "system": "urn:scargate:dicom-scheme", "value": PRIVATE_SCHEME }],
        "version": env!("CARGO_PKG_VERSION"),
        "name": "ScargateLge",
        "title": PRIVATE_SCHEME_NAME,
        "status": "active",
        "experimental": true,
        "content": "complete",
        "count": concepts.len(),
        "concept": concepts,
    }))
}
