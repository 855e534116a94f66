//! The canonical audit event: what happened, who did it, to which study, with what outcome.

use super::run::RunId;
use super::uid::Uid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// Kind of an audit event; the `audit` module maps it to DICOM PS3.15 A.5 and FHIR codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum EventKind { $($(#[$doc])* $variant),+ }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Stored name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

event_kinds! {
    /// A process of ours started.
    ApplicationStart = "application-start",
    /// A process of ours stopped.
    ApplicationStop = "application-stop",
    /// A site acknowledged the research use of the models.
    ResearchUseAcknowledged = "research-use-acknowledged",
    /// A submission was recorded as a run.
    RunReceived = "run-received",
    /// A run changed its state.
    RunState = "run-state",
    /// A person asked for a retry, redrive or cancellation.
    RunAction = "run-action",
    /// Images were asked for from the PACS.
    RetrieveIntent = "retrieve-intent",
    /// Images arrived, or did not.
    RetrieveOutcome = "retrieve-outcome",
    /// Models ran on a study.
    Analysis = "analysis",
    /// A result is about to leave for another system.
    DeliveryIntent = "delivery-intent",
    /// What the other system answered.
    DeliveryOutcome = "delivery-outcome",
    /// A delivery was held, released or discarded.
    DeliveryHold = "delivery-hold",
    /// Somebody read results or the audit trail.
    Query = "query",
    /// Somebody exported the audit trail.
    AuditExport = "audit-export",
    /// A request was refused.
    AccessRefused = "access-refused",
    /// A checkpoint of the ledger was made.
    Checkpoint = "checkpoint",
}

impl FromStr for EventKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|k| k.name() == text).ok_or_else(|| format!("unknown event kind `{text}`"))
    }
}

/// Outcome of the act, as FHIR AuditEvent.outcome counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventOutcome {
    /// Success (0).
    Success,
    /// Minor failure (4): will be retried, or refused by rule.
    MinorFailure,
    /// Serious failure (8): ended without its result.
    SeriousFailure,
}

/// An audit event before it is stored. It holds no patient attribute: the store replaces the study UID by a keyed
/// pseudonym whose identity lives in an erasable side table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Kind.
    pub kind: EventKind,
    /// Outcome.
    pub outcome: EventOutcome,
    /// Who acted: a user, a client, or `scargate`.
    pub actor: String,
    /// Study concerned.
    pub study: Option<Uid>,
    /// Run concerned.
    pub run: Option<RunId>,
    /// The other system, by its configured role (`pacs`, `ehr`), never its address.
    pub peer: Option<String>,
    /// Further facts: codes, counts, digests, versions. No names, ids, accession numbers or UIDs of patients' objects.
    pub detail: Value,
}

impl Event {
    /// An event of scargate itself that succeeded.
    pub fn ours(kind: EventKind) -> Self {
        Self {
            kind,
            outcome: EventOutcome::Success,
            actor: "scargate".into(),
            study: None,
            run: None,
            peer: None,
            detail: Value::Null,
        }
    }
}
