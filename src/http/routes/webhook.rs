//! The PACS says that a study changed. This only hastens the pollers, in whatever process they are; their rule of completeness still decides. The gate has checked its key.

use crate::http::{Problem, State};
use actix_web::{HttpResponse, post, web};

/// Takes a notification; its body is not needed, since the poller asks the PACS itself.
#[post("/hooks/pacs")]
pub(super) async fn pacs(state: web::Data<State>) -> Result<HttpResponse, Problem> {
    state.store.pass_on_webhook().await?;
    Ok(HttpResponse::Accepted().finish())
}
