//! The PACS's webhook, whichever process took the call: it wakes the poller of this one.

use crate::store::{Listener, Store};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Time between looks at the stop signal while nothing is heard, and between attempts to listen again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pokes until `stop`. A connection that was lost is made anew; calls meanwhile are made up for by the next poll.
pub async fn pass_webhooks(store: &Store, poke: &Notify, stop: &CancellationToken) {
    let mut listener: Option<Listener> = None;
    while !stop.is_cancelled() {
        let heard = async {
            if listener.is_none() {
                listener = Some(store.webhook_listener().await?);
            }
            match &mut listener {
                Some(listener) => listener.wait(PATIENCE).await,
                None => Ok(false),
            }
        };
        let heard = tokio::select! { () = stop.cancelled() => return, heard = heard => heard };
        match heard {
            Ok(true) => poke.notify_one(),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "the webhook cannot be listened for, trying again");
                listener = None;
                tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(PATIENCE) => {} }
            }
        }
    }
}
