//! The gateway's configuration in a test: its own database and queue prefix, short delays, one key at a time.

use std::path::PathBuf;

use scargate::config::{self, Config};
use toml::{Table, Value};

use super::database::TestDatabase;
use super::servers::{Servers, root};
use super::unique;

/// An overlay on `config/default.toml`; every test changes what it is about.
pub struct TestConfig {
    folder: tempfile::TempDir,
    values: Table,
}

impl TestConfig {
    /// Database and broker of `servers` (its queues under a fresh prefix), its PACS and EHR, delays of seconds.
    pub fn new(servers: &Servers, database: &TestDatabase) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let secret = |name: &str| format!("file:{}", servers.secret_file(name).display());
        let url = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).unwrap();
            format!("file:{}", path(name))
        };
        let (app, owner) = (url("app", database.url("app")), url("owner", database.url("owner")));
        let broker = url("broker", servers.amqp_url());
        let (spool, checkpoints) = (path("spool"), path("checkpoints"));
        let mut config = Self { folder, values: Table::new() };
        config
            .set("server.port", i64::from(free_port()))
            .set("server.grace_secs", 5)
            .set("database.url", app)
            .set("database.owner_url", owner)
            .set("broker.url", broker)
            .set("broker.prefix", unique::word("it"))
            .set("broker.retry_delays_secs", vec![1, 2, 4])
            .set("broker.lease_secs", 6)
            .set("broker.heartbeat_secs", 1)
            .set("broker.reconcile_secs", 2)
            .set("pacs.url", servers.pacs_url())
            .set("pacs.auth", "basic")
            .set("pacs.username", "scargate")
            .set("pacs.password", secret("orthanc"))
            .set("intake.poll_interval_secs", 1)
            .set("intake.quiet_secs", 1)
            .set("intake.webhook_token", secret("webhook-token"))
            .set("infer.models", root().join("models").to_str().unwrap())
            .set("infer.library", servers.ort_library().to_str().unwrap())
            .set("infer.threads", 1)
            .set("spool.directory", spool)
            .set("deliver.poll_secs", 1)
            .set("deliver.backoff_secs", 1)
            .set("deliver.backoff_max_secs", 4)
            .set("deliver.breaker_open_secs", 2)
            .set("ehr.url", servers.ehr_url())
            .set("ehr.mode", "on")
            .set("ehr.release", "on-analysis")
            .set("ehr.auth", "smart")
            .set("ehr.client_id", "scargate")
            .set("ehr.private_key", secret("ehr-client-es384.pem"))
            .set("ehr.key_id", "scargate-es384")
            .set("ehr.algorithm", "ES384")
            .set("ehr.patient_system", "urn:scargate:demo:patient")
            .set("ehr.accession_system", "urn:scargate:demo:accession")
            .set("audit.pseudonym_key", secret("pseudonym-key"))
            .set("audit.checkpoint_key", secret("audit-signing.pem"))
            .set("audit.checkpoint_directory", checkpoints);
        config
    }

    /// Sets `section.key`.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let (section, key) = key.split_once('.').unwrap();
        let table = self.values.entry(section).or_insert_with(|| Value::Table(Table::new()));
        table.as_table_mut().unwrap().insert(key.to_owned(), value.into());
        self
    }

    /// The value of `section.key` as text, for what a test needs again (the port, the prefix).
    pub fn get(&self, key: &str) -> String {
        let (section, key) = key.split_once('.').unwrap();
        let value = &self.values[section][key];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Writes the overlay and returns its path: for the gateway as a process.
    pub fn file(&self) -> PathBuf {
        let file = self.folder.path().join("test.toml");
        // In one step: a process that was started a moment ago may be reading it.
        let new = self.folder.path().join("new.toml");
        std::fs::write(&new, toml::to_string(&self.values).unwrap()).unwrap();
        std::fs::rename(&new, &file).unwrap();
        file
    }

    /// The configuration as the gateway reads it: for the gateway as a library.
    pub fn load(&self) -> Config {
        config::load(&[self.file()]).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// A folder of the test's own, gone afterwards.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// A loopback port that nothing listens on at this moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
