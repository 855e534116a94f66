//! Studies: what the PACS listed, and the rule by which a submission becomes a revision.

use super::audit::insert;
use super::rows::{count, duration, parse};
use super::{Result, Store, StoreError, Tx};
use crate::audit::pseudonym::Pseudonyms;
use crate::domain::events::{Event, EventKind};
use crate::domain::run::{RunId, RunState};
use crate::domain::submission::{InputDigest, Submission, Trigger};
use crate::domain::uid::Uid;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// What is known after a look at a study's instance count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How long the count has stood unchanged.
    pub quiet_for: Duration,
    /// True when a submission was already made at this count: nothing to do.
    pub checked: bool,
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// A new revision; a queue message is owed for it.
    Started {
        /// Its run.
        run: RunId,
        /// Its number, from 1.
        revision: u32,
    },
    /// The inputs are those of the newest revision, which has ended.
    Unchanged {
        /// The run of that revision.
        run: RunId,
    },
    /// The inputs are those of the newest revision, which still goes on.
    AlreadyOpen {
        /// The run of that revision.
        run: RunId,
    },
}

#[derive(sqlx::FromRow)]
struct LastRun {
    id: Uuid,
    state: String,
    revision: i32,
}

impl Store {
    /// Records that the PACS lists `instances` instances (ours not counted) for a study.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note_seen(&self, study: &Uid, instances: u32) -> Result<Seen> {
        let (quiet, checked): (f64, bool) = sqlx::query_as(
            "INSERT INTO studies (study_uid, seen_count, seen_since, seen_at)
             VALUES ($1, $2, clock_timestamp(), clock_timestamp())
             ON CONFLICT (study_uid) DO UPDATE SET
                 seen_since = CASE WHEN studies.seen_count = EXCLUDED.seen_count
                                   THEN studies.seen_since ELSE EXCLUDED.seen_since END,
                 seen_count = EXCLUDED.seen_count,
                 seen_at = EXCLUDED.seen_at
             RETURNING extract(epoch FROM clock_timestamp() - seen_since)::float8,
                       coalesce(checked_count = seen_count, false)",
        )
        .bind(study.as_str())
        .bind(i32::try_from(instances).unwrap_or(i32::MAX))
        .fetch_one(&self.pool)
        .await?;
        Ok(Seen { quiet_for: duration(quiet), checked })
    }

    /// Turns a submission into a revision, if the rules want one. An automatic trigger starts one only when the input
    /// digest is new; REST and CLI also start one when the last ended without a result (failed, rejected, cancelled);
    /// `reprocess` always does. A new revision supersedes those that have not reached the outbox.
    ///
    /// # Errors
    /// Of the database.
    pub async fn submit(
        &self,
        submission: &Submission,
        digest: &InputDigest,
        trace_context: Option<&str>,
    ) -> Result<Submitted> {
        let mut tx = self.begin().await?;
        let stored = lock_study(&mut tx, &submission.study).await?;
        let last = last_run(&mut tx, &submission.study).await?;
        if let Some(last) = &last
            && stored.as_deref() == Some(digest.as_str())
            && let Some(answer) = same_inputs(submission.trigger, last)?
        {
            mark_checked(&mut tx, &submission.study, None).await?;
            tx.commit().await?;
            return Ok(answer);
        }
        supersede_working(&mut tx, &self.pseudonyms, &submission.study).await?;
        let revision = last.map_or(1, |last| last.revision + 1);
        let run = RunId::new();
        sqlx::query(
            "INSERT INTO runs (id, study_uid, revision, trigger, actor, input_digest, trace_context)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(run.0)
        .bind(submission.study.as_str())
        .bind(revision)
        .bind(submission.trigger.name())
        .bind(&submission.actor)
        .bind(digest.as_str())
        .bind(trace_context)
        .execute(&mut *tx)
        .await?;
        mark_checked(&mut tx, &submission.study, Some((digest, revision))).await?;
        let mut event = Event::ours(EventKind::RunReceived);
        event.actor.clone_from(&submission.actor);
        event.study = Some(submission.study.clone());
        event.run = Some(run);
        event.detail = json!({
            "trigger": submission.trigger.name(), "revision": revision, "input_digest": digest.as_str(),
        });
        insert(&mut tx, &self.pseudonyms, &event).await?;
        tx.commit().await?;
        Ok(Submitted::Started { run, revision: count("runs", "revision", revision)? })
    }
}

/// The answer when the inputs did not change, or `None` when a new revision starts all the same.
fn same_inputs(trigger: Trigger, last: &LastRun) -> Result<Option<Submitted>> {
    let run = RunId(last.id);
    let state: RunState = parse("runs", "state", &last.state)?;
    let without_result = matches!(state, RunState::Failed | RunState::Rejected | RunState::Cancelled);
    Ok(match trigger {
        Trigger::Reprocess => None,
        _ if !state.is_end() => Some(Submitted::AlreadyOpen { run }),
        Trigger::Rest | Trigger::Cli if without_result => None,
        _ => Some(Submitted::Unchanged { run }),
    })
}

/// Serialises everything that concerns one study; returns the digest of its newest revision.
pub(super) async fn lock_study(tx: &mut Tx, study: &Uid) -> Result<Option<String>> {
    sqlx::query("INSERT INTO studies (study_uid) VALUES ($1) ON CONFLICT (study_uid) DO NOTHING")
        .bind(study.as_str())
        .execute(&mut **tx)
        .await?;
    let (digest,): (Option<String>,) =
        sqlx::query_as("SELECT input_digest FROM studies WHERE study_uid = $1 FOR UPDATE")
            .bind(study.as_str())
            .fetch_one(&mut **tx)
            .await?;
    Ok(digest)
}

async fn last_run(tx: &mut Tx, study: &Uid) -> Result<Option<LastRun>> {
    Ok(sqlx::query_as("SELECT id, state, revision FROM runs WHERE study_uid = $1 ORDER BY revision DESC LIMIT 1")
        .bind(study.as_str())
        .fetch_optional(&mut **tx)
        .await?)
}

/// The instance list at the present count has been looked at; `newer` is the revision that came of it.
async fn mark_checked(tx: &mut Tx, study: &Uid, newer: Option<(&InputDigest, i32)>) -> Result<()> {
    let (digest, revision) = newer.map_or((None, None), |(digest, number)| (Some(digest.as_str()), Some(number)));
    let done = sqlx::query(
        "UPDATE studies SET checked_count = seen_count,
             input_digest = coalesce($2, input_digest), revision = coalesce($3, revision)
         WHERE study_uid = $1",
    )
    .bind(study.as_str())
    .bind(digest)
    .bind(revision)
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound("study")) }
}

/// Ends the runs of a study that have not reached the outbox, because a newer revision takes their place.
async fn supersede_working(tx: &mut Tx, pseudonyms: &Pseudonyms, study: &Uid) -> Result<()> {
    let ended: Vec<(Uuid, String)> = sqlx::query_as(
        "UPDATE runs SET state = 'superseded', updated_at = now(), ended_at = now(), lease_until = NULL
         FROM (SELECT id AS old_id, state AS old_state FROM runs
               WHERE study_uid = $1 AND state IN ('received', 'retrieving', 'analyzing') FOR UPDATE) AS old
         WHERE id = old_id RETURNING id, old_state",
    )
    .bind(study.as_str())
    .fetch_all(&mut **tx)
    .await?;
    for (id, from) in ended {
        super::runs::end_attempt(tx, RunId(id), "superseded", None).await?;
        let event = super::runs::state_event(RunId(id), study, parse("runs", "state", &from)?, RunState::Superseded);
        insert(tx, pseudonyms, &event).await?;
    }
    Ok(())
}
