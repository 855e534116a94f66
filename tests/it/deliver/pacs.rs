//! Objects reach the PACS once, and count as delivered only when the PACS shows them.

use scargate::dicomweb::StoreItem;
use scargate::domain::artefact::Artefact;
use scargate::domain::delivery::{DeliveryState, Destination};
use scargate::domain::run::RunState;
use serde_json::{Value, json};
use std::io::Read;

use super::fixture::{Fixture, seg};
use crate::support::fault_proxy::{Answer, on};

async fn stored(fixture: &Fixture, artefact: &Artefact) -> Vec<u8> {
    let dicom = artefact.dicom.as_ref().unwrap();
    let pacs = fixture.direct_pacs();
    let object = pacs.retrieve_instance(&fixture.identity.study, &dicom.series, &dicom.sop_instance).await.unwrap();
    let mut bytes = Vec::new();
    object.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn report(failed: &Artefact, sequence: &str, reason: u16) -> Value {
    let dicom = failed.dicom.as_ref().unwrap();
    json!({ sequence: { "vr": "SQ", "Value": [{
        "00081150": { "vr": "UI", "Value": [dicom.sop_class.as_str()] },
        "00081155": { "vr": "UI", "Value": [dicom.sop_instance.as_str()] },
        "00081197": { "vr": "US", "Value": [reason] },
    }] } })
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer::new(status, "application/dicom+json", body.to_string())
}

#[tokio::test]
async fn stored_bytes_arrive_as_they_are_and_complete_the_run() {
    let mut fixture = Fixture::new().await;
    let (run, artefact) = fixture.enqueue_seg().await;
    let delivery = fixture.settle(run, Destination::Pacs).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1), "{:?}", delivery.detail);
    assert_eq!(stored(&fixture, &artefact).await, artefact.bytes);
    assert_eq!(fixture.store.run_summary(run).await.unwrap().unwrap().state, RunState::Completed);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_out_by_asking() {
    let mut fixture = Fixture::new().await;
    fixture.pacs.rule(on("POST", "/studies").first(1).lose_answer());
    let (run, artefact) = fixture.enqueue_seg().await;
    let delivery = fixture.settle(run, Destination::Pacs).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 2), "{:?}", delivery.detail);
    assert_eq!(fixture.pacs.count("POST", "/studies"), 1, "it was there: nothing is sent again");
    assert_eq!(stored(&fixture, &artefact).await, artefact.bytes);
}

#[tokio::test]
async fn another_object_under_our_uid_is_no_delivery() {
    let mut fixture = Fixture::new().await;
    let other = seg(&fixture.identity, 1, &[9, 9, 9, 9]);
    let item = StoreItem { sop_instance: other.dicom.clone().unwrap().sop_instance, bytes: other.bytes.into() };
    fixture.direct_pacs().store(&fixture.identity.study, &[item]).await.unwrap();
    let (run, ours) = fixture.enqueue_seg().await;
    // A PACS that refuses duplicates.
    fixture.pacs.rule(on("POST", "/studies").reply(answer(409, &report(&ours, "00081198", 0x0111))));
    let delivery = fixture.settle(run, Destination::Pacs).await;
    assert_eq!((delivery.state, delivery.code.as_deref()), (DeliveryState::Failed, Some("pacs-refused")));
    assert_eq!(delivery.attempts, 1);
}

#[tokio::test]
async fn a_duplicate_counts_when_what_is_stored_is_ours() {
    let mut fixture = Fixture::new().await;
    let same = seg(&fixture.identity, 1, &[1, 2, 3, 4]);
    let item = StoreItem { sop_instance: same.dicom.clone().unwrap().sop_instance, bytes: same.bytes.into() };
    fixture.direct_pacs().store(&fixture.identity.study, &[item]).await.unwrap();
    let (run, ours) = fixture.enqueue_seg().await;
    fixture.pacs.rule(on("POST", "/studies").reply(answer(409, &report(&ours, "00081198", 0x0111))));
    assert_eq!(fixture.settle(run, Destination::Pacs).await.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn a_failure_in_the_body_is_believed_whatever_the_status() {
    let table = [
        (200, 0xA700, DeliveryState::Delivered, None),
        (202, 0x0110, DeliveryState::Delivered, None),
        (200, 0x0122, DeliveryState::Failed, Some("pacs-refused")),
        (202, 0xA900, DeliveryState::Failed, Some("pacs-refused")),
    ];
    for (status, reason, state, code) in table {
        let mut fixture = Fixture::new().await;
        let (run, artefact) = fixture.enqueue_seg().await;
        let body = report(&artefact, "00081198", reason);
        fixture.pacs.rule(on("POST", "/studies").first(1).reply(answer(status, &body)));
        let delivery = fixture.settle(run, Destination::Pacs).await;
        assert_eq!((delivery.state, delivery.code.as_deref()), (state, code), "{status} {reason:#06x}");
        assert_eq!(fixture.pacs.count("POST", "/studies"), if code.is_none() { 2 } else { 1 });
    }
}

#[tokio::test]
async fn an_answer_that_does_not_mention_the_object_is_no_confirmation() {
    let mut fixture = Fixture::new().await;
    let (run, artefact) = fixture.enqueue_seg().await;
    fixture.pacs.rule(on("POST", "/studies").first(1).reply(answer(200, &json!({}))));
    let delivery = fixture.settle(run, Destination::Pacs).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 2));
    assert_eq!(stored(&fixture, &artefact).await, artefact.bytes);
}

#[tokio::test]
async fn a_pacs_that_is_down_gets_it_when_it_is_back() {
    let mut fixture = Fixture::new().await;
    fixture.config.set("deliver.breaker_failures", 2);
    let (run, artefact) = fixture.enqueue_seg().await;
    fixture.pacs.refuse(true);
    let (delivery, ()) = tokio::join!(fixture.settle(run, Destination::Pacs), async {
        while fixture.delivery(run).await.attempts < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        fixture.pacs.refuse(false);
    });
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!(stored(&fixture, &artefact).await, artefact.bytes);
}

#[tokio::test]
async fn a_study_whose_patient_was_changed_since_is_held() {
    let mut fixture = Fixture::new().await;
    fixture.identity.patient_id = "OTHER".into();
    let (run, _) = fixture.enqueue_seg().await;
    let delivery = fixture.settle(run, Destination::Pacs).await;
    assert_eq!((delivery.state, delivery.code.as_deref()), (DeliveryState::Held, Some("patient-changed")));
    assert_eq!(fixture.pacs.count("POST", "/studies"), 0, "nothing was sent");
}

#[tokio::test]
async fn a_study_that_is_gone_from_the_pacs_gets_nothing() {
    let mut fixture = Fixture::new().await;
    fixture.identity.study = scargate::domain::uid::Uid::parse(&crate::support::unique::uid()).unwrap();
    let (run, _) = fixture.enqueue_seg().await;
    let delivery = fixture.settle(run, Destination::Pacs).await;
    assert_eq!((delivery.state, delivery.code.as_deref()), (DeliveryState::Failed, Some("study-not-found")));
}

#[tokio::test]
async fn a_pacs_that_refuses_our_credentials_gets_it_when_they_are_right_again() {
    let mut fixture = Fixture::new().await;
    fixture.config.set("deliver.max_attempts", 1).set("deliver.breaker_open_secs", 1);
    let (run, artefact) = fixture.enqueue_seg().await;
    fixture.pacs.rule(on("*", "/dicom-web").status(401));
    let (delivery, ()) = tokio::join!(fixture.settle(run, Destination::Pacs), async {
        fixture.pacs.wait_for("*", "/dicom-web", 3, std::time::Duration::from_secs(60)).await;
        let waiting = fixture.delivery(run).await;
        assert_eq!(waiting.code.as_deref(), Some("pacs-unauthorized"));
        fixture.pacs.clear();
    });
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1), "{:?}", delivery.detail);
    assert_eq!(stored(&fixture, &artefact).await, artefact.bytes);
}
