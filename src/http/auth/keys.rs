//! The issuer's public keys: found by discovery or configuration, kept, and asked for again when a token names a new one.

use super::Refused;
use crate::config::{Oidc, is_loopback};
use crate::failure::{Code, Failure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use url::Url;

/// Keys of an issuer that does not answer are trusted for this long after they were read.
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// Bytes of discovery document or key set at most.
const MAX_BYTES: usize = 256 * 1024;
/// Bytes of an RSA modulus at least.
const MIN_RSA_BYTES: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A key of the issuer.
pub(super) struct Key {
    pub decoding: DecodingKey,
    /// The only algorithm that the issuer uses it with, when it says so.
    pub only: Option<Algorithm>,
}

#[derive(Default, Clone)]
struct Held {
    keys: Arc<HashMap<String, Arc<Key>>>,
    read: Option<Instant>,
}

/// The key set of one issuer.
pub(super) struct Keys {
    client: reqwest::Client,
    issuer: String,
    configured: Option<Url>,
    algorithms: Vec<Algorithm>,
    max_age: Duration,
    floor: Duration,
    held: RwLock<Held>,
    // The lock makes it single-flight; it holds when the issuer was last asked.
    asked: Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

/// Why keys could not be read, for the log; no URL, no answer.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("the issuer does not answer")]
    NoAnswer,
    #[error("the issuer answers with status {0}")]
    Status(u16),
    #[error("the issuer's answer is above {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the issuer's answer is not the JSON that was expected")]
    NotUnderstood,
    #[error("the discovery document names another issuer")]
    OtherIssuer,
    #[error("the discovery document names a key set that is not https")]
    Unsafe,
}

impl Keys {
    /// From `[oidc]`; asks nobody yet.
    ///
    /// # Errors
    /// `config-invalid` when the certificate authority's file cannot be used.
    pub(super) fn new(oidc: &Oidc, algorithms: Vec<Algorithm>) -> Result<Self, Failure> {
        let invalid = |text: &str| Failure::permanent(Code::ConfigInvalid, text);
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        let configured = (!oidc.jwks_url.is_empty()).then(|| Url::parse(&oidc.jwks_url)).transpose();
        let configured = configured.map_err(|_| invalid("oidc.jwks_url is not a URL"))?;
        if Url::parse(&oidc.issuer).is_ok_and(|issuer| is_loopback(&issuer)) {
            builder = builder.no_proxy();
        }
        if !oidc.ca_file.as_os_str().is_empty() {
            let pem = std::fs::read(&oidc.ca_file).map_err(|_| invalid("oidc.ca_file cannot be read"))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            builder = builder.tls_certs_only(certificates.map_err(|_| invalid("oidc.ca_file is not PEM"))?);
        }
        Ok(Self {
            client: builder.build().map_err(|_| invalid("the HTTP client for the issuer cannot be set up"))?,
            issuer: oidc.issuer.clone(),
            configured,
            algorithms,
            max_age: Duration::from_secs(oidc.keys_max_age_secs),
            floor: Duration::from_secs(oidc.keys_floor_secs),
            held: RwLock::default(),
            asked: Mutex::default(),
        })
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that a token names.
    ///
    /// # Errors
    /// [`Refused::UnknownKey`]; [`Refused::KeysUnavailable`] when the issuer's keys are not known at all.
    pub(super) async fn get(&self, kid: &str) -> Result<Arc<Key>, Refused> {
        let held = self.held();
        let fresh = held.read.is_some_and(|read| read.elapsed() < self.max_age);
        if let (true, Some(key)) = (fresh, held.keys.get(kid)) {
            return Ok(Arc::clone(key));
        }
        self.read_again(held.read).await;
        let held = self.held();
        if held.read.is_none_or(|read| read.elapsed() > MAX_STALE) {
            return Err(Refused::KeysUnavailable);
        }
        held.keys.get(kid).map(Arc::clone).ok_or(Refused::UnknownKey)
    }

    /// Reads the key set again, unless somebody did since `known`, or the issuer was asked a moment ago: unknown keys in
    /// tokens are anybody's to make up.
    async fn read_again(&self, known: Option<Instant>) {
        let mut asked = self.asked.lock().await;
        if self.held().read != known || asked.is_some_and(|asked| asked.elapsed() < self.floor) {
            return;
        }
        *asked = Some(Instant::now());
        match self.read().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "read the keys of the token issuer");
                let held = Held { keys: Arc::new(keys), read: Some(Instant::now()) };
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
            }
            Err(error) => tracing::warn!(reason = %error, "the keys of the token issuer cannot be read"),
        }
    }

    async fn read(&self) -> Result<HashMap<String, Arc<Key>>, Unread> {
        let url = match &self.configured {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let set: JwkSet = self.get_json(url).await?;
        Ok(set.keys.iter().filter_map(|jwk| self.usable(jwk)).collect())
    }

    async fn discover(&self) -> Result<Url, Unread> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let found: Discovery = self.get_json(Url::parse(&url).map_err(|_| Unread::NotUnderstood)?).await?;
        if found.issuer != self.issuer {
            return Err(Unread::OtherIssuer);
        }
        let safe = found.jwks_uri.scheme() == "https" || is_loopback(&found.jwks_uri);
        if safe { Ok(found.jwks_uri) } else { Err(Unread::Unsafe) }
    }

    async fn get_json<T: DeserializeOwned>(&self, url: Url) -> Result<T, Unread> {
        let mut response = self.client.get(url).send().await.map_err(|_| Unread::NoAnswer)?;
        if !response.status().is_success() {
            return Err(Unread::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|_| Unread::NoAnswer)? {
            if body.len() + piece.len() > MAX_BYTES {
                return Err(Unread::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|_| Unread::NotUnderstood)
    }

    /// A key that signs with an allowed algorithm, by its id. Symmetric keys never: whoever can read them could sign.
    fn usable(&self, jwk: &Jwk) -> Option<(String, Arc<Key>)> {
        let kid = jwk.common.key_id.clone()?;
        let strong = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                URL_SAFE_NO_PAD.decode(&rsa.n).is_ok_and(|modulus| modulus.len() >= MIN_RSA_BYTES)
            }
            AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_) => true,
            _ => false,
        };
        let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let only = match jwk.common.key_algorithm {
            None => None,
            Some(named) => Some(named.to_string().parse::<Algorithm>().ok().filter(|a| self.algorithms.contains(a))?),
        };
        if !strong || !signs {
            return None;
        }
        Some((kid, Arc::new(Key { decoding: DecodingKey::from_jwk(jwk).ok()?, only })))
    }
}
