//! SMART Backend Services: a signed assertion for an access token (private_key_jwt), found by discovery, kept until it
//! is about to expire.

use super::http::{Answer, Http};
use crate::config;
use crate::failure::{Code, Failure};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

/// Life of an assertion; the specification allows five minutes at most.
const ASSERTION_SECS: u64 = 240;
/// A token is renewed this long before it expires.
const MARGIN: Duration = Duration::from_secs(30);
/// Life of a token whose answer does not state one.
const UNSTATED_LIFE: Duration = Duration::from_secs(60);

/// The client side of SMART Backend Services.
pub struct Smart {
    base: Url,
    client_id: String,
    key: EncodingKey,
    header: Header,
    scopes: String,
    // The lock makes it single-flight: while one asks for a token, the others wait for its answer.
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    text: String,
    renew_at: Instant,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: u64,
    iat: u64,
    jti: String,
}

impl Smart {
    /// From `[ehr]`.
    ///
    /// # Errors
    /// `config-invalid` when the key does not fit the algorithm.
    pub fn new(ehr: &config::Ehr, base: Url) -> Result<Self, Failure> {
        let invalid = |text: &str| Failure::permanent(Code::ConfigInvalid, text);
        let algorithm: Algorithm =
            ehr.algorithm.parse().map_err(|_| invalid("ehr.algorithm is not one that can sign"))?;
        let pem = ehr.private_key.expose().as_bytes();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        };
        // The parser's own words are left out: they come from a secret.
        let key = key.map_err(|_| invalid("ehr.private_key is not a PEM private key of the kind of ehr.algorithm"))?;
        let mut header = Header::new(algorithm);
        header.kid = (!ehr.key_id.is_empty()).then(|| ehr.key_id.clone());
        Ok(Self {
            base,
            client_id: ehr.client_id.clone(),
            key,
            header,
            scopes: ehr.scopes.clone(),
            token: Mutex::new(None),
        })
    }

    /// A token that is good for a while.
    ///
    /// # Errors
    /// `ehr-unauthorized` when the EHR refuses us for good, `ehr-unavailable` when it cannot answer now.
    pub async fn token(&self, http: &Http) -> Result<String, Failure> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.text.clone());
        }
        let token = self.fetch(http).await?;
        *held = Some(token.clone());
        Ok(token.text)
    }

    /// Drops a token that the EHR refused, unless another has taken its place already.
    pub async fn refused(&self, text: &str) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|token| token.text == text) {
            *held = None;
        }
    }

    async fn fetch(&self, http: &Http) -> Result<Token, Failure> {
        let endpoint = self.discover(http).await?;
        let assertion = self.assertion(endpoint.as_str(), jsonwebtoken::get_current_timestamp())?;
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", self.scopes.as_str()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        let request = http.request(Method::POST, endpoint).header("Accept", "application/json").form(&form);
        let answer = http.send(request).await?;
        if answer.status != 200 {
            return Err(refusal(&answer));
        }
        read_token(&answer)
    }

    /// The token endpoint. It must be https, or stand on the EHR's own origin or on this machine, so that an assertion
    /// never leaves in clear text because of a bad link.
    async fn discover(&self, http: &Http) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/.well-known/smart-configuration", self.base.path().trim_end_matches('/')));
        let answer = http.send(http.request(Method::GET, url).header("Accept", "application/json")).await?;
        if answer.status != 200 {
            return Err(answer.failure());
        }
        let value: Value =
            serde_json::from_slice(&answer.body).map_err(|_| malformed("smart-configuration is not JSON"))?;
        let endpoint = value["token_endpoint"].as_str().and_then(|text| Url::parse(text).ok());
        let endpoint = endpoint.ok_or_else(|| malformed("smart-configuration names no token_endpoint"))?;
        let stays_here = config::is_loopback(&endpoint) || endpoint.origin() == self.base.origin();
        if endpoint.scheme() == "https" || stays_here {
            Ok(endpoint)
        } else {
            Err(malformed("the token endpoint is neither https nor on the EHR's origin"))
        }
    }

    /// The signed assertion (SMART App Launch 2, asymmetric authentication). `now` in seconds since 1970.
    fn assertion(&self, audience: &str, now: u64) -> Result<String, Failure> {
        let claims = Claims {
            iss: &self.client_id,
            sub: &self.client_id,
            aud: audience,
            exp: now + ASSERTION_SECS,
            iat: now,
            jti: Uuid::new_v4().to_string(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
            .map_err(|_| Failure::permanent(Code::ConfigInvalid, "ehr.private_key cannot sign"))
    }
}

fn read_token(answer: &Answer) -> Result<Token, Failure> {
    let value: Value = serde_json::from_slice(&answer.body).map_err(|_| malformed("the token answer is not JSON"))?;
    let text = value["access_token"].as_str().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| malformed("the token answer holds no access_token"))?;
    if !value["token_type"].as_str().is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(malformed("the token is not a bearer token"));
    }
    let life = value["expires_in"].as_u64().map_or(UNSTATED_LIFE, Duration::from_secs);
    // Of a token that lives shorter than the margin half the life is used.
    let usable = life.checked_sub(MARGIN).filter(|left| !left.is_zero()).unwrap_or(life / 2);
    Ok(Token { text: text.to_owned(), renew_at: Instant::now() + usable })
}

/// RFC 6749 5.2: 400 and 401 say that we are refused, with a code.
fn refusal(answer: &Answer) -> Failure {
    if !matches!(answer.status, 400 | 401 | 403) {
        return answer.failure();
    }
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = value["error"]
        .as_str()
        .filter(|code| code.len() < 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    Failure::credentials(Code::EhrUnauthorized, format!("the token endpoint answered {}", code.unwrap_or("an error")))
}

fn malformed(text: &str) -> Failure {
    Failure::permanent(Code::EhrUnauthorized, text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};

    // Test keys, made with `openssl genpkey` for this file alone.
    const RSA: &str = include_str!("testdata/rsa.pem");
    const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub.pem");
    const EC: &str = include_str!("testdata/ec.pem");
    const EC_PUBLIC: &str = include_str!("testdata/ec.pub.pem");

    fn smart(algorithm: &str, key: &str) -> Result<Smart, Failure> {
        let mut ehr = crate::config::tests::defaults().ehr;
        ehr.algorithm = algorithm.into();
        ehr.private_key = key.into();
        ehr.client_id = "gateway".into();
        ehr.key_id = "key-1".into();
        Smart::new(&ehr, Url::parse("https://ehr.example/fhir").unwrap())
    }

    #[test]
    fn the_assertion_verifies_with_the_public_key_and_holds_what_smart_asks_for() {
        let rsa = DecodingKey::from_rsa_pem(RSA_PUBLIC.as_bytes()).unwrap();
        let ec = DecodingKey::from_ec_pem(EC_PUBLIC.as_bytes()).unwrap();
        for (name, key, public) in [("RS384", RSA, &rsa), ("ES384", EC, &ec)] {
            let smart = smart(name, key).unwrap();
            let audience = "https://ehr.example/token";
            let text = smart.assertion(audience, jsonwebtoken::get_current_timestamp()).unwrap();
            let mut rules = Validation::new(name.parse().unwrap());
            rules.set_audience(&[audience]);
            rules.set_issuer(&["gateway"]);
            rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
            let token = jsonwebtoken::decode::<Value>(&text, public, &rules).unwrap();
            assert_eq!(token.header.kid.as_deref(), Some("key-1"));
            assert_eq!(token.claims["sub"], "gateway");
            assert!(token.claims["exp"].as_u64().unwrap() - token.claims["iat"].as_u64().unwrap() <= 300);
            let again = smart.assertion(audience, jsonwebtoken::get_current_timestamp()).unwrap();
            let again = jsonwebtoken::decode::<Value>(&again, public, &rules).unwrap();
            assert_ne!(token.claims["jti"], again.claims["jti"], "an assertion is used once");
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused_without_showing_it() {
        for (algorithm, key) in [("RS384", EC), ("ES384", RSA), ("RS384", "hunter2")] {
            let failure = smart(algorithm, key).err().unwrap();
            assert_eq!(failure.code, Code::ConfigInvalid);
            assert!(!failure.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        let answer = |body: &str| Answer::test(200, body);
        let token = read_token(&answer(r#"{"access_token":"a","token_type":"bearer","expires_in":300}"#)).unwrap();
        let left = token.renew_at - Instant::now();
        assert!(left <= Duration::from_secs(270) && left > Duration::from_secs(260), "{left:?}");
        let short = read_token(&answer(r#"{"access_token":"a","token_type":"Bearer","expires_in":10}"#)).unwrap();
        assert!(short.renew_at - Instant::now() <= Duration::from_secs(5));
        assert!(read_token(&answer(r#"{"access_token":"","token_type":"bearer"}"#)).is_err());
        assert!(read_token(&answer(r#"{"access_token":"a","token_type":"mac"}"#)).is_err());
    }
}
