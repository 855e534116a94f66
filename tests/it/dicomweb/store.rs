//! Store: outcomes per object, whatever status they come with.

use bytes::Bytes;
use reqwest::Method;
use scargate::dicomweb::{StoreItem, StoreOutcome};
use scargate::domain::uid::Uid;
use scargate::failure::{Class, Code};
use serde_json::{Value, json};

use super::{Bench, items, tiny};
use crate::support::fault_proxy::{Answer, on};
use crate::support::unique;

#[tokio::test]
async fn storing_twice_is_stored_twice_and_once_there() {
    let bench = Bench::new();
    let study = tiny();
    let uid = bench.store(&study).await;
    bench.store(&study).await;
    assert_eq!(bench.client().list_instances(&uid).await.unwrap().len(), study.instances.len());
}

#[tokio::test]
async fn an_object_of_another_study_fails_alone_and_says_why() {
    let bench = Bench::new();
    let other = Uid::parse(&unique::uid()).unwrap();
    let study = tiny();
    let outcomes = bench.client().store(&other, &items(&study)[..1]).await.unwrap();
    // Orthanc answers 409 with FailureReason 0110H in the body.
    assert_eq!(outcomes, [StoreOutcome::TryAgain { reason: 0x0110 }]);
    let (uid, item) = (Uid::parse(&study.uid).unwrap(), &items(&study)[0]);
    assert!(!bench.client().holds_instance(&uid, &item.sop_instance).await.unwrap());
}

#[tokio::test]
async fn what_is_not_dicom_is_refused_for_good() {
    let bench = Bench::new();
    let study = Uid::parse(&unique::uid()).unwrap();
    let item = StoreItem { sop_instance: Uid::parse(&unique::uid()).unwrap(), bytes: Bytes::from_static(b"not DICOM") };
    let failure = bench.client().store(&study, &[item]).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Permanent, Code::PacsRefused));
}

/// Moves the first stored object to the failed ones, as a PACS that ran out of room in the middle would answer.
fn fail_first(answer: &mut Answer, status: u16) {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    let set = body.as_object_mut().unwrap();
    let stored = set.get_mut("00081199").unwrap()["Value"].as_array_mut().unwrap();
    let mut first = stored.remove(0);
    first["00081197"] = json!({"vr": "US", "Value": [0xA700]});
    set.insert("00081198".into(), json!({"vr": "SQ", "Value": [first]}));
    answer.body = body.to_string().into_bytes();
    answer.status = status;
}

#[tokio::test]
async fn partial_failure_is_seen_under_200_and_under_202() {
    for status in [200, 202] {
        let (bench, proxy) = Bench::behind_proxy().await;
        proxy.rule(on("POST", "/studies").edit(move |answer| fail_first(answer, status)));
        let study = tiny();
        let uid = Uid::parse(&study.uid).unwrap();
        let outcomes = bench.client().store(&uid, &items(&study)).await.unwrap();
        let failed = outcomes.iter().filter(|o| **o == StoreOutcome::TryAgain { reason: 0xA700 }).count();
        let stored = outcomes.iter().filter(|o| matches!(o, StoreOutcome::Stored { .. })).count();
        assert_eq!((failed, stored), (1, study.instances.len() - 1), "{status}");
    }
}

#[tokio::test]
async fn a_success_without_a_body_is_unconfirmed_until_asked() {
    let (bench, proxy) = Bench::behind_proxy().await;
    proxy.rule(on("POST", "/studies").edit(|answer| answer.body.clear()));
    let study = tiny();
    let uid = Uid::parse(&study.uid).unwrap();
    let item = &items(&study)[..1];
    assert_eq!(bench.client().store(&uid, item).await.unwrap(), [StoreOutcome::Unconfirmed]);
    assert!(bench.client().holds_instance(&uid, &item[0].sop_instance).await.unwrap());
}

#[tokio::test]
async fn a_lost_answer_is_transient_never_repeated_and_can_be_asked_for() {
    let (bench, proxy) = Bench::behind_proxy().await;
    proxy.rule(on("POST", "/studies").lose_answer());
    let study = tiny();
    let uid = Uid::parse(&study.uid).unwrap();
    let item = &items(&study)[..1];
    let failure = bench.client().store(&uid, item).await.unwrap_err();
    assert_eq!(failure.code, Code::PacsUnavailable);
    assert!(matches!(failure.class, Class::Transient { .. }));
    assert_eq!(proxy.count("POST", "/studies"), 1);
    assert!(bench.client().holds_instance(&uid, &item[0].sop_instance).await.unwrap());
}

#[tokio::test]
async fn a_pacs_that_takes_the_object_and_says_nothing_is_given_up() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    bench.config.pacs.idle_timeout_secs = 1;
    let (rule, _gate) = on("POST", "/studies").hold();
    proxy.rule(rule);
    let study = tiny();
    let failure = bench.client().store(&Uid::parse(&study.uid).unwrap(), &items(&study)).await.unwrap_err();
    assert_eq!(failure.code, Code::PacsUnavailable);
    assert!(matches!(failure.class, Class::Transient { .. }));
}

#[tokio::test]
async fn statuses_without_a_word_about_the_object_decide() {
    for (status, code, transient) in
        [(503, Code::PacsUnavailable, true), (401, Code::PacsUnauthorized, false), (415, Code::PacsRefused, false)]
    {
        let (bench, proxy) = Bench::behind_proxy().await;
        proxy.rule(
            on("POST", "/studies")
                .reply(Answer::new(status, "text/html", "<html>no</html>").header("retry-after", "9")),
        );
        let study = tiny();
        let failure = bench.client().store(&Uid::parse(&study.uid).unwrap(), &items(&study)[..1]).await.unwrap_err();
        assert_eq!(failure.code, code, "{status}");
        let expected = Class::Transient { retry_after: Some(std::time::Duration::from_secs(9)) };
        assert_eq!(failure.class == expected, transient, "{status}");
    }
}

#[tokio::test]
async fn a_large_object_is_streamed_with_its_length() {
    let (bench, proxy) = Bench::behind_proxy().await;
    let study =
        scargate::phantom::Study::build(&super::spec().enhanced(true).variant(scargate::phantom::Variant::CineOnly))
            .unwrap();
    let uid = bench.store(&study).await;
    let seen = proxy.seen();
    let post = seen.iter().find(|seen| seen.method == Method::POST.as_str()).unwrap();
    let length = post.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap();
    assert_eq!(length.1.parse::<usize>().unwrap(), post.body.len());
    assert!(post.body.len() > 200_000, "several pieces: {}", post.body.len());
    assert!(bench.client().holds_instance(&uid, &items(&study)[0].sop_instance).await.unwrap());
}
