//! Claims, leases, fencing, attempts, retries.

use std::time::Duration;

use scargate::domain::run::{FencingToken, RunId, RunState};
use scargate::failure::{Code, Failure};
use scargate::store::{Claim, Retry, StoreError};

use super::kit::{Kit, LEASE, both, result, study};

#[tokio::test]
async fn of_many_claims_at_once_one_wins() {
    let kit = Kit::new().await;
    let run = kit.start(&study("a"), "one").await;
    let tries = (0..16).map(|i| {
        let store = kit.store.clone();
        tokio::spawn(async move { store.claim(run, &format!("worker-{i}"), LEASE, 5).await.unwrap() })
    });
    let answers: Vec<Claim> = futures::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|a| matches!(a, Claim::Claimed(_))).count(), 1);
    assert_eq!(answers.iter().filter(|a| matches!(a, Claim::LiveLease { .. })).count(), 15);
    assert!(matches!(kit.store.claim(RunId::new(), "worker", LEASE, 5).await.unwrap(), Claim::NotFound));
}

#[tokio::test]
async fn a_worker_whose_lease_was_taken_over_writes_nothing() {
    let kit = Kit::new().await;
    let study = study("b");
    let run = kit.start(&study, "one").await;
    let slow = kit.claim(run).await;
    kit.analyzing(&slow).await;
    kit.as_owner("UPDATE runs SET lease_until = now() - interval '1 second'").await;
    let quick = kit.claim(run).await;
    assert!(quick.token > slow.token && quick.attempt == 2);
    kit.analyzing(&quick).await;

    let failure = Failure::transient(Code::PacsUnavailable, "");
    let store = &kit.store;
    for late in [
        store.heartbeat(run, slow.token, LEASE).await,
        store.set_state(run, slow.token, RunState::Analyzing, RunState::Analyzing, &[]).await,
        store.fail_attempt(run, slow.token, &failure, Retry::Never, &[]).await,
        store.reject(run, slow.token, &failure, &[]).await,
        store.unchanged(run, slow.token, "digest", &[]).await,
        store.finish_analysis(run, slow.token, &result(&slow, both()), &[]).await.map(drop),
    ] {
        assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    }
    let detail = store.show_run(run).await.unwrap().unwrap();
    assert_eq!(detail.summary.state, RunState::Analyzing);
    assert!(detail.artefacts.is_empty() && detail.deliveries.is_empty(), "the late result was rolled back");
    let reasons: Vec<(&str, Option<&str>)> =
        detail.attempts.iter().map(|a| (a.reason.as_str(), a.outcome.as_deref())).collect();
    assert_eq!(reasons, [("first", Some("lease-expired")), ("lease-expired", None)]);
}

#[tokio::test]
async fn a_retry_waits_for_its_time_and_is_owed_a_message() {
    let kit = Kit::new().await;
    let run = kit.start(&study("c"), "one").await;
    kit.store.mark_published(run).await.unwrap();
    let claimed = kit.claim(run).await;
    let failure = Failure::transient(Code::PacsUnavailable, "timeout");
    let later = Retry::After(Duration::from_secs(60));
    kit.store.fail_attempt(run, claimed.token, &failure, later, &[]).await.unwrap();
    assert!(matches!(kit.store.claim(run, "worker", LEASE, 5).await.unwrap(), Claim::NotDue { .. }));
    assert!(kit.store.stale_runs(Duration::ZERO, 10).await.unwrap().is_empty(), "not before its time");

    kit.as_owner("UPDATE runs SET next_attempt_at = now()").await;
    assert_eq!(kit.store.stale_runs(Duration::from_secs(60), 10).await.unwrap().len(), 1);
    kit.store.mark_published(run).await.unwrap();
    assert!(kit.store.stale_runs(Duration::from_secs(60), 10).await.unwrap().is_empty());
    let summary = kit.store.run_summary(run).await.unwrap().unwrap();
    assert_eq!(summary.failure_code.as_deref(), Some("pacs-unavailable"));
    assert_eq!(kit.claim(run).await.attempt, 2);
    assert!(kit.store.stale_runs(Duration::ZERO, 10).await.unwrap().is_empty(), "a worker holds it");
}

#[tokio::test]
async fn a_study_that_kills_its_workers_ends_failed_and_a_person_may_retry_it() {
    let kit = Kit::new().await;
    let run = kit.start(&study("d"), "one").await;
    for attempt in 1..=2 {
        assert!(
            matches!(kit.store.claim(run, "w", LEASE, 2).await.unwrap(), Claim::Claimed(c) if c.attempt == attempt)
        );
        kit.as_owner("UPDATE runs SET lease_until = now() - interval '1 second'").await;
    }
    assert!(matches!(kit.store.claim(run, "w", LEASE, 2).await.unwrap(), Claim::Exhausted));
    assert_eq!(kit.state(run).await, RunState::Failed);
    assert!(matches!(kit.store.claim(run, "w", LEASE, 2).await.unwrap(), Claim::Ended(RunState::Failed)));
    assert_eq!(kit.store.retry(run, "tester").await.unwrap(), RunState::Received);
    assert_eq!(kit.claim(run).await.attempt, 1);
}

#[tokio::test]
async fn an_older_revision_is_never_retried_over_a_newer_one() {
    let kit = Kit::new().await;
    let study = study("e");
    let old = kit.start(&study, "one").await;
    let claimed = kit.claim(old).await;
    let failure = Failure::permanent(Code::PacsRefused, "");
    kit.store.fail_attempt(old, claimed.token, &failure, Retry::Never, &[]).await.unwrap();
    kit.start(&study, "two").await;
    assert!(matches!(kit.store.retry(old, "tester").await, Err(StoreError::Conflict(_))));
}

#[tokio::test]
async fn every_change_of_state_is_on_the_timeline_and_names_no_patient() {
    let kit = Kit::new().await;
    let study = study("f");
    let run = kit.finish(&study, "one", both()).await;
    let detail = kit.store.show_run(run).await.unwrap().unwrap();
    let steps: Vec<String> = detail
        .timeline
        .iter()
        .map(|e| e.detail().get("to").and_then(|v| v.as_str()).unwrap_or(&e.kind).to_owned())
        .collect();
    assert_eq!(steps, ["run-received", "retrieving", "analyzing", "delivering"]);
    for event in &detail.timeline {
        for secret in [study.as_str(), "Probe", "P-4711", "A-0815"] {
            assert!(!event.canonical.contains(secret), "{}", event.canonical);
        }
        assert_eq!(event.subject.as_deref(), Some(kit.store.pseudonyms().study(&study).as_str()));
    }
    assert_eq!(detail.measures.unwrap()["lv_mass"]["value"], 101.5);
    assert_eq!(detail.artefacts.len(), 2);
}

#[tokio::test]
async fn a_state_is_never_skipped() {
    let kit = Kit::new().await;
    let run = kit.start(&study("g"), "one").await;
    let claimed = kit.claim(run).await;
    let result = result(&claimed, both());
    let early = kit.store.finish_analysis(run, claimed.token, &result, &[]).await;
    assert!(matches!(early, Err(StoreError::LeaseLost)), "retrieving does not become delivering: {early:?}");
    let ahead = FencingToken(claimed.token.0 + 1);
    assert!(matches!(kit.store.heartbeat(run, ahead, LEASE).await, Err(StoreError::LeaseLost)));
    let end = kit.store.set_state(run, claimed.token, RunState::Retrieving, RunState::Rejected, &[]).await;
    assert!(matches!(end, Err(StoreError::Conflict(_))), "ends have their own operations: {end:?}");
}
