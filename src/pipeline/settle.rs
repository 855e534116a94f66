//! What becomes of a run whose attempt ended without a result.

use super::worker::Worker;
use crate::domain::run::RunState;
use crate::failure::{Class, Code, Failure};
use crate::queue::{Message, Outcome, Route};
use crate::store::{Claimed, Retry, StoreError};
use crate::telemetry::events::RunEntered;
use std::time::{Duration, Instant};

/// The database is asked again for this long before a message is put off instead.
pub(super) const PERSIST_FOR: Duration = Duration::from_secs(60);
/// Least time between two attempts of a run while our credentials are refused: more may lock an account.
const CREDENTIALS_PAUSE: Duration = Duration::from_secs(60);
const PERSIST_FIRST: Duration = Duration::from_millis(250);
const PERSIST_LAST: Duration = Duration::from_secs(5);

/// What a failed attempt leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another worker owns the run, or a person ended it: touch nothing.
    Nothing,
    /// The run ends `rejected`.
    Reject,
    /// Another attempt after this.
    Retry(Duration),
    /// Another attempt after this; the one that ended does not count.
    Wait(Duration),
    /// The run ends `failed`.
    Fail,
}

impl Worker {
    fn next(&self, claimed: &Claimed, failure: &Failure) -> Next {
        let ladder = self.shared.queue.topology().ladder();
        match failure.class {
            _ if failure.code == Code::LeaseLost => Next::Nothing,
            Class::Rejected => Next::Reject,
            Class::Transient { retry_after } if claimed.attempt < self.shared.config.broker.max_attempts => {
                Next::Retry(ladder.after_attempt(claimed.attempt, retry_after))
            }
            Class::Credentials => Next::Wait(ladder.at_least(CREDENTIALS_PAUSE)),
            Class::Transient { .. } | Class::Permanent | Class::Held => Next::Fail,
        }
    }

    /// Writes the end of the attempt, durably, before anything is said to the broker.
    pub(super) async fn settle(&self, claimed: &Claimed, failure: Failure) -> Outcome {
        let (store, run, token) = (&self.shared.store, claimed.run, claimed.token);
        let next = self.next(claimed, &failure);
        let (state, written) = match next {
            Next::Nothing => return Outcome::Done,
            Next::Reject => (RunState::Rejected, persist(|| store.reject(run, token, &failure, &[])).await),
            Next::Retry(delay) => {
                let retry = Retry::After(delay);
                let write = || store.fail_attempt(run, token, &failure, retry, &[]);
                (RunState::Received, persist(write).await)
            }
            Next::Wait(delay) => {
                let write = || store.fail_attempt(run, token, &failure, Retry::Uncounted(delay), &[]);
                (RunState::Received, persist(write).await)
            }
            Next::Fail => {
                let write = || store.fail_attempt(run, token, &failure, Retry::Never, &[]);
                (RunState::Failed, persist(write).await)
            }
        };
        match written {
            Ok(()) => {
                RunEntered { run, state, failure: Some(&failure) }.emit();
                if let Next::Retry(delay) | Next::Wait(delay) = next {
                    self.publish_retry(claimed, delay).await;
                }
                Outcome::Done
            }
            Err(StoreError::LeaseLost) => Outcome::Done,
            // The lease runs out by itself; the message comes again after it.
            Err(error) => {
                tracing::error!(%run, %error, "the end of an attempt could not be written");
                Outcome::Later(self.shared.config.broker.lease())
            }
        }
    }

    /// The retry is recorded; a broker that is away only means that the reconciler publishes it.
    async fn publish_retry(&self, claimed: &Claimed, delay: Duration) {
        let run = claimed.run;
        match self.shared.queue.publish(&Message::Run(run), Route::After(delay)).await {
            Ok(()) => {
                if let Err(error) = self.shared.store.mark_published(run).await {
                    tracing::warn!(%run, %error, "published, but not noted: it may be published again");
                }
            }
            Err(error) => tracing::warn!(%run, %error, "retry not published yet, the reconciler will"),
        }
    }

    /// The process stops before the models ran: the run goes back as it came, the attempt is not counted.
    pub(super) async fn give_back(&self, claimed: &Claimed) -> Outcome {
        let (store, run, token) = (&self.shared.store, claimed.run, claimed.token);
        match persist(|| store.hand_back(run, token)).await {
            Ok(()) => {
                RunEntered { run, state: RunState::Received, failure: None }.emit();
                Outcome::GiveBack
            }
            Err(StoreError::LeaseLost) => Outcome::Done,
            Err(error) => {
                tracing::warn!(%run, %error, "not released, its lease will expire");
                Outcome::GiveBack
            }
        }
    }
}

/// Repeats a write while the database is away. Every write names the token and the state it expects, so one whose
/// answer was lost is not done twice: its repetition answers [`StoreError::LeaseLost`].
pub(super) async fn persist<T, F>(write: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let start = Instant::now();
    let mut pause = PERSIST_FIRST;
    loop {
        match write().await {
            Err(StoreError::Unavailable(text)) if start.elapsed() < PERSIST_FOR => {
                tracing::warn!(reason = %text, "the database is away, writing again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PERSIST_LAST);
            }
            other => return other,
        }
    }
}
