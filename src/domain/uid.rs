//! DICOM unique identifiers: parsed once at the edge, derived deterministically for everything we write.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

/// Namespace of every UID that scargate derives: UUIDv5 of the project's name under the URL namespace.
const NAMESPACE_NAME: &str = "urn:scargate:uid";

/// A valid DICOM UID: digits and dots, at most 64 characters, no empty or zero-led component (PS3.5 section 9.1).
///
/// `Debug` and `Display` print the value; never put one into a log line, span, metric label or error text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

/// Why a text is not a UID.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a DICOM UID: {0}")]
pub struct InvalidUid(&'static str);

impl Uid {
    /// Parses a UID; trailing NUL or space padding (PS3.5 6.2) is removed first.
    pub fn parse(text: &str) -> Result<Self, InvalidUid> {
        let text = text.trim_end_matches(['\0', ' ']);
        if text.is_empty() || text.len() > 64 {
            return Err(InvalidUid("length must be 1 to 64"));
        }
        for component in text.split('.') {
            if component.is_empty() || !component.bytes().all(|b| b.is_ascii_digit()) {
                return Err(InvalidUid("components must be digits separated by single dots"));
            }
            // Leading zeros are forbidden by the standard but written by some scanners: accepted, since the
            // text is only compared, never reassembled.
        }
        Ok(Self(text.to_owned()))
    }

    /// The text of the UID.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `2.25.<UUID as decimal>` (PS3.5 B.2) of the UUIDv5 of `parts` joined by `|`: same parts, same UID, always.
    pub fn derive(parts: &[&str]) -> Self {
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, NAMESPACE_NAME.as_bytes());
        let uuid = Uuid::new_v5(&namespace, parts.join("|").as_bytes());
        Self(format!("2.25.{}", uuid.as_u128()))
    }

    /// A UID of the standard, known at compile time to be valid.
    pub fn well_known(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// UID of an object that a revision of a study puts out, e.g. role `seg`, `seg-series`, `frame-dim`.
    ///
    /// `act` names the review act that made it ("" before any), so that a signed object never reuses a UID.
    pub fn derive_output(study: &Uid, revision: u32, role: &str, act: &str) -> Self {
        Self::derive(&["output", study.as_str(), &revision.to_string(), role, act])
    }

    /// A digest that may appear where the UID may not (metrics exemplars, file names): 16 hex digits of SHA-256.
    pub fn fingerprint(&self) -> String {
        let mut text = hex::encode(Sha256::digest(self.0.as_bytes()));
        text.truncate(16);
        text
    }
}

impl TryFrom<String> for Uid {
    type Error = InvalidUid;
    fn try_from(text: String) -> Result<Self, InvalidUid> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for Uid {
    type Err = InvalidUid;
    fn from_str(text: &str) -> Result<Self, InvalidUid> {
        Self::parse(text)
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> String {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_form_matches_the_standard_example() {
        // PS3.5 annex B.2: the UUID f81d4fae-7dec-11d0-a765-00a0c91e6bf6.
        let uuid = Uuid::parse_str("f81d4fae-7dec-11d0-a765-00a0c91e6bf6").map(|u| u.as_u128());
        assert_eq!(uuid, Ok(329800735698586629295641978511506172918));
    }

    #[test]
    fn parses_padded_and_refuses_malformed() {
        assert_eq!(Uid::parse("1.2.840\0").map(|u| u.to_string()), Ok("1.2.840".to_owned()));
        for bad in ["", "1..2", "1.2.", "1.a", "../etc", &"1".repeat(65)] {
            assert!(Uid::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_uids_are_stable_and_depend_on_every_part() {
        let study = Uid::derive(&["study"]);
        let seg = Uid::derive_output(&study, 1, "seg", "");
        assert_eq!(seg, Uid::derive_output(&study, 1, "seg", ""));
        assert_ne!(seg, Uid::derive_output(&study, 2, "seg", ""));
        assert_ne!(seg, Uid::derive_output(&study, 1, "sr", ""));
        assert_ne!(seg, Uid::derive_output(&study, 1, "seg", "signed"));
        assert!(seg.as_str().len() <= 64);
    }
}
