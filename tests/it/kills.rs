//! SIGKILL of the gateway at five boundaries, and every server away for a while: each result arrives exactly once, and
//! nothing is in flight for ever.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::stage::{Models, PATIENCE, Stage};
use crate::support::fault_proxy::on;
use crate::support::studies::{TestStudy, eventually};

#[tokio::test]
async fn a_worker_killed_after_it_claimed() {
    let mut stage = Stage::new(Models::Dense).await;
    stage.config.set("intake.poll", false);
    let api = stage.gateway("api").await;
    let (study, patient) = stage.arrive().await;
    stage.submit(&api, &study).await;
    let (rule, gate) = on("GET", study.uid()).first(1).hold();
    stage.pacs.rule(rule);
    let asked = stage.pacs.count("GET", study.uid());

    let mut worker = stage.gateway("worker").await;
    stage.pacs.wait_for("GET", study.uid(), asked + 1, PATIENCE).await;
    worker.kill();
    drop(gate);

    let _worker = stage.gateway("worker").await;
    let _rest = (stage.gateway("intake").await, stage.gateway("deliver").await);
    stage.delivered_once(&api, &study, &patient).await;
}

#[tokio::test]
async fn a_worker_killed_when_it_has_analysed_and_not_yet_committed() {
    let mut stage = Stage::new(Models::Full).await;
    stage.config.set("intake.poll", false);
    let api = stage.gateway("api").await;
    let (study, patient) = stage.arrive().await;
    stage.submit(&api, &study).await;
    // The commit of the results needs this table; until the lock is gone it waits.
    let mut admin = PgConnection::connect(&stage.database.url("admin")).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE artefacts IN ACCESS EXCLUSIVE MODE").execute(&mut admin).await.unwrap();

    let mut worker = stage.gateway("worker").await;
    let mut watcher = PgConnection::connect(&stage.database.url("admin")).await.unwrap();
    let blocked =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("a commit that waits", PATIENCE, async || {
        let waiting: i64 = sqlx::query_scalar(blocked).fetch_one(&mut watcher).await.unwrap();
        (waiting > 0).then_some(())
    })
    .await;
    worker.kill();
    sqlx::raw_sql("ROLLBACK").execute(&mut admin).await.unwrap();

    let _worker = stage.gateway("worker").await;
    let _rest = (stage.gateway("intake").await, stage.gateway("deliver").await);
    stage.delivered_once(&api, &study, &patient).await;
}

#[tokio::test]
async fn a_worker_killed_when_its_results_are_in_the_outbox() {
    let mut stage = Stage::new(Models::Dense).await;
    stage.config.set("intake.poll", false);
    let api = stage.gateway("api").await;
    let (study, patient) = stage.arrive().await;
    stage.submit(&api, &study).await;
    let mut worker = stage.gateway("worker").await;
    stage.reaches(&api, &study, &["delivering"]).await;
    worker.kill();

    let _rest = (stage.gateway("worker").await, stage.gateway("intake").await, stage.gateway("deliver").await);
    stage.delivered_once(&api, &study, &patient).await;
}

#[tokio::test]
async fn a_gateway_killed_when_the_pacs_has_the_seg_and_the_answer_is_on_its_way() {
    let stage = Stage::new(Models::Full).await;
    let mut gateway = stage.gateway("all").await;
    let (rule, gate) = on("POST", "/studies").first(1).hold();
    stage.pacs.rule(rule);
    let (study, patient) = stage.arrive().await;
    stage.pacs.wait_for("POST", "/studies", 1, PATIENCE).await;
    eventually("the SEG in the PACS", PATIENCE, async || (study.segs().await.len() == 1).then_some(())).await;
    gateway.kill();
    drop(gate);

    let gateway = stage.gateway("all").await;
    stage.delivered_once(&gateway, &study, &patient).await;
}

#[tokio::test]
async fn a_gateway_killed_when_the_ehr_has_the_results_and_the_answer_is_on_its_way() {
    let stage = Stage::new(Models::Dense).await;
    let mut gateway = stage.gateway("all").await;
    let (rule, gate) = on("POST", "/fhir").exactly().first(1).hold();
    stage.ehr.rule(rule);
    let (study, patient) = stage.arrive().await;
    stage.release_what_waits_for_review(&gateway, &study).await;
    eventually("Observations in the EHR", PATIENCE, async || (!stage.lines(&patient).await.is_empty()).then_some(()))
        .await;
    gateway.kill();
    drop(gate);

    let gateway = stage.gateway("all").await;
    stage.delivered_once(&gateway, &study, &patient).await;
}

#[tokio::test]
async fn the_pacs_is_away_until_two_tries_failed() {
    let mut stage = Stage::new(Models::Dense).await;
    stage.config.set("intake.poll", false);
    let (api, _worker) = (stage.gateway("api").await, stage.gateway("worker").await);
    let (study, patient) = stage.arrive().await;
    stage.submit(&api, &study).await;
    stage.reaches(&api, &study, &["delivering"]).await;
    stage.private.stop("orthanc");
    let asked = stage.pacs.count("*", "/dicom-web");
    let _rest = (stage.gateway("intake").await, stage.gateway("deliver").await);
    stage.pacs.wait_for("*", "/dicom-web", asked + 2, PATIENCE).await;
    stage.private.up("orthanc");
    stage.delivered_once(&api, &study, &patient).await;
}

#[tokio::test]
async fn broker_database_and_ehr_are_away_one_after_another() {
    let stage = Stage::all_private(Models::Full).await;
    let gateway = stage.gateway("all").await;

    // The broker: a study arrives meanwhile, its run is recorded, the message cannot be sent.
    stage.private.kill("rabbitmq");
    let (study, patient) = stage.arrive().await;
    stage.reaches(&gateway, &study, &["received"]).await;
    tokio::time::sleep(Duration::from_secs(6)).await; // three sweeps of the reconciler
    assert_eq!(stage.run(&gateway, &study).await.unwrap()["state"], "received");
    stage.private.up("rabbitmq");
    stage.delivered_once(&gateway, &study, &patient).await;

    // The database: killed while the study is being fetched.
    let (rule, gate) = on("GET", "/instances").first(1).hold();
    stage.pacs.rule(rule);
    let (study, patient) = stage.arrive().await;
    stage.pacs.wait_for("GET", study.uid(), 1, PATIENCE).await;
    stage.private.kill("postgres");
    drop(gate);
    tokio::time::sleep(Duration::from_secs(6)).await; // more than two heartbeats and polls
    stage.private.up("postgres");
    stage.delivered_once(&gateway, &study, &patient).await;

    // The EHR: results wait in the outbox.
    let study = TestStudy::draw(&stage.private, |spec| spec);
    let patient = study.register_at(&stage.servers).await;
    stage.private.stop("ehr");
    let asked = stage.ehr.count("*", "/");
    study.upload().await;
    stage.release_what_waits_for_review(&gateway, &study).await;
    stage.ehr.wait_for("*", "/", asked + 2, PATIENCE).await;
    stage.private.up("ehr");
    stage.delivered_once(&gateway, &study, &patient).await;
}
