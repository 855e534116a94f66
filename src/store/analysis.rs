//! The step into the outbox: artefacts, own objects, deliveries, state and events commit together.

use super::artefacts::insert_artefact;
use super::audit::{insert, insert_all, upsert_subject};
use super::outbox::settle_run;
use super::runs::{end_attempt, move_claimed, state_event};
use super::{Result, Store, StoreError, Tx};
use crate::audit::pseudonym::Pseudonyms;
use crate::domain::artefact::Artefact;
use crate::domain::delivery::Destination;
use crate::domain::events::{Event, EventKind};
use crate::domain::identity::StudyIdentity;
use crate::domain::provenance::PipelineVersion;
use crate::domain::run::{FencingToken, RunId, RunState};
use crate::domain::uid::Uid;
use crate::failure::Code;
use serde_json::{Value, json};
use std::collections::HashMap;
use uuid::Uuid;

/// A result on its way into the outbox.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Digest of the instances that were selected.
    pub selection_digest: String,
    /// Version of the pipeline that made the result.
    pub pipeline_version: PipelineVersion,
    /// Whose study it is; kept for the check just before each delivery and for the audit trail's erasable side table.
    pub identity: StudyIdentity,
    /// The measures as JSON.
    pub measures: Value,
    /// Everything that was made; names are unique.
    pub artefacts: Vec<Artefact>,
    /// W3C traceparent of the work that made it: its deliveries continue that trace.
    pub trace_context: Option<String>,
    /// What goes where. Order matters within a destination: a later one waits until the earlier ones are delivered.
    pub deliveries: Vec<NewDelivery>,
}

/// One artefact for one destination.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Where it goes.
    pub destination: Destination,
    /// Name of the artefact.
    pub artefact: String,
    /// Set when a person must release it first (`needs-review`, `destination-held`).
    pub hold: Option<Code>,
    /// False for what may fail without keeping the run from `completed`.
    pub required: bool,
}

impl NewDelivery {
    /// A delivery that is required and goes at once.
    pub fn now(destination: Destination, artefact: &str) -> Self {
        Self { destination, artefact: artefact.to_owned(), hold: None, required: true }
    }

    /// A required delivery that waits for a person.
    pub fn held(destination: Destination, artefact: &str, reason: Code) -> Self {
        Self { hold: Some(reason), ..Self::now(destination, artefact) }
    }
}

impl Store {
    /// Puts a result into the outbox: the run becomes `delivering` (or `completed` when nothing is to be sent), unsent
    /// deliveries of older revisions are cancelled and their runs superseded. Returns the run's state.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the token is old; [`StoreError::Conflict`] when a delivery names no artefact.
    pub async fn finish_analysis(
        &self,
        run: RunId,
        token: FencingToken,
        finished: &Finished,
        events: &[Event],
    ) -> Result<RunState> {
        let mut tx = self.begin().await?;
        // Same order of locks as a submission: the study first, then its runs.
        super::studies::lock_study(&mut tx, &finished.identity.study).await?;
        let study = move_claimed(&mut tx, run, token, &[RunState::Analyzing], RunState::Delivering).await?;
        if study != finished.identity.study {
            return Err(StoreError::Conflict("the result belongs to another study".into()));
        }
        let revision = record_result(&mut tx, run, finished).await?;
        cancel_older(&mut tx, &self.pseudonyms, &study, revision).await?;
        let mut ids: HashMap<&str, Uuid> = HashMap::new();
        for artefact in &finished.artefacts {
            ids.insert(&artefact.name, insert_artefact(&mut tx, run, &study, artefact).await?);
        }
        insert_deliveries(&mut tx, run, &study, revision, &finished.deliveries, &ids).await?;
        end_attempt(&mut tx, run, "analyzed", None).await?;
        upsert_subject(&mut tx, &self.pseudonyms, &finished.identity).await?;
        let mut event = state_event(run, &study, RunState::Analyzing, RunState::Delivering);
        event.detail["artefacts"] =
            finished.artefacts.iter().map(|a| json!({ "kind": a.kind.name(), "sha256": a.sha256() })).collect();
        event.detail["pipeline_version"] = json!(finished.pipeline_version.as_str());
        insert(&mut tx, &self.pseudonyms, &event).await?;
        insert_all(&mut tx, &self.pseudonyms, events).await?;
        let state = settle_run(&mut tx, &self.pseudonyms, run).await?;
        super::listen::notify_outbox(&mut tx).await?;
        tx.commit().await?;
        Ok(state)
    }
}

async fn record_result(tx: &mut Tx, run: RunId, finished: &Finished) -> Result<i32> {
    let key = serde_json::to_value(finished.identity.patient_key())
        .map_err(|_| StoreError::Other("the patient key cannot be written as JSON".into()))?;
    let (revision,): (i32,) = sqlx::query_as(
        "UPDATE runs SET selection_digest = $2, pipeline_version = $3, measures = $4, patient_key = $5,
             failure_code = NULL, failure_detail = NULL, trace_context = coalesce($6, trace_context)
         WHERE id = $1 RETURNING revision",
    )
    .bind(run.0)
    .bind(&finished.selection_digest)
    .bind(finished.pipeline_version.as_str())
    .bind(&finished.measures)
    .bind(key)
    .bind(&finished.trace_context)
    .fetch_one(&mut **tx)
    .await?;
    Ok(revision)
}

async fn insert_deliveries(
    tx: &mut Tx,
    run: RunId,
    study: &Uid,
    revision: i32,
    deliveries: &[NewDelivery],
    artefacts: &HashMap<&str, Uuid>,
) -> Result<()> {
    for (position, delivery) in (0_i32..).zip(deliveries) {
        let artefact = artefacts
            .get(delivery.artefact.as_str())
            .ok_or_else(|| StoreError::Conflict("a delivery names an artefact that was not made".into()))?;
        sqlx::query(
            "INSERT INTO deliveries
                 (id, run_id, study_uid, revision, destination, artefact_id, position, required, state, code)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(Uuid::now_v7())
        .bind(run.0)
        .bind(study.as_str())
        .bind(revision)
        .bind(delivery.destination.name())
        .bind(artefact)
        .bind(position)
        .bind(delivery.required)
        .bind(if delivery.hold.is_some() { "held" } else { "pending" })
        .bind(delivery.hold.map(Code::as_str))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// A newer revision cancels what older ones have not sent; what is in flight ends by itself and is waited for.
async fn cancel_older(tx: &mut Tx, pseudonyms: &Pseudonyms, study: &Uid, revision: i32) -> Result<()> {
    // Runs before deliveries: the order of locks everywhere.
    let ended: Vec<(Uuid,)> = sqlx::query_as(
        "UPDATE runs SET state = 'superseded', updated_at = now(), ended_at = now()
         WHERE study_uid = $1 AND revision < $2 AND state = 'delivering' RETURNING id",
    )
    .bind(study.as_str())
    .bind(revision)
    .fetch_all(&mut **tx)
    .await?;
    for (old,) in ended {
        let event = state_event(RunId(old), study, RunState::Delivering, RunState::Superseded);
        insert(tx, pseudonyms, &event).await?;
    }
    let cancelled: Vec<(Uuid, String)> = sqlx::query_as(
        "UPDATE deliveries SET state = 'cancelled', updated_at = now(), lease_until = NULL
         WHERE study_uid = $1 AND revision < $2 AND state IN ('pending', 'held', 'failed')
         RETURNING run_id, destination",
    )
    .bind(study.as_str())
    .bind(revision)
    .fetch_all(&mut **tx)
    .await?;
    for (run, destination) in cancelled {
        let mut event = Event::ours(EventKind::DeliveryHold);
        event.run = Some(RunId(run));
        event.study = Some(study.clone());
        event.peer = Some(destination);
        event.detail = json!({ "to": "cancelled", "reason": "newer-revision" });
        insert(tx, pseudonyms, &event).await?;
    }
    Ok(())
}
