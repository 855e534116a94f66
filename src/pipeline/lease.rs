//! The heartbeat of a claimed run.

use crate::domain::run::{FencingToken, RunId};
use crate::store::{Store, StoreError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A lease that is kept alive while this value lives.
pub(super) struct Lease {
    lost: CancellationToken,
    task: JoinHandle<()>,
}

impl Lease {
    /// Extends the lease of `run` to `length` every `beat`.
    pub fn hold(store: Store, run: RunId, token: FencingToken, length: Duration, beat: Duration) -> Self {
        let lost = CancellationToken::new();
        let heard = lost.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(beat).await;
                match store.heartbeat(run, token, length).await {
                    Ok(()) => {}
                    Err(StoreError::LeaseLost) => {
                        tracing::warn!(%run, "lost the lease, stopping work on the run");
                        lost.cancel();
                        return;
                    }
                    // Nobody else can claim it either while the database is away; the token guards what is written.
                    Err(error) => tracing::warn!(%run, %error, "no heartbeat"),
                }
            }
        });
        Self { lost: heard, task }
    }

    /// Returns when the lease is known to be lost.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}
