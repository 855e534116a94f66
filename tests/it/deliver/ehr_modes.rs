//! EHRs that offer less: no transactions, no Device, no Provenance. The values arrive all the same, once.

use scargate::domain::delivery::{DeliveryState, Destination};
use serde_json::Value;

use super::fixture::Fixture;
use crate::support::fault_proxy::{Answer, Rule, on};

/// An EHR whose CapabilityStatement is changed on its way.
fn declares(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Rule {
    on("GET", "/fhir/metadata").edit(move |answer: &mut Answer| {
        let mut statement: Value = serde_json::from_slice(&answer.body).unwrap();
        change(&mut statement);
        answer.body = serde_json::to_vec(&statement).unwrap();
    })
}

fn no_transactions(statement: &mut Value) {
    statement["rest"][0]["interaction"] = Value::Null;
}

fn without(kinds: &'static [&'static str]) -> impl Fn(&mut Value) + Send + Sync {
    move |statement| {
        let resources = statement["rest"][0]["resource"].as_array_mut().unwrap();
        resources.retain(|resource| !kinds.contains(&resource["type"].as_str().unwrap()));
    }
}

async fn settle_delivered(fixture: &mut Fixture, attempts: u32) {
    let run = fixture.enqueue_bundle(20.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, attempts), "{:?}", delivery.detail);
}

#[tokio::test]
async fn without_transactions_each_resource_goes_by_itself() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(declares(no_transactions));
    settle_delivered(&mut fixture, 1).await;
    let observations = fixture.assert_one_set(&patient).await;
    let panel = observations.iter().find(|o| o["code"]["coding"][0]["code"] == "LGE-QUANT").unwrap();
    for member in panel["hasMember"].as_array().unwrap() {
        let id = member["reference"].as_str().unwrap().rsplit('/').next().unwrap();
        assert!(observations.iter().any(|o| o["id"] == id), "the members are those that were written");
    }
    assert_eq!(fixture.provenances(&patient).await.len(), 1);
    assert!(fixture.ehr.seen().iter().all(|seen| seen.target != "/fhir"));
}

#[tokio::test]
async fn an_interruption_between_two_resources_is_taken_up_where_it_was() {
    for place in 1..=4 {
        let (mut fixture, patient, _) = Fixture::with_patient().await;
        fixture.ehr.rule(declares(no_transactions));
        // The EHR stores the observation, its answer is lost.
        fixture.ehr.rule(on("POST", "/fhir/Observation").exactly().nth(place).lose_answer());
        settle_delivered(&mut fixture, 2).await;
        for observation in fixture.assert_one_set(&patient).await {
            assert_eq!(observation["meta"]["versionId"], "1", "nothing was written twice");
        }
        assert_eq!(fixture.provenances(&patient).await.len(), 1);
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_last_resource_does_not_double_it() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(declares(no_transactions));
    fixture.ehr.rule(on("POST", "/fhir/Provenance").exactly().first(1).lose_answer());
    settle_delivered(&mut fixture, 2).await;
    fixture.assert_one_set(&patient).await;
    assert_eq!(fixture.provenances(&patient).await.len(), 1);
}

#[tokio::test]
async fn an_ehr_that_declares_transactions_and_refuses_them() {
    for status in [404, 405, 501] {
        let (mut fixture, patient, _) = Fixture::with_patient().await;
        fixture.ehr.rule(on("POST", "/fhir").exactly().status(status));
        settle_delivered(&mut fixture, 1).await;
        fixture.assert_one_set(&patient).await;
    }
}

/// The values stand once, and the report names no picture that is not there.
async fn assert_values_without_extras(fixture: &Fixture, patient: &str) {
    fixture.assert_one_set(patient).await;
    assert!(fixture.provenances(patient).await.is_empty());
    assert!(fixture.held("Media", patient).await.is_empty());
    let reports = fixture.held("DiagnosticReport", patient).await;
    assert!(reports.len() == 1 && reports[0].get("media").is_none(), "{reports:?}");
}

#[tokio::test]
async fn without_the_optional_types_the_values_arrive() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(declares(without(&["Device", "Provenance", "Media", "CodeSystem"])));
    settle_delivered(&mut fixture, 1).await;
    for observation in fixture.held("Observation", &patient).await {
        assert!(observation["device"].get("reference").is_none(), "{}", observation["device"]);
        assert!(observation["device"]["identifier"]["value"].as_str().unwrap().starts_with("scargate-test."));
    }
    assert_values_without_extras(&fixture, &patient).await;
}

#[tokio::test]
async fn types_that_are_refused_when_written_do_not_stop_the_values() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(declares(no_transactions));
    for kind in ["Device", "Provenance", "Media", "CodeSystem"] {
        fixture.ehr.rule(on("POST", &format!("/fhir/{kind}")).exactly().status(422));
    }
    settle_delivered(&mut fixture, 1).await;
    assert_values_without_extras(&fixture, &patient).await;
}

#[tokio::test]
async fn a_transaction_that_is_refused_for_an_optional_type_goes_without() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(on("POST", "/fhir").exactly().containing("\"Media\"").status(422));
    settle_delivered(&mut fixture, 1).await;
    assert_values_without_extras(&fixture, &patient).await;
}

#[tokio::test]
async fn without_conditional_writes_the_values_arrive_once() {
    for offered in [true, false] {
        let (mut fixture, patient, _) = Fixture::with_patient().await;
        fixture.ehr.rule(declares(move |statement| {
            if !offered {
                no_transactions(statement);
            }
            for resource in statement["rest"][0]["resource"].as_array_mut().unwrap() {
                for key in ["conditionalCreate", "conditionalUpdate", "conditionalDelete"] {
                    resource[key] = Value::Null;
                }
            }
        }));
        settle_delivered(&mut fixture, 1).await;
        fixture.assert_one_set(&patient).await;
    }
}

#[tokio::test]
async fn a_refusal_midway_is_known_and_continued_after_a_release() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(declares(no_transactions));
    fixture.ehr.rule(on("POST", "/fhir/Observation").exactly().nth(3).status(422));
    let run = fixture.enqueue_bundle(20.0).await;
    let refused = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((refused.state, refused.code.as_deref()), (DeliveryState::Failed, Some("ehr-refused")));
    let written = fixture.held("Observation", &patient).await;
    assert_eq!(written.len(), 2, "the refusal came at the third");
    let receipt = refused.response.unwrap();
    assert_eq!(receipt["incomplete"]["written"], 2, "{receipt}");
    for observation in &written {
        let id = format!("Observation/{}", observation["id"].as_str().unwrap());
        assert!(receipt["lines"].as_object().unwrap().values().any(|line| line["id"] == *id), "{receipt}");
    }

    fixture.store.release(refused.id, "dr.test", false).await.unwrap();
    let delivered = fixture.settle(run, Destination::Ehr).await;
    assert_eq!(delivered.state, DeliveryState::Delivered, "{:?}", delivered.detail);
    assert!(delivered.response.unwrap().get("incomplete").is_none());
    for observation in fixture.assert_one_set(&patient).await {
        assert_eq!(observation["meta"]["versionId"], "1", "what stood was left alone");
    }
}

#[tokio::test]
async fn a_newer_revision_replaces_what_a_refused_one_left_behind() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    fixture.ehr.rule(declares(no_transactions));
    settle_delivered(&mut fixture, 1).await;
    // The second revision replaces two lines of the first; the third is refused.
    fixture.ehr.rule(on("PUT", "/fhir/Observation").nth(3).status(422));
    let run = fixture.enqueue_bundle(22.0).await;
    assert_eq!(fixture.settle(run, Destination::Ehr).await.state, DeliveryState::Failed);
    let run = fixture.enqueue_bundle(24.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    assert_eq!(delivery.state, DeliveryState::Delivered, "{:?} {:?}", delivery.code, delivery.detail);
    let versions: Vec<String> = fixture
        .assert_one_set(&patient)
        .await
        .iter()
        .map(|observation| observation["meta"]["versionId"].as_str().unwrap().to_owned())
        .collect();
    assert!(versions.contains(&"2".to_owned()) && versions.contains(&"3".to_owned()), "{versions:?}");
}
