//! What can go wrong in the store, and how it becomes a failure. No text here holds a value of a row.

use crate::failure::{Code, Failure};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or asked us to try again.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The token is not the newest, or the claim ended: somebody else owns the row now.
    #[error("the claim was lost")]
    LeaseLost,
    /// The row is not in the state that the operation expects.
    #[error("{0}")]
    Conflict(String),
    /// There is no such row.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Migrations are pending or unknown.
    #[error("{0}")]
    NotMigrated(String),
    /// A configured value cannot be used.
    #[error("{0}")]
    Config(String),
    /// A row that breaks a rule of the domain.
    #[error("column {column} of {table} holds what the domain does not know")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
    },
    /// Anything else; the text names the SQLSTATE and the constraint, never a value.
    #[error("{0}")]
    Other(String),
}

/// Result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(db) => {
                let state = db.code().unwrap_or_default().into_owned();
                let text = match (db.constraint(), db.table()) {
                    (Some(constraint), _) => format!("SQLSTATE {state}, constraint {constraint}"),
                    (None, Some(table)) => format!("SQLSTATE {state}, table {table}"),
                    (None, None) => format!("SQLSTATE {state}"),
                };
                if is_transient_state(&state) { Self::Unavailable(text) } else { Self::Other(text) }
            }
            sqlx::Error::Io(io) => Self::Unavailable(io.kind().to_string()),
            sqlx::Error::Tls(_) => Self::Unavailable("TLS".into()),
            sqlx::Error::PoolTimedOut => Self::Unavailable("no connection in time".into()),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Unavailable("the pool is closed".into()),
            sqlx::Error::RowNotFound => Self::NotFound("row"),
            sqlx::Error::Configuration(_) => Self::Config("the database URL is not valid".into()),
            sqlx::Error::ColumnDecode { index, .. } => Self::Other(format!("column {index} cannot be decoded")),
            sqlx::Error::ColumnNotFound(name) => Self::Other(format!("column {name} is missing")),
            // Protocol faults come with broken connections too (a server killed in the middle of an answer).
            sqlx::Error::Protocol(_) => Self::Unavailable("protocol".into()),
            _ => Self::Other("unexpected answer of the database driver".into()),
        }
    }
}

/// Connection trouble, shutdown, resources, serialisation, deadlock, lock timeout, recovery (SQLSTATE classes).
fn is_transient_state(state: &str) -> bool {
    state.starts_with("08")
        || state.starts_with("53")
        || state.starts_with("57P")
        || matches!(state, "40001" | "40P01" | "55P03" | "57014" | "25006")
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Unavailable(_) => Self::transient(Code::DatabaseUnavailable, text),
            StoreError::LeaseLost => Self::permanent(Code::LeaseLost, ""),
            StoreError::Conflict(_) => Self::permanent(Code::Conflict, text),
            StoreError::NotFound(_) => Self::permanent(Code::NotFound, text),
            StoreError::NotMigrated(_) | StoreError::Config(_) => Self::permanent(Code::ConfigInvalid, text),
            StoreError::Corrupt { .. } | StoreError::Other(_) => Self::permanent(Code::Internal, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_of_the_connection_is_transient_and_a_broken_rule_is_not() {
        let lost = Failure::from(StoreError::from(sqlx::Error::PoolTimedOut));
        assert!(lost.is_transient() && lost.code == Code::DatabaseUnavailable);
        assert!(is_transient_state("40P01") && is_transient_state("57P01") && !is_transient_state("23505"));
        assert!(!Failure::from(StoreError::Corrupt { table: "runs", column: "state" }).is_transient());
    }
}
