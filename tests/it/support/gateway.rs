//! The gateway as a process of its own, so that a test can kill it as a crash would.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::config::TestConfig;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_scargate");

/// A running `scargate`; killed when dropped.
pub struct Gateway {
    child: Child,
    port: String,
    log: PathBuf,
}

impl Gateway {
    /// Starts `scargate serve` with more arguments, for example `&["--role", "worker"]`. Its output goes to a file in
    /// the configuration's folder; a later process of the same configuration appends.
    pub fn serve(config: &TestConfig, more: &[&str]) -> Self {
        let log = config.folder().join("gateway.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(BINARY)
            .arg("--config")
            .arg(config.file())
            .arg("serve")
            .args(more)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, port: config.get("server.port"), log }
    }

    /// An address of its API.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Waits until it says that it is ready: its port is open before that.
    ///
    /// # Panics
    /// With its log when it ended, or did not within `patience`.
    pub async fn ready(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let url = self.url("/health/ready");
        while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(self.child.try_wait().unwrap().is_none(), "scargate ended:\n{}", self.log());
            assert!(Instant::now() < end, "scargate is not ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL: no chance to finish anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, then waits for the end; the exit status.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// All that it printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs one command of the gateway to its end.
pub fn run(config: &TestConfig, arguments: &[&str]) -> Output {
    Command::new(BINARY).arg("--config").arg(config.file()).args(arguments).stdin(Stdio::null()).output().unwrap()
}
