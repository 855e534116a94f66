//! Intake and worker against a real PACS, broker and database, with real models: the way of a study up to its outbox.

use std::sync::Arc;
use std::time::Duration;

use scargate::config::Config;
use scargate::dicomweb::{Client, StoreItem, StoreOutcome};
use scargate::domain::delivery::DeliveryState;
use scargate::domain::run::{RunId, RunState};
use scargate::domain::submission::{Submission, Trigger};
use scargate::domain::uid::Uid;
use scargate::infer::Engine;
use scargate::intake::{self, Poller};
use scargate::phantom::variant::Variant;
use scargate::pipeline::{Reconciler, Worker};
use scargate::queue::{Message, Queue, Route};
use scargate::store::{Claim, Page, RunDetail, RunFilter, Store, Submitted};
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::config::TestConfig;
use crate::support::database::TestDatabase;
use crate::support::fault_proxy::{FaultProxy, on};
use crate::support::servers::Servers;
use crate::support::studies::{TestStudy, eventually};

const PATIENCE: Duration = Duration::from_secs(420);

/// The models are loaded once for all tests; the dense model alone, since these tests are about the way of a study.
async fn engine(config: &Config) -> Arc<Engine> {
    static ENGINE: OnceCell<Arc<Engine>> = OnceCell::const_new();
    let infer = config.infer.clone();
    let load = || async {
        let loaded = tokio::task::spawn_blocking(move || Engine::load(&infer).unwrap());
        Arc::new(loaded.await.unwrap())
    };
    ENGINE.get_or_init(load).await.clone()
}

/// A gateway without deliveries: its parts, and a worker when one runs.
struct Bench {
    servers: Servers,
    database: TestDatabase,
    config: Arc<Config>,
    store: Store,
    queue: Queue,
    pacs: Arc<Client>,
    worker: Option<(CancellationToken, JoinHandle<()>)>,
    _overlay: TestConfig,
}

impl Bench {
    async fn new(change: impl FnOnce(&mut TestConfig)) -> Self {
        let servers = Servers::shared();
        let database = TestDatabase::fresh(&servers).await;
        let mut overlay = TestConfig::new(&servers, &database);
        overlay.set("infer.scar_source", "dense");
        change(&mut overlay);
        let config = Arc::new(overlay.load());
        let store = Store::connect(&config.database, &config.audit).await.unwrap();
        let queue = Queue::new(&config.broker).unwrap();
        let pacs = Arc::new(Client::new(&config.pacs, &config.limits, &config.spool).unwrap());
        Self { servers, database, config, store, queue, pacs, worker: None, _overlay: overlay }
    }

    /// With a proxy between gateway and PACS.
    async fn behind_proxy() -> (Self, FaultProxy) {
        let proxy = FaultProxy::start(&Servers::shared().pacs_origin()).await;
        let url = proxy.url("/dicom-web");
        let bench = Self::new(|config| {
            config.set("pacs.url", url).set("pacs.request_retries", 0).set("pacs.idle_timeout_secs", 20);
        });
        (bench.await, proxy)
    }

    async fn start_worker(&mut self) {
        let engine = engine(&self.config).await;
        let worker = Worker::new(self.store.clone(), &self.queue, self.pacs.clone(), engine, self.config.clone());
        let stop = CancellationToken::new();
        self.worker = Some((stop.clone(), tokio::spawn(worker.run(stop))));
    }

    async fn stop_worker(&mut self) {
        let (stop, task) = self.worker.take().unwrap();
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), task).await.expect("the worker did not stop").unwrap();
    }

    fn poller(&self) -> Poller {
        let poke = Arc::new(Notify::new());
        Poller::new(self.store.clone(), self.pacs.clone(), &self.queue, self.config.intake.clone(), poke)
    }

    async fn submit(&self, study: &TestStudy, trigger: Trigger) -> Submitted {
        let submission = Submission { study: uid(study), trigger, actor: "tester".into() };
        intake::submit(&self.store, &self.pacs, &self.queue, submission).await.unwrap()
    }

    /// Submits as a person would; the run that was started.
    async fn start(&self, study: &TestStudy) -> RunId {
        match self.submit(study, Trigger::Cli).await {
            Submitted::Started { run, .. } => run,
            other => panic!("{other:?}"),
        }
    }

    async fn detail(&self, run: RunId) -> RunDetail {
        self.store.show_run(run).await.unwrap().unwrap()
    }

    async fn reaches(&self, run: RunId, states: &[RunState]) -> RunDetail {
        let what = format!("{run} reaches {states:?}");
        eventually(&what, PATIENCE, async || {
            let detail = self.detail(run).await;
            states.contains(&detail.summary.state).then_some(detail)
        })
        .await
    }

    async fn runs_of(&self, study: &TestStudy) -> Vec<(u32, RunState)> {
        let filter = RunFilter { states: vec![], study: Some(uid(study)) };
        let runs = self.store.list_runs(&filter, Page { limit: 100, before: None }).await.unwrap();
        runs.into_iter().map(|run| (run.revision, run.state)).collect()
    }

    async fn queues_are_empty(&self) {
        eventually("empty queues", PATIENCE, async || {
            let depths = self.queue.depths().await.unwrap();
            (depths == Default::default()).then_some(())
        })
        .await;
    }
}

fn uid(study: &TestStudy) -> Uid {
    Uid::parse(study.uid()).unwrap()
}

/// Stores some of a study's objects.
async fn upload_some(study: &TestStudy, bench: &Bench, wanted: impl Fn(&str) -> bool) {
    for instance in study.study.instances.iter().filter(|instance| wanted(&instance.series)) {
        let request = bench.servers.pacs_request(&reqwest::Client::new(), reqwest::Method::POST, "/instances");
        let answer = request.body(instance.to_bytes().unwrap()).send().await.unwrap();
        assert!(answer.status().is_success());
    }
}

fn events(detail: &RunDetail) -> Vec<&str> {
    detail.timeline.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_goes_from_the_pacs_into_the_outbox_once_for_twenty_messages() {
    let mut bench = Bench::new(|_| {}).await;
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    study.upload().await;
    let run = bench.start(&study).await;
    for _ in 0..19 {
        bench.queue.publish(&Message::Run(run), Route::Now).await.unwrap();
    }
    bench.start_worker().await;
    let detail = bench.reaches(run, &[RunState::Delivering, RunState::Rejected, RunState::Failed]).await;
    assert_eq!(detail.summary.state, RunState::Delivering, "{:?}", detail.summary);
    bench.queues_are_empty().await;
    bench.stop_worker().await;

    let detail = bench.detail(run).await;
    assert_eq!(detail.summary.attempts, 1, "twenty messages, one run's work");
    assert_eq!(events(&detail).iter().filter(|kind| **kind == "analysis").count(), 1);
    let names: Vec<&str> = detail.artefacts.iter().map(|artefact| artefact.name.as_str()).collect();
    for name in ["seg", "measures"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let destinations: std::collections::BTreeSet<&str> =
        detail.deliveries.iter().map(|d| d.destination.name()).collect();
    assert_eq!(destinations.into_iter().collect::<Vec<_>>(), ["ehr", "pacs"]);
    let waits = |state| matches!(state, DeliveryState::Pending | DeliveryState::Held);
    assert!(detail.deliveries.iter().all(|d| waits(d.state)), "{:?}", detail.deliveries);
    let order = ["run-received", "retrieve-intent", "retrieve-outcome", "analysis"];
    let seen: Vec<&str> = events(&detail).into_iter().filter(|kind| order.contains(kind)).collect();
    assert_eq!(seen, order);
    for event in &detail.timeline {
        for secret in [study.uid(), &study.spec.patient.id, &study.spec.patient.accession] {
            assert!(!event.canonical.contains(secret), "patient data in {}", event.canonical);
        }
    }
    assert_eq!(bench.submit(&study, Trigger::Poll).await, Submitted::AlreadyOpen { run });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poller_waits_for_quiet_and_starts_a_revision_for_late_images_only() {
    let mut bench = Bench::new(|_| {}).await;
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    let mut poller = bench.poller();
    upload_some(&study, &bench, |series| series.contains("psir")).await;
    poller.pass(Trigger::Poll).await.unwrap();
    assert_eq!(bench.runs_of(&study).await, [], "not quiet yet");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..3 {
        poller.pass(Trigger::Poll).await.unwrap();
    }
    assert_eq!(bench.runs_of(&study).await.len(), 1);
    bench.start_worker().await;
    let filter = RunFilter { states: vec![], study: Some(uid(&study)) };
    let first = bench.store.list_runs(&filter, Page { limit: 1, before: None }).await.unwrap()[0].id;
    let detail = bench.reaches(first, &[RunState::Delivering, RunState::Rejected, RunState::Failed]).await;
    assert_eq!(detail.summary.state, RunState::Delivering, "{:?}", detail.summary);

    // Our own output arrives in the PACS: the count changes, the inputs do not.
    let seg = bench.store.artefact(first, "seg").await.unwrap().unwrap();
    let dicom = seg.dicom.unwrap();
    let item = StoreItem { sop_instance: dicom.sop_instance, bytes: seg.bytes.into() };
    let outcomes = bench.pacs.store(&uid(&study), &[item]).await.unwrap();
    assert!(matches!(outcomes[0], StoreOutcome::Stored { .. }), "{outcomes:?}");
    for _ in 0..3 {
        poller.pass(Trigger::Poll).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(bench.runs_of(&study).await.len(), 1, "our own output triggers nothing");

    // Late images of another series: a new revision, but the same stack is selected.
    upload_some(&study, &bench, |series| series.contains("cine")).await;
    poller.pass(Trigger::Poll).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    poller.pass(Trigger::Poll).await.unwrap();
    eventually("the second revision ends", PATIENCE, async || {
        let runs = bench.runs_of(&study).await;
        (runs.len() == 2 && runs[0].1.is_end()).then_some(())
    })
    .await;
    assert_eq!(bench.runs_of(&study).await, [(2, RunState::Unchanged), (1, RunState::Delivering)]);
    bench.stop_worker().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn studies_that_cannot_be_measured_end_rejected_with_a_code_and_block_nothing() {
    let mut bench = Bench::new(|_| {}).await;
    let cases = [
        (Variant::NoLge, "no-lge-series"),
        (Variant::MagnitudeOnly, "contrast-not-supported"),
        (Variant::OneSlice, "too-few-slices"),
    ];
    let mut runs = Vec::new();
    for (variant, code) in cases {
        let study = TestStudy::draw(&bench.servers, |spec| spec.variant(variant));
        study.upload().await;
        runs.push((bench.start(&study).await, code));
    }
    let deleted = TestStudy::draw(&bench.servers, |spec| spec);
    deleted.upload().await;
    runs.push((bench.start(&deleted).await, "study-not-found"));
    deleted.delete().await;
    bench.start_worker().await;
    for (run, code) in runs {
        let detail = bench.reaches(run, &[RunState::Rejected, RunState::Failed, RunState::Delivering]).await;
        assert_eq!(detail.summary.failure_code.as_deref(), Some(code), "{:?}", detail.summary);
        assert_eq!(detail.summary.state, RunState::Rejected);
        assert!(detail.deliveries.is_empty(), "nothing is sent");
        if code != "study-not-found" {
            let looked = detail.timeline.iter().find(|event| event.kind == "analysis").expect("why is recorded");
            assert!(looked.canonical.contains("\"reason\""), "a reason per series: {}", looked.canonical);
        }
    }
    bench.queues_are_empty().await;
    bench.stop_worker().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pacs_that_is_away_is_tried_again_and_then_the_study_goes_on() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    study.upload().await;
    let run = bench.start(&study).await;
    proxy.refuse(true);
    bench.start_worker().await;
    let tried_twice = async || bench.detail(run).await.attempts.iter().filter(|a| a.ended_at.is_some()).count() >= 2;
    eventually("two failed attempts", PATIENCE, async || tried_twice().await.then_some(())).await;
    assert_eq!(bench.detail(run).await.summary.failure_code.as_deref(), Some("pacs-unavailable"));
    proxy.refuse(false);
    let detail = bench.reaches(run, &[RunState::Delivering, RunState::Failed]).await;
    assert_eq!(detail.summary.state, RunState::Delivering);
    assert_eq!(detail.summary.failure_code, None, "what is over is not shown as a failure");
    bench.stop_worker().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_used_up_end_the_run_failed_and_a_person_can_retry_it() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    study.upload().await;
    let run = bench.start(&study).await;
    proxy.rule(on("GET", "/series/").status(500));
    // Delays are 1, 2, 4 s; six attempts would take too long.
    let mut config = (*bench.config).clone();
    config.broker.max_attempts = 2;
    bench.config = Arc::new(config);
    bench.start_worker().await;
    let detail = bench.reaches(run, &[RunState::Failed]).await;
    assert_eq!((detail.summary.attempts, detail.attempts.len()), (2, 2));
    proxy.clear();
    assert_eq!(intake::retry(&bench.store, &bench.queue, run, "tester").await.unwrap(), RunState::Received);
    bench.reaches(run, &[RunState::Delivering]).await;
    bench.stop_worker().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_lease_was_taken_writes_nothing() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    study.upload().await;
    let run = bench.start(&study).await;
    let (rule, gate) = on("GET", "/series/").first(1).hold();
    proxy.rule(rule);
    bench.start_worker().await;
    proxy.wait_for("GET", "/series/", 1, PATIENCE).await;
    let owner = bench.database.pool("owner").await;
    let taken = sqlx::query(
        "UPDATE runs SET fence = fence + 1, lease_until = clock_timestamp() + interval '1 hour' WHERE id = $1",
    );
    taken.bind(run.0).execute(&owner).await.unwrap();
    // Two heartbeats later the worker knows; its message is acknowledged, since the other holder has the work.
    bench.queues_are_empty().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    gate.open();
    bench.stop_worker().await;
    let detail = bench.detail(run).await;
    assert_eq!(detail.summary.state, RunState::Retrieving, "the state belongs to the other holder");
    assert!(detail.artefacts.is_empty());
    assert!(!events(&detail).contains(&"retrieve-outcome"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_meets_a_live_lease_comes_back_when_the_lease_is_over() {
    let mut bench = Bench::new(|_| {}).await;
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    study.upload().await;
    let run = bench.start(&study).await;
    let claim = bench.store.claim(run, "a worker that died", Duration::from_secs(3), 6).await.unwrap();
    assert!(matches!(claim, Claim::Claimed(_)));
    bench.start_worker().await;
    let detail = bench.reaches(run, &[RunState::Delivering]).await;
    let reasons: Vec<&str> = detail.attempts.iter().map(|attempt| attempt.reason.as_str()).collect();
    assert_eq!(reasons, ["first", "lease-expired"]);
    bench.queues_are_empty().await;
    bench.stop_worker().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_hands_the_run_back_uncounted() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    study.upload().await;
    let run = bench.start(&study).await;
    let (rule, gate) = on("GET", "/series/").first(1).hold();
    proxy.rule(rule);
    bench.start_worker().await;
    proxy.wait_for("GET", "/series/", 1, PATIENCE).await;
    bench.stop_worker().await;
    drop(gate);
    let detail = bench.detail(run).await;
    assert_eq!((detail.summary.state, detail.summary.attempts), (RunState::Received, 0));
    assert_eq!(bench.queue.depths().await.unwrap().ready, 1, "the message is there for another worker");
    bench.start_worker().await;
    bench.reaches(run, &[RunState::Delivering]).await;
    bench.stop_worker().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_lost_is_published_again() {
    let bench = Bench::new(|_| {}).await;
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    study.upload().await;
    bench.start(&study).await;
    let reconciler = Reconciler::new(bench.store.clone(), &bench.queue, Duration::from_secs(1), Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(reconciler.sweep().await.unwrap(), 0, "a message in line is not lost");
    let connection = lapin::Connection::connect(&bench.servers.amqp_url(), Default::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.queue_purge(bench.queue.topology().work().into(), Default::default()).await.unwrap();
    assert_eq!(reconciler.sweep().await.unwrap(), 1);
    assert_eq!(bench.queue.depths().await.unwrap().ready, 1);
    assert_eq!(reconciler.sweep().await.unwrap(), 0, "and once is enough");
}

/// Series that were fetched with their pixels, and the bytes that the ledger says came.
async fn fetched(proxy: &FaultProxy, bench: &Bench, run: RunId) -> (usize, u64) {
    let is_fetch = |target: &str| target.contains("/series/") && !target.contains("metadata");
    let series = proxy.seen().iter().filter(|seen| seen.method == "GET" && is_fetch(&seen.target)).count();
    let detail = bench.detail(run).await;
    let event = detail.timeline.iter().find(|event| event.kind == "retrieve-outcome").unwrap();
    let event: serde_json::Value = serde_json::from_str(&event.canonical).unwrap();
    (series, event["detail"]["bytes"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_series_that_could_be_the_stack_are_fetched_and_why_is_recorded() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    let study = TestStudy::draw(&bench.servers, |spec| spec.phases(12));
    study.upload().await;
    let whole: usize = study.study.instances.iter().map(|instance| instance.to_bytes().unwrap().len()).sum();
    let all: std::collections::BTreeSet<&str> = study.study.instances.iter().map(|i| i.series.as_str()).collect();
    let run = bench.start(&study).await;
    bench.start_worker().await;
    let detail = bench.reaches(run, &[RunState::Delivering, RunState::Rejected, RunState::Failed]).await;
    assert_eq!(detail.summary.state, RunState::Delivering, "{:?}", detail.summary);
    let (series, bytes) = fetched(&proxy, &bench, run).await;
    eprintln!("{} of {} series, {bytes} of {whole} bytes", series, all.len());
    assert!(series < all.len() && bytes * 2 < whole as u64, "{series} of {}, {bytes} of {whole}", all.len());
    let analysis = detail.timeline.iter().find(|event| event.kind == "analysis").unwrap();
    let analysis: serde_json::Value = serde_json::from_str(&analysis.canonical).unwrap();
    let decisions = analysis["detail"]["series"].as_array().unwrap();
    assert_eq!(decisions.len(), all.len(), "each series has its reason: {decisions:?}");
    assert_eq!(decisions.iter().filter(|decision| decision["taken"] == true).count(), 1);
    let reasons: Vec<&str> = decisions.iter().map(|decision| decision["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains(&"no-inversion-recovery") && reasons.contains(&"localizer"), "{reasons:?}");
    bench.stop_worker().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pacs_whose_headers_do_not_tell_is_asked_for_everything() {
    let keeps_back = on("GET", "/metadata").edit(|answer| {
        let mut sets: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        for set in sets.as_array_mut().unwrap() {
            set.as_object_mut().unwrap().retain(|tag, _| tag != "00180020");
        }
        answer.body = serde_json::to_vec(&sets).unwrap();
    });
    for rule in [on("GET", "/metadata").status(501), on("GET", "/metadata").truncate(0.5), keeps_back] {
        let (mut bench, proxy) = Bench::behind_proxy().await;
        proxy.rule(rule);
        let study = TestStudy::draw(&bench.servers, |spec| spec);
        study.upload().await;
        let whole: usize = study.study.instances.iter().map(|instance| instance.to_bytes().unwrap().len()).sum();
        let run = bench.start(&study).await;
        bench.start_worker().await;
        bench.reaches(run, &[RunState::Delivering]).await;
        let (_, bytes) = fetched(&proxy, &bench, run).await;
        assert!(bytes * 10 > whole as u64 * 9, "{bytes} of {whole}");
        bench.stop_worker().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_waits_while_the_pacs_refuses_our_credentials_and_goes_on_by_itself() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    let mut config = (*bench.config).clone();
    config.broker.max_attempts = 1;
    bench.config = Arc::new(config);
    let study = TestStudy::draw(&bench.servers, |spec| spec);
    study.upload().await;
    let run = bench.start(&study).await;
    proxy.rule(on("*", "/dicom-web").status(401));
    bench.start_worker().await;
    let two_tries = async || bench.detail(run).await.attempts.iter().filter(|a| a.ended_at.is_some()).count() >= 2;
    eventually("two refused attempts", PATIENCE, async || two_tries().await.then_some(())).await;
    let waiting = bench.reaches(run, &[RunState::Received]).await;
    assert_eq!(waiting.summary.failure_code.as_deref(), Some("pacs-unauthorized"));
    assert_eq!(waiting.summary.attempts, 0, "more tries than max_attempts, none of them counted");
    proxy.clear();
    bench.reaches(run, &[RunState::Delivering]).await;
    bench.stop_worker().await;
}
