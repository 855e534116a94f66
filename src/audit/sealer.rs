//! The sealer: chains what is committed at most `seal_secs` later, signs checkpoints, makes partitions ahead.

use super::checkpoint::Checkpoints;
use crate::config;
use crate::failure::Failure;
use crate::store::Store;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Events chained in one transaction.
const BATCH: u32 = 2000;
/// Time between looks at the partitions.
const UPKEEP: Duration = Duration::from_secs(3600);

/// Chains the events of one database. Any number of processes may run one: an advisory lock lets one work at a time.
pub struct Sealer {
    store: Store,
    every: Duration,
    checkpoints: Option<Checkpoints>,
    checkpoint_every: Duration,
}

impl Sealer {
    /// From `[audit]`. Without a checkpoint key events are chained and no checkpoint is made, which is warned of.
    ///
    /// # Errors
    /// `config-invalid` when the checkpoint key cannot be used.
    pub fn new(store: Store, audit: &config::Audit) -> Result<Self, Failure> {
        let checkpoints = if audit.checkpoint_key.is_empty() {
            tracing::warn!("audit.checkpoint_key is not set: nobody outside the database can prove the ledger");
            None
        } else {
            Some(Checkpoints::from_config(audit)?)
        };
        Ok(Self {
            store,
            // Half the promise, so that a batch which takes its time still keeps it.
            every: Duration::from_secs(audit.seal_secs.max(1)) / 2,
            checkpoints,
            checkpoint_every: Duration::from_secs(audit.checkpoint_secs.max(1)),
        })
    }

    /// Works until told to stop, then seals what is left. Trouble of the database is waited out.
    pub async fn run(self, stop: CancellationToken) {
        let mut next_checkpoint = Instant::now() + self.checkpoint_every;
        let mut next_upkeep = Instant::now();
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(self.every) => false,
            };
            if let Err(failure) = seal_all(&self.store).await {
                tracing::warn!(code = %failure.code, detail = %failure.detail, "audit events cannot be sealed now");
            }
            if stopping || Instant::now() >= next_checkpoint {
                self.checkpoint().await;
                next_checkpoint = Instant::now() + self.checkpoint_every;
            }
            if stopping {
                return;
            }
            if Instant::now() >= next_upkeep {
                self.upkeep().await;
                next_upkeep = Instant::now() + UPKEEP;
            }
        }
    }

    /// Seals what the end of the process wrote, and signs it: after everything else stopped.
    ///
    /// # Errors
    /// Of the database.
    pub async fn finish(&self) -> Result<(), Failure> {
        seal_all(&self.store).await?;
        self.checkpoint().await;
        // That a checkpoint was made is an event too.
        seal_all(&self.store).await.map(|_| ())
    }

    async fn checkpoint(&self) {
        let Some(checkpoints) = &self.checkpoints else { return };
        match checkpoints.make_if_grown(&self.store).await {
            Ok(Some(made)) => tracing::info!(sequence = made.checkpoint.sequence, "audit checkpoint written"),
            Ok(None) => {}
            Err(failure) => {
                tracing::error!(code = %failure.code, detail = %failure.detail, "audit checkpoint cannot be written");
            }
        }
    }

    async fn upkeep(&self) {
        match self.store.upkeep_partitions().await {
            Ok(0) => {}
            Ok(astray) => tracing::error!(astray, "audit events stand in the default partition: check the clock"),
            Err(error) => tracing::warn!(%error, "audit partitions cannot be made now"),
        }
    }
}

/// Chains everything that is committed now; returns how many events. Nothing when another process is at it.
///
/// # Errors
/// Of the database.
pub async fn seal_all(store: &Store) -> Result<u64, Failure> {
    let mut sealed = 0;
    loop {
        match store.seal_batch(BATCH).await? {
            None => return Ok(sealed),
            Some(n) => {
                sealed += n;
                if n < u64::from(BATCH) {
                    return Ok(sealed);
                }
            }
        }
    }
}
