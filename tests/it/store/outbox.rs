//! Order, leases and ends of deliveries.

use std::collections::HashSet;
use std::time::Duration;

use scargate::domain::delivery::{DeliveryState, Destination};
use scargate::domain::run::RunState;
use scargate::failure::{Code, Failure};
use scargate::store::{NewDelivery, StoreError};
use serde_json::json;

use super::kit::{Kit, LEASE, both, identity, study};

fn down() -> Failure {
    Failure::transient(Code::PacsUnavailable, "timeout")
}

#[tokio::test]
async fn the_last_delivery_completes_the_run() {
    let kit = Kit::new().await;
    let study = study("a");
    let run = kit.finish(&study, "one", both()).await;
    let seg = kit.due(Destination::Pacs).await.remove(0);
    assert_eq!(seg.artefact.bytes, format!("seg {study} 1").into_bytes());
    assert!(seg.patient == identity(&study).patient_key() && seg.attempt == 1);
    let state = kit.store.delivered(seg.id, seg.token, &json!({ "status": 200 }), &[]).await.unwrap();
    assert_eq!(state, RunState::Delivering);
    let bundle = kit.due(Destination::Ehr).await.remove(0);
    let state = kit.store.delivered(bundle.id, bundle.token, &json!({}), &[]).await.unwrap();
    assert_eq!((state, kit.state(run).await), (RunState::Completed, RunState::Completed));
    let twice = kit.store.delivered(bundle.id, bundle.token, &json!({}), &[]).await;
    assert!(matches!(twice, Err(StoreError::LeaseLost)), "{twice:?}");
    assert!(kit.due(Destination::Pacs).await.is_empty());
}

#[tokio::test]
async fn a_run_with_nothing_to_send_is_complete() {
    let kit = Kit::new().await;
    let run = kit.finish(&study("b"), "one", vec![]).await;
    assert_eq!(kit.state(run).await, RunState::Completed);
}

#[tokio::test]
async fn a_newer_revision_cancels_what_is_unsent_and_waits_for_what_is_in_flight() {
    let kit = Kit::new().await;
    let study = study("c");
    let old = kit.finish(&study, "one", both()).await;
    let flying = kit.due(Destination::Pacs).await.remove(0);
    let new = kit.finish(&study, "two", both()).await;
    assert_eq!(kit.state(old).await, RunState::Superseded);
    let states: Vec<DeliveryState> = kit.store.deliveries_of(old).await.unwrap().into_iter().map(|d| d.state).collect();
    assert_eq!(states, [DeliveryState::Sending, DeliveryState::Cancelled]);

    assert!(kit.due(Destination::Pacs).await.is_empty(), "the older one is in flight");
    assert_eq!(kit.due(Destination::Ehr).await.remove(0).run, new, "the other destination does not wait");
    // The peer did not answer: the older one is not tried again, and the newer one goes.
    kit.store.defer(flying.id, flying.token, Duration::ZERO, &down(), &[]).await.unwrap();
    assert_eq!(kit.store.deliveries_of(old).await.unwrap()[0].state, DeliveryState::Cancelled);
    assert_eq!(kit.due(Destination::Pacs).await.remove(0).run, new);
}

#[tokio::test]
async fn within_a_run_order_holds_and_failure_stops_the_rest() {
    let kit = Kit::new().await;
    let deliveries =
        vec![NewDelivery::now(Destination::Pacs, "seg"), NewDelivery::now(Destination::Pacs, "fhir-bundle")];
    let run = kit.finish(&study("d"), "one", deliveries).await;
    let first = kit.due(Destination::Pacs).await;
    assert_eq!(first.iter().map(|d| d.artefact.name.as_str()).collect::<Vec<_>>(), ["seg"]);
    let refused = Failure::permanent(Code::PacsRefused, "0xA700");
    let state =
        kit.store.fail(first[0].id, first[0].token, &refused, Some(&json!({ "reason": 42752 })), &[]).await.unwrap();
    assert_eq!(state, RunState::Failed, "what waits behind it cannot go");
    assert!(kit.due(Destination::Pacs).await.is_empty());
    assert_eq!(kit.store.run_summary(run).await.unwrap().unwrap().failure_code.as_deref(), Some("pacs-refused"));

    assert_eq!(kit.store.retry(run, "tester").await.unwrap(), RunState::Delivering);
    for name in ["seg", "fhir-bundle"] {
        let next = kit.due(Destination::Pacs).await.remove(0);
        assert_eq!(next.artefact.name, name);
        kit.store.delivered(next.id, next.token, &json!({}), &[]).await.unwrap();
    }
    assert_eq!(kit.state(run).await, RunState::Completed);
}

#[tokio::test]
async fn a_dead_senders_delivery_is_taken_over_and_its_late_answer_refused() {
    let kit = Kit::new().await;
    kit.finish(&study("e"), "one", both()).await;
    let dead = kit.due(Destination::Pacs).await.remove(0);
    assert!(kit.due(Destination::Pacs).await.is_empty());
    kit.as_owner("UPDATE deliveries SET lease_until = now() - interval '1 second' WHERE state = 'sending'").await;
    let heir = kit.due(Destination::Pacs).await.remove(0);
    assert!(heir.id == dead.id && heir.attempt == 2 && heir.token > dead.token);
    let late = kit.store.delivered(dead.id, dead.token, &json!({}), &[]).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    assert!(matches!(kit.store.renew_delivery(dead.id, dead.token, LEASE).await, Err(StoreError::LeaseLost)));
    kit.store.renew_delivery(heir.id, heir.token, LEASE).await.unwrap();
}

#[tokio::test]
async fn a_deferred_delivery_waits_and_a_held_one_needs_a_person() {
    let kit = Kit::new().await;
    let held = NewDelivery::held(Destination::Ehr, "fhir-bundle", Code::NeedsReview);
    let run = kit.finish(&study("f"), "one", vec![NewDelivery::now(Destination::Pacs, "seg"), held]).await;
    assert!(kit.due(Destination::Ehr).await.is_empty());
    let seg = kit.due(Destination::Pacs).await.remove(0);
    kit.store.defer(seg.id, seg.token, Duration::from_secs(60), &down(), &[]).await.unwrap();
    assert!(kit.due(Destination::Pacs).await.is_empty());
    kit.as_owner("UPDATE deliveries SET next_attempt_at = now() WHERE state = 'pending'").await;
    let seg = kit.due(Destination::Pacs).await.remove(0);
    let changed = Failure::held(Code::PatientChanged, "");
    kit.store.hold(seg.id, seg.token, &changed, &[]).await.unwrap();
    assert_eq!(kit.state(run).await, RunState::Delivering);

    let rows = kit.store.deliveries_of(run).await.unwrap();
    assert_eq!(
        rows.iter().map(|d| d.code.as_deref()).collect::<Vec<_>>(),
        [Some("patient-changed"), Some("needs-review")]
    );
    kit.store.discard(rows[0].id, "tester").await.unwrap();
    kit.store.release(rows[1].id, "tester", false).await.unwrap();
    assert!(matches!(kit.store.release(rows[0].id, "tester", false).await, Err(StoreError::Conflict(_))));
    let bundle = kit.due(Destination::Ehr).await.remove(0);
    kit.store.delivered(bundle.id, bundle.token, &json!({}), &[]).await.unwrap();
    assert_eq!(kit.state(run).await, RunState::Completed);
}

#[tokio::test]
async fn many_senders_never_share_a_delivery() {
    let kit = Kit::new().await;
    for i in 0..12 {
        kit.finish(&study(&format!("g{i}")), "one", both()).await;
    }
    let senders = (0..8).map(|i| {
        let store = kit.store.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let got = store.claim_due_deliveries(Destination::Pacs, &format!("s{i}"), 2, LEASE).await.unwrap();
                if got.is_empty() {
                    return mine;
                }
                for d in got {
                    store.delivered(d.id, d.token, &json!({}), &[]).await.unwrap();
                    mine.push(d.id);
                }
            }
        })
    });
    let all: Vec<_> = futures::future::join_all(senders).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (12, 12));
}

#[tokio::test]
async fn a_new_result_wakes_the_sender() {
    let kit = Kit::new().await;
    let mut listener = kit.store.outbox_listener().await.unwrap();
    let waiting = tokio::spawn(async move {
        let start = std::time::Instant::now();
        listener.wait(Duration::from_secs(20)).await.unwrap();
        start.elapsed()
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    kit.finish(&study("h"), "one", both()).await;
    assert!(waiting.await.unwrap() < Duration::from_secs(10));
}

#[tokio::test]
async fn our_objects_are_known_before_they_are_sent_and_counted_when_they_arrived() {
    let kit = Kit::new().await;
    let study = study("i");
    let run = kit.finish(&study, "one", both()).await;
    let seg = kit.due(Destination::Pacs).await.remove(0);
    let dicom = seg.artefact.dicom.clone().unwrap();
    let own = kit.store.own_objects(&study).await.unwrap();
    assert!(own.has_series(&dicom.series) && own.has_instance(&dicom.sop_instance) && own.delivered == 0);
    assert!(!own.owns(&super::kit::study("x"), &super::kit::study("y")));
    kit.store.delivered(seg.id, seg.token, &json!({}), &[]).await.unwrap();
    assert_eq!(kit.store.own_objects(&study).await.unwrap().delivered, 1);
    assert!(kit.store.is_own(&dicom.series).await.unwrap() && kit.store.is_own(&dicom.sop_instance).await.unwrap());
    assert!(!kit.store.is_own(&study).await.unwrap());
    assert_eq!(kit.store.artefact(run, "seg").await.unwrap().unwrap().bytes, seg.artefact.bytes);
}

#[tokio::test]
async fn bytes_are_dropped_after_their_keeping_time_and_what_they_were_stays() {
    let kit = Kit::new().await;
    let (old, open) = (study("j"), study("k"));
    let done = kit.finish(&old, "one", vec![]).await;
    let waiting = kit.finish(&open, "one", both()).await;
    kit.as_owner(
        "WITH r AS (UPDATE runs SET ended_at = ended_at - interval '40 days'),
              d AS (UPDATE deliveries SET updated_at = updated_at - interval '40 days')
         UPDATE blobs SET created_at = created_at - interval '40 days'",
    )
    .await;
    assert_eq!(kit.store.drop_old_artefacts(50).await.unwrap(), 0);
    assert_eq!(kit.store.drop_old_artefacts(30).await.unwrap(), 2);
    assert!(kit.store.artefact(done, "seg").await.unwrap().is_none());
    assert!(kit.store.artefact(waiting, "seg").await.unwrap().is_some());
    let kept = kit.store.show_run(done).await.unwrap().unwrap().artefacts;
    assert!(kept.len() == 2 && kept.iter().all(|a| a.expired && a.sha256.len() == 64));
}
