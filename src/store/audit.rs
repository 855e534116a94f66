//! Audit events: written in the transaction of the act, read by filter; and the erasable identities behind pseudonyms.

use super::{Result, Store, StoreError, Tx};
use crate::audit::canonical;
use crate::audit::pseudonym::Pseudonyms;
use crate::domain::events::Event;
use crate::domain::identity::StudyIdentity;
use crate::domain::run::RunId;
use crate::domain::uid::Uid;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// An event as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct StoredEvent {
    /// Identity.
    pub id: Uuid,
    /// When it was recorded, to the microsecond.
    pub recorded_at: OffsetDateTime,
    /// The bytes that are hashed, see [`crate::audit::canonical`].
    pub canonical: String,
    /// Kind's name.
    pub kind: String,
    /// Outcome's name.
    pub outcome: String,
    /// Who acted.
    pub actor: String,
    /// Pseudonym of the study.
    pub subject: Option<String>,
    /// Run.
    pub run_id: Option<Uuid>,
    /// Other system.
    pub peer: Option<String>,
}

impl StoredEvent {
    /// The `detail` of the canonical form.
    pub fn detail(&self) -> Value {
        serde_json::from_str::<Value>(&self.canonical)
            .ok()
            .and_then(|mut value| value.get_mut("detail").map(Value::take))
            .unwrap_or(Value::Null)
    }
}

/// Which events to read.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only events of this run.
    pub run: Option<RunId>,
    /// Only events about these pseudonyms; see [`Store::subjects_of_patient`].
    pub subjects: Option<Vec<String>>,
    /// Only events of these kinds; empty = all.
    pub kinds: Vec<String>,
    /// Only events of this actor.
    pub actor: Option<String>,
    /// Recorded at this time or later.
    pub from: Option<OffsetDateTime>,
    /// Recorded before this time.
    pub until: Option<OffsetDateTime>,
    /// Only events after this one: the last (recorded, id) of the page before.
    pub after: Option<(OffsetDateTime, Uuid)>,
}

/// Who stands behind a pseudonym.
#[derive(Clone, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct SubjectIdentity {
    pub pseudonym: String,
    pub study_uid: String,
    pub patient_id: Option<String>,
    pub issuer_of_patient_id: Option<String>,
    pub patient_name: Option<String>,
    pub accession_number: Option<String>,
}

impl std::fmt::Debug for SubjectIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectIdentity(redacted)")
    }
}

/// Writes one event into the transaction of its act.
pub(crate) async fn insert(tx: &mut Tx, pseudonyms: &Pseudonyms, event: &Event) -> Result<()> {
    insert_all(tx, pseudonyms, std::slice::from_ref(event)).await
}

/// Writes events into the transaction of their act, unchained; the sealer finds them when the transaction committed.
pub(crate) async fn insert_all(tx: &mut Tx, pseudonyms: &Pseudonyms, events: &[Event]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut rows = Columns::default();
    for event in events {
        rows.push(event, pseudonyms);
    }
    rows.subjects.sort_unstable();
    rows.subjects.dedup();
    let (names, studies): (Vec<String>, Vec<String>) = rows.subjects.into_iter().unzip();
    // One statement: a round trip less in every transaction of the gateway.
    sqlx::query(
        "WITH event AS (
             INSERT INTO audit_events (id, recorded_at, canonical, kind, outcome, actor, subject, run_id, peer)
             SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[],
                                  $7::text[], $8::uuid[], $9::text[])),
         subject AS (
             INSERT INTO audit_subjects (pseudonym, study_uid) SELECT * FROM unnest($10::text[], $11::text[])
             ON CONFLICT (pseudonym) DO NOTHING)
         INSERT INTO audit_pending (event_id, recorded_at) SELECT * FROM unnest($1::uuid[], $2::timestamptz[])",
    )
    .bind(rows.ids)
    .bind(rows.recorded)
    .bind(rows.canonical)
    .bind(rows.kinds)
    .bind(rows.outcomes)
    .bind(rows.actors)
    .bind(rows.pseudonyms)
    .bind(rows.runs)
    .bind(rows.peers)
    .bind(names)
    .bind(studies)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Columns of the events to insert, for one statement.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    recorded: Vec<OffsetDateTime>,
    canonical: Vec<String>,
    kinds: Vec<&'static str>,
    outcomes: Vec<&'static str>,
    actors: Vec<String>,
    pseudonyms: Vec<Option<String>>,
    runs: Vec<Option<Uuid>>,
    peers: Vec<Option<String>>,
    /// (pseudonym, study) of all events.
    subjects: Vec<(String, String)>,
}

impl Columns {
    fn push(&mut self, event: &Event, pseudonyms: &Pseudonyms) {
        let (id, recorded) = (Uuid::now_v7(), canonical::to_micros(OffsetDateTime::now_utc()));
        let subject = event.study.as_ref().map(|study| pseudonyms.study(study));
        self.canonical.push(canonical::of(event, id, recorded, subject.as_deref()));
        self.ids.push(id);
        self.recorded.push(recorded);
        self.kinds.push(event.kind.name());
        self.outcomes.push(canonical::outcome_name(event.outcome));
        self.actors.push(event.actor.clone());
        self.runs.push(event.run.map(|r| r.0));
        self.peers.push(event.peer.clone());
        if let (Some(subject), Some(study)) = (&subject, &event.study) {
            self.subjects.push((subject.clone(), study.as_str().to_owned()));
        }
        self.pseudonyms.push(subject);
    }
}

/// Writes down who stands behind a study's pseudonym.
pub(super) async fn upsert_subject(tx: &mut Tx, pseudonyms: &Pseudonyms, identity: &StudyIdentity) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit_subjects
             (pseudonym, study_uid, patient_id, issuer_of_patient_id, patient_name, accession_number)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (pseudonym) DO UPDATE SET patient_id = EXCLUDED.patient_id, updated_at = now(),
             issuer_of_patient_id = EXCLUDED.issuer_of_patient_id, patient_name = EXCLUDED.patient_name,
             accession_number = EXCLUDED.accession_number",
    )
    .bind(pseudonyms.study(&identity.study))
    .bind(identity.study.as_str())
    .bind(&identity.patient_id)
    .bind(&identity.issuer_of_patient_id)
    .bind(&identity.patient_name)
    .bind(&identity.accession_number)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Store {
    /// Events that pass a filter, oldest first, at most `limit`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn audit_events(&self, filter: &EventFilter, limit: u32) -> Result<Vec<StoredEvent>> {
        let (after_time, after_id) = filter.after.unzip();
        Ok(sqlx::query_as(
            "SELECT id, recorded_at, canonical, kind, outcome, actor, subject, run_id, peer FROM audit_events
             WHERE ($1::uuid IS NULL OR run_id = $1)
               AND ($2::text[] IS NULL OR subject = ANY($2))
               AND (cardinality($3::text[]) = 0 OR kind = ANY($3))
               AND ($4::text IS NULL OR actor = $4)
               AND recorded_at >= coalesce($5::timestamptz, '-infinity')
               AND recorded_at < coalesce($6::timestamptz, 'infinity')
               AND (recorded_at, id) > (coalesce($7::timestamptz, '-infinity'),
                                        coalesce($8::uuid, '00000000-0000-0000-0000-000000000000'))
             ORDER BY recorded_at, id LIMIT $9",
        )
        .bind(filter.run.map(|r| r.0))
        .bind(filter.subjects.as_ref())
        .bind(&filter.kinds)
        .bind(filter.actor.as_ref())
        .bind(filter.from)
        .bind(filter.until)
        .bind(after_time)
        .bind(after_id)
        .bind(i64::from(limit))
        // Values decide which index serves: a plan made once for all filters would be the wrong one for most.
        .persistent(false)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Pseudonyms of a patient's studies, for [`EventFilter::subjects`]; empty after an erasure.
    ///
    /// # Errors
    /// Of the database.
    pub async fn subjects_of_patient(&self, patient_id: &str) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT pseudonym FROM audit_subjects WHERE patient_id = $1")
            .bind(patient_id)
            .fetch_all(&self.pool)
            .await?)
    }

    /// Pseudonyms of a study, for [`EventFilter::subjects`]: by the key, and by the side table for those without a key.
    ///
    /// # Errors
    /// Of the database.
    pub async fn subjects_of_study(&self, study: &Uid) -> Result<Vec<String>> {
        let mut found: Vec<String> = sqlx::query_scalar("SELECT pseudonym FROM audit_subjects WHERE study_uid = $1")
            .bind(study.as_str())
            .fetch_all(&self.pool)
            .await?;
        let keyed = self.pseudonyms.study(study);
        if !found.contains(&keyed) {
            found.push(keyed);
        }
        Ok(found)
    }

    /// Records an export, before it is made. The auditor's role, which may insert nothing, records it through a function
    /// of the database, under the name that it logged in with; `subjects` are the pseudonyms that it asks about.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record_export(&self, event: &Event, subjects: &[String]) -> Result<()> {
        let (may_insert, user): (bool, String) =
            sqlx::query_as("SELECT has_table_privilege('audit_events', 'INSERT'), session_user::text")
                .fetch_one(&self.pool)
                .await?;
        if may_insert {
            return self.record(std::slice::from_ref(event)).await;
        }
        let event = Event { actor: format!("{user}/{}", event.actor), ..event.clone() };
        let (id, recorded) = (Uuid::now_v7(), canonical::to_micros(OffsetDateTime::now_utc()));
        let text = canonical::of(&event, id, recorded, subjects.first().map(String::as_str));
        sqlx::query("SELECT audit_record_export($1, $2, $3)")
            .bind(id)
            .bind(recorded)
            .bind(text)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Who stands behind pseudonyms; those that were erased are missing.
    ///
    /// # Errors
    /// Of the database.
    pub async fn subjects(&self, pseudonyms: &[String]) -> Result<Vec<SubjectIdentity>> {
        Ok(sqlx::query_as(
            "SELECT pseudonym, study_uid, patient_id, issuer_of_patient_id, patient_name, accession_number
             FROM audit_subjects WHERE pseudonym = ANY($1)",
        )
        .bind(pseudonyms)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Erases who stands behind a study's pseudonym; the chain does not change. Returns whether there was anything.
    ///
    /// # Errors
    /// Of the database.
    pub async fn erase_subject(&self, study: &Uid, event: &Event) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM audit_subjects WHERE pseudonym = $1")
            .bind(self.pseudonyms.study(study))
            .execute(&mut *tx)
            .await?;
        if event.study.is_some() {
            return Err(StoreError::Conflict("the event of an erasure may not name the study again".into()));
        }
        insert(&mut tx, &self.pseudonyms, event).await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}
