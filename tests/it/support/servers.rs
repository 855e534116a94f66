//! The real servers: the set that `scripts/servers.sh` runs for all tests, and private sets for tests that
//! kill or stop them.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One set of servers: where they listen and what their secrets are.
#[derive(Clone, Debug)]
pub struct Servers {
    state: PathBuf,
    values: HashMap<String, String>,
}

impl Servers {
    /// The set that `scripts/test.sh` started, or that a developer left running with
    /// `SCARGATE_STATE=.scargate/test scripts/servers.sh up`.
    pub fn shared() -> Self {
        let state = std::env::var("SCARGATE_STATE").unwrap_or_else(|_| ".scargate/test".to_owned());
        Self::read(&root().join(state))
    }

    fn read(state: &Path) -> Self {
        let file = state.join("env");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!("no servers: {} ({error}); run: SCARGATE_STATE=.scargate/test scripts/servers.sh up", file.display())
        });
        let values = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Self { state: state.to_owned(), values }
    }

    /// A line of the set's `env` file.
    pub fn value(&self, key: &str) -> &str {
        self.values.get(key).unwrap_or_else(|| panic!("{key} is not in {}/env", self.state.display()))
    }

    fn port(&self, key: &str) -> u16 {
        self.value(key).parse().unwrap()
    }

    /// The content of a file in the set's secrets folder.
    pub fn secret(&self, name: &str) -> String {
        let path = self.secret_file(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The path of a file in the set's secrets folder.
    pub fn secret_file(&self, name: &str) -> PathBuf {
        self.state.join("secrets").join(name)
    }

    /// The connection string of a role: `admin`, `owner`, `app` or `auditor`.
    pub fn database_url(&self, role: &str, database: &str) -> String {
        let (password, port) = (self.secret(&format!("pg-{role}")), self.port("SCARGATE_PG_PORT"));
        format!("postgres://scargate_{role}:{password}@127.0.0.1:{port}/{database}")
    }

    pub fn pg_port(&self) -> u16 {
        self.port("SCARGATE_PG_PORT")
    }

    /// The broker's address with user and password, on the default virtual host.
    pub fn amqp_url(&self) -> String {
        format!("amqp://scargate:{}@127.0.0.1:{}/%2f", self.secret("rabbitmq"), self.port("SCARGATE_AMQP_PORT"))
    }

    /// The broker's management API.
    pub fn amqp_api(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.port("SCARGATE_AMQP_HTTP_PORT"))
    }

    /// The PACS without a path: where a fault proxy goes in front.
    pub fn pacs_origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port("SCARGATE_PACS_PORT"))
    }

    /// The PACS's DICOMweb root; user `scargate`, password `secret("orthanc")`.
    pub fn pacs_url(&self) -> String {
        self.value("SCARGATE_PACS_URL").to_owned()
    }

    /// The EHR without a path.
    pub fn ehr_origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port("SCARGATE_EHR_PORT"))
    }

    /// The EHR's FHIR root; Basic user `scargate-seed`, password `secret("ehr-seed")`, or SMART client
    /// `scargate` with `secret_file("ehr-client-es384.pem")`.
    pub fn ehr_url(&self) -> String {
        self.value("SCARGATE_EHR_URL").to_owned()
    }

    /// The PACS's REST root with Basic credentials set.
    pub fn pacs_request(
        &self,
        client: &reqwest::Client,
        method: reqwest::Method,
        path: &str,
    ) -> reqwest::RequestBuilder {
        client
            .request(method, format!("{}{path}", self.pacs_origin()))
            .basic_auth("scargate", Some(self.secret("orthanc")))
    }

    /// The EHR's FHIR root with Basic credentials set.
    pub fn ehr_request(
        &self,
        client: &reqwest::Client,
        method: reqwest::Method,
        path: &str,
    ) -> reqwest::RequestBuilder {
        client
            .request(method, format!("{}{path}", self.ehr_url()))
            .basic_auth("scargate-seed", Some(self.secret("ehr-seed")))
    }

    /// The ONNX Runtime library that the scripts fetched.
    pub fn ort_library(&self) -> PathBuf {
        PathBuf::from(self.value("SCARGATE_ORT_LIBRARY"))
    }
}

/// A set of its own for a test that stops or kills servers; wiped when dropped.
pub struct PrivateServers {
    servers: Servers,
    base: u16,
    // Holds the port block against other tests, in this process and in others, until the set is gone.
    _block: File,
    folder: tempfile::TempDir,
}

impl std::ops::Deref for PrivateServers {
    type Target = Servers;

    fn deref(&self) -> &Servers {
        &self.servers
    }
}

impl PrivateServers {
    /// Starts some of `postgres`, `rabbitmq`, `orthanc`, `ehr` (0.8 s, 8 s, 0.3 s, 1.5 s).
    pub fn start(names: &[&str]) -> Self {
        let (block, base) = claim_ports();
        // The database's own user must be able to enter; tempfile makes folders that only we can.
        let folder = tempfile::Builder::new().prefix("scargate-servers-").tempdir().unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        script(folder.path(), base, "up", names);
        Self { servers: Servers::read(folder.path()), base, _block: block, folder }
    }

    /// SIGKILL, as in a crash.
    pub fn kill(&self, name: &str) {
        script(self.folder.path(), self.base, "kill", &[name]);
    }

    /// A clean stop.
    pub fn stop(&self, name: &str) {
        script(self.folder.path(), self.base, "down", &[name]);
    }

    /// Starts a server again after `kill` or `stop`, with its data.
    pub fn up(&self, name: &str) {
        script(self.folder.path(), self.base, "up", &[name]);
    }
}

impl Drop for PrivateServers {
    fn drop(&mut self) {
        run_script(self.folder.path(), self.base, "wipe", &[]);
    }
}

/// Takes a block of 20 ports that no other test holds: an advisory lock on a file, given back by the system
/// when the holder is gone. Below the ephemeral range, so no outgoing connection sits on one.
fn claim_ports() -> (File, u16) {
    let folder = std::env::temp_dir().join("scargate-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    for base in (26000u16..32000).step_by(20) {
        let file = File::create(folder.join(base.to_string())).unwrap();
        let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if file.try_lock().is_ok() && (base..base + 10).all(free) {
            return (file, base);
        }
    }
    panic!("no free block of ports between 26000 and 32000");
}

fn run_script(state: &Path, base: u16, command: &str, names: &[&str]) -> std::process::Output {
    Command::new(root().join("scripts/servers.sh"))
        .arg(command)
        .args(names)
        .env("SCARGATE_STATE", state)
        .env("SCARGATE_PORT_BASE", base.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn script(state: &Path, base: u16, command: &str, names: &[&str]) {
    let output = run_script(state, base, command, names);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/servers.sh {command} {names:?}: {said}");
}
