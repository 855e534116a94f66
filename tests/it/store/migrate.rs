//! Migrations: forward on data, repeated, and refused when they are not those of the build.

use scargate::domain::submission::Trigger;
use scargate::store::{MIGRATIONS, Store, StoreError, Submitted};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::kit::{Kit, pseudonyms, study};

const ROLES: (&str, &str) = ("scargate_app", "scargate_auditor");

#[tokio::test]
async fn each_migration_goes_forward_over_the_data_of_the_one_before() {
    let kit = Kit::new().await;
    let url = kit.database.url("owner");
    let mut owner = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").execute(&mut owner).await.unwrap();
    let first = MIGRATIONS.iter().next().unwrap().version;
    MIGRATIONS.run_to(first, &mut owner).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO studies (study_uid, input_digest, revision) VALUES ('1.2.3', 'd', 1);
         INSERT INTO runs (id, study_uid, revision, trigger, actor, input_digest, state)
         VALUES ('00000000-0000-0000-0000-000000000001', '1.2.3', 1, 'poll', 'scargate', 'd', 'analyzing')",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    for migration in MIGRATIONS.iter() {
        MIGRATIONS.run_to(migration.version, &mut owner).await.unwrap();
    }
    let applied = Store::migrate_url(&url, ROLES.0, ROLES.1).await.unwrap();
    assert!(applied.is_empty(), "{applied:?}");

    let store = Store::connect_url(&kit.database.url("app"), 2, pseudonyms()).await.unwrap();
    store.check_migrated().await.unwrap();
    let stale = store.stale_runs(std::time::Duration::ZERO, 10).await.unwrap();
    assert_eq!(stale.len(), 1, "the old run goes on");
    let study = "1.2.3".parse().unwrap();
    let next = super::kit::submission(&study, Trigger::Poll);
    let started = store.submit(&next, &super::kit::digest("late"), None).await.unwrap();
    assert!(matches!(started, Submitted::Started { revision: 2, .. }));
}

#[tokio::test]
async fn a_database_of_another_build_is_refused() {
    let kit = Kit::new().await;
    kit.submit(&study("m"), Trigger::Poll, "one").await;
    kit.as_owner(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                  VALUES (99999, 'later', true, '', 0)",
    )
    .await;
    assert!(matches!(kit.store.check_migrated().await, Err(StoreError::NotMigrated(text)) if text.contains("99999")));
    assert!(matches!(
        Store::migrate_url(&kit.database.url("owner"), ROLES.0, ROLES.1).await,
        Err(StoreError::NotMigrated(_))
    ));
    let last = MIGRATIONS.iter().last().unwrap().version;
    let mut owner = PgConnection::connect(&kit.database.url("owner")).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("DELETE FROM _sqlx_migrations WHERE version >= {last}")))
        .execute(&mut owner)
        .await
        .unwrap();
    let missing = kit.store.check_migrated().await;
    assert!(matches!(missing, Err(StoreError::NotMigrated(text)) if text.contains("scargate migrate")));
}

#[tokio::test]
async fn a_role_that_does_not_exist_or_is_no_name_is_told() {
    let kit = Kit::new().await;
    for role in ["scargate_nobody_here", "app; DROP TABLE runs", ""] {
        let refused = Store::migrate_url(&kit.database.url("owner"), role, ROLES.1).await;
        assert!(matches!(refused, Err(StoreError::Config(_))), "{role}: {refused:?}");
    }
}
