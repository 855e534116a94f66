//! Migrations, which run as the owner, and what the app and auditor roles may do.

use super::{Result, Store, StoreError};
use crate::config;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The migrations of this build, oldest first.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Tables the app role reads and writes.
const WORK_TABLES: &str = "studies, runs, run_attempts, blobs, artefacts, own_objects, deliveries";
/// The ledger: nobody but the owner may change or delete what stands there.
const LEDGER_TABLES: &str = "audit_ledger, audit_events, audit_chain, audit_checkpoints";

impl Store {
    /// Applies what is missing, as the owner, and grants to the app and auditor roles. Returns the versions applied.
    ///
    /// # Errors
    /// `config-invalid` when `owner_url` is empty, a role's name cannot be used, or the database was migrated by a
    /// newer build; `database-unavailable` when nothing answers.
    pub async fn migrate(database: &config::Database) -> Result<Vec<i64>> {
        let url = database.owner_url.expose();
        if url.is_empty() {
            return Err(StoreError::Config("database.owner_url is empty: migrations run as the owner".into()));
        }
        Self::migrate_url(url, &database.app_role, &database.auditor_role).await
    }

    /// As [`Store::migrate`], with the owner's URL and the names of the roles.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub async fn migrate_url(owner_url: &str, app_role: &str, auditor_role: &str) -> Result<Vec<i64>> {
        migrate_as(owner_url, app_role, auditor_role).await
    }

    /// Refuses a database whose migrations are not exactly those of this build.
    ///
    /// # Errors
    /// `config-invalid` that says which migrations are missing or unknown.
    pub async fn check_migrated(&self) -> Result<()> {
        let applied: Vec<i64> =
            match sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
                .fetch_all(&self.pool)
                .await
            {
                Ok(applied) => applied,
                Err(sqlx::Error::Database(db)) if matches!(db.code().as_deref(), Some("42P01" | "42501")) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
        let known: Vec<i64> = MIGRATIONS.iter().map(|m| m.version).collect();
        let missing: Vec<&i64> = known.iter().filter(|v| !applied.contains(v)).collect();
        let unknown: Vec<&i64> = applied.iter().filter(|v| !known.contains(v)).collect();
        if !unknown.is_empty() {
            return Err(StoreError::NotMigrated(format!(
                "the database was migrated by a newer build (migrations {unknown:?}): upgrade this one"
            )));
        }
        if !missing.is_empty() {
            return Err(StoreError::NotMigrated(format!("migrations {missing:?} are missing: run `scargate migrate`")));
        }
        Ok(())
    }
}

async fn migrate_as(url: &str, app: &str, auditor: &str) -> Result<Vec<i64>> {
    let mut connection = PgConnection::connect(url).await?;
    let before = applied(&mut connection).await?;
    MIGRATIONS.run_direct(None, &mut connection, false).await.map_err(migrate_error)?;
    let after = applied(&mut connection).await?;
    grant(&mut connection, app, auditor).await?;
    sqlx::query("SELECT audit_make_partitions(3)").execute(&mut connection).await?;
    connection.close().await?;
    Ok(after.into_iter().filter(|v| !before.contains(v)).collect())
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>> {
    connection.ensure_migrations_table(&MIGRATIONS.table_name).await.map_err(migrate_error)?;
    let list = connection.list_applied_migrations(&MIGRATIONS.table_name).await.map_err(migrate_error)?;
    Ok(list.into_iter().map(|m| m.version).collect())
}

fn migrate_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) => error.into(),
        MigrateError::ExecuteMigration(error, version) => match StoreError::from(error) {
            StoreError::Unavailable(text) => StoreError::Unavailable(text),
            other => StoreError::Other(format!("migration {version}: {other}")),
        },
        MigrateError::VersionMissing(version) => StoreError::NotMigrated(format!(
            "the database was migrated by a newer build (migration {version}): upgrade this one"
        )),
        MigrateError::VersionMismatch(version) => {
            StoreError::NotMigrated(format!("migration {version} was changed after it was applied"))
        }
        _ => StoreError::Other("a migration cannot be applied".into()),
    }
}

/// Least rights: the app role has INSERT and SELECT only on the ledger, the auditor only reads it and records
/// exports of his own. Repeated on each
/// migrate, so that a role named later gets its rights.
async fn grant(connection: &mut PgConnection, app: &str, auditor: &str) -> Result<()> {
    let (app, auditor) = (role(app)?, role(auditor)?);
    let statements = [
        format!("GRANT USAGE ON SCHEMA public TO {app}, {auditor}"),
        format!("GRANT SELECT ON _sqlx_migrations TO {app}, {auditor}"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {WORK_TABLES} TO {app}"),
        format!("GRANT SELECT, INSERT ON {LEDGER_TABLES} TO {app}"),
        format!("REVOKE INSERT ON audit_ledger FROM {app}"),
        // Not the ledger: the list of what is still to be sealed, and the erasable identities.
        format!("GRANT SELECT, INSERT, DELETE ON audit_pending TO {app}"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON audit_subjects TO {app}"),
        format!("GRANT EXECUTE ON FUNCTION audit_make_partitions(integer) TO {app}"),
        format!("GRANT SELECT ON {LEDGER_TABLES}, audit_pending, audit_subjects TO {auditor}"),
        format!("GRANT EXECUTE ON FUNCTION audit_record_export(uuid, timestamptz, text) TO {auditor}"),
    ];
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await.map_err(|error| match error {
            sqlx::Error::Database(db) if db.code().as_deref() == Some("42704") => {
                StoreError::Config("database.app_role or database.auditor_role does not exist".into())
            }
            other => other.into(),
        })?;
    }
    Ok(())
}

/// A role's name, safe to stand in a statement.
fn role(name: &str) -> Result<String> {
    let usable = !name.is_empty() && name.len() < 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if usable {
        Ok(format!("\"{name}\""))
    } else {
        Err(StoreError::Config("a role's name must be letters, digits and underscore".into()))
    }
}
