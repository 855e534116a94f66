//! Small conversions between columns and domain types.

use super::{Result, StoreError};
use crate::domain::uid::Uid;
use std::str::FromStr;
use std::time::Duration;

/// Parses a column that holds the name of a domain value.
pub(super) fn parse<T: FromStr>(table: &'static str, column: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|_| StoreError::Corrupt { table, column })
}

/// Parses a UID column.
pub(super) fn uid(table: &'static str, column: &'static str, text: &str) -> Result<Uid> {
    Uid::parse(text).map_err(|_| StoreError::Corrupt { table, column })
}

/// Parses a JSON column into a domain type.
pub(super) fn json<T: serde::de::DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    value: serde_json::Value,
) -> Result<T> {
    serde_json::from_value(value).map_err(|_| StoreError::Corrupt { table, column })
}

/// A count that Postgres holds as a signed integer.
pub(super) fn count(table: &'static str, column: &'static str, value: i32) -> Result<u32> {
    u32::try_from(value).map_err(|_| StoreError::Corrupt { table, column })
}

/// Seconds for `make_interval(secs => $n)`.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// A non-negative number of seconds from the database as a duration.
pub(super) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}

/// Text cut to what a column should hold; details are for people, not for dumps.
pub(super) fn short(text: &str) -> String {
    text.chars().take(500).collect()
}
