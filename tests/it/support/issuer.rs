//! An OpenID Connect issuer: discovery document and key set over HTTP, and tokens signed with its keys.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::{App, HttpResponse, HttpServer, web};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::servers::root;

/// Audience of the tokens, as the tests configure it.
pub const AUDIENCE: &str = "scargate-test";

/// What the issuer serves, and how often it was asked for it.
#[derive(Default)]
struct Served {
    url: Mutex<String>,
    keys: Mutex<Vec<Jwk>>,
    asked: AtomicUsize,
    down: AtomicBool,
}

/// A running issuer; gone when dropped.
pub struct Issuer {
    served: Arc<Served>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn pem(name: &str) -> Vec<u8> {
    std::fs::read(root().join("src/deliver/ehr/testdata").join(name)).unwrap()
}

/// The RSA key of the tests' SMART client.
pub fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_pem(&pem("rsa.pem")).unwrap()
}

/// The elliptic curve key (P-384) of the tests' SMART client.
pub fn ec() -> EncodingKey {
    EncodingKey::from_ec_pem(&pem("ec.pem")).unwrap()
}

/// The RSA public key as text, which an attacker may take for a shared secret.
pub fn rsa_public() -> Vec<u8> {
    pem("rsa.pub.pem")
}

impl Issuer {
    /// An issuer without keys.
    pub async fn start() -> Self {
        let served = Arc::new(Served::default());
        let data = web::Data::from(Arc::clone(&served));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/.well-known/openid-configuration", web::get().to(discovery))
                .route("/keys", web::get().to(keys))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        *served.url.lock().unwrap() = format!("http://{}", server.addrs()[0]);
        Self { served, task: tokio::spawn(server.run()) }
    }

    /// `iss`.
    pub fn url(&self) -> String {
        self.served.url.lock().unwrap().clone()
    }

    /// Publishes exactly these keys, by id.
    pub fn publish(&self, keys: &[(&str, &EncodingKey, Algorithm)]) {
        let jwk = |(kid, key, algorithm): &(&str, &EncodingKey, Algorithm)| {
            let mut jwk = Jwk::from_encoding_key(key, *algorithm).unwrap();
            jwk.common.key_id = Some((*kid).to_owned());
            jwk.common.public_key_use = Some(PublicKeyUse::Signature);
            jwk
        };
        *self.served.keys.lock().unwrap() = keys.iter().map(jwk).collect();
    }

    /// Answers everything with 503, or no longer.
    pub fn down(&self, yes: bool) {
        self.served.down.store(yes, Ordering::SeqCst);
    }

    /// How often the key set was asked for.
    pub fn asked(&self) -> usize {
        self.served.asked.load(Ordering::SeqCst)
    }

    /// Claims of a good token of a person with these roles.
    pub fn claims(&self, roles: &[&str]) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        json!({ "iss": self.url(), "aud": [AUDIENCE, "other"], "sub": "dr.who", "iat": now, "exp": now + 300, "roles": roles })
    }

    /// A good token of a person with these roles.
    pub fn token(&self, roles: &[&str]) -> String {
        sign(&header(Algorithm::RS256, "rsa-1"), &self.claims(roles), &rsa())
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A header that names a key.
pub fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

/// A signed token.
pub fn sign(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    encode(header, claims, key).unwrap()
}

async fn discovery(served: web::Data<Served>) -> HttpResponse {
    let url = served.url.lock().unwrap().clone();
    match served.down.load(Ordering::SeqCst) {
        true => HttpResponse::ServiceUnavailable().finish(),
        false => HttpResponse::Ok().json(json!({ "issuer": url, "jwks_uri": format!("{url}/keys") })),
    }
}

async fn keys(served: web::Data<Served>) -> HttpResponse {
    served.asked.fetch_add(1, Ordering::SeqCst);
    match served.down.load(Ordering::SeqCst) {
        true => HttpResponse::ServiceUnavailable().finish(),
        false => HttpResponse::Ok().json(json!({ "keys": *served.keys.lock().unwrap() })),
    }
}
