//! A database of its own for each test, migrated as the owner; the test connects as the gateway does.

use std::hash::{DefaultHasher, Hash, Hasher};

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgPoolOptions};

use super::servers::{Servers, root};
use super::unique;

/// A migrated database; deleted when dropped.
pub struct TestDatabase {
    pub name: String,
    servers: Servers,
}

impl TestDatabase {
    /// A copy of a template that is migrated once per content of `migrations/`, so that it takes about 0.1 s.
    pub async fn fresh(servers: &Servers) -> Self {
        let template = template(servers).await;
        let name = unique::word("test");
        let mut admin = connect(&servers.database_url("admin", "postgres")).await;
        // Copying needs the template to itself for a moment; the same lock as in `template` keeps others out.
        lock(&mut admin).await;
        run(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {template} OWNER scargate_owner")).await;
        admin.close().await.unwrap();
        Self { name, servers: servers.clone() }
    }

    /// The connection string of a role: `admin`, `owner`, `app` or `auditor`.
    pub fn url(&self, role: &str) -> String {
        self.servers.database_url(role, &self.name)
    }

    /// A small pool under a role.
    pub async fn pool(&self, role: &str) -> PgPool {
        PgPoolOptions::new().max_connections(4).connect(&self.url(role)).await.unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (url, name) = (self.servers.database_url("admin", "postgres"), self.name.clone());
        // A thread of its own: drop may run inside a runtime, which cannot block on another.
        let gone = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&url).await.map_err(std::io::Error::other)?;
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await.map_err(std::io::Error::other)
            })
        });
        // A test that stopped the server cannot clean up after itself; its set is wiped with all it holds.
        let _ = gone.join();
    }
}

const TEMPLATE_LOCK: i64 = 0x5ca2_6a7e;

async fn lock(admin: &mut PgConnection) {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(admin).await.unwrap();
}

/// Makes the template for the present migrations if nobody has; returns its name.
async fn template(servers: &Servers) -> String {
    let migrator = Migrator::new(root().join("migrations")).await.unwrap();
    let mut hasher = DefaultHasher::new();
    migrator.iter().for_each(|migration| migration.checksum.hash(&mut hasher));
    // The grants stand in code, because the names of the roles are configuration.
    std::fs::read(root().join("src/store/migrate.rs")).unwrap().hash(&mut hasher);
    let name = format!("template_{:016x}", hasher.finish());

    let mut admin = connect(&servers.database_url("admin", "postgres")).await;
    lock(&mut admin).await;
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    if !there {
        // Under another name until it is complete: an interrupted run leaves no half-migrated template.
        let making = unique::word("making");
        run(&mut admin, format!("CREATE DATABASE {making} OWNER scargate_owner")).await;
        let owner = servers.database_url("owner", &making);
        scargate::store::Store::migrate_url(&owner, "scargate_app", "scargate_auditor").await.unwrap();
        run(&mut admin, format!("ALTER DATABASE {making} RENAME TO {name}")).await;
    }
    admin.close().await.unwrap();
    name
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}
