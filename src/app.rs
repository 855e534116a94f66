//! Configuration -> pools -> peers -> routes and workers; runs until shutdown.

use crate::audit::sealer::{Sealer, seal_all};
use crate::config::Config;
use crate::deliver;
use crate::dicomweb;
use crate::domain::delivery::Destination;
use crate::domain::events::{Event, EventKind};
use crate::failure::{Code, Failure};
use crate::http;
use crate::infer::Engine;
use crate::intake::{self, Poller};
use crate::lifecycle::Lifecycle;
use crate::pipeline::{Reconciler, Worker};
use crate::queue::Queue;
use crate::store::{self, Store};
use clap::ValueEnum;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Time given to the record of a stop, after the grace period.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a process runs; one process can run all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything.
    All,
    /// REST, webhook, health.
    Api,
    /// Poller and reconciler.
    Intake,
    /// Retrieves, analyses, encodes.
    Worker,
    /// Outbox to PACS and EHR, sealer and checkpoints.
    Deliver,
}

impl Role {
    fn runs(self, part: Self) -> bool {
        self == Self::All || self == part
    }
}

/// The connected parts of a process.
struct Parts {
    config: Arc<Config>,
    store: Store,
    queue: Queue,
    pacs: Arc<dicomweb::Client>,
}

/// Runs the gateway until a stop signal, then drains.
///
/// # Errors
/// When the database is not migrated, a model is not usable, the address is taken, or a part fails for good.
pub async fn serve(config: Config, role: Role) -> Result<(), Failure> {
    let listener = if role.runs(Role::Api) { Some(http::bind(&config.server)?) } else { None };
    let parts = connect(config).await?;
    let engine = if role.runs(Role::Worker) { Some(load_models(&parts.config).await?) } else { None };
    announce(&parts, EventKind::ApplicationStart).await?;
    let mut lifecycle = Lifecycle::default();
    if let Some(listener) = listener {
        spawn_api(&mut lifecycle, &parts, listener, engine.as_deref())?;
    }
    if role.runs(Role::Intake) {
        spawn_intake(&mut lifecycle, &parts);
    }
    if let Some(engine) = engine {
        spawn_worker(&mut lifecycle, &parts, engine);
    }
    if role.runs(Role::Deliver) {
        spawn_deliver(&mut lifecycle, &parts)?;
    }
    tracing::info!(role = ?role, version = env!("CARGO_PKG_VERSION"), "scargate runs");
    let ended = lifecycle.run(parts.config.server.grace()).await;
    match tokio::time::timeout(LAST_WORDS, record_stop(&parts, role)).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => tracing::warn!(reason = %failure, "the stop could not be recorded and sealed"),
        Err(_) => tracing::warn!("the stop could not be recorded and sealed in time"),
    }
    parts.store.close().await;
    ended
}

/// Records the stop, and seals it: nobody else may be there to do so until the next start.
async fn record_stop(parts: &Parts, role: Role) -> Result<(), Failure> {
    announce(parts, EventKind::ApplicationStop).await?;
    if role.runs(Role::Deliver) {
        return Sealer::new(parts.store.clone(), &parts.config.audit)?.finish().await;
    }
    seal_all(&parts.store).await.map(|_| ())
}

async fn connect(config: Config) -> Result<Parts, Failure> {
    let store = Store::connect(&config.database, &config.audit).await?;
    store.check_migrated().await?;
    let queue = Queue::new(&config.broker)?;
    let pacs = Arc::new(dicomweb::Client::new(&config.pacs, &config.limits, &config.spool)?);
    Ok(Parts { config: Arc::new(config), store, queue, pacs })
}

async fn load_models(config: &Arc<Config>) -> Result<Arc<Engine>, Failure> {
    let config = Arc::clone(config);
    let loading = tokio::task::spawn_blocking(move || {
        tracing::info_span!("load-models").in_scope(|| Engine::load(&config.infer))
    });
    let engine = loading.await.map_err(|_| Failure::permanent(Code::ModelInvalid, "loading the models panicked"))??;
    tracing::info!(provider = engine.provider(), onnxruntime = engine.ort_version(), "models loaded");
    Ok(Arc::new(engine))
}

/// Records start and stop, and at the start who took responsibility for research use beyond loopback.
async fn announce(parts: &Parts, kind: EventKind) -> Result<(), Failure> {
    let event = Event { detail: json!({ "version": env!("CARGO_PKG_VERSION") }), ..Event::ours(kind) };
    let mut events = vec![event];
    if kind == EventKind::ApplicationStart
        && let Some(acknowledged) = deliver::research_use_event(&parts.config)
    {
        events.push(acknowledged);
    }
    parts.store.record(&events).await?;
    Ok(())
}

fn spawn_api(
    lifecycle: &mut Lifecycle,
    parts: &Parts,
    listener: std::net::TcpListener,
    engine: Option<&Engine>,
) -> Result<(), Failure> {
    let state = http::State {
        store: parts.store.clone(),
        queue: parts.queue.clone(),
        pacs: Arc::clone(&parts.pacs),
        gate: Arc::new(http::Gate::new(&parts.config)?),
        provider: engine.map(|engine| engine.provider().to_owned()),
    };
    let (config, stop) = (Arc::clone(&parts.config), lifecycle.stop_token());
    lifecycle.spawn("api", async move { http::serve(listener, &config.server, state, stop).await });
    Ok(())
}

fn spawn_intake(lifecycle: &mut Lifecycle, parts: &Parts) {
    let (store, pacs, poke) = (parts.store.clone(), Arc::clone(&parts.pacs), Arc::new(Notify::new()));
    let (heard, listening, stop) = (Arc::clone(&poke), store.clone(), lifecycle.stop_token());
    lifecycle.spawn("webhook", async move {
        intake::pass_webhooks(&listening, &heard, &stop).await;
        Ok(())
    });
    let poller = Poller::new(store, pacs, &parts.queue, parts.config.intake.clone(), poke);
    let stop = lifecycle.stop_token();
    lifecycle.spawn("poller", async move {
        poller.run(stop).await;
        Ok(())
    });
    let reconciler = Reconciler::from_config(parts.store.clone(), &parts.queue, &parts.config.broker);
    let stop = lifecycle.stop_token();
    lifecycle.spawn("reconciler", async move {
        reconciler.run(stop).await;
        Ok(())
    });
}

fn spawn_worker(lifecycle: &mut Lifecycle, parts: &Parts, engine: Arc<Engine>) {
    let (store, pacs, config) = (parts.store.clone(), Arc::clone(&parts.pacs), Arc::clone(&parts.config));
    let worker = Worker::new(store, &parts.queue, pacs, engine, config);
    let stop = lifecycle.stop_token();
    lifecycle.spawn("worker", async move {
        worker.run(stop).await;
        Ok(())
    });
}

fn spawn_deliver(lifecycle: &mut Lifecycle, parts: &Parts) -> Result<(), Failure> {
    let name = format!("deliver-{}", std::process::id());
    for destination in Destination::ALL {
        let (store, pacs) = (parts.store.clone(), Arc::clone(&parts.pacs));
        let worker = deliver::Worker::new(store, pacs, &parts.config, destination, &name)?;
        let stop = lifecycle.stop_token();
        lifecycle.spawn(destination.name(), async move { worker.run(stop).await });
    }
    let sealer = Sealer::new(parts.store.clone(), &parts.config.audit)?;
    let stop = lifecycle.stop_token();
    lifecycle.spawn("sealer", async move {
        sealer.run(stop).await;
        Ok(())
    });
    let (store, keep_days, stop) = (parts.store.clone(), parts.config.deliver.keep_days, lifecycle.stop_token());
    lifecycle.spawn("artefacts", async move {
        store::keep_house(store, keep_days, stop).await;
        Ok(())
    });
    Ok(())
}
