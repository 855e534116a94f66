//! Looks at what the PACS lists and submits studies that are complete: those whose instance count, our own subtracted,
//! did not change for the quiet time.

use super::submit::submit;
use crate::config;
use crate::dicomweb::{Client, StudyEntry, StudyQuery};
use crate::domain::submission::{Submission, Trigger};
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use crate::queue::Queue;
use crate::store::{Store, Submitted};
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Studies looked at in parallel.
const PARALLEL: usize = 4;
/// A wait is never shorter, so that rounding cannot make the loop spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);

/// The poller of one PACS. Several may run: they agree through the database.
pub struct Poller {
    store: Store,
    pacs: Arc<Client>,
    queue: Queue,
    config: config::Intake,
    poke: Arc<Notify>,
    /// Studies about which nothing is to be done while the PACS lists this count: spares the database on each poll.
    settled: HashMap<Uid, u64>,
}

/// What a look at one study came to.
enum Look {
    /// Nothing to do at this count.
    Settled,
    /// Not quiet long enough: look again after this.
    Wait(Duration),
}

impl Poller {
    /// A poller; `poke` makes it look at once (the PACS's webhook).
    pub fn new(store: Store, pacs: Arc<Client>, queue: &Queue, config: config::Intake, poke: Arc<Notify>) -> Self {
        Self { store, pacs, queue: queue.clone(), config, poke, settled: HashMap::new() }
    }

    /// Polls until `stop`. With `intake.poll = false` it looks only when poked, and until what it then found is quiet.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut trigger = Trigger::Poll;
        let mut wait = if self.config.poll { Some(Duration::ZERO) } else { None };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.poke.notified() => trigger = Trigger::Webhook,
                () = sleep(wait) => {}
            }
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.pass(trigger) => looked,
            };
            let interval = Duration::from_secs(self.config.poll_interval_secs.max(1));
            wait = match &looked {
                Ok(open) => [self.config.poll.then_some(interval), *open].into_iter().flatten().min(),
                Err(failure) => {
                    tracing::warn!(reason = %failure, "the PACS could not be polled");
                    Some(interval)
                }
            };
            // What a webhook brought is still its doing when it is quiet enough to be looked at.
            if !matches!(looked, Ok(Some(_))) {
                trigger = Trigger::Poll;
            }
        }
    }

    /// Looks at every study of the look-back once. Returns when the next study that is not quiet yet will be.
    ///
    /// # Errors
    /// When the PACS does not list its studies; a single study that fails is logged and looked at again next time.
    pub async fn pass(&mut self, trigger: Trigger) -> Result<Option<Duration>, Failure> {
        let studies = self.pacs.search_studies(&self.query(OffsetDateTime::now_utc())).await?;
        self.settled.retain(|study, _| studies.iter().any(|entry| entry.study == *study));
        let open: Vec<StudyEntry> = studies.into_iter().filter(|entry| !self.is_settled(entry)).collect();
        let this = &*self;
        let looks: Vec<(Uid, Option<u64>, Result<Look, Failure>)> = futures::stream::iter(open)
            .map(|entry| async move {
                let look = this.look(&entry, trigger).await;
                (entry.study, entry.instances, look)
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        let mut next: Option<Duration> = None;
        for (study, count, look) in looks {
            match look {
                Ok(Look::Settled) => {
                    if let Some(count) = count {
                        self.settled.insert(study, count);
                    }
                }
                Ok(Look::Wait(left)) => next = Some(next.map_or(left, |next| next.min(left)).max(SHORTEST_WAIT)),
                Err(failure) => tracing::warn!(reason = %failure, "a study could not be taken in, trying again"),
            }
        }
        Ok(next)
    }

    fn is_settled(&self, entry: &StudyEntry) -> bool {
        entry.instances.is_some() && self.settled.get(&entry.study).copied() == entry.instances
    }

    /// Scanners write local dates: one day of margin on both sides.
    fn query(&self, now: OffsetDateTime) -> StudyQuery {
        let margin = time::Duration::DAY;
        StudyQuery {
            from: Some((now - time::Duration::days(i64::from(self.config.lookback_days)) - margin).date()),
            to: Some((now + margin).date()),
            modality: Some("MR".to_owned()),
            study: None,
        }
    }

    async fn look(&self, entry: &StudyEntry, trigger: Trigger) -> Result<Look, Failure> {
        let own = self.store.own_objects(&entry.study).await?;
        let listed = match entry.instances {
            Some(count) => count,
            None => self.pacs.list_instances(&entry.study).await?.len() as u64,
        };
        let count = u32::try_from(listed.saturating_sub(u64::from(own.delivered))).unwrap_or(u32::MAX);
        let seen = self.store.note_seen(&entry.study, count).await?;
        if seen.checked {
            return Ok(Look::Settled);
        }
        let quiet = Duration::from_secs(self.config.quiet_secs);
        if let Some(left) = quiet.checked_sub(seen.quiet_for).filter(|left| !left.is_zero()) {
            return Ok(Look::Wait(left));
        }
        let submission = Submission { study: entry.study.clone(), trigger, actor: "scargate".to_owned() };
        match submit(&self.store, &self.pacs, &self.queue, submission).await {
            Ok(Submitted::Started { run, revision }) => tracing::info!(%run, revision, "a study is complete"),
            Ok(_) => {}
            // Deleted between the list and now: the next poll does not list it.
            Err(failure) if failure.code == Code::StudyNotFound => {}
            Err(failure) => return Err(failure),
        }
        Ok(Look::Settled)
    }
}

/// Waits for a time, or for ever when there is none.
async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
