//! Secrets: read from files or the environment, never shown.

use super::Fault;
use figment::Figment;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Keys that hold secrets; a plain value in a configuration file is refused for each of them.
const SECRET_KEYS: [&str; 7] = [
    "pacs.password",
    "pacs.token",
    "intake.webhook_token",
    "ehr.password",
    "ehr.private_key",
    "audit.pseudonym_key",
    "audit.checkpoint_key",
];

/// A secret text; `Debug` shows nothing of it. In configuration, `file:PATH` reads the file at load.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// True when nothing was configured.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(SecretString::from(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(empty)" } else { "Secret(set)" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix("file:") {
            Some(path) => std::fs::read_to_string(path)
                .map(|content| Self::from(content.trim_end_matches(['\n', '\r'])))
                .map_err(|error| serde::de::Error::custom(format!("secret file {path}: {error}"))),
            None => Ok(Self::from(text.as_str())),
        }
    }
}

/// Secrets that stand in a configuration file in plain text.
pub(super) fn faults_of_provenance(figment: &Figment) -> Vec<Fault> {
    SECRET_KEYS
        .iter()
        .filter(|key| {
            let plain = figment
                .find_value(key)
                .ok()
                .and_then(|value| value.into_string())
                .is_some_and(|text| !text.is_empty() && !text.starts_with("file:"));
            let from_environment =
                figment.find_metadata(key).is_some_and(|metadata| metadata.name.contains("environment"));
            plain && !from_environment
        })
        .map(|key| Fault::new(key, "a secret stands in a file; use `file:PATH` or the environment"))
        .collect()
}
