//! What was put aside: why, how to look at it, how to send it round again.

use super::connection::{Queue, within};
use super::error::QueueError;
use super::message::{Message, Unreadable};
use crate::domain::run::RunId;
use crate::failure::Code;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde::Serialize;
use std::time::Duration;

const REASON_HEADER: &str = "x-scargate-reason";
const DETAIL_HEADER: &str = "x-scargate-detail";
/// The broker's own note when it moves a message, e.g. `delivery_limit`.
const BROKER_REASON_HEADER: &str = "x-first-death-reason";
/// A look at or a redrive of the dead letters is given up after this.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a message was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Public error code, or the broker's own word (`delivery_limit`).
    pub code: String,
    /// Further words; nothing of the message.
    pub detail: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: &str, detail: &str) -> Self {
        Self { code: code.to_owned(), detail: detail.to_owned() }
    }

    /// The message could not be read.
    pub fn unreadable(why: &Unreadable) -> Self {
        Self::new(Code::MessageUnreadable.as_str(), &why.to_string())
    }
}

/// A message that was put aside.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// Run that it is about, when it is readable.
    pub run: Option<RunId>,
    /// Why it was put aside.
    pub reason: Reason,
    /// Size of its payload.
    pub bytes: usize,
}

/// What a redrive did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Redriven {
    /// Sent to the workers again.
    pub sent: usize,
    /// Left where they were: not readable, or not asked for.
    pub left: usize,
}

pub(super) fn reason_headers(reason: &Reason) -> FieldTable {
    let mut headers = FieldTable::default();
    for (key, text) in [(REASON_HEADER, &reason.code), (DETAIL_HEADER, &reason.detail)] {
        headers.insert(ShortString::from(key), AMQPValue::LongString(text.as_str().into()));
    }
    headers
}

fn reason_of(delivery: &Delivery) -> Reason {
    let headers = delivery.properties.headers().as_ref();
    let header = |key: &str| match headers?.inner().get(key)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    };
    match header(REASON_HEADER) {
        Some(code) => Reason { code, detail: header(DETAIL_HEADER).unwrap_or_default() },
        None => {
            Reason { code: header(BROKER_REASON_HEADER).unwrap_or_default(), detail: "put aside by the broker".into() }
        }
    }
}

fn letter(delivery: &Delivery) -> DeadLetter {
    let run = match Message::decode(&delivery.data) {
        Ok(Message::Run(run)) => Some(run),
        Err(_) => None,
    };
    DeadLetter { run, reason: reason_of(delivery), bytes: delivery.data.len() }
}

impl Queue {
    /// Up to `limit` dead letters; they stay where they are.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let looking = async {
            let (_connection, channel) = self.open("scargate dead letters").await?;
            let mut seen = Vec::new();
            let mut letters = Vec::new();
            while letters.len() < limit {
                let Some(delivery) = self.next_dead(&channel).await? else { break };
                letters.push(letter(&delivery));
                seen.push(delivery);
            }
            give_all_back(&seen).await?;
            Ok(letters)
        };
        within(LIMIT, looking).await
    }

    /// Sends readable dead letters to the workers again: all, or those of one run. Each is acknowledged only after its
    /// copy is confirmed, so none is lost; one may be sent twice, which workers do not mind.
    ///
    /// # Errors
    /// When the broker cannot be reached; what was sent until then stays sent.
    pub async fn redrive(&self, only: Option<RunId>) -> Result<Redriven, QueueError> {
        let work = async {
            let (_connection, channel) = self.open("scargate redrive").await?;
            let mut redriven = Redriven::default();
            let mut left = Vec::new();
            // What arrives meanwhile is not looked at: a message that dies at once would go round for ever.
            for _ in 0..self.count(&channel, &self.topology().dead()).await? {
                let Some(delivery) = self.next_dead(&channel).await? else { break };
                match Message::decode(&delivery.data) {
                    Ok(message @ Message::Run(run)) if only.is_none_or(|wanted| wanted == run) => {
                        self.publish(&message, super::Route::Now).await?;
                        delivery.ack(BasicAckOptions::default()).await?;
                        redriven.sent += 1;
                    }
                    _ => left.push(delivery),
                }
            }
            redriven.left = left.len();
            give_all_back(&left).await?;
            Ok(redriven)
        };
        within(LIMIT, work).await
    }

    /// Messages ready in the work queue, in all retry queues, and put aside.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn depths(&self) -> Result<Depths, QueueError> {
        let counting = async {
            let (_connection, channel) = self.open("scargate depths").await?;
            let mut depths = Depths::default();
            for name in self.topology().all() {
                let count = self.count(&channel, &name).await?;
                match name {
                    name if name == self.topology().work() => depths.ready += count,
                    name if name == self.topology().dead() => depths.dead += count,
                    _ => depths.waiting += count,
                }
            }
            Ok(depths)
        };
        within(LIMIT, counting).await
    }

    async fn next_dead(&self, channel: &Channel) -> Result<Option<Delivery>, QueueError> {
        let dead = ShortString::from(self.topology().dead());
        Ok(channel.basic_get(dead, BasicGetOptions::default()).await?.map(|got| got.delivery))
    }

    async fn count(&self, channel: &Channel, queue: &str) -> Result<u32, QueueError> {
        let options = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
        let queue = channel.queue_declare(ShortString::from(queue), options, FieldTable::default()).await?;
        Ok(queue.message_count())
    }
}

/// Numbers of messages by where they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Depths {
    /// Ready for a worker.
    pub ready: u32,
    /// In the retry queues.
    pub waiting: u32,
    /// Put aside.
    pub dead: u32,
}

async fn give_all_back(deliveries: &[Delivery]) -> Result<(), QueueError> {
    for delivery in deliveries {
        delivery.nack(BasicNackOptions { requeue: true, ..Default::default() }).await?;
    }
    Ok(())
}
