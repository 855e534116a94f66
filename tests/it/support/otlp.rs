//! A real OTLP/HTTP receiver (oteltap) behind a proxy that keeps every byte that was exported.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::config::free_port;
use super::fault_proxy::FaultProxy;
use super::servers::Servers;
use super::studies::eventually;

/// The receiver; stopped when dropped.
pub struct Collector {
    child: Child,
    lines: PathBuf,
    _folder: tempfile::TempDir,
    proxy: FaultProxy,
}

/// A span as the receiver decoded it.
#[derive(Debug, Clone)]
pub struct Span(pub Value);

impl Collector {
    /// Starts it and waits until it answers.
    pub async fn start(servers: &Servers) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let lines = folder.path().join("received.ndjson");
        let child = Command::new(servers.value("SCARGATE_PYTHON"))
            .args(["-u", "-m", "oteltap", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&lines).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = FaultProxy::start(&format!("http://127.0.0.1:{port}")).await;
        let collector = Self { child, lines, _folder: folder, proxy };
        let open = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok();
        eventually("the OTLP receiver listens", Duration::from_secs(20), open).await;
        collector
    }

    /// What goes into `telemetry.otlp_endpoint`.
    pub fn endpoint(&self) -> String {
        self.proxy.url("")
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.messages().into_iter().filter(|message| message.get("spanId").is_some()).map(Span).collect()
    }

    /// Names of all metrics so far.
    pub fn metrics(&self) -> Vec<String> {
        let metrics = self.messages().into_iter().filter(|message| message.get("spanId").is_none());
        let mut names: Vec<String> = metrics.filter_map(|m| Some(m.get("name")?.as_str()?.to_owned())).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Every body that was sent to it, byte for byte.
    pub fn exported(&self) -> Vec<Vec<u8>> {
        let seen = self.proxy.seen();
        assert!(seen.iter().all(|request| request.status == Some(200)), "the receiver refused an export");
        seen.into_iter().map(|request| request.body).collect()
    }

    fn messages(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.lines).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Span {
    /// Its name.
    pub fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    /// The trace that it belongs to.
    pub fn trace(&self) -> &str {
        self.0["traceId"].as_str().unwrap()
    }

    /// Its own id.
    pub fn id(&self) -> &str {
        self.0["spanId"].as_str().unwrap()
    }

    /// The span that it belongs below; empty at the root.
    pub fn parent(&self) -> &str {
        self.0["parentSpanId"].as_str().unwrap_or_default()
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        let time = |key: &str| self.0[key].as_str().unwrap().parse::<u64>().unwrap();
        Duration::from_nanos(time("endTimeUnixNano") - time("startTimeUnixNano"))
    }

    /// A text attribute.
    pub fn text(&self, key: &str) -> Option<&str> {
        let found = self.0["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == key)?;
        found["value"]["stringValue"].as_str()
    }

    /// The traces that it links to.
    pub fn links(&self) -> Vec<&str> {
        let links = self.0["links"].as_array().map(Vec::as_slice).unwrap_or_default();
        links.iter().filter_map(|link| link["traceId"].as_str()).collect()
    }
}
