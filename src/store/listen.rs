//! Notifications between processes (Postgres LISTEN/NOTIFY): they hasten work that is looked for at intervals anyway.

use super::{Result, Store, Tx};
use sqlx::postgres::PgListener;
use std::time::Duration;

/// Channel on which new deliveries are announced.
const OUTBOX: &str = "scargate_outbox";
/// Channel on which a call of the PACS's webhook is passed on to the pollers.
const WEBHOOK: &str = "scargate_webhook";

/// Wakes a worker or a poller.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Waits for a notification, at most `longest`; true when there was one. Returns at once after a lost connection,
    /// which is made anew.
    ///
    /// # Errors
    /// Of the database.
    pub async fn wait(&mut self, longest: Duration) -> Result<bool> {
        match tokio::time::timeout(longest, self.0.try_recv()).await {
            Ok(received) => {
                received?;
                // Several of them need one look.
                while self.0.next_buffered().is_some() {}
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }
}

impl Store {
    /// Listens for new deliveries, so that they leave at once; looking at intervals stays necessary.
    ///
    /// # Errors
    /// Of the database.
    pub async fn outbox_listener(&self) -> Result<Listener> {
        self.listen(OUTBOX).await
    }

    /// Listens for calls of the webhook that any process took.
    ///
    /// # Errors
    /// Of the database.
    pub async fn webhook_listener(&self) -> Result<Listener> {
        self.listen(WEBHOOK).await
    }

    /// Passes a call of the webhook on to the pollers of all processes.
    ///
    /// # Errors
    /// Of the database.
    pub async fn pass_on_webhook(&self) -> Result<()> {
        sqlx::query("SELECT pg_notify($1, '')").bind(WEBHOOK).execute(&self.pool).await?;
        Ok(())
    }

    async fn listen(&self, channel: &str) -> Result<Listener> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(channel).await?;
        Ok(Listener(listener))
    }
}

/// Wakes the delivery workers when the transaction commits.
pub(super) async fn notify_outbox(tx: &mut Tx) -> Result<()> {
    sqlx::query("SELECT pg_notify($1, '')").bind(OUTBOX).execute(&mut **tx).await?;
    Ok(())
}
