//! PACS and EHR over HTTPS with a private certificate authority and a bearer token, behind a real TLS terminator.

use scargate::domain::delivery::{DeliveryState, Destination};
use scargate::domain::run::RunState;

use crate::cli::{Desk, has};
use crate::deliver::fixture::Fixture;
use crate::stage::{Models, Stage};
use crate::support::gateway;
use crate::support::studies::TestStudy;
use crate::support::tls::{TOKEN, Tls};

#[tokio::test]
async fn a_study_goes_its_whole_way_over_tls_with_a_private_authority_and_a_token() {
    let mut stage = Stage::new(Models::Dense).await;
    // The PACS is this stage's own, the EHR the shared one.
    let (pacs, ehr) = (Tls::start(&stage.private).await, Tls::start(&stage.servers).await);
    let token = stage.config.folder().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    stage
        .config
        .set("pacs.url", pacs.pacs_url())
        .set("pacs.ca_file", pacs.authority().to_str().unwrap())
        .set("pacs.auth", "bearer")
        .set("pacs.token", format!("file:{}", token.display()))
        .set("ehr.url", ehr.ehr_url())
        .set("ehr.ca_file", ehr.authority().to_str().unwrap())
        .set("ehr.auth", "basic")
        .set("ehr.username", "scargate-seed")
        .set("ehr.password", format!("file:{}", stage.servers.secret_file("ehr-seed").display()));
    let gateway = stage.gateway("all").await;
    let (study, patient) = stage.arrive().await;
    stage.delivered_once(&gateway, &study, &patient).await;
}

#[tokio::test]
async fn an_unknown_authority_or_a_wrong_token_is_told_on_the_command_line() {
    let mut desk = Desk::new().await;
    let tls = Tls::start(&desk.servers).await;
    let token = desk.config.folder().join("token");
    std::fs::write(&token, "another").unwrap();
    let study = TestStudy::draw(&desk.servers, |spec| spec);
    study.upload().await;
    desk.config
        .set("pacs.url", tls.pacs_url())
        .set("pacs.auth", "bearer")
        .set("pacs.token", format!("file:{}", token.display()));
    // The system's authorities, then one that is somebody else's.
    for authority in [None, Some(tls.stranger())] {
        if let Some(file) = &authority {
            desk.config.set("pacs.ca_file", file.to_str().unwrap());
        }
        let said = desk.refuses(&["submit", study.uid()], 77);
        has(&said, &["pacs-untrusted", "its issuer is not trusted", "pacs.ca_file"]);
        assert!(!said.contains(study.uid()), "{said}");
    }
    desk.config.set("pacs.ca_file", tls.authority().to_str().unwrap());
    has(&desk.refuses(&["submit", study.uid()], 77), &["pacs-unauthorized", "credentials"]);
    std::fs::write(&token, TOKEN).unwrap();
    has(&desk.says(&["submit", study.uid()]), &["started run"]);
    desk.config.set("pacs.url", tls.pacs_url().replace("localhost", "127.0.0.1"));
    has(&desk.refuses(&["submit", study.uid()], 77), &["pacs-untrusted", "it is for another host name"]);
    let output = gateway::run(&desk.config, &["config", "check"]);
    assert!(output.status.success());
}

#[tokio::test]
async fn results_wait_while_the_ehrs_certificate_is_not_trusted_and_go_when_it_is() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    let tls = Tls::start(&fixture.servers).await;
    fixture
        .config
        .set("ehr.url", tls.ehr_url())
        .set("ehr.ca_file", tls.stranger().to_str().unwrap())
        .set("ehr.auth", "basic")
        .set("ehr.username", "scargate-seed")
        .set("ehr.password", format!("file:{}", fixture.servers.secret_file("ehr-seed").display()));
    let run = fixture.enqueue_bundle(20.0).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let working = tokio::spawn(fixture.worker(Destination::Ehr).run(stop.clone()));
    let waiting = async || {
        let delivery = fixture.delivery(run).await;
        (delivery.state == DeliveryState::Pending && delivery.code.is_some()).then_some(delivery)
    };
    let patience = std::time::Duration::from_secs(60);
    let delivery = crate::support::studies::eventually("a refused certificate", patience, waiting).await;
    assert_eq!(delivery.code.as_deref(), Some("ehr-untrusted"), "{:?}", delivery.detail);
    stop.cancel();
    working.await.unwrap().unwrap();

    fixture.config.set("ehr.ca_file", tls.authority().to_str().unwrap());
    assert_eq!(fixture.settle(run, Destination::Ehr).await.state, DeliveryState::Delivered);
    fixture.assert_one_set(&patient).await;
    assert_eq!(fixture.store.run_summary(run).await.unwrap().unwrap().state, RunState::Completed);
}
