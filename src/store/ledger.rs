//! The sealed ledger: chaining committed events, reading the chain, checkpoints, partitions.

use super::audit::StoredEvent;
use super::{Result, Store, StoreError};
use crate::audit::chain::{Hash, Link, event_hash, genesis};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

/// Advisory lock of the one sealer.
const SEALER_LOCK: i64 = 7_382_010;

/// The newest link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Its position; 0 = nothing is sealed yet.
    pub sequence: u64,
    /// Its digest; the genesis when nothing is sealed yet.
    pub hash: Hash,
}

/// A link as it is stored, with its event if that is still there.
#[derive(Debug, Clone)]
pub struct ChainRow {
    /// What it covers.
    pub link: Link,
    /// Its digest.
    pub hash: Hash,
    /// The event.
    pub event: Option<StoredEvent>,
}

/// What is not in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsealed {
    /// Committed events that wait for the sealer.
    pub waiting: u64,
    /// When the oldest of them was recorded.
    pub oldest: Option<OffsetDateTime>,
    /// Events that were deleted while they waited.
    pub lost: u64,
    /// Events that neither wait nor are sealed: put in, or taken off the waiting list, behind our back.
    pub unaccounted: u64,
}

/// A checkpoint as the table holds it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredCheckpoint {
    /// Head of the chain that it signs.
    pub sequence: i64,
    /// `periodic` or `month`.
    pub kind: String,
    /// First day of the month that it closes.
    pub month: Option<Date>,
    /// When it was made.
    pub made_at: OffsetDateTime,
    /// The signed file.
    pub document: String,
}

impl Store {
    /// Identity of the ledger.
    ///
    /// # Errors
    /// Of the database.
    pub async fn ledger_id(&self) -> Result<Uuid> {
        Ok(sqlx::query_scalar("SELECT id FROM audit_ledger").fetch_one(&self.pool).await?)
    }

    /// The newest link.
    ///
    /// # Errors
    /// Of the database.
    pub async fn chain_head(&self) -> Result<ChainHead> {
        let mut connection = self.pool.acquire().await?;
        head(&mut connection).await
    }

    /// Chains up to `limit` committed events. `None` when another process seals at this moment.
    ///
    /// # Errors
    /// Of the database.
    pub async fn seal_batch(&self, limit: u32) -> Result<Option<u64>> {
        let mut tx = self.begin().await?;
        let locked: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(SEALER_LOCK).fetch_one(&mut *tx).await?;
        if !locked {
            return Ok(None);
        }
        // What waits is listed by itself, so an event that was recorded early and committed late is never passed over.
        // Identifiers grow with time, so the primary key gives the order; OFFSET 0 keeps the planner from joining a
        // whole backlog for one batch.
        let events: Vec<(Uuid, OffsetDateTime, String)> = sqlx::query_as(
            "SELECT e.id, e.recorded_at, e.canonical
             FROM audit_pending p CROSS JOIN LATERAL (
                 SELECT id, recorded_at, canonical FROM audit_events
                 WHERE recorded_at = p.recorded_at AND id = p.event_id OFFSET 0) e
             ORDER BY p.event_id LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        if events.is_empty() {
            return Ok(Some(0));
        }
        let sealed: OffsetDateTime = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *tx).await?;
        let head = head(&mut tx).await?;
        let rows = Links::on(head, sealed, &events);
        sqlx::query("DELETE FROM audit_pending WHERE event_id = ANY($1)").bind(&rows.ids).execute(&mut *tx).await?;
        rows.insert(&mut tx, sealed).await?;
        tx.commit().await?;
        Ok(Some(events.len() as u64))
    }

    /// Links after a position, in order, with their events.
    ///
    /// # Errors
    /// Of the database; [`StoreError::Corrupt`] when a column cannot be what it says.
    pub async fn chain_after(&self, sequence: u64, limit: u32) -> Result<Vec<ChainRow>> {
        let rows = sqlx::query(
            "SELECT c.sequence, c.event_id, c.recorded_at, c.sealed_at, c.event_hash, c.chain_hash,
                    e.id, e.canonical, e.kind, e.outcome, e.actor, e.subject, e.run_id, e.peer
             FROM audit_chain c LEFT JOIN audit_events e ON e.recorded_at = c.recorded_at AND e.id = c.event_id
             WHERE c.sequence > $1 ORDER BY c.sequence LIMIT $2",
        )
        .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(chain_row).collect()
    }

    /// What is not in the chain, in one consistent look.
    ///
    /// # Errors
    /// Of the database.
    pub async fn unsealed(&self) -> Result<Unsealed> {
        let (waiting, oldest, lost, unaccounted): (i64, Option<OffsetDateTime>, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM audit_pending),
                    (SELECT min(recorded_at) FROM audit_pending),
                    (SELECT count(*) FROM audit_pending p WHERE NOT EXISTS (
                        SELECT 1 FROM audit_events e WHERE e.recorded_at = p.recorded_at AND e.id = p.event_id)),
                    (SELECT count(*) FROM audit_events e
                     WHERE NOT EXISTS (SELECT 1 FROM audit_chain c WHERE c.event_id = e.id)
                       AND NOT EXISTS (SELECT 1 FROM audit_pending p WHERE p.event_id = e.id))",
        )
        .fetch_one(&self.pool)
        .await?;
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(Unsealed { waiting: number(waiting), oldest, lost: number(lost), unaccounted: number(unaccounted) })
    }

    /// Position and digest in the chain of those events that are sealed.
    ///
    /// # Errors
    /// Of the database.
    pub async fn positions(&self, events: &[Uuid]) -> Result<HashMap<Uuid, ChainHead>> {
        let rows: Vec<(Uuid, i64, Vec<u8>)> =
            sqlx::query_as("SELECT event_id, sequence, chain_hash FROM audit_chain WHERE event_id = ANY($1)")
                .bind(events)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter()
            .map(|(id, sequence, digest)| Ok((id, ChainHead { sequence: position(sequence)?, hash: hash(&digest)? })))
            .collect()
    }

    /// Events recorded in [`from`, `until`), and how many of them are not sealed.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_events(&self, from: OffsetDateTime, until: OffsetDateTime) -> Result<(u64, u64)> {
        let (all, unsealed): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM audit_events WHERE recorded_at >= $1 AND recorded_at < $2),
                    (SELECT count(*) FROM audit_pending WHERE recorded_at >= $1 AND recorded_at < $2)",
        )
        .bind(from)
        .bind(until)
        .fetch_one(&self.pool)
        .await?;
        Ok((u64::try_from(all).unwrap_or(0), u64::try_from(unsealed).unwrap_or(0)))
    }

    /// Writes a checkpoint into its table, with the event that tells of it.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_checkpoint(
        &self,
        checkpoint: &StoredCheckpoint,
        event: &crate::domain::events::Event,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO audit_checkpoints (sequence, kind, month, made_at, document) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(checkpoint.sequence)
        .bind(&checkpoint.kind)
        .bind(checkpoint.month)
        .bind(checkpoint.made_at)
        .bind(&checkpoint.document)
        .execute(&mut *tx)
        .await?;
        super::audit::insert(&mut tx, &self.pseudonyms, event).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Every checkpoint in the table, oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn checkpoints(&self) -> Result<Vec<StoredCheckpoint>> {
        Ok(sqlx::query_as(
            "SELECT sequence, kind, month, made_at, document FROM audit_checkpoints ORDER BY sequence, made_at",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Makes the partitions of the coming months. Returns how many events stand in the default partition: more than
    /// none is an alarm, because no month was made for them.
    ///
    /// # Errors
    /// Of the database.
    pub async fn upkeep_partitions(&self) -> Result<u64> {
        sqlx::query("SELECT audit_make_partitions(3)").execute(&self.pool).await?;
        // The partition itself is not readable by us: rows of the parent say which table they stand in.
        let astray: i64 =
            sqlx::query_scalar("SELECT count(*) FROM audit_events WHERE tableoid = 'audit_events_default'::regclass")
                .fetch_one(&self.pool)
                .await?;
        Ok(u64::try_from(astray).unwrap_or(0))
    }
}

/// Rows of the chain to insert, for one statement.
#[derive(Default)]
struct Links {
    sequences: Vec<i64>,
    ids: Vec<Uuid>,
    recorded: Vec<OffsetDateTime>,
    event_hashes: Vec<Vec<u8>>,
    hashes: Vec<Vec<u8>>,
}

impl Links {
    fn on(head: ChainHead, sealed: OffsetDateTime, events: &[(Uuid, OffsetDateTime, String)]) -> Self {
        let (mut rows, mut previous) = (Self::default(), head.hash);
        for (sequence, (id, recorded, canonical)) in (head.sequence + 1..).zip(events) {
            let link = Link { sequence, event: *id, recorded: *recorded, sealed, event_hash: event_hash(canonical) };
            previous = link.hash(&previous);
            rows.sequences.push(i64::try_from(sequence).unwrap_or(i64::MAX));
            rows.ids.push(*id);
            rows.recorded.push(*recorded);
            rows.event_hashes.push(link.event_hash.to_vec());
            rows.hashes.push(previous.to_vec());
        }
        rows
    }

    async fn insert(&self, tx: &mut super::Tx, sealed: OffsetDateTime) -> Result<()> {
        sqlx::query(
            "INSERT INTO audit_chain (sequence, event_id, recorded_at, event_hash, chain_hash, sealed_at)
             SELECT *, $6 FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::bytea[], $5::bytea[])",
        )
        .bind(&self.sequences)
        .bind(&self.ids)
        .bind(&self.recorded)
        .bind(&self.event_hashes)
        .bind(&self.hashes)
        .bind(sealed)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

async fn head(connection: &mut sqlx::PgConnection) -> Result<ChainHead> {
    let row: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT sequence, chain_hash FROM audit_chain ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await?;
    match row {
        Some((sequence, digest)) => Ok(ChainHead { sequence: position(sequence)?, hash: hash(&digest)? }),
        None => {
            let ledger: Uuid = sqlx::query_scalar("SELECT id FROM audit_ledger").fetch_one(connection).await?;
            Ok(ChainHead { sequence: 0, hash: genesis(ledger) })
        }
    }
}

fn chain_row(row: &PgRow) -> Result<ChainRow> {
    let recorded: OffsetDateTime = row.try_get("recorded_at")?;
    let event = match row.try_get::<Option<Uuid>, _>("id")? {
        None => None,
        Some(id) => Some(StoredEvent {
            id,
            recorded_at: recorded,
            canonical: row.try_get("canonical")?,
            kind: row.try_get("kind")?,
            outcome: row.try_get("outcome")?,
            actor: row.try_get("actor")?,
            subject: row.try_get("subject")?,
            run_id: row.try_get("run_id")?,
            peer: row.try_get("peer")?,
        }),
    };
    Ok(ChainRow {
        link: Link {
            sequence: position(row.try_get("sequence")?)?,
            event: row.try_get("event_id")?,
            recorded,
            sealed: row.try_get("sealed_at")?,
            event_hash: hash(&row.try_get::<Vec<u8>, _>("event_hash")?)?,
        },
        hash: hash(&row.try_get::<Vec<u8>, _>("chain_hash")?)?,
        event,
    })
}

fn hash(bytes: &[u8]) -> Result<Hash> {
    bytes.try_into().map_err(|_| StoreError::Corrupt { table: "audit_chain", column: "chain_hash" })
}

fn position(sequence: i64) -> Result<u64> {
    u64::try_from(sequence).map_err(|_| StoreError::Corrupt { table: "audit_chain", column: "sequence" })
}
