//! The fault proxy itself, in front of the real PACS: a fault that does not happen would make other tests pass.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::support::fault_proxy::{Answer, FaultProxy, on};
use crate::support::servers::Servers;

const QIDO: &str = "/dicom-web/studies?limit=1";

async fn setup() -> (Servers, FaultProxy, Client) {
    let servers = Servers::shared();
    let proxy = FaultProxy::start(&servers.pacs_origin()).await;
    (servers, proxy, Client::builder().no_proxy().build().unwrap())
}

async fn get(servers: &Servers, proxy: &FaultProxy, client: &Client, path: &str) -> reqwest::Result<reqwest::Response> {
    client.get(proxy.url(path)).basic_auth("scargate", Some(servers.secret("orthanc"))).send().await
}

#[tokio::test]
async fn passes_requests_through_with_their_credentials() {
    let (servers, proxy, client) = setup().await;
    let answer = get(&servers, &proxy, &client, QIDO).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.json::<Value>().await.unwrap().is_array());
    let refused = client.get(proxy.url(QIDO)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let seen: Vec<_> = proxy.seen().iter().map(|seen| (seen.target.clone(), seen.status)).collect();
    assert_eq!(seen, [(QIDO.to_owned(), Some(200)), (QIDO.to_owned(), Some(401))]);
}

#[tokio::test]
async fn passes_bodies_on_both_with_a_length_and_chunked() {
    let (servers, proxy, client) = setup().await;
    let body = vec![b'x'; 300_000];
    let stream =
        futures::stream::iter(body.chunks(1000).map(|part| Ok::<_, std::io::Error>(part.to_vec())).collect::<Vec<_>>());
    for (name, body) in [("sized", reqwest::Body::from(body.clone())), ("chunked", reqwest::Body::wrap_stream(stream))]
    {
        // Orthanc refuses what is not DICOM, which proves that it read it.
        let request = client.post(proxy.url("/instances")).basic_auth("scargate", Some(servers.secret("orthanc")));
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(proxy.seen().last().unwrap().body.len(), 300_000, "{name}");
    }
}

#[tokio::test]
async fn a_rule_counts_its_requests() {
    let (servers, proxy, client) = setup().await;
    proxy.rule(on("GET", "/studies").nth(2).status(503)).rule(on("GET", "/studies").first(1).status(404));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(get(&servers, &proxy, &client, QIDO).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [404, 503, 200, 200]);
    proxy.clear();
    assert_eq!(proxy.count("GET", "/studies"), 4);
    assert_eq!(proxy.count("POST", "/studies"), 0);
}

#[tokio::test]
async fn answers_with_a_body_and_headers_of_the_tests_choice() {
    let (servers, proxy, client) = setup().await;
    let busy =
        Answer::new(429, "application/fhir+json", r#"{"resourceType":"OperationOutcome"}"#).header("retry-after", "2");
    proxy.rule(on("*", "/studies").reply(busy));
    let answer = get(&servers, &proxy, &client, QIDO).await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "2");
    assert_eq!(answer.json::<Value>().await.unwrap()["resourceType"], "OperationOutcome");
}

#[tokio::test]
async fn edits_the_answer_of_the_peer() {
    let (servers, proxy, client) = setup().await;
    proxy.rule(on("GET", "/system").edit(|answer| {
        let mut json: Value = serde_json::from_slice(&answer.body).unwrap();
        json["Name"] = "changed".into();
        answer.body = serde_json::to_vec(&json).unwrap();
        answer.status = 202;
    }));
    let answer = get(&servers, &proxy, &client, "/system").await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let json: Value = answer.json().await.unwrap();
    assert_eq!(json["Name"], "changed");
    assert_eq!(json["DicomAet"], "ORTHANC");
}

#[tokio::test]
async fn cuts_a_body_short() {
    let (servers, proxy, client) = setup().await;
    proxy.rule(on("GET", "/system").truncate(0.5));
    let answer = get(&servers, &proxy, &client, "/system").await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.is_err(), "a body that was cut must not look complete");
}

#[tokio::test]
async fn sends_slowly() {
    let (servers, proxy, client) = setup().await;
    proxy.rule(on("GET", "/system").drip(20, Duration::from_millis(20)));
    let start = Instant::now();
    let body = get(&servers, &proxy, &client, "/system").await.unwrap().bytes().await.unwrap();
    let pieces = body.len().div_ceil(20) as u32;
    assert!(pieces > 3);
    assert!(start.elapsed() >= Duration::from_millis(20) * (pieces - 1));
}

#[tokio::test]
async fn drops_delays_and_refuses() {
    let (servers, proxy, client) = setup().await;
    proxy.rule(on("GET", "/system").first(1).drop_connection());
    proxy.rule(on("GET", "/system").first(1).lose_answer());
    proxy.rule(on("GET", "/system").first(1).delay(Duration::from_millis(300)));
    assert!(get(&servers, &proxy, &client, "/system").await.is_err());
    assert!(get(&servers, &proxy, &client, "/system").await.is_err());
    let start = Instant::now();
    assert!(get(&servers, &proxy, &client, "/system").await.is_ok());
    assert!(start.elapsed() >= Duration::from_millis(300));
    proxy.refuse(true);
    assert!(get(&servers, &proxy, &client, "/system").await.is_err());
    proxy.refuse(false);
    assert!(get(&servers, &proxy, &client, "/system").await.is_ok());
}

#[tokio::test]
async fn holds_an_answer_until_the_gate_opens() {
    let (servers, proxy, client) = setup().await;
    let (rule, gate) = on("GET", "/system").first(1).hold();
    proxy.rule(rule);
    let request = get(&servers, &proxy, &client, "/system");
    tokio::pin!(request);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut request).await.is_err());
    proxy.wait_for("GET", "/system", 1, Duration::from_secs(1)).await;
    gate.open();
    assert_eq!(request.await.unwrap().status(), StatusCode::OK);
}
