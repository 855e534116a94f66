//! The private code system, as the FHIR resource that our Observations' codes point to.

use crate::encode::fhir::code_system as resource;
use actix_web::{HttpResponse, get};
use serde_json::json;

/// CodeSystem of the LGE measures.
#[get("/fhir/CodeSystem/lge")]
pub(super) async fn code_system() -> HttpResponse {
    let mut served = resource();
    served["id"] = json!("lge");
    HttpResponse::Ok().content_type("application/fhir+json").json(served)
}
