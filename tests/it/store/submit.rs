//! When a submission becomes a revision.

use std::collections::HashSet;
use std::time::Duration;

use scargate::domain::run::RunState;
use scargate::domain::submission::Trigger;
use scargate::failure::{Code, Failure};
use scargate::store::{Page, RunFilter, StoreError, Submitted};

use super::kit::{Kit, digest, study, submission};

#[tokio::test]
async fn automatic_triggers_start_a_revision_only_for_new_images() {
    let kit = Kit::new().await;
    let study = study("a");
    let Submitted::Started { run, revision: 1 } = kit.submit(&study, Trigger::Poll, "one").await else { panic!() };
    assert_eq!(kit.submit(&study, Trigger::Webhook, "one").await, Submitted::AlreadyOpen { run });

    let claimed = kit.claim(run).await;
    let reason = Failure::rejected(Code::NoLgeSeries, "cine only");
    kit.store.reject(run, claimed.token, &reason, &[]).await.unwrap();
    assert_eq!(kit.submit(&study, Trigger::Poll, "one").await, Submitted::Unchanged { run });
    assert!(matches!(kit.submit(&study, Trigger::Poll, "two").await, Submitted::Started { revision: 2, .. }));
}

#[tokio::test]
async fn people_may_ask_again_after_an_end_without_result_and_reprocess_always() {
    let kit = Kit::new().await;
    let study = study("b");
    let Submitted::Started { run, .. } = kit.submit(&study, Trigger::Rest, "one").await else { panic!() };
    assert_eq!(kit.submit(&study, Trigger::Cli, "one").await, Submitted::AlreadyOpen { run });
    kit.store.cancel(run, "tester").await.unwrap();
    let Submitted::Started { run: second, revision: 2 } = kit.submit(&study, Trigger::Rest, "one").await else {
        panic!()
    };
    assert!(matches!(kit.submit(&study, Trigger::Reprocess, "one").await, Submitted::Started { revision: 3, .. }));
    assert_eq!(kit.state(second).await, RunState::Superseded);
}

#[tokio::test]
async fn a_newer_revision_takes_the_run_away_from_its_worker() {
    let kit = Kit::new().await;
    let study = study("c");
    let run = kit.start(&study, "one").await;
    let claimed = kit.claim(run).await;
    kit.start(&study, "two").await;
    let beat = kit.store.heartbeat(run, claimed.token, Duration::from_secs(30)).await;
    assert!(matches!(beat, Err(StoreError::LeaseLost)), "{beat:?}");
    let moved = kit.store.set_state(run, claimed.token, RunState::Retrieving, RunState::Analyzing, &[]).await;
    assert!(matches!(moved, Err(StoreError::LeaseLost)), "{moved:?}");
}

#[tokio::test]
async fn twenty_submissions_at_once_make_one_run() {
    let kit = Kit::new().await;
    let study = study("d");
    let tries = (0..20).map(|_| {
        let (store, study) = (kit.store.clone(), study.clone());
        tokio::spawn(
            async move { store.submit(&submission(&study, Trigger::Poll), &digest("one"), None).await.unwrap() },
        )
    });
    let mut started = 0;
    let mut runs = HashSet::new();
    for answer in futures::future::join_all(tries).await {
        runs.insert(match answer.unwrap() {
            Submitted::Started { run, .. } => {
                started += 1;
                run
            }
            Submitted::AlreadyOpen { run } | Submitted::Unchanged { run } => run,
        });
    }
    assert_eq!((started, runs.len()), (1, 1));
}

#[tokio::test]
async fn a_study_is_quiet_while_its_count_stands_and_checked_after_a_submission() {
    let kit = Kit::new().await;
    let study = study("e");
    assert!(kit.store.note_seen(&study, 10).await.unwrap().quiet_for < Duration::from_secs(1));
    kit.as_owner("UPDATE studies SET seen_since = seen_since - interval '90 seconds'").await;
    let seen = kit.store.note_seen(&study, 10).await.unwrap();
    assert!(seen.quiet_for >= Duration::from_secs(90) && !seen.checked);
    kit.submit(&study, Trigger::Poll, "one").await;
    assert!(kit.store.note_seen(&study, 10).await.unwrap().checked);
    let late = kit.store.note_seen(&study, 11).await.unwrap();
    assert!(late.quiet_for < Duration::from_secs(1) && !late.checked, "late images start the wait anew");
}

#[tokio::test]
async fn lists_are_paged_without_gaps_or_repeats() {
    let kit = Kit::new().await;
    let mut made = HashSet::new();
    for name in ["f1", "f2", "f3", "f4", "f5"] {
        made.insert(kit.start(&study(name), "one").await);
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = kit.store.list_runs(&RunFilter::default(), Page { limit: 2, before }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.iter().map(|r| r.id));
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().copied().collect::<HashSet<_>>() == made && seen.is_sorted_by(|a, b| a > b));
    let filter = RunFilter { states: vec![RunState::Completed], study: None };
    assert!(kit.store.list_runs(&filter, Page { limit: 2, before: None }).await.unwrap().is_empty());
}
