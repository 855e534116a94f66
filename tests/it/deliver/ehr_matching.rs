//! A result goes to the one right patient, or waits for a person.

use scargate::domain::delivery::{DeliveryState, Destination};
use serde_json::json;

use super::fixture::Fixture;

/// Settles one delivery and asserts that it is held with this code, after one attempt, with nothing written.
async fn assert_held(fixture: &mut Fixture, code: &str) {
    let run = fixture.enqueue_bundle(20.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    let seen = (delivery.state, delivery.code.as_deref(), delivery.attempts);
    assert_eq!(seen, (DeliveryState::Held, Some(code), 1), "{:?}", delivery.detail);
    let writes = fixture.ehr.seen().iter().filter(|s| s.method != "GET" && !s.target.ends_with("/_search")).count();
    assert_eq!(writes, 0, "nothing was written");
}

#[tokio::test]
async fn a_patient_that_the_ehr_does_not_know() {
    assert_held(&mut Fixture::new().await, "patient-not-found").await;
}

#[tokio::test]
async fn two_patients_with_one_identifier() {
    let mut fixture = Fixture::new().await;
    fixture.add_patient(json!({})).await;
    fixture.add_patient(json!({})).await;
    assert_held(&mut fixture, "patient-ambiguous").await;
}

#[tokio::test]
async fn a_patient_that_was_merged_into_another() {
    let mut fixture = Fixture::new().await;
    let successor = fixture.add_patient(json!({ "identifier": [{ "system": "urn:x", "value": "other" }] })).await;
    fixture.add_patient(json!({ "link": [{ "other": { "reference": successor }, "type": "replaced-by" }] })).await;
    assert_held(&mut fixture, "patient-replaced").await;
}

#[tokio::test]
async fn a_patient_who_is_not_active() {
    let mut fixture = Fixture::new().await;
    fixture.add_patient(json!({ "active": false })).await;
    assert_held(&mut fixture, "patient-replaced").await;
}

#[tokio::test]
async fn a_patient_born_on_another_day() {
    let mut fixture = Fixture::new().await;
    fixture.add_patient(json!({ "birthDate": "1961-02-14" })).await;
    assert_held(&mut fixture, "patient-mismatch").await;
}

#[tokio::test]
async fn a_patient_of_another_system_with_the_same_number() {
    let mut fixture = Fixture::new().await;
    let id = fixture.identity.patient_id.clone();
    fixture.add_patient(json!({ "identifier": [{ "system": "urn:other-hospital", "value": id }] })).await;
    assert_held(&mut fixture, "patient-not-found").await;
}

#[tokio::test]
async fn a_patient_who_was_changed_in_the_pacs_since() {
    let (mut fixture, _, _) = Fixture::with_patient().await;
    fixture.identity.accession_number = "OTHER".into();
    assert_held(&mut fixture, "patient-changed").await;
}

#[tokio::test]
async fn an_order_of_another_patient() {
    let mut fixture = Fixture::new().await;
    fixture.add_patient(json!({})).await;
    let other = fixture.add_patient(json!({ "identifier": [{ "system": "urn:x", "value": "other" }] })).await;
    fixture.add_order(&other).await;
    assert_held(&mut fixture, "order-mismatch").await;
}

#[tokio::test]
async fn an_order_that_is_required_and_missing() {
    let mut fixture = Fixture::new().await;
    fixture.add_patient(json!({})).await;
    fixture.config.set("ehr.order", "required");
    assert_held(&mut fixture, "order-mismatch").await;
}

#[tokio::test]
async fn an_order_that_is_optional_and_missing_leaves_no_trace() {
    let mut fixture = Fixture::new().await;
    let patient = fixture.add_patient(json!({})).await;
    let run = fixture.enqueue_bundle(20.0).await;
    assert_eq!(fixture.settle(run, Destination::Ehr).await.state, DeliveryState::Delivered);
    for observation in fixture.assert_one_set(&patient).await {
        assert!(observation.get("basedOn").is_none());
    }
}

#[tokio::test]
async fn what_a_person_released_goes_once_the_cause_is_gone() {
    let mut fixture = Fixture::new().await;
    let run = fixture.enqueue_bundle(20.0).await;
    let held = fixture.settle(run, Destination::Ehr).await;
    assert_eq!(held.code.as_deref(), Some("patient-not-found"));
    let patient = fixture.add_patient(json!({})).await;
    fixture.store.release(held.id, "dr.test", false).await.unwrap();
    assert_eq!(fixture.settle(run, Destination::Ehr).await.state, DeliveryState::Delivered);
    fixture.assert_one_set(&patient).await;
}

#[tokio::test]
async fn identifiers_of_the_patient_stand_in_no_url() {
    let (mut fixture, _, _) = Fixture::with_patient().await;
    let run = fixture.enqueue_bundle(20.0).await;
    fixture.settle(run, Destination::Ehr).await;
    let identity = &fixture.identity;
    for seen in fixture.ehr.seen() {
        for secret in [&identity.patient_id, &identity.accession_number, &identity.study.to_string()] {
            assert!(!seen.target.contains(secret.as_str()), "{}", seen.target);
        }
    }
}
