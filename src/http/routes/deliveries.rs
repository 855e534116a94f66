//! Deliveries that a person must decide on: release or discard.

use crate::failure::Code;
use crate::http::auth::Caller;
use crate::http::{Problem, State};
use crate::store::DeliveryId;
use actix_web::web::ReqData;
use actix_web::{HttpResponse, post, web};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

fn delivery_id(text: &str) -> Result<DeliveryId, Problem> {
    Uuid::parse_str(text).map(DeliveryId).map_err(|_| Problem::new(Code::NotFound, "no such delivery"))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ReleaseBody {
    /// Replace what somebody changed in the EHR (`ehr-changed`).
    overwrite: bool,
}

/// Sends a held or failed delivery after all.
#[post("/api/v1/deliveries/{delivery}/release")]
pub(super) async fn release(
    state: web::Data<State>,
    caller: ReqData<Caller>,
    delivery: web::Path<String>,
    body: Option<web::Json<ReleaseBody>>,
) -> Result<HttpResponse, Problem> {
    let overwrite = body.is_some_and(|body| body.overwrite);
    state.store.release(delivery_id(&delivery)?, &caller.actor, overwrite).await?;
    Ok(HttpResponse::Accepted().json(json!({ "state": "pending" })))
}

/// Gives a held or failed delivery up.
#[post("/api/v1/deliveries/{delivery}/discard")]
pub(super) async fn discard(
    state: web::Data<State>,
    caller: ReqData<Caller>,
    delivery: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    state.store.discard(delivery_id(&delivery)?, &caller.actor).await?;
    Ok(HttpResponse::Accepted().json(json!({ "state": "cancelled" })))
}
