//! Postgres repositories, one file per table group; the only room with SQL.
//!
//! Every operation is one transaction: state, outbox rows and audit events commit together or not at all. Every UPDATE
//! names the state (and the fencing token) it expects and checks how many rows it met. Times come from the database's
//! clock, so that processes with different clocks agree on leases. Rows are private; outside stand domain types.

mod analysis;
mod artefacts;
mod audit;
mod error;
mod ledger;
mod listen;
mod migrate;
mod outbox;
mod own;
mod queries;
mod reconcile;
mod rows;
mod runs;
mod studies;

pub use analysis::{Finished, NewDelivery};
pub use artefacts::keep_house;
pub use audit::{EventFilter, StoredEvent, SubjectIdentity};
pub use error::{Result, StoreError};
pub use ledger::{ChainHead, ChainRow, StoredCheckpoint, Unsealed};
pub use listen::Listener;
pub use migrate::MIGRATIONS;
pub use outbox::{ClaimedDelivery, DeliveryId};
pub use own::OwnObjects;
pub use queries::{ArtefactSummary, AttemptSummary, DeliverySummary, Page, RunDetail, RunFilter, RunSummary};
pub use reconcile::StaleRun;
pub use runs::{Claim, Claimed, Retry};
pub use studies::{Seen, Submitted};

use crate::audit::pseudonym::Pseudonyms;
use crate::config;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// The gateway's database, connected as the app role (or, for the auditor's commands, as the auditor).
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    pseudonyms: Pseudonyms,
}

/// A transaction of ours.
pub(crate) type Tx = sqlx::Transaction<'static, sqlx::Postgres>;

impl Store {
    /// Connects as the app role. `audit` names the key of the patient pseudonyms.
    ///
    /// # Errors
    /// `config-invalid` when the URL or the pseudonym key cannot be used, `database-unavailable` when nothing answers.
    pub async fn connect(database: &config::Database, audit: &config::Audit) -> Result<Self> {
        let pseudonyms = Pseudonyms::from_config(&audit.pseudonym_key).map_err(StoreError::Config)?;
        let pool = pool(database.url.expose(), database.max_connections, database.acquire_timeout_secs).await?;
        Ok(Self { pool, pseudonyms })
    }

    /// Connects for reading the ledger only, e.g. as the auditor, who does not have the pseudonym key. Events that this
    /// store would write carry pseudonyms that belong to nobody.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn connect_reader(database: &config::Database) -> Result<Self> {
        let pseudonyms = Pseudonyms::from_bytes(&rand::random::<[u8; 32]>()).map_err(StoreError::Config)?;
        Ok(Self { pool: pool(database.url.expose(), 2, database.acquire_timeout_secs).await?, pseudonyms })
    }

    /// Connects with an URL of one's own: tests, the auditor's role.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn connect_url(url: &str, max_connections: u32, pseudonyms: Pseudonyms) -> Result<Self> {
        Ok(Self { pool: pool(url, max_connections, 10).await?, pseudonyms })
    }

    /// A store on a pool that exists.
    pub fn from_pool(pool: PgPool, pseudonyms: Pseudonyms) -> Self {
        Self { pool, pseudonyms }
    }

    /// The key of pseudonyms, for searches by study.
    pub fn pseudonyms(&self) -> &Pseudonyms {
        &self.pseudonyms
    }

    /// Asks the database for an answer: readiness.
    ///
    /// # Errors
    /// `database-unavailable`.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes the pool after what runs has ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) async fn begin(&self) -> Result<Tx> {
        Ok(self.pool.begin().await?)
    }
}

async fn pool(url: &str, max_connections: u32, acquire_timeout_secs: u64) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Config("the database URL is not valid".into()))?
        .application_name("scargate");
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(acquire_timeout_secs))
        .connect_with(options)
        .await?)
}
