//! A PACS that is slow, busy, cut off or something else: every fault has its class and code, and a passing one is survived.

use std::time::{Duration, Instant};

use scargate::dicomweb::{StudyQuery, Syntax};
use scargate::failure::{Class, Code, Failure};

use super::{Bench, study, tiny};
use crate::support::fault_proxy::{Answer, FaultProxy, on};

fn is_transient(failure: &Failure, code: Code) -> bool {
    failure.code == code && matches!(failure.class, Class::Transient { .. })
}

#[tokio::test]
async fn a_transfer_that_is_cut_once_is_repeated_and_one_that_is_always_cut_is_transient() {
    let (bench, proxy) = Bench::behind_proxy().await;
    let study = study();
    let uid = bench.store(&study).await;
    proxy.rule(on("GET", "/studies").first(1).truncate(0.6));
    let objects = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap();
    assert_eq!(objects.len(), study.instances.len());
    proxy.clear();
    proxy.rule(on("GET", "/studies").truncate(0.6));
    let failure = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
    assert!(is_transient(&failure, Code::PacsUnavailable), "{failure:?}");
}

#[tokio::test]
async fn a_body_that_ends_early_without_a_word_is_seen_by_its_boundary() {
    let (bench, proxy) = Bench::behind_proxy().await;
    let uid = bench.store(&tiny()).await;
    // The HTTP length is right, so only the missing closing boundary tells.
    proxy.rule(on("GET", "/studies").edit(|answer| answer.body.truncate(answer.body.len() / 2)));
    let failure = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
    assert!(is_transient(&failure, Code::PacsUnavailable), "{failure:?}");
}

#[tokio::test]
async fn a_wrong_boundary_is_a_protocol_fault() {
    let (bench, proxy) = Bench::behind_proxy().await;
    let uid = bench.store(&tiny()).await;
    for content_type in
        ["multipart/related; type=\"application/dicom\"; boundary=other", "multipart/related", "text/html"]
    {
        proxy.clear();
        proxy.rule(on("GET", "/studies").edit(move |answer| {
            answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            answer.headers.push(("content-type".into(), content_type.into()));
        }));
        let failure = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
        assert_eq!((failure.class, failure.code), (Class::Permanent, Code::PacsProtocol), "{content_type}");
    }
}

#[tokio::test]
async fn silence_is_given_up_and_a_slow_drip_ends_with_the_step() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    let uid = bench.store(&tiny()).await;
    bench.config.pacs.idle_timeout_secs = 1;
    bench.config.pacs.request_retries = 0;
    proxy.rule(on("GET", "/studies").delay(Duration::from_secs(5)));
    let start = Instant::now();
    let failure = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
    assert!(is_transient(&failure, Code::PacsUnavailable), "{failure:?}");
    assert!(start.elapsed() < Duration::from_secs(4));

    proxy.clear();
    proxy.rule(on("GET", "/studies").drip(100, Duration::from_millis(300)));
    bench.config.limits.retrieve_secs = 2;
    let start = Instant::now();
    let failure = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
    assert!(is_transient(&failure, Code::StepTimeout), "{failure:?}");
    assert!(start.elapsed() < Duration::from_secs(4));
    let failure = bench.client().list_instances(&uid).await.unwrap_err();
    assert!(is_transient(&failure, Code::StepTimeout), "{failure:?}");
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn errors_that_pass_are_survived_and_others_end_at_once() {
    let (bench, proxy) = Bench::behind_proxy().await;
    let uid = bench.store(&tiny()).await;
    let client = bench.client();
    for status in [500, 503, 429, 408] {
        proxy.clear();
        proxy.rule(on("GET", "/studies").first(2).status(status));
        assert!(client.retrieve_study(&uid, Syntax::AsStored).await.is_ok(), "{status}");
    }
    for (status, class, code) in [
        (401, Class::Credentials, Code::PacsUnauthorized),
        (403, Class::Permanent, Code::PacsUnauthorized),
        (400, Class::Permanent, Code::PacsRefused),
    ] {
        proxy.clear();
        proxy.rule(on("GET", "/studies").status(status));
        let before = proxy.seen().len();
        let failure = client.retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
        assert_eq!((failure.class, failure.code), (class, code), "{status}");
        assert_eq!(proxy.seen().len(), before + 1, "asked once");
    }
    proxy.clear();
    proxy.rule(on("GET", "/studies").status(404));
    assert_eq!(client.retrieve_study(&uid, Syntax::AsStored).await.unwrap_err().code, Code::StudyNotFound);
}

#[tokio::test]
async fn a_long_retry_after_is_handed_on_instead_of_waited_for() {
    let (bench, proxy) = Bench::behind_proxy().await;
    proxy.rule(on("GET", "/studies").reply(Answer::new(503, "text/plain", "busy").header("retry-after", "120")));
    let start = Instant::now();
    let failure = bench.client().search_studies(&StudyQuery::default()).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient { retry_after: Some(Duration::from_secs(120)) });
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn searches_read_204_as_none_and_refuse_what_is_not_dicom_json() {
    let (bench, proxy) = Bench::behind_proxy().await;
    let client = bench.client();
    let search = async |answer: Answer| {
        proxy.clear();
        proxy.rule(on("GET", "/studies").reply(answer));
        client.search_studies(&StudyQuery::default()).await
    };
    assert!(search(Answer::new(204, "application/dicom+json", "")).await.unwrap().is_empty());
    assert!(search(Answer::new(200, "application/dicom+json", "[]")).await.unwrap().is_empty());
    for body in ["<html>login</html>", "[{\"0020000D\":", "[[1]]"] {
        let failure = search(Answer::new(200, "text/html", body)).await.unwrap_err();
        assert_eq!((failure.class, failure.code), (Class::Permanent, Code::PacsProtocol), "{body}");
    }
}

#[tokio::test]
async fn pages_end_by_length_warning_or_repetition() {
    let (mut bench, proxy) = Bench::behind_proxy().await;
    bench.config.pacs.page_size = 2;
    let client = bench.client();
    let page = |uids: &[&str]| {
        let sets: Vec<_> =
            uids.iter().map(|uid| serde_json::json!({"0020000D": {"vr": "UI", "Value": [uid]}})).collect();
        Answer::new(200, "application/dicom+json", serde_json::Value::from(sets).to_string())
    };
    // Capped below the page size, but the PACS says that there is more.
    proxy.rule(on("GET", "offset=0").reply(page(&["1.1"]).header("warning", "299 pacs: There are additional results")));
    proxy.rule(on("GET", "offset=1").reply(page(&["1.2", "1.3"])));
    proxy.rule(on("GET", "offset=3").reply(page(&["1.3"])));
    let found = client.search_studies(&StudyQuery::default()).await.unwrap();
    assert_eq!(found.iter().map(|entry| entry.study.as_str()).collect::<Vec<_>>(), ["1.1", "1.2", "1.3"]);
    // A PACS that ignores the offset answers the same full page for ever.
    proxy.clear();
    proxy.rule(on("GET", "/studies").reply(page(&["1.1", "1.2"])));
    assert_eq!(client.search_studies(&StudyQuery::default()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn neither_credentials_nor_questions_follow_a_redirect_to_another_origin() {
    let (bench, proxy) = Bench::behind_proxy().await;
    let elsewhere = FaultProxy::start(&bench.servers.pacs_origin()).await;
    let away = Answer::new(302, "text/plain", "").header("location", &elsewhere.url("/dicom-web/studies"));
    proxy.rule(on("GET", "/studies").reply(away));
    let failure = bench.client().search_studies(&StudyQuery::default()).await.unwrap_err();
    assert_eq!(failure.code, Code::PacsProtocol);
    assert!(elsewhere.seen().is_empty());
    // Within the origin it is followed.
    proxy.clear();
    let within = Answer::new(307, "text/plain", "").header("location", &proxy.url("/dicom-web/series"));
    proxy.rule(on("GET", "/studies").reply(within));
    assert!(bench.client().search_studies(&StudyQuery::default()).await.is_ok());
    assert_eq!(proxy.count("GET", "/series"), 1);
}
