//! The versioned JSON that travels through the broker, and how it is read without trust.

use crate::domain::run::RunId;
use serde_json::{Value, json};

/// Version that this software writes; it reads no other.
pub const VERSION: u64 = 1;

/// A message above this size was not written by scargate.
pub const MAX_BYTES: usize = 64 * 1024;

/// What a queue message asks for. It carries an id and no data: the runs table is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Work on a run.
    Run(RunId),
}

/// Why a message is put aside. The text goes into a header of the dead letter, so it repeats nothing of the message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unreadable {
    /// Too large.
    #[error("larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// No version, or one that is not a whole number.
    #[error("no version")]
    NoVersion,
    /// A version that this software does not know.
    #[error("version {0} is not known, this software reads {VERSION}")]
    UnknownVersion(u64),
    /// A type that this version does not have.
    #[error("type is not known in version {VERSION}")]
    UnknownType,
    /// A field of the type is missing or malformed.
    #[error("field `{0}` is missing or malformed")]
    Field(&'static str),
}

impl Message {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Run(run) => json!({"v": VERSION, "type": "run", "run": run.to_string()}).to_string().into_bytes(),
        }
    }

    /// Name of the type, for the AMQP `type` property.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
        }
    }

    /// Reads a message. Unknown fields are ignored, so that a later minor addition does not break older workers.
    ///
    /// # Errors
    /// [`Unreadable`] for anything that this version would not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > MAX_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else {
            return Err(Unreadable::NotJson);
        };
        match fields.get("v").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(other) => return Err(Unreadable::UnknownVersion(other)),
            None => return Err(Unreadable::NoVersion),
        }
        match fields.get("type").and_then(Value::as_str) {
            Some("run") => {
                let run = fields.get("run").and_then(Value::as_str).and_then(|text| text.parse().ok());
                run.map(Self::Run).ok_or(Unreadable::Field("run"))
            }
            _ => Err(Unreadable::UnknownType),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    proptest! {
        #[test]
        fn what_is_written_is_read(id in any::<u128>()) {
            let message = Message::Run(RunId(Uuid::from_u128(id)));
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Message::decode(&bytes).is_err());
        }

        #[test]
        fn every_other_version_is_refused_by_number(version in any::<u64>()) {
            prop_assume!(version != VERSION);
            let text = format!(r#"{{"v":{version},"type":"run","run":"{}"}}"#, Uuid::nil());
            prop_assert_eq!(Message::decode(text.as_bytes()), Err(Unreadable::UnknownVersion(version)));
        }
    }

    #[test]
    fn malformed_messages_name_what_is_wrong() {
        let cases: [(&[u8], Unreadable); 7] = [
            (b"", Unreadable::NotJson),
            (b"[1]", Unreadable::NotJson),
            (b"{}", Unreadable::NoVersion),
            (br#"{"v":"1","type":"run"}"#, Unreadable::NoVersion),
            (br#"{"v":1,"type":"study"}"#, Unreadable::UnknownType),
            (br#"{"v":1,"type":"run"}"#, Unreadable::Field("run")),
            (br#"{"v":1,"type":"run","run":"../etc"}"#, Unreadable::Field("run")),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Message::decode(bytes), Err(expected), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(Message::decode(&vec![b' '; MAX_BYTES + 1]), Err(Unreadable::TooLarge));
    }

    #[test]
    fn the_wire_form_is_stable() {
        let message = Message::Run(RunId(Uuid::nil()));
        assert_eq!(message.encode(), br#"{"v":1,"type":"run","run":"00000000-0000-0000-0000-000000000000"}"#);
    }
}
