//! The outbox: deliveries are claimed with a lease and a fencing token, in order per (destination, study).

use super::artefacts::ArtefactRow;
use super::audit::{insert, insert_all};
use super::listen::notify_outbox;
use super::rows::{count, json, parse, seconds, short, uid};
use super::{Result, Store, StoreError, Tx};
use crate::audit::pseudonym::Pseudonyms;
use crate::domain::artefact::Artefact;
use crate::domain::delivery::{DeliveryState, Destination};
use crate::domain::events::{Event, EventKind, EventOutcome};
use crate::domain::identity::PatientKey;
use crate::domain::run::{FencingToken, RunId, RunState};
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

/// Identity of a delivery; may stand in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub Uuid);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeliveryId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> std::result::Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A delivery that a worker holds.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    /// The delivery.
    pub id: DeliveryId,
    /// Every write of this worker carries it.
    pub token: FencingToken,
    /// Its run.
    pub run: RunId,
    /// Its study.
    pub study: Uid,
    /// Revision of the run.
    pub revision: u32,
    /// Where it goes.
    pub destination: Destination,
    /// Which attempt this is, from 1; above 1 the peer may hold the object already.
    pub attempt: u32,
    /// Patient and order at the analysis; read again from the PACS and compared before sending.
    pub patient: PatientKey,
    /// What is sent, byte for byte.
    pub artefact: Artefact,
    /// A person decided that it may replace what somebody changed at the peer.
    pub overwrite: bool,
    /// W3C traceparent of the work that made the result.
    pub trace_context: Option<String>,
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    id: Uuid,
    fence: i64,
    run_id: Uuid,
    study_uid: String,
    revision: i32,
    destination: String,
    attempts: i32,
    patient_key: Option<Value>,
    trace_context: Option<String>,
    overwrite: bool,
    #[sqlx(flatten)]
    artefact: ArtefactRow,
}

impl Store {
    /// Claims up to `limit` deliveries of a destination that are due, for `lease`. Of one study only the first that is
    /// not yet delivered can be claimed, and none while another one of that study is in flight. Deliveries whose
    /// worker died are taken over.
    ///
    /// # Errors
    /// Of the database.
    pub async fn claim_due_deliveries(
        &self,
        destination: Destination,
        worker: &str,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<ClaimedDelivery>> {
        let mut tx = self.begin().await?;
        release_expired(&mut tx, destination).await?;
        let claimed: Vec<(Uuid,)> = sqlx::query_as(
            "UPDATE deliveries SET state = 'sending', fence = fence + 1, attempts = attempts + 1, worker = $2,
                 lease_until = clock_timestamp() + make_interval(secs => $4), updated_at = now()
             WHERE id IN (
                 SELECT d.id FROM deliveries d
                 WHERE d.destination = $1 AND d.state = 'pending' AND d.next_attempt_at <= clock_timestamp()
                   AND NOT EXISTS (
                       SELECT 1 FROM deliveries o
                       WHERE o.study_uid = d.study_uid AND o.destination = d.destination AND o.id <> d.id
                         AND (o.state = 'sending'
                              OR (o.state IN ('pending', 'held', 'failed')
                                  AND (o.revision, o.position) < (d.revision, d.position))))
                 ORDER BY d.next_attempt_at, d.id LIMIT $3
                 FOR UPDATE OF d SKIP LOCKED)
             RETURNING id",
        )
        .bind(destination.name())
        .bind(worker)
        .bind(i64::from(limit))
        .bind(seconds(lease))
        .fetch_all(&mut *tx)
        .await?;
        let ids: Vec<Uuid> = claimed.into_iter().map(|(id,)| id).collect();
        let rows = load(&mut tx, &ids).await?;
        if rows.len() != ids.len() {
            return Err(StoreError::Corrupt { table: "deliveries", column: "artefact_id" });
        }
        tx.commit().await?;
        rows.into_iter().map(DeliveryRow::into_domain).collect()
    }

    /// What the peer answered to the last delivery of a study, or took of one that failed midway: which versions of ours
    /// it holds.
    ///
    /// # Errors
    /// Of the database.
    pub async fn last_receipt(&self, study: &Uid, destination: Destination) -> Result<Option<Value>> {
        let row: Option<(Value,)> = sqlx::query_as(
            "SELECT response FROM deliveries
             WHERE study_uid = $1 AND destination = $2 AND response IS NOT NULL
               AND (state = 'delivered' OR jsonb_exists(response, 'incomplete'))
             ORDER BY revision DESC, position DESC LIMIT 1",
        )
        .bind(study.as_str())
        .bind(destination.name())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(response,)| response))
    }

    /// Extends the lease of a delivery that takes long.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker holds it.
    pub async fn renew_delivery(&self, id: DeliveryId, token: FencingToken, lease: Duration) -> Result<()> {
        let done = sqlx::query(
            "UPDATE deliveries SET lease_until = clock_timestamp() + make_interval(secs => $3)
             WHERE id = $1 AND fence = $2 AND state = 'sending'",
        )
        .bind(id.0)
        .bind(token.0)
        .bind(seconds(lease))
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// The peer confirmed it. When it was the last required delivery the run becomes `completed` in the same
    /// transaction. Returns the run's state.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker holds it.
    pub async fn delivered(
        &self,
        id: DeliveryId,
        token: FencingToken,
        response: &Value,
        events: &[Event],
    ) -> Result<RunState> {
        let change = Change { response: Some(response), ..Change::to(DeliveryState::Delivered) };
        self.finish_delivery(id, token, change, EventOutcome::Success, events).await
    }

    /// Try again after `delay`. A delivery whose run was superseded or cancelled meanwhile ends `cancelled`.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker holds it.
    pub async fn defer(
        &self,
        id: DeliveryId,
        token: FencingToken,
        delay: Duration,
        failure: &Failure,
        events: &[Event],
    ) -> Result<RunState> {
        let change = Change { failure: Some(failure), delay, ..Change::to(DeliveryState::Pending) };
        self.finish_delivery(id, token, change, EventOutcome::MinorFailure, events).await
    }

    /// Try again after `delay`, without counting the attempt: nothing could be sent for want of credentials.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker holds it.
    pub async fn put_back(
        &self,
        id: DeliveryId,
        token: FencingToken,
        delay: Duration,
        failure: &Failure,
    ) -> Result<RunState> {
        let change = Change { failure: Some(failure), delay, uncounted: true, ..Change::to(DeliveryState::Pending) };
        self.finish_delivery(id, token, change, EventOutcome::MinorFailure, &[]).await
    }

    /// Keeps what an attempt wrote at the peer before it failed, so that the next one, or the next revision, knows it.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker holds it.
    pub async fn note_written(&self, id: DeliveryId, token: FencingToken, receipt: &Value) -> Result<()> {
        let done =
            sqlx::query("UPDATE deliveries SET response = $3 WHERE id = $1 AND fence = $2 AND state = 'sending'")
                .bind(id.0)
                .bind(token.0)
                .bind(receipt)
                .execute(&self.pool)
                .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// A person must act before it is sent.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker holds it.
    pub async fn hold(
        &self,
        id: DeliveryId,
        token: FencingToken,
        failure: &Failure,
        events: &[Event],
    ) -> Result<RunState> {
        let change = Change { failure: Some(failure), ..Change::to(DeliveryState::Held) };
        self.finish_delivery(id, token, change, EventOutcome::MinorFailure, events).await
    }

    /// Refused for good, or attempts used up; `response` keeps what the peer said, less patient attributes. The run
    /// ends `failed` when nothing else of it is open.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker holds it.
    pub async fn fail(
        &self,
        id: DeliveryId,
        token: FencingToken,
        failure: &Failure,
        response: Option<&Value>,
        events: &[Event],
    ) -> Result<RunState> {
        let change = Change { failure: Some(failure), response, ..Change::to(DeliveryState::Failed) };
        self.finish_delivery(id, token, change, EventOutcome::SeriousFailure, events).await
    }

    async fn finish_delivery(
        &self,
        id: DeliveryId,
        token: FencingToken,
        change: Change<'_>,
        outcome: EventOutcome,
        events: &[Event],
    ) -> Result<RunState> {
        let mut tx = self.begin().await?;
        let (run, study, destination, state) = apply(&mut tx, id, token, &change).await?;
        let mut event = Event::ours(match state {
            DeliveryState::Held | DeliveryState::Cancelled => EventKind::DeliveryHold,
            _ => EventKind::DeliveryOutcome,
        });
        event.outcome = outcome;
        event.run = Some(run);
        event.study = Some(study);
        event.peer = Some(destination);
        event.detail = json!({ "delivery": id, "to": state.name() });
        if let Some(failure) = change.failure {
            event.detail["code"] = json!(failure.code.as_str());
        }
        insert(&mut tx, &self.pseudonyms, &event).await?;
        insert_all(&mut tx, &self.pseudonyms, events).await?;
        let run_state = settle_run(&mut tx, &self.pseudonyms, run).await?;
        if matches!(state, DeliveryState::Delivered | DeliveryState::Cancelled) {
            notify_outbox(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(run_state)
    }

    /// A person lets a held or failed delivery go. With `overwrite` it may replace what somebody changed in the EHR.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] when it is neither held nor failed or its run was replaced, or
    /// when it shall overwrite and is not held as `ehr-changed`.
    pub async fn release(&self, id: DeliveryId, actor: &str, overwrite: bool) -> Result<()> {
        self.decide(id, actor, DeliveryState::Pending, overwrite).await
    }

    /// A person decides that a delivery is not to be sent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] when it was sent already or is being sent.
    pub async fn discard(&self, id: DeliveryId, actor: &str) -> Result<()> {
        self.decide(id, actor, DeliveryState::Cancelled, false).await
    }

    async fn decide(&self, id: DeliveryId, actor: &str, next: DeliveryState, overwrite: bool) -> Result<()> {
        let mut tx = self.begin().await?;
        // The run is locked before its delivery, as everywhere.
        let found: Option<(Uuid, String, String, String)> = sqlx::query_as(
            "SELECT r.id, r.study_uid, d.destination, r.state FROM deliveries d JOIN runs r ON r.id = d.run_id
             WHERE d.id = $1 FOR UPDATE OF r",
        )
        .bind(id.0)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((run, study, destination, state)) = found else { return Err(StoreError::NotFound("delivery")) };
        if next == DeliveryState::Pending {
            reopen(&mut tx, &self.pseudonyms, RunId(run), &study, &state).await?;
        }
        let from: &[&str] =
            if next == DeliveryState::Pending { &["held", "failed"] } else { &["pending", "held", "failed"] };
        let done = sqlx::query(
            "UPDATE deliveries SET state = $2, next_attempt_at = clock_timestamp(), attempts = 0, updated_at = now(),
                 code = CASE WHEN $2 = 'pending' THEN NULL ELSE code END, overwrite = $4
             WHERE id = $1 AND state = ANY($3) AND (NOT $4 OR code = $5)",
        )
        .bind(id.0)
        .bind(next.name())
        .bind(from)
        .bind(overwrite)
        .bind(Code::EhrChanged.as_str())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() != 1 {
            let only = if overwrite { ", or it is not held as ehr-changed" } else { "" };
            return Err(StoreError::Conflict(format!("the delivery's state does not allow it to become {next}{only}")));
        }
        let mut event = Event::ours(EventKind::DeliveryHold);
        event.actor = actor.to_owned();
        event.run = Some(RunId(run));
        event.study = Some(uid("runs", "study_uid", &study)?);
        event.peer = Some(destination);
        event.detail = json!({ "delivery": id, "to": next.name() });
        if overwrite {
            event.detail["overwrite"] = json!(true);
        }
        insert(&mut tx, &self.pseudonyms, &event).await?;
        settle_run(&mut tx, &self.pseudonyms, RunId(run)).await?;
        notify_outbox(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

struct Change<'a> {
    next: DeliveryState,
    failure: Option<&'a Failure>,
    response: Option<&'a Value>,
    delay: Duration,
    /// The attempt does not count.
    uncounted: bool,
}

impl Change<'_> {
    fn to(next: DeliveryState) -> Self {
        Self { next, failure: None, response: None, delay: Duration::ZERO, uncounted: false }
    }
}

/// Ends a claim. What would wait or fail although its run was replaced or cancelled is cancelled instead.
async fn apply(
    tx: &mut Tx,
    id: DeliveryId,
    token: FencingToken,
    change: &Change<'_>,
) -> Result<(RunId, Uid, String, DeliveryState)> {
    // The run first: concurrent deliveries of one run settle it one after the other.
    let found: Option<(Uuid, String)> = sqlx::query_as(
        "SELECT r.id, r.state FROM runs r JOIN deliveries d ON d.run_id = r.id WHERE d.id = $1 FOR UPDATE OF r",
    )
    .bind(id.0)
    .fetch_optional(&mut **tx)
    .await?;
    let Some((run, run_state)) = found else { return Err(StoreError::NotFound("delivery")) };
    let moot = run_state != RunState::Delivering.name() && change.next != DeliveryState::Delivered;
    let next = if moot { DeliveryState::Cancelled } else { change.next };
    let row: Option<(String, String)> = sqlx::query_as(
        "UPDATE deliveries SET state = $3, code = $4, detail = $5, response = coalesce($6, response),
             next_attempt_at = clock_timestamp() + make_interval(secs => $7), lease_until = NULL, updated_at = now(),
             delivered_at = CASE WHEN $3 = 'delivered' THEN clock_timestamp() END,
             attempts = greatest(attempts - $8, 0)
         WHERE id = $1 AND fence = $2 AND state = 'sending' RETURNING study_uid, destination",
    )
    .bind(id.0)
    .bind(token.0)
    .bind(next.name())
    .bind(change.failure.map(|f| f.code.as_str()))
    .bind(change.failure.map(|f| short(&f.detail)))
    .bind(change.response)
    .bind(seconds(change.delay))
    .bind(i32::from(change.uncounted))
    .fetch_optional(&mut **tx)
    .await?;
    let Some((study, destination)) = row else { return Err(StoreError::LeaseLost) };
    Ok((RunId(run), uid("deliveries", "study_uid", &study)?, destination, next))
}

/// Puts deliveries back whose worker died. Those of a replaced or cancelled run are cancelled.
async fn release_expired(tx: &mut Tx, destination: Destination) -> Result<()> {
    sqlx::query(
        "UPDATE deliveries SET lease_until = NULL, updated_at = now(), next_attempt_at = clock_timestamp(),
             state = CASE WHEN r.state = 'delivering' THEN 'pending' ELSE 'cancelled' END
         FROM runs r WHERE r.id = deliveries.run_id AND deliveries.id IN (
             SELECT id FROM deliveries WHERE destination = $1 AND state = 'sending' AND lease_until < clock_timestamp()
             FOR UPDATE SKIP LOCKED)",
    )
    .bind(destination.name())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn load(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<DeliveryRow>> {
    Ok(sqlx::query_as(
        "SELECT d.id, d.fence, d.run_id, d.study_uid, d.revision, d.destination, d.attempts, d.overwrite,
                r.patient_key, r.trace_context, a.kind, a.name, a.sop_class, a.sop_instance, a.series, b.bytes
         FROM deliveries d JOIN runs r ON r.id = d.run_id JOIN artefacts a ON a.id = d.artefact_id
              JOIN blobs b ON b.sha256 = a.sha256
         WHERE d.id = ANY($1) ORDER BY d.id",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?)
}

impl DeliveryRow {
    fn into_domain(self) -> Result<ClaimedDelivery> {
        let missing = StoreError::Corrupt { table: "runs", column: "patient_key" };
        Ok(ClaimedDelivery {
            id: DeliveryId(self.id),
            token: FencingToken(self.fence),
            run: RunId(self.run_id),
            study: uid("deliveries", "study_uid", &self.study_uid)?,
            revision: count("deliveries", "revision", self.revision)?,
            destination: parse("deliveries", "destination", &self.destination)?,
            attempt: count("deliveries", "attempts", self.attempts)?,
            patient: json("runs", "patient_key", self.patient_key.ok_or(missing)?)?,
            artefact: self.artefact.into_domain()?,
            trace_context: self.trace_context,
            overwrite: self.overwrite,
        })
    }
}

/// A failed run goes back to `delivering` when one of its deliveries is let go; an open one stays as it is.
pub(super) async fn reopen(tx: &mut Tx, pseudonyms: &Pseudonyms, run: RunId, study: &str, state: &str) -> Result<()> {
    let from: RunState = parse("runs", "state", state)?;
    if from == RunState::Delivering {
        return Ok(());
    }
    if from != RunState::Failed {
        return Err(StoreError::Conflict(format!("the run is {from}")));
    }
    let done = sqlx::query(
        "UPDATE runs SET state = 'delivering', ended_at = NULL, updated_at = now(), failure_code = NULL,
             failure_detail = NULL
         WHERE id = $1 AND state = 'failed'
           AND NOT EXISTS (SELECT 1 FROM runs n WHERE n.study_uid = $2 AND n.revision > runs.revision
                           AND n.state IN ('delivering', 'completed'))",
    )
    .bind(run.0)
    .bind(study)
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() != 1 {
        return Err(StoreError::Conflict("a newer revision took its place".into()));
    }
    let event = super::runs::state_event(run, &uid("runs", "study_uid", study)?, from, RunState::Delivering);
    insert(tx, pseudonyms, &event).await
}

/// Ends a delivering run whose deliveries leave nothing open: `completed` when all required ones were delivered (a
/// person may have discarded some), `failed` when one failed, `cancelled` when all were discarded.
pub(super) async fn settle_run(tx: &mut Tx, pseudonyms: &Pseudonyms, run: RunId) -> Result<RunState> {
    let (state, study): (String, String) = sqlx::query_as("SELECT state, study_uid FROM runs WHERE id = $1 FOR UPDATE")
        .bind(run.0)
        .fetch_one(&mut **tx)
        .await?;
    let state: RunState = parse("runs", "state", &state)?;
    if state != RunState::Delivering {
        return Ok(state);
    }
    let (open, failed, delivered, all): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE state IN ('pending', 'sending', 'held')),
                count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'delivered'), count(*)
         FROM deliveries WHERE run_id = $1 AND required",
    )
    .bind(run.0)
    .fetch_one(&mut **tx)
    .await?;
    let next = match (open, failed, delivered, all) {
        (0, 0, 0, 1..) => RunState::Cancelled,
        (0, 0, _, _) => RunState::Completed,
        (0, _, _, _) => RunState::Failed,
        // What waits behind a failed one can never be sent: the run has failed when nothing else moves.
        (_, 1.., _, _) if !can_move(tx, run).await? => RunState::Failed,
        _ => return Ok(state),
    };
    sqlx::query(
        "UPDATE runs SET state = $2, ended_at = now(), updated_at = now(),
             failure_code = CASE WHEN $2 = 'failed' THEN (SELECT code FROM deliveries
                 WHERE run_id = $1 AND state = 'failed' ORDER BY position LIMIT 1) END,
             failure_detail = CASE WHEN $2 = 'failed' THEN (SELECT detail FROM deliveries
                 WHERE run_id = $1 AND state = 'failed' ORDER BY position LIMIT 1) END
         WHERE id = $1 AND state = 'delivering'",
    )
    .bind(run.0)
    .bind(next.name())
    .execute(&mut **tx)
    .await?;
    let mut event = super::runs::state_event(run, &uid("runs", "study_uid", &study)?, state, next);
    if next == RunState::Failed {
        event.outcome = EventOutcome::SeriousFailure;
    }
    insert(tx, pseudonyms, &event).await?;
    Ok(next)
}

/// True when a required delivery of the run is open and no failed one of the same destination stands before it.
async fn can_move(tx: &mut Tx, run: RunId) -> Result<bool> {
    let (movable,): (bool,) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM deliveries d WHERE d.run_id = $1 AND d.required
             AND d.state IN ('pending', 'sending', 'held')
             AND NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.run_id = d.run_id AND o.destination = d.destination
                             AND o.position < d.position AND o.state = 'failed'))",
    )
    .bind(run.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(movable)
}
