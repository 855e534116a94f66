//! actix-web: authentication, REST for runs, the PACS webhook, health and the private code system. Its wire types stay here; it holds
//! no business rules.

mod auth;
pub mod dto;
mod problem;
mod routes;

pub use auth::Gate;
pub use problem::Problem;

use crate::config;
use crate::dicomweb;
use crate::failure::{Code, Failure};
use crate::queue::Queue;
use crate::store::Store;
use actix_web::{App, HttpServer, middleware, web};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often refusals of past minutes are written to the audit trail.
const REFUSALS_EVERY: Duration = Duration::from_secs(5);

/// What the routes work with.
#[derive(Clone)]
pub struct State {
    /// Repositories.
    pub store: Store,
    /// Messages.
    pub queue: Queue,
    /// The PACS.
    pub pacs: Arc<dicomweb::Client>,
    /// Decides who may call what.
    pub gate: Arc<Gate>,
    /// What this process runs, for readiness: the models' provider when it has a worker.
    pub provider: Option<String>,
}

/// Binds the configured address.
///
/// # Errors
/// `config-invalid` when the address cannot be bound.
pub fn bind(server: &config::Server) -> Result<TcpListener, Failure> {
    TcpListener::bind((server.bind, server.port))
        .map_err(|error| Failure::permanent(Code::ConfigInvalid, format!("server.port {}: {error}", server.port)))
}

/// Serves until the token is cancelled, then lets open requests finish.
///
/// # Errors
/// When the server cannot run.
pub async fn serve(
    listener: TcpListener,
    server: &config::Server,
    state: State,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let max_body = server.max_body_bytes;
    let (gate, store) = (Arc::clone(&state.gate), state.store.clone());
    let running = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(state.clone()))
            .app_data(web::PayloadConfig::new(max_body))
            .app_data(routes::json_config(max_body))
            .configure(routes::all)
            .wrap(middleware::from_fn(auth::guard))
            .default_service(web::to(routes::nothing_here))
    })
    .workers(2)
    .shutdown_timeout(server.grace_secs)
    .disable_signals()
    .listen(listener)
    .map_err(|error| Failure::permanent(Code::Internal, format!("http server: {error}")))?
    .run();
    let handle = running.handle();
    let stopping = tokio::spawn(async move {
        stop.cancelled().await;
        handle.stop(true).await;
    });
    let recording = tokio::spawn(record_refusals(Arc::clone(&gate), store.clone()));
    let ended = running.await.map_err(|error| Failure::permanent(Code::Internal, format!("http server: {error}")));
    stopping.abort();
    recording.abort();
    record(&store, &gate, true).await;
    ended
}

/// Writes refusals to the audit trail, a minute at a time.
async fn record_refusals(gate: Arc<Gate>, store: Store) {
    loop {
        tokio::time::sleep(REFUSALS_EVERY).await;
        record(&store, &gate, false).await;
    }
}

/// What cannot be written now is kept for the next time.
async fn record(store: &Store, gate: &Gate, all: bool) {
    let events = gate.refusals(all);
    if events.is_empty() {
        return;
    }
    if let Err(error) = store.record(&events).await {
        tracing::error!(events = events.len(), reason = %error, "refused requests could not be recorded");
        gate.keep_refusals(events);
    }
}
