//! RabbitMQ: queues and their names, versioned messages, publishing with proof, consuming, retry delays, dead letters.
//!
//! The broker carries work and decides nothing: what is true about a run stands in the database.

mod connection;
mod consume;
mod dead;
mod error;
mod ladder;
mod message;
mod topology;
mod trace;

pub use connection::{Queue, Route};
pub use consume::{Job, Outcome};
pub use dead::{DeadLetter, Depths, Reason, Redriven};
pub use error::QueueError;
pub use ladder::Ladder;
pub use message::{MAX_BYTES, Message, Unreadable, VERSION};
pub use topology::Topology;
