//! The command line as a person uses it: what it prints, and its exit status.

use std::process::{Command, Output};
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use scargate::domain::delivery::Destination;
use scargate::domain::run::{RunId, RunState};
use scargate::failure::{Code, Failure};
use scargate::queue::{Message, Queue};
use scargate::store::{Claim, NewDelivery, Retry, Store};

use crate::stage::{Models, Stage};
use crate::store::kit;
use crate::support::config::TestConfig;
use crate::support::database::TestDatabase;
use crate::support::gateway;
use crate::support::servers::Servers;
use crate::support::studies::TestStudy;

/// A configuration with a database and queues of its own, and the store behind it.
pub struct Desk {
    pub servers: Servers,
    database: TestDatabase,
    pub config: TestConfig,
    store: Store,
}

impl Desk {
    pub async fn new() -> Self {
        let servers = Servers::shared();
        let database = TestDatabase::fresh(&servers).await;
        let config = TestConfig::new(&servers, &database);
        let loaded = config.load();
        let store = Store::connect(&loaded.database, &loaded.audit).await.unwrap();
        Self { servers, database, config, store }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        gateway::run(&self.config, arguments)
    }

    /// Standard output of a command that must succeed.
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", error_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must end with this status.
    pub fn refuses(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", error_of(&output));
        error_of(&output)
    }

    /// A run in the database whose study is in no PACS.
    async fn bare_run(&self, name: &str) -> RunId {
        let submission = kit::submission(&kit::study(name), scargate::domain::submission::Trigger::Reprocess);
        match self.store.submit(&submission, &kit::digest(name), None).await.unwrap() {
            scargate::store::Submitted::Started { run, .. } => run,
            other => panic!("{other:?}"),
        }
    }

    async fn claimed(&self, run: RunId) -> scargate::store::Claimed {
        match self.store.claim(run, "test", Duration::from_secs(30), 5).await.unwrap() {
            Claim::Claimed(claimed) => claimed,
            other => panic!("{other:?}"),
        }
    }
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The first UUID in a text.
fn id_in(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    words.into_iter().find(|word| word.len() == 36).unwrap_or_else(|| panic!("no id in {text}")).to_owned()
}

pub fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_person_submits_looks_cancels_and_reprocesses() {
    let desk = Desk::new().await;
    let study = TestStudy::draw(&desk.servers, |spec| spec);
    study.upload().await;
    let said = desk.says(&["submit", study.uid()]);
    has(&said, &["started run", "revision 1"]);
    let run = id_in(&said);
    has(&desk.says(&["submit", study.uid()]), &["already works on these images", &run]);
    let json: serde_json::Value = serde_json::from_str(&desk.says(&["submit", study.uid(), "--json"])).unwrap();
    assert_eq!(json["run"], *run, "{json}");

    let list = desk.says(&["runs", "list"]);
    has(&list, &[&run, study.uid(), "received", "cli", "rev"]);
    assert!(!desk.says(&["runs", "list", "--state", "failed,rejected"]).contains(&run));
    has(&desk.says(&["runs", "list", "--study", study.uid(), "--limit", "1"]), &[&run]);
    has(&desk.says(&["runs", "show", &run]), &["started by", "received", "audit events", "run-received"]);
    let json: serde_json::Value = serde_json::from_str(&desk.says(&["runs", "show", &run, "--json"])).unwrap();
    assert_eq!((&json["state"], &json["revision"]), (&"received".into(), &1.into()));

    has(&desk.says(&["runs", "cancel", &run]), &["cancelled"]);
    has(&desk.refuses(&["runs", "cancel", &run], 70), &["conflict", "what to do"]);
    let again = desk.says(&["reprocess", study.uid()]);
    has(&again, &["started run", "revision 2"]);

    has(&desk.refuses(&["submit", "1.2.3.4.5.6.7.8.9"], 65), &["study-not-found", "check the StudyInstanceUID"]);
    desk.refuses(&["submit", "../etc/passwd"], 2);
    has(&desk.refuses(&["runs", "show", "00000000-0000-0000-0000-000000000000"], 70), &["not-found"]);
    desk.refuses(&["runs", "list", "--state", "sleeping"], 2);
}

#[tokio::test]
async fn a_failed_run_says_why_and_what_to_do_and_is_tried_again() {
    let desk = Desk::new().await;
    let run = desk.bare_run("cli-retry").await;
    let claimed = desk.claimed(run).await;
    let failure = Failure::permanent(Code::SpoolFull, "the spool is full");
    desk.store.fail_attempt(run, claimed.token, &failure, Retry::Never, &[]).await.unwrap();

    let id = run.to_string();
    has(&desk.says(&["runs", "list", "--state", "failed"]), &[&id, "spool-full"]);
    let shown = desk.says(&["runs", "show", &id]);
    has(&shown, &["failed", "spool-full", "the spool has no room", "free space under", "attempts", "first"]);
    has(&desk.says(&["runs", "retry", &id]), &["received"]);
    has(&desk.says(&["runs", "retry", &id]), &["received"]);
    desk.refuses(&["runs", "retry", "nonsense"], 2);
    assert_eq!(desk.store.run_summary(run).await.unwrap().unwrap().state, RunState::Received);
    let timeline = desk.store.show_run(run).await.unwrap().unwrap().timeline;
    assert!(timeline.iter().any(|event| event.actor.starts_with("cli")), "who did it is in the ledger");
}

#[tokio::test]
async fn messages_that_were_put_aside_are_seen_and_the_readable_ones_sent_again() {
    let desk = Desk::new().await;
    has(&desk.says(&["runs", "dead"]), &["ready 0", "put aside 0"]);
    let queue = Queue::new(&desk.config.load().broker).unwrap();
    let run = desk.bare_run("cli-redrive").await;
    let connection = Connection::connect(&desk.servers.amqp_url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for bytes in [Message::Run(run).encode(), b"{\"v\":99}".to_vec()] {
        let dead = queue.topology().dead();
        let publish = channel.basic_publish(
            "".into(),
            dead.as_str().into(),
            BasicPublishOptions::default(),
            &bytes,
            BasicProperties::default(),
        );
        publish.await.unwrap().await.unwrap();
    }
    let mut dead = String::new();
    for _ in 0..50 {
        dead = desk.says(&["runs", "dead"]);
        if dead.contains("put aside 2") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    has(&dead, &["put aside 2", &run.to_string(), "not readable"]);
    has(&desk.says(&["runs", "redrive"]), &["1 sent to the workers again, 1 left"]);
    has(&desk.says(&["runs", "dead", "--json"]), &["\"depths\"", "\"ready\": 1"]);
}

#[tokio::test]
async fn held_deliveries_are_released_or_discarded() {
    let desk = Desk::new().await;
    let run = desk.bare_run("cli-held").await;
    let claimed = desk.claimed(run).await;
    desk.store.set_state(run, claimed.token, RunState::Retrieving, RunState::Analyzing, &[]).await.unwrap();
    let held = vec![
        NewDelivery::held(Destination::Pacs, "seg", Code::DestinationHeld),
        NewDelivery::held(Destination::Ehr, "fhir-bundle", Code::NeedsReview),
    ];
    desk.store.finish_analysis(run, claimed.token, &kit::result(&claimed, held), &[]).await.unwrap();
    let id = run.to_string();
    has(&desk.says(&["runs", "show", &id]), &["deliveries", "held", "needs-review", "destination-held", "artefacts"]);
    let of = |to: Destination| {
        let store = desk.store.clone();
        async move { store.deliveries_of(run).await.unwrap().into_iter().find(|d| d.destination == to).unwrap() }
    };
    let (pacs, ehr) = (of(Destination::Pacs).await.id.to_string(), of(Destination::Ehr).await.id.to_string());

    has(&desk.refuses(&["runs", "release", &ehr, "--overwrite"], 70), &["conflict", "ehr-changed"]);
    has(&desk.says(&["runs", "release", &ehr]), &[&ehr, "will be sent"]);
    has(&desk.refuses(&["runs", "release", &ehr], 70), &["conflict"]);
    has(&desk.says(&["runs", "discard", &pacs]), &[&pacs, "will not be sent"]);
    has(&desk.refuses(&["runs", "discard", "00000000-0000-0000-0000-000000000000"], 70), &["not-found"]);
    assert_eq!(of(Destination::Ehr).await.state.name(), "pending");
    assert_eq!(of(Destination::Pacs).await.state.name(), "cancelled");
}

#[tokio::test]
async fn models_are_listed_and_checked_on_their_probes() {
    let desk = Desk::new().await;
    let roles = ["myocardium", "scar-detector", "scar-encoder", "scar-decoder"];
    has(&desk.says(&["models", "list"]), &roles);
    let list: serde_json::Value = serde_json::from_str(&desk.says(&["models", "list", "--json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), roles.len());
    let checked = desk.says(&["models", "check"]);
    has(&checked, &roles);
    assert_eq!(checked.matches(" ok ").count(), roles.len(), "{checked}");

    // One model whose bytes are not those that its manifest names: it is told, and so are the others.
    let folder = desk.config.folder().join("models");
    let copied = std::process::Command::new("cp").arg("-r").arg(desk.config.get("infer.models")).arg(&folder).status();
    assert!(copied.unwrap().success());
    std::fs::write(folder.join("scar-encoder/model.onnx"), b"not a model").unwrap();
    let output = desk.run(&["models", "--models", folder.to_str().unwrap(), "check"]);
    assert_eq!(output.status.code(), Some(70), "{}", error_of(&output));
    has(&error_of(&output), &["model-invalid"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    has(&table, &["scar-encoder", "model-invalid"]);
    assert_eq!(table.matches(" ok ").count(), roles.len() - 1, "{table}");
}

#[tokio::test]
async fn codes_are_explained() {
    let desk = Desk::new().await;
    has(&desk.says(&["explain", "patient-ambiguous"]), &["several patients match", "what to do: merge the patients"]);
    let all = desk.says(&["explain"]);
    assert!(Code::ALL.iter().all(|code| all.contains(code.as_str())));
    has(&desk.refuses(&["explain", "no-such-code"], 70), &["bad-request", "no-such-code"]);
}

#[tokio::test]
async fn a_configuration_is_checked_whole_before_any_port_opens() {
    let mut desk = Desk::new().await;
    has(&desk.says(&["config", "check"]), &["configuration is valid"]);
    has(&desk.says(&["config", "defaults"]), &["[study]", "[audit]", "otlp_endpoint"]);
    desk.config.set("study.include", "LGE(").set("study.exclude", "[").set("broker.heartbeat_secs", 50);
    let faults = desk.refuses(&["config", "check"], 78);
    has(&faults, &["config-invalid", "study.include", "study.exclude", "broker.heartbeat_secs"]);
    // Somebody listens on the gateway's port: were it opened first, that would be the complaint.
    let port: u16 = desk.config.get("server.port").parse().unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let refused = desk.refuses(&["serve"], 78);
    has(&refused, &["study.include"]);
    assert!(!refused.contains("server.port"), "{refused}");
}

#[tokio::test]
async fn an_auditor_exports_with_the_auditors_rights_alone_and_it_is_recorded() {
    let desk = Desk::new().await;
    let run = desk.bare_run("cli-audit").await;
    let claimed = desk.claimed(run).await;
    desk.store.set_state(run, claimed.token, RunState::Retrieving, RunState::Analyzing, &[]).await.unwrap();
    desk.store.finish_analysis(run, claimed.token, &kit::result(&claimed, kit::both()), &[]).await.unwrap();
    desk.says(&["audit", "seal"]);

    // The auditor's file: a database role, and no key of ours.
    let folder = desk.config.folder();
    std::fs::write(folder.join("auditor-url"), desk.database.url("auditor")).unwrap();
    let file = folder.join("auditor.toml");
    std::fs::write(&file, format!("[database]\nurl = \"file:{}\"\n", folder.join("auditor-url").display())).unwrap();
    let auditor = |arguments: &[&str]| {
        let mut command = std::process::Command::new(gateway::BINARY);
        command.arg("--config").arg(&file).args(arguments).env("USER", "ines").output().unwrap()
    };
    let study = kit::study("cli-audit");
    for (format, part) in [("ndjson", "\"event\":"), ("csv", "sequence,recorded"), ("fhir", "\"AuditEvent\"")] {
        let output = auditor(&["audit", "export", "--format", format, "--study", study.as_str(), "--identities"]);
        assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        has(&text, &[part, "run-received", "P-4711"]);
    }
    let by_patient = auditor(&["audit", "export", "--patient", "P-4711"]);
    has(&String::from_utf8_lossy(&by_patient.stdout), &["run-received"]);

    desk.says(&["audit", "seal"]);
    let record = desk.says(&["audit", "export", "--kind", "audit-export"]);
    assert_eq!(record.matches("scargate_auditor/ines").count(), 4, "{record}");
    has(&desk.says(&["audit", "verify"]), &["intact"]);
    for forbidden in [&["audit", "seal"][..], &["audit", "erase", "--study", study.as_str()], &["runs", "list"]] {
        assert_ne!(auditor(forbidden).status.code(), Some(0), "{forbidden:?}");
    }
    // The function that records an export writes nothing else.
    let pool = desk.database.pool("auditor").await;
    let forged = "SELECT audit_record_export('11111111-1111-1111-1111-111111111111', now(),
        '{\"kind\":\"erase\",\"id\":\"11111111-1111-1111-1111-111111111111\",\"actor\":\"scargate\",\"schema\":1}')";
    let error = sqlx::raw_sql(forged).execute(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().and_then(|e| e.code()).as_deref(), Some("42501"));
}

#[tokio::test]
async fn a_gateway_that_stops_leaves_no_event_unsealed() {
    let stage = Stage::new(Models::Dense).await;
    for role in ["all", "deliver"] {
        let mut gateway = stage.gateway(role).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(gateway.terminate(), Some(0), "{}", gateway.log());
        let verified = gateway::run(&stage.config, &["audit", "verify"]);
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        has(&said, &["intact", "unsealed     0 committed events"]);
        let stops = gateway::run(&stage.config, &["audit", "export", "--kind", "application-stop"]);
        assert!(!stops.stdout.is_empty(), "the stop is recorded");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = Command::new(gateway::BINARY).args(["config", "defaults"]).stdout(writer).output().unwrap();
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(141), ""));
}
