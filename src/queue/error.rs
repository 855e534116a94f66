//! What can go wrong with the broker, and what that means for the work it carries.

use crate::failure::{Code, Failure};
use lapin::ErrorKind;
use std::time::Duration;

/// AMQP reply code `PRECONDITION_FAILED`.
const PRECONDITION_FAILED: u16 = 406;

/// An error of the queue. No text holds the broker's URL, which may carry a password.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// `broker.url` cannot be read.
    #[error("broker.url is not an AMQP URL")]
    Url,
    /// A queue of ours exists with other arguments, e.g. after `delivery_limit` was changed.
    #[error(
        "a queue with the prefix exists with other arguments: choose another broker.prefix or delete it when it is empty"
    )]
    OtherArguments,
    /// The broker gave the message back: no queue takes it.
    #[error("the broker returned the message: no queue takes it")]
    Returned,
    /// The broker answered a publish with a negative acknowledgement.
    #[error("the broker refused the message")]
    Refused,
    /// No answer in time.
    #[error("the broker did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The broker ended the consumer, e.g. because its queue was deleted.
    #[error("the broker ended the consumer")]
    ConsumerEnded,
    /// Anything else that the client reports.
    #[error("broker: {0}")]
    Client(lapin::Error),
}

impl From<lapin::Error> for QueueError {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(amqp) if amqp.get_id() == PRECONDITION_FAILED => Self::OtherArguments,
            _ => Self::Client(error),
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let detail = error.to_string();
        match error {
            QueueError::Url | QueueError::OtherArguments => Self::permanent(Code::ConfigInvalid, detail),
            _ => Self::transient(Code::BrokerUnavailable, detail),
        }
    }
}
