//! Artefacts: bytes stored once by content, named per run, dropped after their keeping time.

use super::rows::{parse, uid};
use super::{Result, Store, StoreError, Tx};
use crate::domain::artefact::{Artefact, DicomIdentity};
use crate::domain::run::RunId;
use crate::domain::uid::Uid;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Columns of an artefact with its bytes.
#[derive(sqlx::FromRow)]
pub(super) struct ArtefactRow {
    kind: String,
    name: String,
    sop_class: Option<String>,
    sop_instance: Option<String>,
    series: Option<String>,
    bytes: Vec<u8>,
}

impl ArtefactRow {
    pub(super) fn into_domain(self) -> Result<Artefact> {
        let dicom = match (&self.sop_class, &self.sop_instance, &self.series) {
            (Some(class), Some(instance), Some(series)) => Some(DicomIdentity {
                sop_class: uid("artefacts", "sop_class", class)?,
                sop_instance: uid("artefacts", "sop_instance", instance)?,
                series: uid("artefacts", "series", series)?,
            }),
            _ => None,
        };
        Ok(Artefact { kind: parse("artefacts", "kind", &self.kind)?, name: self.name, dicom, bytes: self.bytes })
    }
}

impl Store {
    /// An artefact of a run by its name; `None` when there is none or its bytes were dropped.
    ///
    /// # Errors
    /// Of the database.
    pub async fn artefact(&self, run: RunId, name: &str) -> Result<Option<Artefact>> {
        let row: Option<ArtefactRow> = sqlx::query_as(
            "SELECT a.kind, a.name, a.sop_class, a.sop_instance, a.series, b.bytes
             FROM artefacts a JOIN blobs b USING (sha256) WHERE a.run_id = $1 AND a.name = $2",
        )
        .bind(run.0)
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        row.map(ArtefactRow::into_domain).transpose()
    }

    /// Drops the bytes of runs that ended more than `keep_days` ago and have nothing left to send. What was made and
    /// its digests stay. Returns how many artefacts lost their bytes.
    ///
    /// # Errors
    /// Of the database.
    pub async fn drop_old_artefacts(&self, keep_days: u32) -> Result<u64> {
        let mut tx = self.begin().await?;
        let expired = sqlx::query(
            "UPDATE artefacts SET expired_at = now() FROM runs r
             WHERE r.id = artefacts.run_id AND artefacts.expired_at IS NULL
               AND r.ended_at < now() - make_interval(days => $1)
               AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.run_id = r.id
                   AND (d.state IN ('pending', 'sending', 'held')
                        OR d.updated_at >= now() - make_interval(days => $1)))",
        )
        .bind(i32::try_from(keep_days).unwrap_or(i32::MAX))
        .execute(&mut *tx)
        .await?;
        // A blob goes with the last artefact that needs it. Blobs younger than an hour may belong to a result whose
        // transaction found them present and has not committed its own artefact row yet.
        sqlx::query(
            "DELETE FROM blobs b WHERE b.created_at < now() - interval '1 hour'
             AND NOT EXISTS (SELECT 1 FROM artefacts a WHERE a.sha256 = b.sha256 AND a.expired_at IS NULL)",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(expired.rows_affected())
    }
}

/// Drops old bytes every hour until told to stop, see [`Store::drop_old_artefacts`]. Trouble is waited out.
pub async fn keep_house(store: Store, keep_days: u32, stop: CancellationToken) {
    let mut hours = tokio::time::interval(Duration::from_secs(3600));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hours.tick() => {}
        }
        match store.drop_old_artefacts(keep_days).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "bytes of old artefacts dropped"),
            Err(error) => tracing::warn!(%error, "old artefacts cannot be dropped now"),
        }
    }
}

/// Stores an artefact with its bytes, and remembers DICOM objects as ours. Returns its id.
pub(super) async fn insert_artefact(tx: &mut Tx, run: RunId, study: &Uid, artefact: &Artefact) -> Result<Uuid> {
    let (id, sha256) = (Uuid::now_v7(), artefact.sha256());
    let size = i64::try_from(artefact.bytes.len())
        .map_err(|_| StoreError::Other("an artefact is too large to be stored".into()))?;
    // Touching the row of bytes that are there already locks it against the clean-up until this commits.
    sqlx::query(
        "INSERT INTO blobs (sha256, bytes) VALUES ($1, $2) ON CONFLICT (sha256) DO UPDATE SET created_at = now()",
    )
    .bind(&sha256)
    .bind(&artefact.bytes)
    .execute(&mut **tx)
    .await?;
    let dicom = artefact.dicom.as_ref();
    sqlx::query(
        "INSERT INTO artefacts (id, run_id, kind, name, sha256, size, sop_class, sop_instance, series)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id)
    .bind(run.0)
    .bind(artefact.kind.name())
    .bind(&artefact.name)
    .bind(&sha256)
    .bind(size)
    .bind(dicom.map(|d| d.sop_class.as_str()))
    .bind(dicom.map(|d| d.sop_instance.as_str()))
    .bind(dicom.map(|d| d.series.as_str()))
    .execute(&mut **tx)
    .await?;
    if let Some(dicom) = dicom {
        super::own::remember(tx, run, study, dicom).await?;
    }
    Ok(id)
}
