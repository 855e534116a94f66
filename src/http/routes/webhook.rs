//! The PACS says that a study changed. This only hastens the pollers, in whatever process they are; their rule of completeness still decides.

use crate::failure::Code;
use crate::http::{Problem, State};
use actix_web::{HttpRequest, HttpResponse, post, web};
use subtle::ConstantTimeEq;

/// Takes a notification; its body is not needed, since the poller asks the PACS itself.
#[post("/hooks/pacs")]
pub(super) async fn pacs(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let given = request.headers().get("X-Webhook-Token").map(|value| value.as_bytes()).unwrap_or_default();
    let expected = state.intake.webhook_token.expose().as_bytes();
    if expected.is_empty() || !bool::from(given.ct_eq(expected)) {
        return Err(Problem::new(Code::Unauthorized, "X-Webhook-Token is missing or wrong"));
    }
    state.store.pass_on_webhook().await?;
    Ok(HttpResponse::Accepted().finish())
}
