//! Rules over the whole configuration: unsafe shapes are refused before anything starts.

use super::Config;
use super::sections::{EhrAuth, PacsAuth, ServerAuth, ServerTls};
use crate::domain::delivery::DestinationMode;
use std::net::IpAddr;
use url::Url;

/// One fault, by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Key, `section.name`.
    pub key: String,
    /// What is wrong and what to do; never holds a secret.
    pub text: String,
}

impl Fault {
    /// A fault of a key.
    pub fn new(key: &str, text: impl Into<String>) -> Self {
        Self { key: key.to_owned(), text: text.into() }
    }
}

impl Config {
    /// Every fault of the configuration.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.check_server(&mut faults);
        self.check_peers(&mut faults);
        self.check_broker(&mut faults);
        self.check_numbers(&mut faults);
        self.check_study(&mut faults);
        faults
    }

    fn check_server(&self, faults: &mut Vec<Fault>) {
        if !self.server.bind.is_loopback() {
            if self.server.auth == ServerAuth::Off {
                faults.push(Fault::new("server.bind", "is beyond loopback: set server.auth = \"oidc\""));
            }
            if self.server.tls == ServerTls::None {
                faults.push(Fault::new(
                    "server.tls",
                    "tokens must not travel in the clear: put a TLS proxy in front and set server.tls = \"proxy\"",
                ));
            }
        }
        if self.server.auth == ServerAuth::Oidc {
            self.check_oidc(faults);
        }
        let is_digest = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !self.intake.webhook_key_sha256.iter().all(is_digest) {
            faults.push(Fault::new("intake.webhook_key_sha256", "each is a SHA-256 digest: 64 hexadecimal digits"));
        }
    }

    fn check_oidc(&self, faults: &mut Vec<Fault>) {
        let oidc = &self.oidc;
        let safe = |text: &str| Url::parse(text).is_ok_and(|url| url.scheme() == "https" || is_loopback(&url));
        if !safe(&oidc.issuer) {
            faults.push(Fault::new("oidc.issuer", "must be the https URL of the issuer, as its tokens write it"));
        }
        if !oidc.jwks_url.is_empty() && !safe(&oidc.jwks_url) {
            faults.push(Fault::new("oidc.jwks_url", "must be an https URL, or empty for discovery"));
        }
        if oidc.audience.trim().is_empty() {
            faults.push(Fault::new("oidc.audience", "must name the audience that tokens for scargate carry"));
        }
        if oidc.leeway_secs > 120 {
            faults.push(Fault::new("oidc.leeway_secs", "must be 120 at most"));
        }
        if oidc.keys_floor_secs == 0 {
            faults
                .push(Fault::new("oidc.keys_floor_secs", "must be above 0: made-up keys would pass on to the issuer"));
        }
    }

    fn check_peers(&self, faults: &mut Vec<Fault>) {
        let acknowledged = !self.acknowledge_research_use.trim().is_empty();
        let served =
            [("pacs.url", &self.pacs.url, true), ("ehr.url", &self.ehr.url, self.ehr.mode != DestinationMode::Off)];
        for (key, url, used) in served {
            if !matches!(url.scheme(), "http" | "https") {
                faults.push(Fault::new(key, "must be an http or https URL"));
            } else if used && !is_loopback(url) {
                if !acknowledged {
                    faults.push(Fault::new(
                        key,
                        "is beyond loopback: set acknowledge_research_use = \"<name>, <date>\" to use research models with it",
                    ));
                }
                if url.scheme() == "http" {
                    faults.push(Fault::new(key, "is beyond loopback and not https"));
                }
            }
        }
        match self.pacs.auth {
            PacsAuth::Basic if self.pacs.username.is_empty() || self.pacs.password.is_empty() => {
                faults.push(Fault::new("pacs.password", "auth = \"basic\" needs username and password"));
            }
            PacsAuth::Bearer if self.pacs.token.is_empty() => {
                faults.push(Fault::new("pacs.token", "auth = \"bearer\" needs a token"));
            }
            _ => {}
        }
        self.check_ehr_auth(faults);
    }

    fn check_ehr_auth(&self, faults: &mut Vec<Fault>) {
        match self.ehr.auth {
            EhrAuth::Basic if self.ehr.username.is_empty() || self.ehr.password.is_empty() => {
                faults.push(Fault::new("ehr.password", "auth = \"basic\" needs username and password"));
            }
            EhrAuth::Smart if self.ehr.client_id.is_empty() || self.ehr.private_key.is_empty() => {
                faults.push(Fault::new("ehr.private_key", "auth = \"smart\" needs client_id and private_key"));
            }
            _ => {}
        }
        if !matches!(self.ehr.algorithm.as_str(), "RS384" | "ES384" | "RS256" | "ES256") {
            faults.push(Fault::new("ehr.algorithm", "must be RS384, ES384, RS256 or ES256"));
        }
    }

    fn check_broker(&self, faults: &mut Vec<Fault>) {
        let broker = &self.broker;
        if broker.heartbeat_secs == 0 || broker.heartbeat_secs * 3 > broker.lease_secs {
            faults.push(Fault::new("broker.heartbeat_secs", "must be 1 to a third of lease_secs"));
        }
        if broker.retry_delays_secs.is_empty() || broker.retry_delays_secs.windows(2).any(|pair| pair[0] >= pair[1]) {
            faults.push(Fault::new("broker.retry_delays_secs", "must be a rising list of seconds"));
        }
        if broker.prefetch == 0 || broker.max_attempts == 0 {
            faults.push(Fault::new("broker.prefetch", "prefetch and max_attempts must be at least 1"));
        }
        if broker.prefix.is_empty() || !broker.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        {
            faults.push(Fault::new("broker.prefix", "must be letters, digits, dot, dash or underscore"));
        }
    }

    fn check_study(&self, faults: &mut Vec<Fault>) {
        for (key, pattern) in [("study.include", &self.study.include), ("study.exclude", &self.study.exclude)] {
            if let Err(error) = regex_lite::Regex::new(&format!("(?i){pattern}")) {
                faults.push(Fault::new(key, format!("is not a regular expression: {error}")));
            }
        }
    }

    fn check_numbers(&self, faults: &mut Vec<Fault>) {
        let limits = &self.limits;
        let positive = [
            ("limits.study_bytes", limits.study_bytes),
            ("limits.instance_bytes", limits.instance_bytes),
            ("limits.json_bytes", limits.json_bytes),
            ("limits.artefact_bytes", limits.artefact_bytes),
            ("limits.frame_pixels", limits.frame_pixels as u64),
            ("infer.batch", self.infer.batch as u64),
            ("database.max_connections", u64::from(self.database.max_connections)),
            ("pacs.idle_timeout_secs", self.pacs.idle_timeout_secs),
            ("intake.poll_interval_secs", self.intake.poll_interval_secs),
        ];
        for (key, value) in positive {
            if value == 0 {
                faults.push(Fault::new(key, "must be at least 1"));
            }
        }
        if !(0.0..=100.0).contains(&self.quantify.max_burden_percent) {
            faults.push(Fault::new("quantify.max_burden_percent", "must be 0 to 100"));
        }
        if !(0.0..=20.0).contains(&self.quantify.min_burden_percent) {
            faults.push(Fault::new("quantify.min_burden_percent", "must be 0 to 20"));
        }
        if !(36..=400).contains(&self.quantify.chords) {
            faults.push(Fault::new("quantify.chords", "must be 36 to 400"));
        }
        if !self.quantify.anterior_insertion_mm.is_empty() && self.quantify.anterior_insertion().is_none() {
            faults.push(Fault::new("quantify.anterior_insertion_mm", "must be [] or three numbers"));
        }
        if self.infer.providers.is_empty() {
            faults.push(Fault::new("infer.providers", "must name at least one provider"));
        } else if !self.infer.providers.contains(&self.infer.require) {
            faults.push(Fault::new("infer.require", "must be one of infer.providers"));
        }
        if self.encode.assumed_offset().is_none() {
            faults.push(Fault::new("encode.utc_offset", "must be an offset like \"+01:00\""));
        }
        if self.encode.device_serial.is_empty() || self.encode.device_serial.len() > 64 {
            faults.push(Fault::new("encode.device_serial", "must be 1 to 64 characters"));
        }
    }
}

/// True when a URL names this machine only.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}
