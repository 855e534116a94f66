//! Who may call what: every route stands in one table, and a request passes with the scope that the table names, or not at
//! all. With `server.auth = "off"` (loopback only) every caller is this machine.

mod keys;
mod refusals;
mod table;
mod token;

use super::{Problem, State};
use crate::config::{Config, Scope, ServerAuth};
use crate::domain::events::Event;
use crate::failure::{Code, Failure};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, ResponseError, web};
use refusals::Refusals;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use subtle::ConstantTimeEq;
use table::Need;
use token::Verifier;

/// Actor in the audit trail while authentication is off: only processes of this machine can call.
const LOCAL_CALLER: &str = "local-api";
/// Actor behind a webhook key.
const WEBHOOK_CALLER: &str = "pacs-webhook";

/// Who calls, as far as the audit trail and the scopes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// Subject of the token, or a name of ours.
    pub actor: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
}

/// Why a request was refused. The texts go to the caller and hold nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("no bearer token")]
    Missing,
    #[error("the token is not a signed JWT that we read")]
    Malformed,
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    #[error("the token's key is not one of the issuer's")]
    UnknownKey,
    #[error("the signature does not fit")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is another issuer's")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("X-Webhook-Token is missing or wrong")]
    WebhookKey,
    #[error("the scope `{}` is needed", .0.name())]
    Scope(Scope),
    #[error("the issuer's keys cannot be had")]
    KeysUnavailable,
    #[error("too many refused requests from this address")]
    TooMany,
}

impl Refused {
    fn code(self) -> Code {
        match self {
            Self::Scope(_) => Code::Forbidden,
            Self::KeysUnavailable => Code::IssuerUnavailable,
            Self::TooMany => Code::TooManyRequests,
            _ => Code::Unauthorized,
        }
    }

    /// Name in audit events.
    fn name(self) -> &'static str {
        match self {
            Self::Missing => "token-missing",
            Self::Malformed => "token-malformed",
            Self::Algorithm => "algorithm-not-allowed",
            Self::UnknownKey => "key-unknown",
            Self::Signature => "signature-wrong",
            Self::Expired => "token-expired",
            Self::NotYetValid => "token-not-yet-valid",
            Self::Issuer => "issuer-wrong",
            Self::Audience => "audience-wrong",
            Self::WebhookKey => "webhook-key-wrong",
            Self::Scope(_) => "scope-missing",
            Self::KeysUnavailable => "issuer-unavailable",
            Self::TooMany => "too-many",
        }
    }

    /// The problem document with the challenge of RFC 6750.
    fn response(self) -> HttpResponse {
        let mut response = Problem::new(self.code(), self.to_string()).error_response();
        let challenge = match self {
            Self::Scope(scope) => format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.name()),
            Self::Missing => "Bearer".to_owned(),
            _ => format!("Bearer error=\"invalid_token\", error_description=\"{self}\""),
        };
        let challenged = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if let (true, Ok(value)) = (challenged && self != Self::WebhookKey, HeaderValue::try_from(challenge)) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        if self == Self::TooMany {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }
}

/// The one door.
pub struct Gate {
    verifier: Option<Verifier>,
    webhook_keys: Vec<[u8; 32]>,
    refusals: Refusals,
}

/// What is asked of the gate, apart from the body.
struct Asked {
    method: Method,
    pattern: Option<String>,
    source: IpAddr,
    token: Option<String>,
    webhook_key: Option<Vec<u8>>,
}

impl Asked {
    fn of(request: &ServiceRequest) -> Self {
        let header = |name: &str| request.headers().get(name);
        let bearer = header(AUTHORIZATION.as_str()).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        Self {
            method: request.method().clone(),
            pattern: request.match_pattern(),
            source: request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip()),
            token: bearer,
            webhook_key: header("X-Webhook-Token").map(|value| value.as_bytes().to_vec()),
        }
    }
}

impl Gate {
    /// From `[server]`, `[oidc]` and `[intake]`.
    ///
    /// # Errors
    /// `config-invalid` when the client for the issuer cannot be set up.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let verifier = match config.server.auth {
            ServerAuth::Off => None,
            ServerAuth::Oidc => Some(Verifier::new(&config.oidc)?),
        };
        let token = config.intake.webhook_token.expose();
        let plain = (!token.is_empty()).then(|| Sha256::digest(token).into());
        let hashed = config.intake.webhook_key_sha256.iter().filter_map(|text| hex::decode(text).ok()?.try_into().ok());
        Ok(Self {
            verifier,
            webhook_keys: plain.into_iter().chain(hashed).collect(),
            refusals: Refusals::new(config.oidc.refusals_per_minute),
        })
    }

    async fn admit(&self, asked: &Asked) -> Result<Option<Caller>, Refused> {
        // A path that no route has is answered by the default service.
        let Some(pattern) = &asked.pattern else { return Ok(None) };
        let caller =
            |actor: &str, scopes: &[Scope]| Caller { actor: actor.into(), scopes: scopes.iter().copied().collect() };
        let need = table::need(&asked.method, pattern);
        // Probes go on whatever else comes from their address.
        if need != Some(Need::Nothing) && self.refusals.too_many(asked.source) {
            return Err(Refused::TooMany);
        }
        match (need, &self.verifier) {
            (Some(Need::Nothing), _) => Ok(None),
            (Some(Need::WebhookKey), _) => {
                self.check_webhook_key(asked.webhook_key.as_deref())?;
                Ok(Some(caller(WEBHOOK_CALLER, &[])))
            }
            (Some(Need::Scope(_)), None) => Ok(Some(caller(LOCAL_CALLER, &Scope::ALL))),
            (Some(Need::Scope(scope)), Some(verifier)) => {
                let token = asked.token.as_deref().ok_or(Refused::Missing)?;
                let caller = verifier.verify(token).await?;
                if caller.scopes.contains(&scope) { Ok(Some(caller)) } else { Err(Refused::Scope(scope)) }
            }
            // A route that the table forgot is shut, whatever the configuration: its first test shows it.
            (None, _) => Err(Refused::Scope(Scope::Admin)),
        }
    }

    /// Compares with every key that is valid now, in constant time, so that keys can overlap while they are changed.
    fn check_webhook_key(&self, given: Option<&[u8]>) -> Result<(), Refused> {
        let given: [u8; 32] = Sha256::digest(given.ok_or(Refused::WebhookKey)?).into();
        let fits = self.webhook_keys.iter().fold(false, |fits, key| fits | bool::from(key.ct_eq(&given)));
        if fits { Ok(()) } else { Err(Refused::WebhookKey) }
    }

    /// Audit events of refusals in minutes that are over; of all, when `all`.
    pub(super) fn refusals(&self, all: bool) -> Vec<Event> {
        self.refusals.take(all)
    }

    /// Takes events back that could not be stored.
    pub(super) fn keep_refusals(&self, events: Vec<Event>) {
        self.refusals.keep(events);
    }
}

/// Lets a request through to its route with its [`Caller`], or answers it.
pub(super) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let asked = Asked::of(&request);
    let gate = request.app_data::<web::Data<State>>().map(|state| std::sync::Arc::clone(&state.gate));
    let Some(gate) = gate else {
        return Ok(request.into_response(Problem::new(Code::Internal, "no gate").error_response()));
    };
    match gate.admit(&asked).await {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(refused) => {
            gate.refusals.note(asked.source, refused, asked.pattern.as_deref().unwrap_or_default());
            Ok(request.into_response(refused.response()))
        }
    }
}
