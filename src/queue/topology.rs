//! Names and arguments of our queues, and their declaration.
//!
//! Everything goes through the default exchange, so a queue's name is its route:
//! `<prefix>.runs` (work) -> `<prefix>.runs.dead` when the broker gave a message out too often;
//! `<prefix>.runs.retry.<seconds>` (one per delay: a queue with a time to live expires from its head only, so mixed
//! delays would wait for one another) -> back to the work queue.

use super::error::QueueError;
use super::ladder::Ladder;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::time::Duration;

/// The queues of one gateway.
#[derive(Debug, Clone)]
pub struct Topology {
    prefix: String,
    delivery_limit: u32,
    ladder: Ladder,
}

impl Topology {
    /// Queues under `prefix`.
    pub fn new(prefix: &str, delivery_limit: u32, ladder: Ladder) -> Self {
        Self { prefix: prefix.to_owned(), delivery_limit, ladder }
    }

    /// The delays.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The work queue.
    pub fn work(&self) -> String {
        format!("{}.runs", self.prefix)
    }

    /// The queue of the rung that is not shorter than `delay`.
    pub fn retry(&self, delay: Duration) -> String {
        self.retry_of(self.ladder.at_least(delay))
    }

    fn retry_of(&self, rung: Duration) -> String {
        format!("{}.runs.retry.{}", self.prefix, rung.as_secs())
    }

    /// The queue of what was put aside.
    pub fn dead(&self) -> String {
        format!("{}.runs.dead", self.prefix)
    }

    /// Every queue.
    pub fn all(&self) -> Vec<String> {
        let retries = self.ladder.rungs().iter().map(|rung| self.retry_of(*rung));
        [self.work(), self.dead()].into_iter().chain(retries).collect()
    }

    /// Declares what is missing; declaring again is harmless.
    ///
    /// # Errors
    /// [`QueueError::OtherArguments`] when a queue exists with other arguments.
    pub async fn declare(&self, channel: &Channel) -> Result<(), QueueError> {
        declare(channel, &self.dead(), quorum()).await?;
        let mut work = dead_lettering_to(&self.dead());
        insert(&mut work, "x-delivery-limit", AMQPValue::LongLongInt(i64::from(self.delivery_limit)));
        declare(channel, &self.work(), work).await?;
        for rung in self.ladder.rungs() {
            let mut retry = dead_lettering_to(&self.work());
            let milliseconds = i64::try_from(rung.as_millis()).unwrap_or(i64::MAX);
            insert(&mut retry, "x-message-ttl", AMQPValue::LongLongInt(milliseconds));
            declare(channel, &self.retry_of(*rung), retry).await?;
        }
        Ok(())
    }
}

async fn declare(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), QueueError> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(ShortString::from(name), options, arguments).await?;
    Ok(())
}

fn quorum() -> FieldTable {
    let mut table = FieldTable::default();
    insert(&mut table, "x-queue-type", text("quorum"));
    table
}

/// At-least-once dead lettering: the message leaves only when the other queue confirmed it. RabbitMQ demands
/// `reject-publish` with it.
fn dead_lettering_to(queue: &str) -> FieldTable {
    let mut table = quorum();
    insert(&mut table, "x-dead-letter-exchange", text(""));
    insert(&mut table, "x-dead-letter-routing-key", text(queue));
    insert(&mut table, "x-dead-letter-strategy", text("at-least-once"));
    insert(&mut table, "x-overflow", text("reject-publish"));
    table
}

fn insert(table: &mut FieldTable, key: &str, value: AMQPValue) {
    table.insert(ShortString::from(key), value);
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_prefix_and_the_delay() {
        let topology = Topology::new("site", 20, Ladder::new(&[5, 30]));
        assert_eq!(topology.all(), ["site.runs", "site.runs.dead", "site.runs.retry.5", "site.runs.retry.30"]);
        assert_eq!(topology.retry(Duration::from_secs(6)), "site.runs.retry.30");
    }
}
