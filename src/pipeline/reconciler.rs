//! Publishes again what the broker lost, and what was never published because it was away.

use crate::domain::run::RunId;
use crate::failure::Failure;
use crate::queue::{Message, Queue, Route};
use crate::store::{StaleRun, Store};
use crate::telemetry::context;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Longer than any run waits: with it only runs that were never published are found.
const NEVER_PUBLISHED: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Runs looked at in one sweep.
const BATCH: u32 = 200;

/// Compares the runs table, which is the truth, with what the broker should carry.
pub struct Reconciler {
    store: Store,
    queue: Queue,
    every: Duration,
    grace: Duration,
}

impl Reconciler {
    /// Sweeps every `every`; a message older than `grace` whose run nobody holds counts as lost.
    pub fn new(store: Store, queue: &Queue, every: Duration, grace: Duration) -> Self {
        Self { store, queue: queue.clone(), every, grace }
    }

    /// From `[broker]`: sweeps every `reconcile_secs`, gives messages two leases of time.
    pub fn from_config(store: Store, queue: &Queue, config: &crate::config::Broker) -> Self {
        Self::new(store, queue, Duration::from_secs(config.reconcile_secs.max(1)), config.lease() * 2)
    }

    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
            match self.sweep().await {
                Ok(0) => {}
                Ok(published) => tracing::info!(published, "published what the broker did not have"),
                Err(failure) => tracing::warn!(reason = %failure, "reconciliation put off"),
            }
        }
    }

    /// One sweep; returns how many messages were published.
    ///
    /// # Errors
    /// When the database or the broker is away; what was published until then stays published.
    pub async fn sweep(&self) -> Result<usize, Failure> {
        let owed = self.store.stale_runs(NEVER_PUBLISHED, BATCH).await?;
        let mut published = self.publish_all(&owed).await?;
        let lost = self.store.stale_runs(self.grace, BATCH).await?;
        // While messages wait for a worker, an old one is more likely in line than lost; publishing it again on each
        // sweep would make the line longer.
        if !lost.is_empty() && self.queue.depths().await?.ready == 0 {
            published += self.publish_all(&lost).await?;
        }
        Ok(published)
    }

    async fn publish_all(&self, runs: &[StaleRun]) -> Result<usize, Failure> {
        for stale in runs {
            let span = tracing::info_span!(parent: None, "reconcile", otel.kind = "producer", run = %stale.run);
            let span = context::continued(span, stale.trace_context.as_deref());
            self.publish(stale.run).instrument(span).await?;
        }
        Ok(runs.len())
    }

    async fn publish(&self, run: RunId) -> Result<(), Failure> {
        self.queue.publish(&Message::Run(run), Route::Now).await?;
        self.store.mark_published(run).await?;
        Ok(())
    }
}
