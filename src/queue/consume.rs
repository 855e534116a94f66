//! Taking messages: a consumer that survives the broker, bounded concurrency, one decision per message.

use super::connection::Queue;
use super::connection::Route;
use super::dead::{Reason, reason_headers};
use super::error::QueueError;
use super::message::Message;
use super::trace;
use crate::domain::run::RunId;
use crate::telemetry::context;
use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Delays between attempts to reach the broker again: doubling between these.
const RECONNECT_FIRST: Duration = Duration::from_millis(250);
const RECONNECT_LAST: Duration = Duration::from_secs(5);
/// When a message cannot be moved, it is given back after this pause, so that it does not spin.
const GIVE_BACK_PAUSE: Duration = Duration::from_secs(1);

/// What to do with a message once its handler is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The work is durably recorded: acknowledge.
    Done,
    /// Publish again after at least this delay, then acknowledge.
    Later(Duration),
    /// Put aside with a reason, then acknowledge.
    Dead(Reason),
    /// Give it back to the broker for another worker, e.g. because this one stops.
    GiveBack,
}

/// A message that was read.
#[derive(Debug, Clone)]
pub struct Job {
    /// The run to work on.
    pub run: RunId,
    /// True when the broker gave it out before.
    pub redelivered: bool,
}

impl Queue {
    /// Takes messages until `shutdown`, up to `prefetch` at a time, and waits for the handlers that are at work: they
    /// watch `shutdown` themselves and return at their next checkpoint.
    ///
    /// A broker that goes away is reached again for as long as it takes; handlers go on meanwhile, and since their
    /// acknowledgement then fails the message comes again: handlers are idempotent.
    pub async fn consume<H, F>(&self, prefetch: u16, shutdown: CancellationToken, handler: H)
    where
        H: Fn(Job) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let prefetch = prefetch.max(1);
        let slots = Arc::new(Semaphore::new(usize::from(prefetch)));
        let tasks = TaskTracker::new();
        let mut pause = RECONNECT_FIRST;
        while !shutdown.is_cancelled() {
            let session = Session { queue: self.clone(), slots: slots.clone(), tasks: tasks.clone() };
            match session.run(prefetch, &shutdown, &handler, &mut pause).await {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, "lost the broker, connecting again"),
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_LAST),
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

/// One connection's worth of consuming.
struct Session {
    queue: Queue,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Session {
    async fn run<H, F>(
        &self,
        prefetch: u16,
        shutdown: &CancellationToken,
        handler: &H,
        pause: &mut Duration,
    ) -> Result<(), QueueError>
    where
        H: Fn(Job) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (connection, channel) = self.queue.open("scargate consumer").await?;
        let mut consumer = self.start(&channel, prefetch).await?;
        tracing::info!("consuming");
        *pause = RECONNECT_FIRST;
        loop {
            let Some(slot) = self.slot(shutdown).await else { break };
            let delivery = tokio::select! {
                () = shutdown.cancelled() => break,
                delivery = consumer.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => self.spawn(delivery, slot, handler.clone()),
                Some(Err(error)) => return Err(error.into()),
                None => return Err(QueueError::ConsumerEnded),
            }
        }
        // No new messages; those at work are acknowledged on this channel, so it stays open until they are done.
        channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        self.tasks.close();
        self.tasks.wait().await;
        drop(connection);
        Ok(())
    }

    async fn start(&self, channel: &Channel, prefetch: u16) -> Result<Consumer, QueueError> {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let work = ShortString::from(self.queue.topology().work());
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        Ok(channel.basic_consume(work, "".into(), options, arguments).await?)
    }

    async fn slot(&self, shutdown: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            () = shutdown.cancelled() => None,
            slot = self.slots.clone().acquire_owned() => slot.ok(),
        }
    }

    fn spawn<H, F>(&self, delivery: Delivery, slot: OwnedSemaphorePermit, handler: H)
    where
        H: Fn(Job) -> F + Send + Sync + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let queue = self.queue.clone();
        self.tasks.spawn(async move {
            let span = span_of(&delivery);
            let work = async {
                let outcome = handle(&delivery, handler).await;
                if let Err(error) = queue.settle(&delivery, outcome).await {
                    // Not acknowledged: it comes again, here or at another worker.
                    tracing::warn!(%error, "a message could not be settled");
                }
            };
            work.instrument(span).await;
            drop(slot);
        });
    }
}

/// The span of a message's work: in the trace of what published it; when the message comes again, from a retry queue or
/// after its consumer died, in a trace of its own with a link.
fn span_of(delivery: &Delivery) -> tracing::Span {
    let headers = delivery.properties.headers().as_ref();
    let context = trace::extract(headers);
    let retried = headers.is_some_and(|headers| headers.inner().contains_key("x-death"));
    let span = tracing::info_span!(parent: None, "run", otel.kind = "consumer", run = tracing::field::Empty);
    if retried || delivery.redelivered { context::link_to(span, &context) } else { context::continue_in(span, context) }
}

async fn handle<H, F>(delivery: &Delivery, handler: H) -> Outcome
where
    H: Fn(Job) -> F,
    F: Future<Output = Outcome>,
{
    let run = match Message::decode(&delivery.data) {
        Ok(Message::Run(run)) => run,
        Err(unreadable) => {
            tracing::error!(reason = %unreadable, "a message is not readable");
            return Outcome::Dead(Reason::unreadable(&unreadable));
        }
    };
    tracing::Span::current().record("run", tracing::field::display(run));
    let job = Job { run, redelivered: delivery.redelivered };
    match AssertUnwindSafe(handler(job)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::error!(%run, "the handler of a message panicked");
            Outcome::Dead(Reason::new("internal", "the handler panicked"))
        }
    }
}

impl Queue {
    /// Carries an outcome out. The message is acknowledged only after what replaces it is confirmed.
    async fn settle(&self, delivery: &Delivery, outcome: Outcome) -> Result<(), QueueError> {
        let moved = match &outcome {
            Outcome::Done => Ok(()),
            Outcome::GiveBack => return give_back(delivery).await,
            Outcome::Later(delay) => match Message::decode(&delivery.data) {
                Ok(message) => self.publish(&message, Route::After(*delay)).await,
                Err(unreadable) => self.put_aside(&delivery.data, &Reason::unreadable(&unreadable)).await,
            },
            Outcome::Dead(reason) => self.put_aside(&delivery.data, reason).await,
        };
        if let Err(error) = moved {
            tracing::warn!(%error, "a message could not be moved, giving it back");
            tokio::time::sleep(GIVE_BACK_PAUSE).await;
            return give_back(delivery).await;
        }
        delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    /// Publishes bytes to the dead letters with the reason in the headers.
    pub(super) async fn put_aside(&self, bytes: &[u8], reason: &Reason) -> Result<(), QueueError> {
        let dead = self.topology().dead();
        self.publish_bytes(&dead, bytes, "dead", reason_headers(reason)).await
    }
}

async fn give_back(delivery: &Delivery) -> Result<(), QueueError> {
    delivery.nack(BasicNackOptions { requeue: true, ..Default::default() }).await?;
    Ok(())
}
