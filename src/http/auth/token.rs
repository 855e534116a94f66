//! From a bearer token to a caller: signature, issuer, audience, times, then roles to scopes (RFC 9068, RFC 8725).

use super::keys::Keys;
use super::{Caller, Refused};
use crate::config::{Oidc, Scope};
use crate::failure::{Code, Failure};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a token at most.
const MAX_TOKEN: usize = 16 * 1024;
/// Characters of an actor's name in the audit trail at most.
const MAX_ACTOR: usize = 200;
/// Seconds between `iat` and `exp` at most: a longer life is a password.
const MAX_LIFE_SECS: u64 = 24 * 3600;
/// Algorithms that may be configured: asymmetric ones only.
pub(super) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Verifies the tokens of one issuer.
pub(super) struct Verifier {
    keys: Keys,
    validation: Validation,
    roles_claim: String,
    roles: BTreeMap<String, Vec<Scope>>,
}

impl Verifier {
    /// From `[oidc]`.
    ///
    /// # Errors
    /// `config-invalid` when an algorithm is not asymmetric, or the issuer's client cannot be set up.
    pub(super) fn new(oidc: &Oidc) -> Result<Self, Failure> {
        let named = |text: &String| text.parse().ok().filter(|algorithm| ALGORITHMS.contains(algorithm));
        let algorithms: Option<Vec<Algorithm>> = oidc.algorithms.iter().map(named).collect();
        let algorithms = algorithms.filter(|all| !all.is_empty());
        let invalid = || Failure::permanent(Code::ConfigInvalid, "oidc.algorithms: asymmetric algorithms only");
        let algorithms = algorithms.ok_or_else(invalid)?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.algorithms.clone_from(&algorithms);
        validation.set_issuer(&[&oidc.issuer]);
        validation.set_audience(&[&oidc.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = oidc.leeway_secs;
        Ok(Self {
            keys: Keys::new(oidc, algorithms)?,
            validation,
            roles_claim: oidc.roles_claim.clone(),
            roles: oidc.roles.clone(),
        })
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(super) async fn verify(&self, token: &str) -> Result<Caller, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::Malformed);
        }
        let header = decode_header(token).map_err(|_| Refused::Malformed)?;
        self.check_header(&header)?;
        let key = self.keys.get(header.kid.as_deref().ok_or(Refused::UnknownKey)?).await?;
        if key.only.is_some_and(|only| only != header.alg) {
            return Err(Refused::Algorithm);
        }
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        let claims: Value = decode(token, &key.decoding, &validation).map_err(|error| refused(error.kind()))?.claims;
        let life = claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp.saturating_sub(iat));
        if life.is_some_and(|life| life > MAX_LIFE_SECS) {
            return Err(Refused::Malformed);
        }
        Ok(Caller { actor: actor(&claims).ok_or(Refused::Malformed)?, scopes: self.scopes(&claims) })
    }

    /// Keys that the token itself offers (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
    fn check_header(&self, header: &Header) -> Result<(), Refused> {
        if !self.validation.algorithms.contains(&header.alg) {
            return Err(Refused::Algorithm);
        }
        let kind = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        let understood = header.crit.is_none() && header.enc.is_none() && header.zip.is_none();
        let is_token = matches!(kind.as_str(), "jwt" | "at+jwt" | "application/at+jwt");
        if understood && is_token { Ok(()) } else { Err(Refused::Malformed) }
    }

    fn scopes(&self, claims: &Value) -> BTreeSet<Scope> {
        let claim = claims.get(&self.roles_claim).or_else(|| {
            let path = format!("/{}", self.roles_claim.replace('~', "~0").replace('/', "~1").replace('.', "/"));
            claims.pointer(&path)
        });
        let held: Vec<&str> = match claim {
            Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        held.into_iter().filter_map(|role| self.roles.get(role)).flatten().copied().collect()
    }
}

fn refused(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::NotYetValid,
        ErrorKind::InvalidIssuer => Refused::Issuer,
        ErrorKind::InvalidAudience => Refused::Audience,
        ErrorKind::InvalidSignature => Refused::Signature,
        ErrorKind::InvalidAlgorithm => Refused::Algorithm,
        _ => Refused::Malformed,
    }
}

/// The subject, or for a token without one the client.
fn actor(claims: &Value) -> Option<String> {
    let named = ["sub", "client_id", "azp"].into_iter().find_map(|claim| claims[claim].as_str())?;
    let plain: String = named.chars().filter(|c| !c.is_control()).take(MAX_ACTOR).collect();
    (!plain.trim().is_empty()).then_some(plain)
}
