//! Takes messages, claims runs, and turns how an attempt ended into what becomes of its message.

use super::attempt::{Attempt, End};
use super::lease::Lease;
use crate::analysis;
use crate::config::Config;
use crate::dicomweb::Client;
use crate::domain::provenance::PipelineVersion;
use crate::domain::run::RunState;
use crate::failure::{Code, Failure};
use crate::infer::Engine;
use crate::queue::{Job, Outcome, Queue, Reason};
use crate::store::{Claim, Claimed, Store};
use crate::telemetry::events::RunEntered;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Works on runs, several at a time. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct Worker {
    pub(super) shared: Arc<Shared>,
}

/// What all attempts of a process use.
pub(super) struct Shared {
    pub store: Store,
    pub queue: Queue,
    pub pacs: Arc<Client>,
    pub engine: Arc<Engine>,
    pub config: Arc<Config>,
    pub version: PipelineVersion,
    /// Bounds the threads that compute, also those whose attempt was given up and which cannot be interrupted.
    pub computing: Arc<Semaphore>,
    name: String,
}

impl Worker {
    /// A worker with its models loaded.
    pub fn new(store: Store, queue: &Queue, pacs: Arc<Client>, engine: Arc<Engine>, config: Arc<Config>) -> Self {
        let version = analysis::pipeline_version(&engine, &config);
        let computing = Arc::new(Semaphore::new(usize::from(config.broker.prefetch.max(1))));
        let shared = Shared { store, queue: queue.clone(), pacs, engine, config, version, computing, name: name() };
        Self { shared: Arc::new(shared) }
    }

    /// Works until `stop`. Then no new run is taken; those at work are given back while they still retrieve, and are
    /// finished once the models run.
    pub async fn run(self, stop: CancellationToken) {
        let queue = self.shared.queue.clone();
        let prefetch = self.shared.config.broker.prefetch;
        let token = stop.clone();
        let handler = move |job: Job| {
            let (worker, stop) = (self.clone(), token.clone());
            async move { worker.handle(job, &stop).await }
        };
        queue.consume(prefetch, stop, handler).await;
    }

    async fn handle(&self, job: Job, stop: &CancellationToken) -> Outcome {
        if stop.is_cancelled() {
            return Outcome::GiveBack;
        }
        let Shared { store, config, name, .. } = &*self.shared;
        let first_rung = self.shared.queue.topology().ladder().after_attempt(1, None);
        match store.claim(job.run, name, config.broker.lease(), config.broker.max_attempts).await {
            Ok(Claim::Claimed(claimed)) => self.work(claimed, stop).await,
            // Published to a retry queue and acknowledged, never given back: it would come at once, again and again.
            Ok(Claim::LiveLease { remaining }) => Outcome::Later(remaining),
            Ok(Claim::NotDue { after }) => Outcome::Later(after),
            Ok(Claim::Ended(state)) => {
                tracing::debug!(run = %job.run, %state, "nothing left to do");
                Outcome::Done
            }
            Ok(Claim::Exhausted) => {
                let failure = Failure::permanent(Code::Internal, "attempts used up by workers that never came back");
                RunEntered { run: job.run, state: RunState::Failed, failure: Some(&failure) }.emit();
                Outcome::Done
            }
            Ok(Claim::NotFound) => Outcome::Dead(Reason::new(Code::NotFound.as_str(), "the database has no such run")),
            Err(error) => {
                tracing::warn!(run = %job.run, %error, "not claimed, trying again later");
                Outcome::Later(first_rung)
            }
        }
    }

    async fn work(&self, claimed: Claimed, stop: &CancellationToken) -> Outcome {
        RunEntered { run: claimed.run, state: RunState::Retrieving, failure: None }.emit();
        let Shared { store, config, .. } = &*self.shared;
        let (length, beat) = (config.broker.lease(), config.broker.heartbeat());
        let lease = Lease::hold(store.clone(), claimed.run, claimed.token, length, beat);
        let attempt = Attempt { shared: &self.shared, claimed: &claimed, stop };
        let end = tokio::select! {
            end = AssertUnwindSafe(attempt.run()).catch_unwind() => {
                end.unwrap_or_else(|_| Err(Failure::permanent(Code::Internal, "a step panicked")))
            }
            () = lease.lost() => Err(Failure::permanent(Code::LeaseLost, "")),
        };
        let outcome = match end {
            Ok(End::Entered(state)) => {
                RunEntered { run: claimed.run, state, failure: None }.emit();
                Outcome::Done
            }
            Ok(End::Stopped) => self.give_back(&claimed).await,
            Err(failure) => self.settle(&claimed, failure).await,
        };
        drop(lease);
        outcome
    }
}

/// Names the process in the database: host, process, and a random part, since containers share both.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().take(40).collect();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{host}/{}/{}", std::process::id(), random.get(..8).unwrap_or_default())
}
