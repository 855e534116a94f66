//! A request to process a study, whichever way it came in, and the identity of its inputs.

use super::uid::Uid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What caused a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The QIDO-RS poller found a complete study.
    Poll,
    /// The PACS said that a study is stable; only hastens the poller's rule.
    Webhook,
    /// `POST /api/v1/studies/{uid}/runs`.
    Rest,
    /// `scargate submit`.
    Cli,
    /// `scargate reprocess`: a person wants a new revision although the images did not change.
    Reprocess,
}

impl Trigger {
    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Webhook => "webhook",
            Self::Rest => "rest",
            Self::Cli => "cli",
            Self::Reprocess => "reprocess",
        }
    }

    /// Automatic triggers start a revision only when the input digest changed.
    pub fn is_automatic(self) -> bool {
        matches!(self, Self::Poll | Self::Webhook)
    }
}

impl std::str::FromStr for Trigger {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Poll, Self::Webhook, Self::Rest, Self::Cli, Self::Reprocess]
            .into_iter()
            .find(|t| t.name() == text)
            .ok_or_else(|| format!("unknown trigger `{text}`"))
    }
}

/// One request to process a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// StudyInstanceUID.
    pub study: Uid,
    /// What caused it.
    pub trigger: Trigger,
    /// Who asked, for the audit trail: a user, client or `scargate`.
    pub actor: String,
}

/// Digest of the MR SOP Instance UIDs that the PACS lists for a study, less our own outputs; order does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputDigest(String);

impl InputDigest {
    /// Digest of a set of SOP Instance UIDs.
    pub fn of<'a>(instances: impl IntoIterator<Item = &'a Uid>) -> Self {
        let mut uids: Vec<&str> = instances.into_iter().map(Uid::as_str).collect();
        uids.sort_unstable();
        uids.dedup();
        let mut hasher = Sha256::new();
        for uid in uids {
            hasher.update(uid.as_bytes());
            hasher.update([0]);
        }
        Self(hex::encode(hasher.finalize()))
    }

    /// A digest that was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// Hex text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_digest_ignores_order_and_repeats() {
        let [a, b] = [Uid::derive(&["a"]), Uid::derive(&["b"])];
        assert_eq!(InputDigest::of([&a, &b]), InputDigest::of([&b, &a, &b]));
        assert_ne!(InputDigest::of([&a]), InputDigest::of([&a, &b]));
    }
}
