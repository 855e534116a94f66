//! Runs: start, list, look at, retry, cancel.

use crate::domain::run::{RunId, RunState};
use crate::domain::submission::{Submission, Trigger};
use crate::domain::uid::Uid;
use crate::failure::Code;
use crate::http::auth::Caller;
use crate::http::{Problem, State, dto};
use crate::intake;
use crate::store::{Page, RunFilter};
use actix_web::web::ReqData;
use actix_web::{HttpResponse, get, post, web};
use serde::Deserialize;

const MAX_PAGE: u32 = 500;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct StartBody {
    /// Start a new revision although the images did not change.
    reprocess: bool,
}

/// Starts a run for a study.
#[post("/api/v1/studies/{study}/runs")]
pub(super) async fn start(
    state: web::Data<State>,
    caller: ReqData<Caller>,
    study: web::Path<String>,
    body: Option<web::Json<StartBody>>,
) -> Result<HttpResponse, Problem> {
    let study = Uid::parse(&study).map_err(|error| Problem::new(Code::BadRequest, error.to_string()))?;
    let reprocess = body.is_some_and(|body| body.reprocess);
    let trigger = if reprocess { Trigger::Reprocess } else { Trigger::Rest };
    let submission = Submission { study, trigger, actor: caller.actor.clone() };
    let submitted = intake::submit(&state.store, &state.pacs, &state.queue, submission).await?;
    Ok(HttpResponse::Accepted().json(dto::Submitted::from(submitted)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<String>,
    study: Option<String>,
    limit: Option<u32>,
    before: Option<RunId>,
}

/// Lists runs, newest first.
#[get("/api/v1/runs")]
pub(super) async fn list(
    state: web::Data<State>,
    query: Result<web::Query<ListQuery>, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|_| Problem::new(Code::BadRequest, "unknown or malformed query parameter"))?;
    let states =
        query.state.iter().flat_map(|text| text.split(',')).map(str::parse).collect::<Result<Vec<RunState>, _>>();
    let states = states.map_err(|error| Problem::new(Code::BadRequest, error))?;
    let study = query.study.as_deref().map(Uid::parse).transpose();
    let study = study.map_err(|error| Problem::new(Code::BadRequest, error.to_string()))?;
    let page = Page { limit: query.limit.unwrap_or(50).clamp(1, MAX_PAGE), before: query.before };
    let runs = state.store.list_runs(&RunFilter { states, study }, page).await?;
    let runs: Vec<dto::Run> = runs.into_iter().map(dto::Run::from).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "runs": runs })))
}

/// A path segment that is a run id; anything else is a run that does not exist.
fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|_| Problem::new(Code::NotFound, "no such run"))
}

/// Everything about one run.
#[get("/api/v1/runs/{run}")]
pub(super) async fn show(state: web::Data<State>, run: web::Path<String>) -> Result<HttpResponse, Problem> {
    let detail = state.store.show_run(run_id(&run)?).await?;
    let detail = detail.ok_or_else(|| Problem::new(Code::NotFound, "no such run"))?;
    Ok(HttpResponse::Ok().json(dto::RunDetail::from(detail)))
}

/// The stored bytes of an artefact.
#[get("/api/v1/runs/{run}/artefacts/{name}")]
pub(super) async fn artefact(
    state: web::Data<State>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (run, name) = path.into_inner();
    let artefact = state.store.artefact(run_id(&run)?, &name).await?;
    let artefact = artefact.ok_or_else(|| Problem::new(Code::NotFound, "no such artefact, or kept no longer"))?;
    Ok(HttpResponse::Ok().content_type(artefact.kind.media_type()).body(artefact.bytes))
}

/// Tries a failed or rejected run again, or sends its failed deliveries again.
#[post("/api/v1/runs/{run}/retry")]
pub(super) async fn retry(
    state: web::Data<State>,
    caller: ReqData<Caller>,
    run: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let run = run_id(&run)?;
    let next = intake::retry(&state.store, &state.queue, run, &caller.actor).await?;
    Ok(HttpResponse::Accepted().json(serde_json::json!({ "run": run, "state": next })))
}

/// Stops a run that has not ended.
#[post("/api/v1/runs/{run}/cancel")]
pub(super) async fn cancel(
    state: web::Data<State>,
    caller: ReqData<Caller>,
    run: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let run = run_id(&run)?;
    state.store.cancel(run, &caller.actor).await?;
    Ok(HttpResponse::Accepted().json(serde_json::json!({ "run": run, "state": RunState::Cancelled })))
}
