//! Who may call what: every route with every kind of token, at a gateway that trusts an issuer of ours.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::config::TestConfig;
use crate::support::database::TestDatabase;
use crate::support::gateway::{self, Gateway};
use crate::support::issuer::{AUDIENCE, Issuer, ec, header, rsa, rsa_public, sign};
use crate::support::servers::Servers;
use crate::support::studies::TestStudy;

/// A gateway's API behind its gate.
struct Door {
    issuer: Issuer,
    config: TestConfig,
    gateway: Gateway,
    client: reqwest::Client,
    _database: TestDatabase,
}

impl Door {
    async fn new(more: impl Fn(&mut TestConfig)) -> Self {
        let servers = Servers::shared();
        let database = TestDatabase::fresh(&servers).await;
        let mut config = TestConfig::new(&servers, &database);
        let issuer = Issuer::start().await;
        issuer.publish(&[("rsa-1", &rsa(), Algorithm::RS256), ("ec-1", &ec(), Algorithm::ES384)]);
        config
            .set("server.auth", "oidc")
            .set("oidc.issuer", issuer.url())
            .set("oidc.audience", AUDIENCE)
            .set("oidc.algorithms", vec!["RS256", "ES384"])
            .set("oidc.leeway_secs", 5)
            .set("oidc.keys_floor_secs", 1);
        more(&mut config);
        let mut gateway = Gateway::serve(&config, &["--role", "api"]);
        gateway.ready(Duration::from_secs(120)).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { issuer, config, gateway, client, _database: database }
    }

    async fn call(&self, method: &str, path: &str, token: Option<&str>) -> Response {
        let request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), self.gateway.url(path));
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        request.send().await.unwrap()
    }

    async fn list(&self, token: &str) -> u16 {
        self.call("GET", "/api/v1/runs", Some(token)).await.status().as_u16()
    }
}

fn challenge(answer: &Response) -> String {
    answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// (method, path with values in place of names, need) of every row of the table in docs/security.md.
fn table() -> Vec<(String, String, String)> {
    let document = std::fs::read_to_string(crate::support::servers::root().join("docs/security.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| `GET ") || line.starts_with("| `POST "));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (method, path) = cells[1].trim_matches('`').split_once(' ').unwrap();
        let path = path.replace("{study}", "2.25.1").replace("{name}", "seg");
        let path = path.replace("{run}", "01a20555-7e44-7418-91d7-c0aa7ecbe47d");
        let path = path.replace("{delivery}", "01a20555-7e44-7418-91d7-c0aa7ecbe47d");
        (method.to_owned(), path, cells[2].trim_matches('`').to_owned())
    })
    .collect()
}

#[tokio::test]
async fn every_route_wants_what_the_table_says() {
    let door = Door::new(|_| ()).await;
    let (nobody, everybody) =
        (door.issuer.token(&[]), door.issuer.token(&["scargate-radiologist", "scargate-auditor"]));
    for (method, path, need) in table() {
        let bare = door.call(&method, &path, None).await;
        match need.as_str() {
            "open" => assert_eq!(bare.status(), 200, "{path}"),
            "webhook key" => assert_eq!(bare.status(), 401, "{path}"),
            scope => {
                assert_eq!((bare.status().as_u16(), challenge(&bare)), (401, "Bearer".into()), "{path}");
                let poor = door.call(&method, &path, Some(&nobody)).await;
                let wanted = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
                assert_eq!((poor.status().as_u16(), challenge(&poor)), (403, wanted), "{path}");
                let problem: Value = serde_json::from_slice(&poor.bytes().await.unwrap()).unwrap();
                assert_eq!(problem["code"], "forbidden");
                let rich = door.call(&method, &path, Some(&everybody)).await.status().as_u16();
                assert!(![401, 403, 405].contains(&rich), "{path}: {rich}");
            }
        }
    }
    let unlisted = door.call("DELETE", "/api/v1/runs", Some(&everybody)).await.status().as_u16();
    assert!([403, 404, 405].contains(&unlisted), "{unlisted}");
    assert_eq!(door.call("GET", "/api/v1/nothing", None).await.status(), 404);
}

#[tokio::test]
async fn a_token_that_is_wrong_in_one_thing_is_refused() {
    let door = Door::new(|_| ()).await;
    let good = door.issuer.claims(&["scargate-technologist"]);
    let with = |key: &str, value: Value| {
        let mut claims = good.clone();
        claims[key] = value;
        claims
    };
    let now = good["iat"].as_u64().unwrap();
    let rs = header(Algorithm::RS256, "rsa-1");
    let signed = |claims: &Value| sign(&rs, claims, &rsa());
    assert_eq!(door.list(&signed(&good)).await, 200);
    assert_eq!(door.list(&sign(&header(Algorithm::ES384, "ec-1"), &good, &ec())).await, 200, "the other key");

    let part = |value: Value| URL_SAFE_NO_PAD.encode(serde_json::to_vec(&value).unwrap());
    let none = format!("{}.{}.", part(json!({ "alg": "none", "kid": "rsa-1" })), part(good.clone()));
    let confused = sign(&header(Algorithm::HS256, "rsa-1"), &good, &EncodingKey::from_secret(&rsa_public()));
    let fine = signed(&good);
    let pieces: Vec<&str> = fine.split('.').collect();
    let changed = format!("{}.{}.{}", pieces[0], part(with("roles", json!(["scargate-admin"]))), pieces[2]);
    let mut own_key = rs.clone();
    own_key.kid = Some("mine".into());
    own_key.jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&rsa(), Algorithm::RS256).ok();
    let mut critical = rs.clone();
    critical.crit = Some(vec!["exp".into()]);
    let mut no_kid = rs.clone();
    no_kid.kid = None;
    let refused = [
        ("not a token", "abc".to_owned()),
        ("no algorithm", none),
        ("public key as a secret", confused),
        ("changed claims", changed),
        ("a key of its own", sign(&own_key, &good, &rsa())),
        ("an extension that must be understood", sign(&critical, &good, &rsa())),
        ("no key id", sign(&no_kid, &good, &rsa())),
        ("algorithm of another key", sign(&header(Algorithm::RS384, "rsa-1"), &good, &rsa())),
        ("key of another algorithm", sign(&header(Algorithm::RS256, "ec-1"), &good, &rsa())),
        ("expired", signed(&with("exp", json!(now - 60)))),
        ("no expiry", signed(&with("exp", Value::Null))),
        ("valid for years", signed(&with("exp", json!(now + 100_000_000)))),
        ("not yet valid", signed(&with("nbf", json!(now + 600)))),
        ("another issuer", signed(&with("iss", json!("https://issuer.example")))),
        ("no issuer", signed(&with("iss", Value::Null))),
        ("another audience", signed(&with("aud", json!(["other"])))),
        ("no audience", signed(&with("aud", Value::Null))),
        ("nobody", signed(&with("sub", json!("")))),
        ("far too long", "a".repeat(40_000)),
    ];
    for (what, token) in refused {
        let answer = door.call("GET", "/api/v1/runs", Some(&token)).await;
        // A header beyond the server's own bound is refused before the gate.
        let status = answer.status().as_u16();
        assert!(status == 401 || (what == "far too long" && (400..500).contains(&status)), "{what}: {status}");
        if status == 401 {
            assert!(challenge(&answer).starts_with("Bearer error=\"invalid_token\""), "{what}");
        }
    }
}

#[tokio::test]
async fn keys_are_changed_without_a_restart_and_outlive_an_issuer_that_is_away() {
    let door = Door::new(|_| ()).await;
    let claims = door.issuer.claims(&["scargate-technologist"]);
    let new = sign(&header(Algorithm::RS256, "rsa-2"), &claims, &rsa());
    assert_eq!(door.list(&new).await, 401, "not published yet");
    door.issuer.publish(&[("rsa-2", &rsa(), Algorithm::RS256)]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(door.list(&new).await, 200);
    assert_eq!(door.list(&door.issuer.token(&["scargate-technologist"])).await, 401, "the old key is withdrawn");

    door.issuer.down(true);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(door.list(&sign(&header(Algorithm::RS256, "rsa-3"), &claims, &rsa())).await, 401);
    assert_eq!(door.list(&new).await, 200, "known keys go on");
    let asked = door.issuer.asked();
    for number in 0..20 {
        door.list(&sign(&header(Algorithm::RS256, &format!("made-up-{number}")), &claims, &rsa())).await;
    }
    assert!(door.issuer.asked() <= asked + 8, "made-up keys are not passed on to the issuer one by one");
}

#[tokio::test]
async fn without_any_key_of_the_issuer_the_answer_is_later() {
    let door = Door::new(|_| ()).await;
    door.issuer.down(true);
    let answer = door.call("GET", "/api/v1/runs", Some(&door.issuer.token(&["scargate-technologist"]))).await;
    assert_eq!(answer.status(), 503);
    let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "issuer-unavailable");
    door.issuer.down(false);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(door.list(&door.issuer.token(&["scargate-technologist"])).await, 200);
}

#[tokio::test]
async fn refusals_are_counted_in_the_audit_trail_and_end_in_a_pause() {
    let mut door = Door::new(|config| {
        config.set("oidc.refusals_per_minute", 5);
    })
    .await;
    let token = door.issuer.token(&[]);
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(door.list(&token).await);
    }
    assert_eq!(statuses, [403, 403, 403, 403, 403, 429, 429]);
    assert_eq!(door.list(&door.issuer.token(&["scargate-technologist"])).await, 429, "the address waits");
    assert_eq!(door.call("GET", "/health/live", None).await.status(), 200, "probes go on");
    assert_eq!(door.gateway.terminate(), Some(0), "{}", door.gateway.log());
    let export = gateway::run(&door.config, &["audit", "export", "--kind", "access-refused"]);
    let text = String::from_utf8(export.stdout).unwrap();
    let mut counts: Vec<(String, u64)> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"]["detail"].clone())
        .map(|detail| {
            assert_eq!((&detail["route"], &detail["source"]), (&json!("/api/v1/runs"), &json!("127.0.0.1")));
            (detail["reason"].as_str().unwrap().to_owned(), detail["count"].as_u64().unwrap())
        })
        .collect();
    counts.sort();
    assert_eq!(counts, [("scope-missing".to_owned(), 5), ("too-many".to_owned(), 3)]);
    let payload = token.split('.').nth(1).unwrap();
    assert!(!text.contains(payload) && !door.gateway.log().contains(payload), "a token stands nowhere");
}

#[tokio::test]
async fn webhook_keys_overlap_while_they_are_changed() {
    let digest = |key: &str| hex::encode(Sha256::digest(key));
    let digests = vec![digest("old key"), digest("new key")];
    let door = Door::new(|config| {
        config.set("intake.webhook_key_sha256", digests.clone());
    })
    .await;
    let call = async |key: &str| {
        let request = door.client.post(door.gateway.url("/hooks/pacs")).header("X-Webhook-Token", key);
        request.send().await.unwrap().status().as_u16()
    };
    let secret = Servers::shared().secret("webhook-token");
    for (key, status) in [("old key", 202), ("new key", 202), (secret.trim(), 202), ("guess", 401), ("", 401)] {
        assert_eq!(call(key).await, status, "{key}");
    }
}

#[tokio::test]
async fn acts_stand_in_the_audit_trail_under_the_subject_of_the_token() {
    let door = Door::new(|_| ()).await;
    let study = TestStudy::draw(&Servers::shared(), |spec| spec);
    study.upload().await;
    let token = door.issuer.token(&["scargate-technologist"]);
    let answer = door.call("POST", &format!("/api/v1/studies/{}/runs", study.uid()), Some(&token)).await;
    assert_eq!(answer.status(), 202);
    let export = gateway::run(&door.config, &["audit", "export", "--kind", "run-received"]);
    let line: Value = serde_json::from_slice(&export.stdout).unwrap();
    assert_eq!(line["event"]["actor"], "dr.who");
}
