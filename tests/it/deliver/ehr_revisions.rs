//! A newer revision takes its predecessor's place, unless somebody in the EHR touched it.

use scargate::domain::delivery::{DeliveryState, Destination};
use serde_json::{Value, json};

use super::fixture::Fixture;

fn scar_mass(observations: &[Value]) -> &Value {
    observations.iter().find(|o| o["code"]["coding"][0]["code"] == "LGE-SCAR-MASS").unwrap()
}

async fn deliver(fixture: &mut Fixture, scar: f64) -> (DeliveryState, Option<String>) {
    let run = fixture.enqueue_bundle(scar).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    (delivery.state, delivery.code)
}

#[tokio::test]
async fn a_newer_revision_replaces_in_place() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    assert_eq!(deliver(&mut fixture, 20.0).await.0, DeliveryState::Delivered);
    let first = fixture.assert_one_set(&patient).await;
    assert_eq!(deliver(&mut fixture, 24.0).await.0, DeliveryState::Delivered);
    let second = fixture.assert_one_set(&patient).await;
    assert_eq!(scar_mass(&first)["id"], scar_mass(&second)["id"]);
    assert_eq!(scar_mass(&second)["valueQuantity"]["value"].as_f64(), Some(24.0));
    assert_eq!(scar_mass(&second)["meta"]["versionId"], "2");
}

#[tokio::test]
async fn what_somebody_changed_in_the_ehr_is_not_written_over() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    deliver(&mut fixture, 20.0).await;
    let mut changed = scar_mass(&fixture.held("Observation", &patient).await).clone();
    changed["note"] = json!([{ "text": "seen by Dr Test" }]);
    fixture.overwrite(&changed).await;
    let (state, code) = deliver(&mut fixture, 24.0).await;
    assert_eq!((state, code.as_deref()), (DeliveryState::Held, Some("ehr-changed")));
    let left = fixture.assert_one_set(&patient).await;
    assert_eq!(scar_mass(&left)["valueQuantity"]["value"].as_f64(), Some(20.0));
}

#[tokio::test]
async fn no_unread_number_replaces_a_signed_one() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    deliver(&mut fixture, 20.0).await;
    let mut signed = scar_mass(&fixture.held("Observation", &patient).await).clone();
    signed["status"] = json!("final");
    fixture.overwrite(&signed).await;
    let run = fixture.enqueue_bundle(24.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    let (state, code) = (delivery.state, delivery.code);
    assert_eq!((state, code.as_deref()), (DeliveryState::Held, Some("ehr-changed")));
    let left = fixture.held("Observation", &patient).await;
    assert_eq!(scar_mass(&left)["status"], "final");

    // Not even when a person says so: what was signed is amended where it was signed.
    let held = fixture.store.show_run(run).await.unwrap().unwrap().deliveries.remove(0);
    fixture.store.release(held.id, "dr.test", true).await.unwrap();
    let again = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((again.state, again.code.as_deref()), (DeliveryState::Held, Some("ehr-changed")));
    assert_eq!(scar_mass(&fixture.held("Observation", &patient).await)["status"], "final");
}

#[tokio::test]
async fn a_person_may_decide_that_ours_replaces_what_was_changed_and_the_ledger_says_who() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    deliver(&mut fixture, 20.0).await;
    let mut changed = scar_mass(&fixture.held("Observation", &patient).await).clone();
    changed["note"] = json!([{ "text": "seen by Dr Test" }]);
    fixture.overwrite(&changed).await;
    let run = fixture.enqueue_bundle(24.0).await;
    let held = fixture.settle(run, Destination::Ehr).await;
    assert_eq!(held.code.as_deref(), Some("ehr-changed"));

    fixture.store.release(held.id, "dr.test", false).await.unwrap();
    let held = fixture.settle(run, Destination::Ehr).await;
    assert_eq!((held.state, held.code.as_deref()), (DeliveryState::Held, Some("ehr-changed")), "nothing was decided");

    fixture.store.release(held.id, "dr.test", true).await.unwrap();
    assert_eq!(fixture.settle(run, Destination::Ehr).await.state, DeliveryState::Delivered);
    let left = fixture.assert_one_set(&patient).await;
    assert_eq!(scar_mass(&left)["valueQuantity"]["value"].as_f64(), Some(24.0));
    let timeline = fixture.store.show_run(run).await.unwrap().unwrap().timeline;
    let decided = timeline.iter().filter(|event| event.actor == "dr.test" && event.canonical.contains("overwrite"));
    assert_eq!(decided.count(), 1, "the decision, not the plain release");
}

#[tokio::test]
async fn overwriting_is_for_what_was_changed_and_for_nothing_else() {
    let mut fixture = Fixture::new().await;
    let run = fixture.enqueue_bundle(20.0).await;
    let held = fixture.settle(run, Destination::Ehr).await;
    assert_eq!(held.code.as_deref(), Some("patient-not-found"));
    assert!(fixture.store.release(held.id, "dr.test", true).await.is_err());
    assert_eq!(fixture.delivery(run).await.state, DeliveryState::Held);
}

#[tokio::test]
async fn a_result_is_found_by_patient_with_code_and_with_date() {
    let (mut fixture, patient, _) = Fixture::with_patient().await;
    let run = fixture.enqueue_bundle(20.0).await;
    let delivery = fixture.settle(run, Destination::Ehr).await;
    assert_eq!(delivery.state, DeliveryState::Delivered, "{:?}", delivery.detail);
    let found =
        async |query: String| fixture.found(&format!("/Observation?patient={patient}&_count=200&{query}")).await;
    let system = scargate::domain::codes::PRIVATE_SYSTEM;
    let masses = found(format!("code={system}%7CLGE-SCAR-MASS")).await;
    assert!(masses.len() == 1 && masses[0]["valueQuantity"]["value"] == 20.0, "{masses:?}");
    // The study is of 3 February 2026, 10:11 at +01:00.
    assert_eq!(found("date=2026-02-03".into()).await.len(), 24, "panel, seven members, 16 segments");
    assert!(found("date=2026-02-04".into()).await.is_empty());
    assert!(found(format!("code={system}%7CLGE-NOTHING")).await.is_empty());
}
