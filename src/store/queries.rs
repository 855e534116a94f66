//! Reading runs: lists with keyset paging, and everything about one run.

use super::audit::{EventFilter, StoredEvent};
use super::outbox::DeliveryId;
use super::rows::{count, parse, uid};
use super::{Result, Store};
use crate::domain::artefact::ArtefactKind;
use crate::domain::delivery::{DeliveryState, Destination};
use crate::domain::run::{RunId, RunState};
use crate::domain::submission::Trigger;
use crate::domain::uid::Uid;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only runs in one of these states; empty = all.
    pub states: Vec<RunState>,
    /// Only runs of this study.
    pub study: Option<Uid>,
}

/// A page of a list, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Rows at most.
    pub limit: u32,
    /// Only runs older than this one: the last of the page before.
    pub before: Option<RunId>,
}

/// A run in a list.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct RunSummary {
    pub id: RunId,
    pub study: Uid,
    pub revision: u32,
    pub trigger: Trigger,
    pub actor: String,
    pub state: RunState,
    pub attempts: u32,
    pub worker: Option<String>,
    pub lease_until: Option<OffsetDateTime>,
    pub next_attempt_at: OffsetDateTime,
    pub failure_code: Option<String>,
    pub failure_detail: Option<String>,
    pub selection_digest: Option<String>,
    pub pipeline_version: Option<String>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
}

/// One attempt at a run.
#[derive(Debug, Clone, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct AttemptSummary {
    pub attempt: i32,
    pub worker: String,
    /// `first`, `retry` or `lease-expired`.
    pub reason: String,
    pub started_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    /// `analyzed`, `rejected`, `unchanged`, `failed`, `released`, `lease-expired`, `cancelled`, `superseded`; `None` = goes
    /// on.
    pub outcome: Option<String>,
    pub code: Option<String>,
    pub detail: Option<String>,
}

/// One delivery of a run.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct DeliverySummary {
    pub id: DeliveryId,
    pub destination: Destination,
    pub artefact: String,
    pub required: bool,
    pub state: DeliveryState,
    pub attempts: u32,
    pub next_attempt_at: OffsetDateTime,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub response: Option<Value>,
    pub delivered_at: Option<OffsetDateTime>,
}

/// An artefact without its bytes.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct ArtefactSummary {
    pub kind: ArtefactKind,
    pub name: String,
    pub sha256: String,
    pub size: u64,
    pub sop_instance: Option<String>,
    pub series: Option<String>,
    /// True when the bytes were dropped after their keeping time.
    pub expired: bool,
}

/// Everything about one run.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct RunDetail {
    pub summary: RunSummary,
    pub attempts: Vec<AttemptSummary>,
    pub deliveries: Vec<DeliverySummary>,
    pub artefacts: Vec<ArtefactSummary>,
    pub measures: Option<Value>,
    /// Its audit events, oldest first.
    pub timeline: Vec<StoredEvent>,
}

#[derive(sqlx::FromRow)]
struct RunRow {
    id: Uuid,
    study_uid: String,
    revision: i32,
    trigger: String,
    actor: String,
    state: String,
    attempts: i32,
    worker: Option<String>,
    lease_until: Option<OffsetDateTime>,
    next_attempt_at: OffsetDateTime,
    failure_code: Option<String>,
    failure_detail: Option<String>,
    selection_digest: Option<String>,
    pipeline_version: Option<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    ended_at: Option<OffsetDateTime>,
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    id: Uuid,
    destination: String,
    name: String,
    required: bool,
    state: String,
    attempts: i32,
    next_attempt_at: OffsetDateTime,
    code: Option<String>,
    detail: Option<String>,
    response: Option<Value>,
    delivered_at: Option<OffsetDateTime>,
}

#[derive(sqlx::FromRow)]
struct ArtefactRow {
    kind: String,
    name: String,
    sha256: String,
    size: i64,
    sop_instance: Option<String>,
    series: Option<String>,
    expired_at: Option<OffsetDateTime>,
}

impl Store {
    /// Runs, newest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn list_runs(&self, filter: &RunFilter, page: Page) -> Result<Vec<RunSummary>> {
        let states: Vec<&str> = filter.states.iter().map(|s| s.name()).collect();
        let rows: Vec<RunRow> = sqlx::query_as(
            "SELECT id, study_uid, revision, trigger, actor, state, attempts, worker, lease_until, next_attempt_at,
                    failure_code, failure_detail, selection_digest, pipeline_version, created_at, updated_at, ended_at
             FROM runs
             WHERE (cardinality($1::text[]) = 0 OR state = ANY($1)) AND ($2::text IS NULL OR study_uid = $2)
               AND ($3::uuid IS NULL OR id < $3)
             ORDER BY id DESC LIMIT $4",
        )
        .bind(states)
        .bind(filter.study.as_ref().map(Uid::as_str))
        .bind(page.before.map(|r| r.0))
        .bind(i64::from(page.limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RunRow::into_domain).collect()
    }

    /// Everything about one run, or `None`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn show_run(&self, run: RunId) -> Result<Option<RunDetail>> {
        let Some(summary) = self.run_summary(run).await? else { return Ok(None) };
        let attempts = sqlx::query_as(
            "SELECT attempt, worker, reason, started_at, ended_at, outcome, code, detail
             FROM run_attempts WHERE run_id = $1 ORDER BY fence",
        )
        .bind(run.0)
        .fetch_all(&self.pool)
        .await?;
        let artefacts: Vec<ArtefactRow> = sqlx::query_as(
            "SELECT kind, name, sha256, size, sop_instance, series, expired_at
             FROM artefacts WHERE run_id = $1 ORDER BY name",
        )
        .bind(run.0)
        .fetch_all(&self.pool)
        .await?;
        let (measures,): (Option<Value>,) =
            sqlx::query_as("SELECT measures FROM runs WHERE id = $1").bind(run.0).fetch_one(&self.pool).await?;
        let filter = EventFilter { run: Some(run), ..EventFilter::default() };
        Ok(Some(RunDetail {
            summary,
            attempts,
            deliveries: self.deliveries_of(run).await?,
            artefacts: artefacts.into_iter().map(ArtefactRow::into_domain).collect::<Result<_>>()?,
            measures,
            timeline: self.audit_events(&filter, 1000).await?,
        }))
    }

    /// One run without its parts, or `None`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn run_summary(&self, run: RunId) -> Result<Option<RunSummary>> {
        let row: Option<RunRow> = sqlx::query_as(
            "SELECT id, study_uid, revision, trigger, actor, state, attempts, worker, lease_until, next_attempt_at,
                    failure_code, failure_detail, selection_digest, pipeline_version, created_at, updated_at, ended_at
             FROM runs WHERE id = $1",
        )
        .bind(run.0)
        .fetch_optional(&self.pool)
        .await?;
        row.map(RunRow::into_domain).transpose()
    }

    /// The deliveries of a run in their order.
    ///
    /// # Errors
    /// Of the database.
    pub async fn deliveries_of(&self, run: RunId) -> Result<Vec<DeliverySummary>> {
        let rows: Vec<DeliveryRow> = sqlx::query_as(
            "SELECT d.id, d.destination, a.name, d.required, d.state, d.attempts, d.next_attempt_at, d.code, d.detail,
                    d.response, d.delivered_at
             FROM deliveries d JOIN artefacts a ON a.id = d.artefact_id
             WHERE d.run_id = $1 ORDER BY d.position",
        )
        .bind(run.0)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(DeliveryRow::into_domain).collect()
    }
}

impl RunRow {
    fn into_domain(self) -> Result<RunSummary> {
        Ok(RunSummary {
            id: RunId(self.id),
            study: uid("runs", "study_uid", &self.study_uid)?,
            revision: count("runs", "revision", self.revision)?,
            trigger: parse("runs", "trigger", &self.trigger)?,
            actor: self.actor,
            state: parse("runs", "state", &self.state)?,
            attempts: count("runs", "attempts", self.attempts)?,
            worker: self.worker,
            lease_until: self.lease_until,
            next_attempt_at: self.next_attempt_at,
            failure_code: self.failure_code,
            failure_detail: self.failure_detail,
            selection_digest: self.selection_digest,
            pipeline_version: self.pipeline_version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            ended_at: self.ended_at,
        })
    }
}

impl DeliveryRow {
    fn into_domain(self) -> Result<DeliverySummary> {
        Ok(DeliverySummary {
            id: DeliveryId(self.id),
            destination: parse("deliveries", "destination", &self.destination)?,
            artefact: self.name,
            required: self.required,
            state: parse("deliveries", "state", &self.state)?,
            attempts: count("deliveries", "attempts", self.attempts)?,
            next_attempt_at: self.next_attempt_at,
            code: self.code,
            detail: self.detail,
            response: self.response,
            delivered_at: self.delivered_at,
        })
    }
}

impl ArtefactRow {
    fn into_domain(self) -> Result<ArtefactSummary> {
        Ok(ArtefactSummary {
            kind: parse("artefacts", "kind", &self.kind)?,
            name: self.name,
            sha256: self.sha256,
            size: u64::try_from(self.size).unwrap_or(0),
            sop_instance: self.sop_instance,
            series: self.series,
            expired: self.expired_at.is_some(),
        })
    }
}
