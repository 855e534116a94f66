//! What the broker may have lost, and what people ask of a run: retry, cancel.

use super::audit::insert;
use super::listen::notify_outbox;
use super::outbox::reopen;
use super::rows::{parse, seconds, uid};
use super::runs::{end_attempt, state_event};
use super::{Result, Store, StoreError, Tx};
use crate::domain::events::{Event, EventKind};
use crate::domain::run::{RunId, RunState};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// A run that is due and that no worker holds.
#[derive(Debug, Clone)]
pub struct StaleRun {
    /// The run.
    pub run: RunId,
    /// W3C traceparent of the submission.
    pub trace_context: Option<String>,
}

impl Store {
    /// Runs that wait for a worker, are due, are held by nobody, and whose last message was published, or was to leave
    /// its retry queue, more than `grace` ago, or that were never published. Oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn stale_runs(&self, grace: Duration, limit: u32) -> Result<Vec<StaleRun>> {
        let rows: Vec<(Uuid, Option<String>)> = sqlx::query_as(
            "SELECT id, trace_context FROM runs
             WHERE state IN ('received', 'retrieving', 'analyzing')
               AND next_attempt_at <= clock_timestamp()
               AND (lease_until IS NULL OR lease_until < clock_timestamp())
               AND (published_at IS NULL
                    OR greatest(published_at, next_attempt_at) < clock_timestamp() - make_interval(secs => $1))
             ORDER BY next_attempt_at LIMIT $2",
        )
        .bind(seconds(grace))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|(id, trace_context)| StaleRun { run: RunId(id), trace_context }).collect())
    }

    /// The broker confirmed a message for the run.
    ///
    /// # Errors
    /// Of the database.
    pub async fn mark_published(&self, run: RunId) -> Result<()> {
        sqlx::query("UPDATE runs SET published_at = clock_timestamp() WHERE id = $1")
            .bind(run.0)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A person asks for another try. A run that failed or was rejected before its outbox starts again with all its
    /// attempts (a message is owed, see [`Store::mark_published`]); one that waits for a retry becomes due at once; a
    /// run with a result sends its failed deliveries again, from the stored bytes. Returns the run's new state.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] when there is nothing to retry or a newer revision exists.
    pub async fn retry(&self, run: RunId, actor: &str) -> Result<RunState> {
        let mut tx = self.begin().await?;
        let (state, study) = lock_run(&mut tx, run).await?;
        let next = match state {
            RunState::Failed | RunState::Delivering => {
                if redeliver(&mut tx, run).await? {
                    reopen(&mut tx, &self.pseudonyms, run, &study, state.name()).await?;
                    notify_outbox(&mut tx).await?;
                    RunState::Delivering
                } else if state == RunState::Failed {
                    start_again(&mut tx, run, state).await?
                } else {
                    return Err(StoreError::Conflict("no delivery of the run has failed".into()));
                }
            }
            RunState::Rejected | RunState::Received => start_again(&mut tx, run, state).await?,
            other => return Err(StoreError::Conflict(format!("the run is {other}"))),
        };
        self.action_event(&mut tx, run, &study, actor, "retry", (state, next)).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// A person stops a run: unsent deliveries are cancelled, one in flight ends by itself.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] when it has ended.
    pub async fn cancel(&self, run: RunId, actor: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let (state, study) = lock_run(&mut tx, run).await?;
        if state.is_end() {
            return Err(StoreError::Conflict(format!("the run is {state}")));
        }
        sqlx::query(
            "UPDATE runs SET state = 'cancelled', ended_at = now(), updated_at = now(), lease_until = NULL
             WHERE id = $1 AND state = $2",
        )
        .bind(run.0)
        .bind(state.name())
        .execute(&mut *tx)
        .await?;
        end_attempt(&mut tx, run, "cancelled", None).await?;
        sqlx::query(
            "UPDATE deliveries SET state = 'cancelled', updated_at = now()
             WHERE run_id = $1 AND state IN ('pending', 'held', 'failed')",
        )
        .bind(run.0)
        .execute(&mut *tx)
        .await?;
        self.action_event(&mut tx, run, &study, actor, "cancel", (state, RunState::Cancelled)).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn action_event(
        &self,
        tx: &mut Tx,
        run: RunId,
        study: &str,
        actor: &str,
        action: &str,
        (from, to): (RunState, RunState),
    ) -> Result<()> {
        let study = uid("runs", "study_uid", study)?;
        let mut event = state_event(run, &study, from, to);
        event.kind = EventKind::RunAction;
        event.actor = actor.to_owned();
        event.detail["action"] = json!(action);
        insert(tx, &self.pseudonyms, &event).await
    }

    /// Records events on their own, for acts that change no other row.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record(&self, events: &[Event]) -> Result<()> {
        let mut tx = self.begin().await?;
        super::audit::insert_all(&mut tx, &self.pseudonyms, events).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn lock_run(tx: &mut Tx, run: RunId) -> Result<(RunState, String)> {
    let row: Option<(String, String)> = sqlx::query_as("SELECT state, study_uid FROM runs WHERE id = $1 FOR UPDATE")
        .bind(run.0)
        .fetch_optional(&mut **tx)
        .await?;
    let (state, study) = row.ok_or(StoreError::NotFound("run"))?;
    Ok((parse("runs", "state", &state)?, study))
}

/// Failed deliveries become pending again. False when there is none.
async fn redeliver(tx: &mut Tx, run: RunId) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE deliveries SET state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(),
             updated_at = now()
         WHERE run_id = $1 AND state = 'failed'",
    )
    .bind(run.0)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Back to `received`, due now, with all attempts; only the newest revision of its study.
async fn start_again(tx: &mut Tx, run: RunId, from: RunState) -> Result<RunState> {
    let done = sqlx::query(
        "UPDATE runs SET state = 'received', attempts = 0, next_attempt_at = clock_timestamp(), published_at = NULL,
             ended_at = NULL, updated_at = now(), failure_code = NULL, failure_detail = NULL
         WHERE id = $1 AND state = $2
           AND NOT EXISTS (SELECT 1 FROM runs n WHERE n.study_uid = runs.study_uid AND n.revision > runs.revision)",
    )
    .bind(run.0)
    .bind(from.name())
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 1 {
        Ok(RunState::Received)
    } else {
        Err(StoreError::Conflict("a newer revision took its place".into()))
    }
}
