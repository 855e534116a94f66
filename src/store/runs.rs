//! The life of a run before its outbox: claims are leases with a fencing token, and every write names the state and the
//! token it expects.

use super::audit::{insert, insert_all};
use super::rows::{count, duration, parse, seconds, short, uid};
use super::{Result, Store, StoreError, Tx};
use crate::domain::events::{Event, EventKind, EventOutcome};
use crate::domain::run::{FencingToken, RunId, RunState};
use crate::domain::submission::{InputDigest, Trigger};
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// Answer to a claim.
#[derive(Debug, Clone)]
pub enum Claim {
    /// The run is ours until the lease ends.
    Claimed(Claimed),
    /// Another worker holds it: come back after the lease could have ended.
    LiveLease {
        /// How long the lease still runs.
        remaining: Duration,
    },
    /// A retry whose time has not come.
    NotDue {
        /// How long until then.
        after: Duration,
    },
    /// Nothing is left for a worker: the run ended or is in the outbox.
    Ended(RunState),
    /// Its attempts are used up; the run has just been set to `failed`.
    Exhausted,
    /// There is no such run.
    NotFound,
}

/// A run that a worker holds.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The run.
    pub run: RunId,
    /// Its study.
    pub study: Uid,
    /// Its revision number, from 1.
    pub revision: u32,
    /// What caused it.
    pub trigger: Trigger,
    /// Who asked for it.
    pub actor: String,
    /// Digest of the inputs at the submission.
    pub input_digest: InputDigest,
    /// W3C traceparent of the submission.
    pub trace_context: Option<String>,
    /// Every write of this worker carries it.
    pub token: FencingToken,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another attempt after this time.
    After(Duration),
    /// Another attempt after this time; the one that ended is not counted.
    Uncounted(Duration),
    /// None: the run ends `failed`.
    Never,
}

#[derive(sqlx::FromRow)]
struct ClaimRow {
    study_uid: String,
    revision: i32,
    trigger: String,
    actor: String,
    input_digest: String,
    trace_context: Option<String>,
    state: String,
    attempts: i32,
    fence: i64,
    lease_left: Option<f64>,
    due_in: f64,
}

/// Messages may arrive this much before the retry is due: the broker's clock is not the database's.
const EARLY_SECS: f64 = 1.0;

impl Store {
    /// Claims a run for `worker` until `lease` from now, unless somebody else holds it. The attempt is counted here, so
    /// that a study which kills its worker ends after `max_attempts` too.
    ///
    /// # Errors
    /// Of the database.
    pub async fn claim(&self, run: RunId, worker: &str, lease: Duration, max_attempts: u32) -> Result<Claim> {
        let mut tx = self.begin().await?;
        let Some(row) = lock_for_claim(&mut tx, run).await? else { return Ok(Claim::NotFound) };
        let state: RunState = parse("runs", "state", &row.state)?;
        if !matches!(state, RunState::Received | RunState::Retrieving | RunState::Analyzing) {
            return Ok(Claim::Ended(state));
        }
        let expired = match row.lease_left {
            Some(left) if left > 0.0 => return Ok(Claim::LiveLease { remaining: duration(left) }),
            other => other.is_some(),
        };
        if row.due_in > EARLY_SECS {
            return Ok(Claim::NotDue { after: duration(row.due_in) });
        }
        let study = uid("runs", "study_uid", &row.study_uid)?;
        if expired {
            end_attempt(&mut tx, run, "lease-expired", None).await?;
        }
        if count("runs", "attempts", row.attempts)? >= max_attempts {
            self.exhaust(&mut tx, run, &study, state).await?;
            tx.commit().await?;
            return Ok(Claim::Exhausted);
        }
        let claimed = self.take(&mut tx, run, study, row, worker, lease, expired).await?;
        tx.commit().await?;
        Ok(Claim::Claimed(claimed))
    }

    #[expect(clippy::too_many_arguments, reason = "the second half of `claim`, split for reading")]
    async fn take(
        &self,
        tx: &mut Tx,
        run: RunId,
        study: Uid,
        row: ClaimRow,
        worker: &str,
        lease: Duration,
        expired: bool,
    ) -> Result<Claimed> {
        let (fence, attempt): (i64, i32) = sqlx::query_as(
            "UPDATE runs SET state = 'retrieving', fence = fence + 1, attempts = attempts + 1, worker = $2,
                 lease_until = clock_timestamp() + make_interval(secs => $3), updated_at = now()
             WHERE id = $1 AND fence = $4 RETURNING fence, attempts",
        )
        .bind(run.0)
        .bind(worker)
        .bind(seconds(lease))
        .bind(row.fence)
        .fetch_one(&mut **tx)
        .await?;
        let reason = match (expired, row.attempts) {
            (true, _) => "lease-expired",
            (false, 0) => "first",
            (false, _) => "retry",
        };
        sqlx::query("INSERT INTO run_attempts (run_id, attempt, fence, worker, reason) VALUES ($1, $2, $3, $4, $5)")
            .bind(run.0)
            .bind(attempt)
            .bind(fence)
            .bind(worker)
            .bind(reason)
            .execute(&mut **tx)
            .await?;
        let mut event = state_event(run, &study, parse("runs", "state", &row.state)?, RunState::Retrieving);
        event.detail["attempt"] = json!(attempt);
        event.detail["reason"] = json!(reason);
        insert(tx, &self.pseudonyms, &event).await?;
        Ok(Claimed {
            run,
            study,
            revision: count("runs", "revision", row.revision)?,
            trigger: parse("runs", "trigger", &row.trigger)?,
            actor: row.actor,
            input_digest: InputDigest::stored(row.input_digest),
            trace_context: row.trace_context,
            token: FencingToken(fence),
            attempt: count("runs", "attempts", attempt)?,
        })
    }

    /// Ends a run whose attempts are used up by workers that never came back.
    async fn exhaust(&self, tx: &mut Tx, run: RunId, study: &Uid, from: RunState) -> Result<()> {
        sqlx::query(
            "UPDATE runs SET state = 'failed', lease_until = NULL, updated_at = now(), ended_at = now(),
                 failure_code = coalesce(failure_code, 'internal'),
                 failure_detail = coalesce(failure_detail, 'every attempt ended without a word from its worker')
             WHERE id = $1",
        )
        .bind(run.0)
        .execute(&mut **tx)
        .await?;
        let mut event = state_event(run, study, from, RunState::Failed);
        event.outcome = EventOutcome::SeriousFailure;
        event.detail["reason"] = json!("attempts-used-up");
        insert(tx, &self.pseudonyms, &event).await
    }

    /// Extends the lease.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker claimed the run or it was ended meanwhile: stop working on it.
    pub async fn heartbeat(&self, run: RunId, token: FencingToken, lease: Duration) -> Result<()> {
        let done = sqlx::query(
            "UPDATE runs SET lease_until = clock_timestamp() + make_interval(secs => $3)
             WHERE id = $1 AND fence = $2 AND state IN ('retrieving', 'analyzing')",
        )
        .bind(run.0)
        .bind(token.0)
        .bind(seconds(lease))
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// Moves a claimed run from one state of work to the next, with the events of the act.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the token is old or the run is not in `expected`.
    pub async fn set_state(
        &self,
        run: RunId,
        token: FencingToken,
        expected: RunState,
        next: RunState,
        events: &[Event],
    ) -> Result<()> {
        if !expected.may_become(next) || next.is_end() || next == RunState::Delivering {
            return Err(StoreError::Conflict(format!("a run does not go from {expected} to {next} this way")));
        }
        let mut tx = self.begin().await?;
        let study = move_claimed(&mut tx, run, token, &[expected], next).await?;
        insert(&mut tx, &self.pseudonyms, &state_event(run, &study, expected, next)).await?;
        insert_all(&mut tx, &self.pseudonyms, events).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends an attempt that failed. With [`Retry::After`] the run waits as `received`; the caller publishes it to a
    /// retry queue and then calls [`Store::mark_published`].
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the token is old.
    pub async fn fail_attempt(
        &self,
        run: RunId,
        token: FencingToken,
        failure: &Failure,
        retry: Retry,
        events: &[Event],
    ) -> Result<()> {
        let (next, outcome, delay) = match retry {
            Retry::After(delay) => (RunState::Received, EventOutcome::MinorFailure, delay),
            Retry::Uncounted(delay) => (RunState::Received, EventOutcome::MinorFailure, delay),
            Retry::Never => (RunState::Failed, EventOutcome::SeriousFailure, Duration::ZERO),
        };
        let mut tx = self.begin().await?;
        self.end_claimed(&mut tx, run, token, next, outcome, Some(failure), ("failed", delay)).await?;
        if matches!(retry, Retry::Uncounted(_)) {
            sqlx::query("UPDATE runs SET attempts = greatest(attempts - 1, 0) WHERE id = $1")
                .bind(run.0)
                .execute(&mut *tx)
                .await?;
        }
        insert_all(&mut tx, &self.pseudonyms, events).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends a run that cannot be processed as it is, with its coded reason.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the token is old.
    pub async fn reject(&self, run: RunId, token: FencingToken, failure: &Failure, events: &[Event]) -> Result<()> {
        let mut tx = self.begin().await?;
        let end = ("rejected", Duration::ZERO);
        self.end_claimed(&mut tx, run, token, RunState::Rejected, EventOutcome::MinorFailure, Some(failure), end)
            .await?;
        insert_all(&mut tx, &self.pseudonyms, events).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends a run that selected the same instances as the one before it: nothing is sent.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the token is old.
    pub async fn unchanged(
        &self,
        run: RunId,
        token: FencingToken,
        selection_digest: &str,
        events: &[Event],
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        let end = ("unchanged", Duration::ZERO);
        self.end_claimed(&mut tx, run, token, RunState::Unchanged, EventOutcome::Success, None, end).await?;
        sqlx::query("UPDATE runs SET selection_digest = $2 WHERE id = $1")
            .bind(run.0)
            .bind(selection_digest)
            .execute(&mut *tx)
            .await?;
        insert_all(&mut tx, &self.pseudonyms, events).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives a claimed run back because its worker stops before anything was made: due at once, and the attempt is not
    /// counted.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the token is old.
    pub async fn hand_back(&self, run: RunId, token: FencingToken) -> Result<()> {
        let mut tx = self.begin().await?;
        let from = [RunState::Retrieving, RunState::Analyzing];
        let study = move_claimed(&mut tx, run, token, &from, RunState::Received).await?;
        sqlx::query(
            "UPDATE runs SET attempts = greatest(attempts - 1, 0), next_attempt_at = clock_timestamp() WHERE id = $1",
        )
        .bind(run.0)
        .execute(&mut *tx)
        .await?;
        end_attempt(&mut tx, run, "released", None).await?;
        insert(&mut tx, &self.pseudonyms, &state_event(run, &study, RunState::Retrieving, RunState::Received)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The newest other run of the run's study whose result was or is being delivered, with its selection digest.
    ///
    /// # Errors
    /// Of the database.
    pub async fn previous_selection(&self, run: RunId) -> Result<Option<(RunId, String)>> {
        let row: Option<(Uuid, String)> = sqlx::query_as(
            "SELECT p.id, p.selection_digest FROM runs p JOIN runs r ON r.study_uid = p.study_uid
             WHERE r.id = $1 AND p.revision < r.revision AND p.selection_digest IS NOT NULL
               AND p.state IN ('delivering', 'completed')
             ORDER BY p.revision DESC LIMIT 1",
        )
        .bind(run.0)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(id, digest)| (RunId(id), digest)))
    }

    #[expect(clippy::too_many_arguments, reason = "one place for the three ways that an attempt ends without a result")]
    async fn end_claimed(
        &self,
        tx: &mut Tx,
        run: RunId,
        token: FencingToken,
        next: RunState,
        outcome: EventOutcome,
        failure: Option<&Failure>,
        (attempt_outcome, delay): (&str, Duration),
    ) -> Result<()> {
        let from = [RunState::Retrieving, RunState::Analyzing];
        let study = move_claimed(tx, run, token, &from, next).await?;
        sqlx::query(
            "UPDATE runs SET failure_code = $2, failure_detail = $3, published_at = NULL,
                 next_attempt_at = clock_timestamp() + make_interval(secs => $4)
             WHERE id = $1",
        )
        .bind(run.0)
        .bind(failure.map(|f| f.code.as_str()))
        .bind(failure.map(|f| short(&f.detail)))
        .bind(seconds(delay))
        .execute(&mut **tx)
        .await?;
        end_attempt(tx, run, attempt_outcome, failure).await?;
        let mut event = state_event(run, &study, RunState::Retrieving, next);
        event.detail = json!({ "to": next.name() });
        event.outcome = outcome;
        if let Some(failure) = failure {
            event.detail["code"] = json!(failure.code.as_str());
        }
        if next == RunState::Received {
            event.detail["retry_in_seconds"] = json!(delay.as_secs());
        }
        insert(tx, &self.pseudonyms, &event).await
    }
}

async fn lock_for_claim(tx: &mut Tx, run: RunId) -> Result<Option<ClaimRow>> {
    Ok(sqlx::query_as(
        "SELECT study_uid, revision, trigger, actor, input_digest, trace_context, state, attempts, fence,
                extract(epoch FROM lease_until - clock_timestamp())::float8 AS lease_left,
                extract(epoch FROM next_attempt_at - clock_timestamp())::float8 AS due_in
         FROM runs WHERE id = $1 FOR UPDATE",
    )
    .bind(run.0)
    .fetch_optional(&mut **tx)
    .await?)
}

/// Moves a run that the token's holder owns; clears the lease where the work on it ends. Returns its study.
pub(super) async fn move_claimed(
    tx: &mut Tx,
    run: RunId,
    token: FencingToken,
    expected: &[RunState],
    next: RunState,
) -> Result<Uid> {
    let expected: Vec<&str> = expected.iter().map(|s| s.name()).collect();
    let keeps_lease = matches!(next, RunState::Retrieving | RunState::Analyzing);
    let row: Option<(String,)> = sqlx::query_as(
        "UPDATE runs SET state = $4, updated_at = now(),
             lease_until = CASE WHEN $5 THEN lease_until END,
             ended_at = CASE WHEN $6 THEN now() END
         WHERE id = $1 AND fence = $2 AND state = ANY($3) RETURNING study_uid",
    )
    .bind(run.0)
    .bind(token.0)
    .bind(expected)
    .bind(next.name())
    .bind(keeps_lease)
    .bind(next.is_end())
    .fetch_optional(&mut **tx)
    .await?;
    match row {
        Some((study,)) => uid("runs", "study_uid", &study),
        None => Err(StoreError::LeaseLost),
    }
}

/// Closes the newest attempt of a run, if one is open.
pub(super) async fn end_attempt(tx: &mut Tx, run: RunId, outcome: &str, failure: Option<&Failure>) -> Result<()> {
    let code: Option<Code> = failure.map(|f| f.code);
    sqlx::query(
        "UPDATE run_attempts SET ended_at = clock_timestamp(), outcome = $2, code = $3, detail = $4
         WHERE run_id = $1 AND ended_at IS NULL",
    )
    .bind(run.0)
    .bind(outcome)
    .bind(code.map(Code::as_str))
    .bind(failure.map(|f| short(&f.detail)))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The audit event of a change of state.
pub(super) fn state_event(run: RunId, study: &Uid, from: RunState, to: RunState) -> Event {
    let mut event = Event::ours(EventKind::RunState);
    event.run = Some(run);
    event.study = Some(study.clone());
    event.detail = json!({ "from": from.name(), "to": to.name() });
    event
}
