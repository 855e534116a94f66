//! The canonical form of an event: the one sequence of bytes that is hashed.
//!
//! UTF-8 JSON, no white space, object keys sorted by their UTF-8 bytes at every level, strings escaped as serde_json
//! does (only `"`, `\` and control characters), numbers as serde_json writes them. The text is stored as it was hashed
//! and never written anew, so a fraction that another parser reads inexactly does no harm. Keys of the top level:
//!
//! | key | value |
//! | --- | --- |
//! | `actor` | who acted |
//! | `detail` | object or null: codes, counts, digests |
//! | `id` | UUID of the event |
//! | `kind` | [`EventKind`](crate::domain::events::EventKind) name |
//! | `outcome` | `success`, `minor-failure`, `serious-failure` |
//! | `peer` | `pacs`, `ehr` or null |
//! | `recorded` | UTC, RFC 3339 with exactly six digits of a second |
//! | `run` | UUID or null |
//! | `schema` | 1 |
//! | `subject` | keyed pseudonym of the study or null |

use crate::domain::events::{Event, EventOutcome};
use serde_json::{Value, json};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

const RECORDED: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// Name of an outcome in the canonical form.
pub fn outcome_name(outcome: EventOutcome) -> &'static str {
    match outcome {
        EventOutcome::Success => "success",
        EventOutcome::MinorFailure => "minor-failure",
        EventOutcome::SeriousFailure => "serious-failure",
    }
}

/// Time as the canonical form writes it.
pub fn recorded_text(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC).format(RECORDED).unwrap_or_default()
}

/// Postgres keeps microseconds: what is finer would make the stored time differ from the hashed one.
pub fn to_micros(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(at.microsecond() * 1000).unwrap_or(at)
}

/// The canonical form of an event.
pub fn of(event: &Event, id: Uuid, recorded: OffsetDateTime, subject: Option<&str>) -> String {
    canonical(&json!({
        "actor": event.actor,
        "detail": event.detail,
        "id": id,
        "kind": event.kind.name(),
        "outcome": outcome_name(event.outcome),
        "peer": event.peer,
        "recorded": recorded_text(recorded),
        "run": event.run,
        "schema": 1,
        "subject": subject,
    }))
}

/// Canonical text of any JSON value.
pub fn canonical(value: &Value) -> String {
    let mut text = String::with_capacity(256);
    write(value, &mut text);
    text
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write(map.get(key).unwrap_or(&Value::Null), out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::events::EventKind;
    use proptest::prelude::*;
    use time::macros::datetime;

    #[test]
    fn an_event_has_one_form() {
        let mut event = Event::ours(EventKind::DeliveryOutcome);
        event.peer = Some("pacs".into());
        event.detail = json!({ "z": [1, { "b": true, "a": "\u{e9}\n" }], "a": 0.5 });
        let text = of(&event, Uuid::nil(), datetime!(2026-01-02 03:04:05.000_600 +01:00), Some("ab"));
        assert_eq!(
            text,
            "{\"actor\":\"scargate\",\"detail\":{\"a\":0.5,\"z\":[1,{\"a\":\"\u{e9}\\n\",\"b\":true}]},\
             \"id\":\"00000000-0000-0000-0000-000000000000\",\"kind\":\"delivery-outcome\",\"outcome\":\"success\",\
             \"peer\":\"pacs\",\"recorded\":\"2026-01-02T02:04:05.000600Z\",\"run\":null,\"schema\":1,\"subject\":\"ab\"}"
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn writing_and_reading_again_gives_the_same_bytes(value in any_json()) {
            let text = canonical(&value);
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(canonical(&read), text);
        }
    }
}
