//! The whole gateway as processes on real servers, with fault proxies before PACS and EHR: for the tests that kill.

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;

use crate::support::config::TestConfig;
use crate::support::database::TestDatabase;
use crate::support::fault_proxy::FaultProxy;
use crate::support::gateway::{self, Gateway};
use crate::support::servers::{PrivateServers, Servers};
use crate::support::studies::{TestStudy, search};

/// How long a study may take on a loaded two-core machine.
pub const PATIENCE: Duration = Duration::from_secs(420);

/// Which model draws the scar.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Models {
    /// The dense model alone: quick.
    Dense,
    /// Detector and promptable segmenter.
    Full,
}

/// A configuration, its database, a PACS of its own (so that the poller sees only this test's studies).
pub struct Stage {
    pub config: TestConfig,
    pub database: TestDatabase,
    pub pacs: FaultProxy,
    pub ehr: FaultProxy,
    /// Where broker, database and EHR are.
    pub servers: Servers,
    pub private: PrivateServers,
    client: Client,
}

impl Stage {
    /// Orthanc of its own; database, broker and EHR shared with other tests.
    pub async fn new(models: Models) -> Self {
        let private = PrivateServers::start(&["orthanc"]);
        Self::on(private, Servers::shared(), models).await
    }

    /// All four servers of its own, for a test that stops them.
    pub async fn all_private(models: Models) -> Self {
        let private = PrivateServers::start(&["postgres", "rabbitmq", "orthanc", "ehr"]);
        let servers = (*private).clone();
        Self::on(private, servers, models).await
    }

    async fn on(private: PrivateServers, servers: Servers, models: Models) -> Self {
        let database = TestDatabase::fresh(&servers).await;
        let pacs = FaultProxy::start(&private.pacs_origin()).await;
        let ehr = FaultProxy::start(&servers.ehr_origin()).await;
        let mut config = TestConfig::new(&servers, &database);
        config
            .set("pacs.url", pacs.url("/dicom-web"))
            .set("pacs.password", format!("file:{}", private.secret_file("orthanc").display()))
            .set("ehr.url", ehr.url("/fhir"))
            .set("infer.scar_source", if models == Models::Dense { "dense" } else { "sam" });
        let client = Client::builder().no_proxy().build().unwrap();
        Self { config, database, pacs, ehr, servers, private, client }
    }

    /// A gateway process of one role, or of all.
    pub async fn gateway(&self, role: &str) -> Gateway {
        let mut gateway = Gateway::serve(&self.config, &["--role", role]);
        if matches!(role, "all" | "api") {
            gateway.ready(Duration::from_secs(60)).await;
        }
        gateway
    }

    /// A study of a known patient in this stage's PACS; the patient's reference.
    pub async fn arrive(&self) -> (TestStudy, String) {
        let study = TestStudy::draw(&self.private, |spec| spec);
        let patient = study.register_at(&self.servers).await;
        study.upload().await;
        (study, patient)
    }

    /// Asks the API to start a run.
    pub async fn submit(&self, api: &Gateway, study: &TestStudy) {
        let url = api.url(&format!("/api/v1/studies/{}/runs", study.uid()));
        let answer = self.client.post(url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202, "{}", answer.text().await.unwrap_or_default());
    }

    /// The newest run of the study, when the API answers and there is one.
    pub async fn run(&self, api: &Gateway, study: &TestStudy) -> Option<Value> {
        let url = api.url(&format!("/api/v1/runs?study={}", study.uid()));
        let list: Value = self.client.get(url).send().await.ok()?.json().await.ok()?;
        list["runs"].get(0).cloned()
    }

    /// Waits until the study's run is in one of these states.
    pub async fn reaches(&self, api: &Gateway, study: &TestStudy, states: &[&str]) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let run = self.run(api, study).await;
            if let Some(run) = run.clone().filter(|run| states.iter().any(|state| run["state"] == *state)) {
                return run;
            }
            assert!(Instant::now() < end, "not within {PATIENCE:?}: run {states:?}; it is {run:?}\n{}", api.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The end of every journey: completed, one SEG, one set of Observations, a ledger that verifies, no message left.
    pub async fn delivered_once(&self, api: &Gateway, study: &TestStudy, patient: &str) {
        self.release_what_waits_for_review(api, study).await;
        let ended = ["completed", "rejected", "failed", "cancelled", "superseded", "unchanged"];
        let run = self.reaches(api, study, &ended).await;
        assert_eq!(run["state"], "completed", "{run}\n{}", api.log());
        assert_eq!(study.segs().await.len(), 1, "SEG objects in the PACS");
        let mut lines = self.lines(patient).await;
        let all = lines.len();
        assert!(all > 3, "only {all} Observations in the EHR");
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), all, "an Observation was written twice");
        let verified = gateway::run(&self.config, &["audit", "verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        self.queues_are_empty().await;
    }

    /// A flagged result waits for a person in the middle of its way; these tests are about the way, so it is released.
    pub async fn release_what_waits_for_review(&self, api: &Gateway, study: &TestStudy) {
        let on_its_way = ["delivering", "completed", "rejected", "failed"];
        let run = self.reaches(api, study, &on_its_way).await;
        let url = api.url(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap()));
        let detail: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        for delivery in detail["deliveries"].as_array().into_iter().flatten() {
            if delivery["code"] == "needs-review" {
                let url = api.url(&format!("/api/v1/deliveries/{}/release", delivery["id"].as_str().unwrap()));
                assert_eq!(self.client.post(url).send().await.unwrap().status().as_u16(), 202);
            }
        }
    }

    /// The line identifiers of the patient's Observations in the EHR.
    pub async fn lines(&self, patient: &str) -> Vec<String> {
        let found = search(&self.servers, &format!("Observation?subject={patient}")).await;
        found.iter().map(|resource| resource["identifier"][0]["value"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until no queue of this test holds a message, ready or taken.
    async fn queues_are_empty(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let full = self.full_queues().await;
            if full.as_ref().is_some_and(Vec::is_empty) {
                return;
            }
            assert!(Instant::now() < end, "messages are left: {full:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The queues of this test that hold messages, with their numbers of ready and of taken ones.
    async fn full_queues(&self) -> Option<Vec<String>> {
        let url = format!("{}/queues/%2f", self.servers.amqp_api());
        let request = self.client.get(url).basic_auth("scargate", Some(self.servers.secret("rabbitmq")));
        let queues: Vec<Value> = request.send().await.ok()?.json().await.ok()?;
        let prefix = self.config.get("broker.prefix");
        let ours = queues.iter().filter(|queue| queue["name"].as_str().is_some_and(|name| name.starts_with(&prefix)));
        // After a restart of the broker a queue has no statistics until something happens in it.
        let full = ours.filter(|queue| queue["messages"].as_u64().is_some_and(|messages| messages > 0));
        let text = |queue: &Value| {
            format!("{}: {} ready, {} taken", queue["name"], queue["messages_ready"], queue["messages_unacknowledged"])
        };
        Some(full.map(text).collect())
    }
}
