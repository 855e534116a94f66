//! The way to the broker: a handle that connects on demand and publishes with proof.
//!
//! Connections are made anew after every error instead of through lapin's own recovery: one mechanism serves a broker
//! that blinks, one that is away for a day and one that came back empty, because each new connection declares the
//! topology again and the loop around it never gives up.

use super::error::QueueError;
use super::ladder::Ladder;
use super::message::Message;
use super::topology::Topology;
use super::trace;
use crate::config;
use lapin::Confirmation;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A connection attempt is given up after this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A publish whose confirm does not come within this is a failure (the message may still arrive: work is idempotent).
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);
/// AMQP heartbeat, seconds, unless the URL names one: a silent peer is noticed after two.
const HEARTBEAT_SECS: u16 = 15;

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the workers.
    Now,
    /// To the workers after at least this long (rounded up to a rung of the ladder).
    After(Duration),
}

/// Handle to the broker; cheap to clone. It connects when it is first used.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    uri: AMQPUri,
    topology: Topology,
    /// Publishes are made one at a time: a returned message comes without the number of its publish, so with several
    /// in flight it could be taken for another's.
    publisher: Mutex<Option<Publisher>>,
}

struct Publisher {
    /// Kept because dropping it would close the channel.
    _connection: Connection,
    channel: Channel,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({})", self.inner.topology.work())
    }
}

impl Queue {
    /// A handle for the configured broker; does not connect yet.
    ///
    /// # Errors
    /// [`QueueError::Url`] when the URL cannot be read.
    pub fn new(config: &config::Broker) -> Result<Self, QueueError> {
        let mut uri: AMQPUri = config.url.expose().parse().map_err(|_| QueueError::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECS);
        let ladder = Ladder::new(&config.retry_delays_secs);
        let topology = Topology::new(&config.prefix, config.delivery_limit, ladder);
        Ok(Self { inner: Arc::new(Inner { uri, topology, publisher: Mutex::new(None) }) })
    }

    /// Names and delays of the queues.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// Connects and declares the topology: for start-up checks and readiness.
    ///
    /// # Errors
    /// When the broker cannot be reached or a queue exists with other arguments.
    pub async fn check(&self) -> Result<(), QueueError> {
        let mut publisher = self.inner.publisher.lock().await;
        if publisher.as_ref().is_none_or(|p| !p.channel.status().connected()) {
            *publisher = Some(self.open_publisher().await?);
        }
        Ok(())
    }

    /// Publishes a message and waits until the broker has it in a queue.
    ///
    /// # Errors
    /// When the broker does not confirm, or returns the message because no queue takes it.
    pub async fn publish(&self, message: &Message, route: Route) -> Result<(), QueueError> {
        let queue = match route {
            Route::Now => self.topology().work(),
            Route::After(delay) => self.topology().retry(delay),
        };
        self.publish_bytes(&queue, &message.encode(), message.kind(), FieldTable::default()).await
    }

    /// Publishes bytes to a queue by name; one more try on a new connection when the kept one turned out dead.
    pub(super) async fn publish_bytes(
        &self,
        queue: &str,
        bytes: &[u8],
        kind: &str,
        headers: FieldTable,
    ) -> Result<(), QueueError> {
        let mut headers = headers;
        trace::inject(&mut headers);
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_message_id(ShortString::from(uuid::Uuid::now_v7().to_string()))
            .with_type(ShortString::from(kind))
            .with_headers(headers);
        let mut kept = self.inner.publisher.lock().await;
        if let Some(publisher) = kept.take().filter(|p| p.channel.status().connected()) {
            match confirmed(&publisher.channel, queue, bytes, properties.clone()).await {
                Ok(()) => {
                    *kept = Some(publisher);
                    return Ok(());
                }
                Err(error @ (QueueError::Client(_) | QueueError::Timeout(_))) => {
                    tracing::debug!(%error, "the kept broker connection is dead, connecting again");
                }
                // The next publish opens a new connection, which declares what is missing.
                Err(error) => return Err(error),
            }
        }
        let publisher = self.open_publisher().await?;
        confirmed(&publisher.channel, queue, bytes, properties).await?;
        *kept = Some(publisher);
        Ok(())
    }

    async fn open_publisher(&self) -> Result<Publisher, QueueError> {
        let (connection, channel) = self.open("scargate publisher").await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Publisher { _connection: connection, channel })
    }

    /// A connection with a channel on which the topology is declared.
    pub(super) async fn open(&self, name: &str) -> Result<(Connection, Channel), QueueError> {
        let opening = async {
            let properties = ConnectionProperties::default().with_connection_name(name.into());
            let connection = Connection::connect_uri(self.inner.uri.clone(), properties).await?;
            let channel = connection.create_channel().await?;
            self.topology().declare(&channel).await?;
            Ok((connection, channel))
        };
        within(CONNECT_TIMEOUT, opening).await
    }
}

async fn confirmed(
    channel: &Channel,
    queue: &str,
    bytes: &[u8],
    properties: BasicProperties,
) -> Result<(), QueueError> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let publish = async {
        let confirm = channel.basic_publish("".into(), ShortString::from(queue), options, bytes, properties).await?;
        Ok(confirm.await?)
    };
    match within(CONFIRM_TIMEOUT, publish).await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(QueueError::Returned),
        Confirmation::Nack(None) | Confirmation::NotRequested => Err(QueueError::Refused),
    }
}

pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(QueueError::Timeout(limit)))
}
