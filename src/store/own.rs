//! Which objects are ours: SOP and Series Instance UIDs that we wrote, and nothing inferred.

use super::{Result, Store, StoreError, Tx};
use crate::domain::artefact::DicomIdentity;
use crate::domain::run::RunId;
use crate::domain::uid::Uid;
use std::collections::HashSet;

/// Our objects in one study.
#[derive(Debug, Clone, Default)]
pub struct OwnObjects {
    series: HashSet<String>,
    instances: HashSet<String>,
    /// How many of them a PACS confirmed to hold: subtract from its instance count.
    pub delivered: u32,
}

impl OwnObjects {
    /// True when the series is one that we wrote.
    pub fn has_series(&self, series: &Uid) -> bool {
        self.series.contains(series.as_str())
    }

    /// True when the instance is one that we wrote.
    pub fn has_instance(&self, instance: &Uid) -> bool {
        self.instances.contains(instance.as_str())
    }

    /// True when either UID is ours.
    pub fn owns(&self, series: &Uid, instance: &Uid) -> bool {
        self.has_series(series) || self.has_instance(instance)
    }

    /// True when we never wrote into the study.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}

impl Store {
    /// Everything that we wrote, or are about to write, into a study.
    ///
    /// # Errors
    /// Of the database.
    pub async fn own_objects(&self, study: &Uid) -> Result<OwnObjects> {
        let rows: Vec<(String, String, bool)> = sqlx::query_as(
            "SELECT o.sop_instance, o.series, EXISTS (
                 SELECT 1 FROM artefacts a JOIN deliveries d ON d.artefact_id = a.id
                 WHERE a.run_id = o.run_id AND a.sop_instance = o.sop_instance
                   AND d.destination = 'pacs' AND d.state = 'delivered')
             FROM own_objects o WHERE o.study_uid = $1",
        )
        .bind(study.as_str())
        .fetch_all(&self.pool)
        .await?;
        let mut own = OwnObjects::default();
        for (instance, series, delivered) in rows {
            own.instances.insert(instance);
            own.series.insert(series);
            own.delivered += u32::from(delivered);
        }
        Ok(own)
    }

    /// Objects of earlier revisions that a PACS holds (or is being sent) and no rejection note has retired yet, oldest
    /// first. A note of revision `k` retired everything before `k`.
    ///
    /// # Errors
    /// Of the database; [`StoreError::Corrupt`] when a UID cannot be one.
    pub async fn outdated_objects(&self, study: &Uid, revision: u32) -> Result<Vec<DicomIdentity>> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT a.sop_instance, o.series, o.sop_class
             FROM own_objects o
             JOIN runs r ON r.id = o.run_id
             JOIN artefacts a ON a.run_id = o.run_id AND a.sop_instance = o.sop_instance
             JOIN deliveries d ON d.artefact_id = a.id AND d.destination = 'pacs' AND d.state IN ('delivered', 'sending')
             WHERE o.study_uid = $1 AND r.revision < $2 AND a.kind <> 'rejection-note'
               AND r.revision >= (SELECT coalesce(max(n.revision), 0) FROM artefacts k JOIN runs n ON n.id = k.run_id
                                  WHERE n.study_uid = $1 AND n.revision < $2 AND k.kind = 'rejection-note')
             ORDER BY r.revision, d.position",
        )
        .bind(study.as_str())
        .bind(i64::from(revision))
        .fetch_all(&self.pool)
        .await?;
        let uid =
            |text: &str| Uid::parse(text).map_err(|_| StoreError::Corrupt { table: "own_objects", column: "a UID" });
        rows.iter()
            .map(|(instance, series, class)| {
                Ok(DicomIdentity { sop_class: uid(class)?, sop_instance: uid(instance)?, series: uid(series)? })
            })
            .collect()
    }

    /// True when a SOP or Series Instance UID is one that we wrote, in whatever study.
    ///
    /// # Errors
    /// Of the database.
    pub async fn is_own(&self, uid: &Uid) -> Result<bool> {
        let (own,): (bool,) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM own_objects WHERE sop_instance = $1)
                 OR EXISTS (SELECT 1 FROM own_objects WHERE series = $1)",
        )
        .bind(uid.as_str())
        .fetch_one(&self.pool)
        .await?;
        Ok(own)
    }
}

/// Remembers an object before it is sent, so that it is known as ours even when the answer gets lost.
pub(super) async fn remember(tx: &mut Tx, run: RunId, study: &Uid, dicom: &DicomIdentity) -> Result<()> {
    sqlx::query(
        "INSERT INTO own_objects (sop_instance, series, sop_class, study_uid, run_id) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(dicom.sop_instance.as_str())
    .bind(dicom.series.as_str())
    .bind(dicom.sop_class.as_str())
    .bind(study.as_str())
    .bind(run.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
