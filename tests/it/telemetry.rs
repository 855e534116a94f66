//! What leaves over OTLP, as a real receiver got it: one trace per study through every process, and no patient in it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::stage::{Models, Stage};
use crate::support::fault_proxy::on;
use crate::support::gateway::Gateway;
use crate::support::otlp::{Collector, Span};
use crate::support::studies::{TestStudy, eventually};

/// The gateway as four processes that export to one collector.
async fn split(stage: &mut Stage, collector: &Collector) -> (Gateway, Vec<Gateway>) {
    stage.config.set("telemetry.otlp_endpoint", collector.endpoint());
    let api = stage.gateway("api").await;
    let rest = vec![stage.gateway("intake").await, stage.gateway("worker").await, stage.gateway("deliver").await];
    (api, rest)
}

/// Stops all processes, which export what is left, and returns the spans about the study's run.
/// `wanted` says how many of some there must be (by artefact for deliveries): the receiver needs a moment to write them.
async fn stop(
    stage: &Stage,
    study: &TestStudy,
    (mut api, rest): (Gateway, Vec<Gateway>),
    all: &Collector,
    wanted: &[(&str, usize)],
) -> Vec<Span> {
    let run = stage.run(&api, study).await.unwrap()["id"].as_str().unwrap().to_owned();
    for mut process in rest {
        assert_eq!(process.terminate(), Some(0), "{}", process.log());
    }
    assert_eq!(api.terminate(), Some(0));
    let about = |spans: Vec<Span>| {
        let traces: BTreeSet<String> =
            spans.iter().filter(|span| span.text("run") == Some(&run)).map(|span| span.trace().to_owned()).collect();
        spans.into_iter().filter(|span| traces.contains(span.trace())).collect::<Vec<_>>()
    };
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let spans = about(all.spans());
        let is = |span: &Span, name: &str| span.name() == name || span.text("artefact") == Some(name);
        let count = |name: &str| spans.iter().filter(|span| is(span, name)).count();
        if wanted.iter().all(|(name, least)| count(name) >= *least) {
            return spans;
        }
        assert!(Instant::now() < end, "not {wanted:?}: {spans:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything that names the patient or a DICOM object of the study.
fn identifiers(study: &TestStudy) -> Vec<String> {
    let patient = &study.spec.patient;
    let mut all =
        vec![patient.id.clone(), patient.accession.clone(), patient.birth_date.clone(), study.uid().to_owned()];
    all.extend(patient.name.split(['^', ' ']).filter(|part| part.len() > 3).map(str::to_owned));
    all.extend(study.study.instances.iter().map(|instance| instance.sop_instance_uid.clone()));
    let series = |object: &dicom_object::InMemDicomObject| {
        object.element(dicom_dictionary_std::tags::SERIES_INSTANCE_UID).unwrap().to_str().unwrap().into_owned()
    };
    all.extend(study.study.instances.iter().map(|instance| series(&instance.object)));
    all
}

#[tokio::test]
async fn a_study_is_one_trace_from_intake_to_delivery_and_names_nobody() {
    let mut stage = Stage::new(Models::Full).await;
    let collector = Collector::start(&stage.servers).await;
    let (api, rest) = split(&mut stage, &collector).await;
    let (study, patient) = stage.arrive().await;
    stage.delivered_once(&api, &study, &patient).await;
    let seg = study.segs().await[0]["00080018"]["Value"][0].as_str().unwrap().to_owned();
    let spans =
        stop(&stage, &study, (api, rest), &collector, &[("intake", 1), ("run", 1), ("seg", 1), ("fhir-bundle", 1)])
            .await;

    let traces: BTreeSet<&str> = spans.iter().map(Span::trace).collect();
    assert_eq!(traces.len(), 1, "one trace: {spans:#?}");
    let below = |span: &Span| spans.iter().find(|other| other.id() == span.parent()).map_or("", |found| found.name());
    let tree: BTreeSet<(&str, &str)> = spans.iter().map(|span| (below(span), span.name())).collect();
    let steps = ["list", "retrieve", "select", "analyze", "commit"].map(|step| ("run", step));
    let inner = ["segment", "quantify", "encode"].map(|part| ("analyze", part));
    let others =
        [("", "intake"), ("intake", "run"), ("segment", "model"), ("run", "deliver"), ("deliver", "check-patient")];
    for edge in steps.into_iter().chain(inner).chain(others) {
        assert!(tree.contains(&edge), "{edge:?} is not in {tree:?}");
    }
    let roots = spans.iter().filter(|span| span.parent().is_empty()).count();
    assert_eq!(roots, 1, "every other span has its parent: {tree:?}");
    let took = |name: &str| spans.iter().filter(|span| span.name() == name).map(Span::took).sum::<Duration>();
    assert!(took("model") > Duration::from_millis(1) && took("model") <= took("segment"), "{:?}", took("model"));
    assert!(took("segment") <= took("analyze") && took("analyze") < took("run"));
    let models: BTreeSet<&str> = spans.iter().filter_map(|span| span.text("role")).collect();
    assert!(models.contains("myocardium") && models.contains("scar-detector"), "{models:?}");
    let wanted = ["scargate.runs", "scargate.step.duration", "scargate.deliveries"];
    eventually(&format!("the metrics {wanted:?}"), Duration::from_secs(10), async || {
        let metrics = collector.metrics();
        wanted.iter().all(|name| metrics.iter().any(|metric| metric == name)).then_some(())
    })
    .await;

    let exported = collector.exported();
    assert!(
        exported.iter().any(|body| body.windows(6).any(|bytes| bytes == b"intake")),
        "bodies are readable as they are"
    );
    for secret in identifiers(&study).into_iter().chain([seg, patient]) {
        let needle = secret.as_bytes();
        let found = exported.iter().any(|body| body.windows(needle.len()).any(|bytes| bytes == needle));
        assert!(!found, "{secret} was exported");
    }
}

#[tokio::test]
async fn later_tries_have_traces_of_their_own_that_link_to_the_first() {
    let mut stage = Stage::new(Models::Dense).await;
    // No second message of the reconciler: each message has a span, also one that finds nothing to do.
    stage.config.set("pacs.request_retries", 0).set("broker.reconcile_secs", 120);
    let collector = Collector::start(&stage.servers).await;
    // The intake lists the instances, then the worker does.
    stage.pacs.rule(on("GET", "/instances?").nth(2).status(500));
    stage.pacs.rule(on("POST", "/studies").first(1).status(503));
    let (api, rest) = split(&mut stage, &collector).await;
    let (study, patient) = stage.arrive().await;
    stage.delivered_once(&api, &study, &patient).await;
    let spans = stop(&stage, &study, (api, rest), &collector, &[("intake", 1), ("run", 2), ("seg", 2)]).await;

    let named = |name: &str| spans.iter().filter(|span| span.name() == name).cloned().collect::<Vec<_>>();
    let (intake, runs) = (named("intake"), named("run"));
    assert_eq!((intake.len(), runs.len()), (1, 2), "{spans:#?}");
    let first = runs.iter().find(|run| run.trace() == intake[0].trace()).expect("the first try is in the trace");
    let second = runs.iter().find(|run| run.trace() != intake[0].trace()).expect("the second try has its own");
    assert_eq!(second.links(), [first.trace()]);
    let failed = spans.iter().find(|span| span.name() == "list" && span.text("code").is_some()).unwrap();
    assert_eq!((failed.text("code"), failed.trace()), (Some("pacs-unavailable"), first.trace()));

    let to_pacs: Vec<Span> = named("deliver").into_iter().filter(|span| span.text("artefact") == Some("seg")).collect();
    assert_eq!(to_pacs.len(), 2, "{to_pacs:#?}");
    let (tried, again): (Vec<_>, Vec<_>) = to_pacs.iter().partition(|span| span.trace() == second.trace());
    assert_eq!((tried.len(), tried[0].text("code")), (1, Some("pacs-unavailable")));
    assert_eq!(again[0].links(), [second.trace()]);
}
