//! Liveness and readiness. Peers (PACS, EHR) are not part of readiness: work for them waits.

use crate::http::State;
use actix_web::{HttpResponse, get, web};
use serde_json::json;

/// The process answers.
#[get("/health/live")]
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// Database, migrations, broker and models are usable.
#[get("/health/ready")]
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    let database = state.store.ping().await.is_ok();
    let broker = state.queue.check().await.is_ok();
    let ready = database && broker;
    let body = json!({
        "status": if ready { "ready" } else { "not-ready" },
        "database": database,
        "broker": broker,
        "provider": state.provider,
    });
    if ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}
