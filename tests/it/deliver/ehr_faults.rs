//! The EHR fails, refuses or loses answers: one set of results arrives, or a coded end that is never tried again.

use scargate::domain::delivery::{DeliveryState, Destination};
use scargate::domain::events::EventKind;
use scargate::domain::run::RunState;
use scargate::store::EventFilter;
use std::time::Duration;

use super::fixture::Fixture;
use crate::support::fault_proxy::{Answer, on};

/// A transaction goes to the base itself.
const BASE: &str = "/fhir";

#[tokio::test]
async fn a_result_arrives_once_with_patient_and_order_and_the_ledger_knows() {
    let (mut fixture, patient, order) = Fixture::with_patient().await;
    let run = fixture.enqueue_bundle(20.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1), "{:?}", delivery.detail);
    for observation in fixture.assert_one_set(&patient).await {
        assert_eq!(observation["subject"]["reference"], patient.as_str());
        assert_eq!(observation["basedOn"][0]["reference"], order.as_str());
        assert_eq!(observation["status"], "preliminary");
    }
    assert_eq!(fixture.store.run_summary(run).await.unwrap().unwrap().state, RunState::Completed);

    let filter = EventFilter { run: Some(run), ..EventFilter::default() };
    let events = fixture.store.audit_events(&filter, 100).await.unwrap();
    let at = |kind: EventKind| events.iter().position(|event| event.kind == kind.name()).unwrap();
    assert_ne!(at(EventKind::DeliveryIntent), at(EventKind::DeliveryOutcome));
}

#[tokio::test]
async fn an_answer_that_was_lost_does_not_double_the_result() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(on("POST", BASE).exactly().first(1).lose_answer());
    let run = fixture.enqueue_bundle(20.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 2), "{:?}", delivery.detail);
    for observation in fixture.assert_one_set(&patient).await {
        assert_eq!(observation["meta"]["versionId"], "1", "the second attempt found it and wrote nothing");
    }
    assert_eq!(fixture.provenances(&patient).await.len(), 1);
}

#[tokio::test]
async fn an_ehr_that_is_busy_gets_it_later_and_once() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    let busy = |status| Answer::new(status, "text/plain", "").header("retry-after", "1");
    for status in [503, 429, 409] {
        fixture.ehr.rule(on("POST", BASE).exactly().first(1).reply(busy(status)));
    }
    let run = fixture.enqueue_bundle(20.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 4), "{:?}", delivery.detail);
    fixture.assert_one_set(&patient).await;
}

#[tokio::test]
async fn an_ehr_that_is_down_or_silent_gets_it_when_it_is_back() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.config.set("ehr.timeout_secs", 1);
    fixture.ehr.rule(on("POST", "Patient/_search").first(1).delay(Duration::from_secs(3)));
    fixture.ehr.rule(on("POST", "Patient/_search").first(1).drop_connection());
    let run = fixture.enqueue_bundle(20.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 3), "{:?}", delivery.detail);
    fixture.assert_one_set(&patient).await;
}

#[tokio::test]
async fn a_refusal_ends_the_delivery_at_once_with_its_code() {
    let table = [
        (403, DeliveryState::Failed, "ehr-unauthorized"),
        (422, DeliveryState::Failed, "ehr-refused"),
        (412, DeliveryState::Held, "ehr-changed"),
    ];
    for (status, state, code) in table {
        let (mut fixture, patient, _) = Fixture::with_patient().await;
        fixture.ehr.rule(on("POST", BASE).exactly().status(status));
        let run = fixture.enqueue_bundle(20.0).await;
        let delivery = fixture.settle(run, Destination::Ehr).await;
        assert_eq!((delivery.state, delivery.code.as_deref()), (state, Some(code)), "{status}");
        assert_eq!(delivery.attempts, 1, "{status} is never tried again");
        assert!(fixture.held("Observation", &patient).await.is_empty(), "{status}");
    }
}

/// ES384 only: the test server tries every registered key of the client and fails on the first of another kind; RS384 is
/// verified with its public key beside the code.
#[tokio::test]
async fn a_token_that_was_refused_is_renewed_once_within_the_attempt() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(on("POST", "Patient/_search").first(1).status(401));
    let run = fixture.enqueue_bundle(20.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1), "{:?}", delivery.detail);
    assert_eq!(fixture.ehr.count("POST", "Patient/_search"), 2);
    fixture.assert_one_set(&patient).await;
}

#[tokio::test]
async fn two_workers_on_one_outbox_send_once() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    let run = fixture.enqueue_bundle(20.0).await;
    let (one, two) = tokio::join!(fixture.settle(run, Destination::Ehr), fixture.settle(run, Destination::Ehr));
    assert_eq!((one.state, two.state), (DeliveryState::Delivered, DeliveryState::Delivered));
    let transactions = fixture.ehr.seen().iter().filter(|seen| seen.target == BASE).count();
    assert_eq!(transactions, 1);
    fixture.assert_one_set(&patient).await;
}

#[tokio::test]
async fn results_wait_for_whoever_corrects_the_credentials_and_then_go_by_themselves() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.config.set("deliver.max_attempts", 2).set("deliver.breaker_open_secs", 1);
    // Each attempt asks twice: a token that was refused is renewed once.
    fixture.ehr.rule(on("POST", BASE).exactly().first(6).status(401));
    let run = fixture.enqueue_bundle(20.0).await;
    let waiting = async {
        loop {
            let delivery = fixture.delivery(run).await;
            if delivery.code.as_deref() == Some("ehr-unauthorized") && delivery.state == DeliveryState::Pending {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (delivery, ()) = tokio::join!(fixture.settle(run, Destination::Ehr), waiting);
    assert_eq!(delivery.state, DeliveryState::Delivered, "{:?}", delivery.detail);
    let tries = fixture.ehr.seen().iter().filter(|seen| seen.target == BASE).count();
    assert_eq!(tries, 7, "more attempts than max_attempts, none of the refused ones counted");
    assert_eq!(delivery.attempts, 1);
    fixture.assert_one_set(&patient).await;
}
