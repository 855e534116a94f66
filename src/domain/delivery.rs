//! One artefact on its way to one destination: states and transitions.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where results go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// The imaging archive, by STOW-RS.
    Pacs,
    /// The health record, by FHIR R4.
    Ehr,
}

impl Destination {
    /// Every destination.
    pub const ALL: [Self; 2] = [Self::Pacs, Self::Ehr];

    /// Stored name, metric label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pacs => "pacs",
            Self::Ehr => "ehr",
        }
    }
}

impl FromStr for Destination {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|d| d.name() == text).ok_or_else(|| format!("unknown destination `{text}`"))
    }
}

/// Switch of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DestinationMode {
    /// Nothing is queued for it.
    #[default]
    Off,
    /// Queued, but a person releases.
    Hold,
    /// Delivered.
    On,
}

/// State of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Waiting for its time.
    Pending,
    /// A worker holds it.
    Sending,
    /// The peer confirmed it.
    Delivered,
    /// A person must act.
    Held,
    /// Attempts used up or refused for good.
    Failed,
    /// Replaced by a newer revision or cancelled by a person.
    Cancelled,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Sending, Self::Delivered, Self::Held, Self::Failed, Self::Cancelled];

    /// Stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a delivery may go from `self` to `next`. A `Sending` row whose worker died goes back to `Pending`.
    pub fn may_become(self, next: Self) -> bool {
        use DeliveryState::*;
        match self {
            Pending => matches!(next, Sending | Held | Cancelled),
            Sending => matches!(next, Pending | Delivered | Held | Failed),
            Held => matches!(next, Pending | Cancelled),
            Failed => matches!(next, Pending | Cancelled),
            Delivered | Cancelled => false,
        }
    }
}

impl FromStr for DeliveryState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| format!("unknown delivery state `{text}`"))
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivered_and_cancelled_are_final() {
        for next in DeliveryState::ALL {
            assert!(!DeliveryState::Delivered.may_become(next));
            assert!(!DeliveryState::Cancelled.may_become(next));
        }
    }

    #[test]
    fn nothing_is_delivered_without_being_sent() {
        for state in DeliveryState::ALL {
            assert_eq!(state.may_become(DeliveryState::Delivered), state == DeliveryState::Sending);
        }
    }
}
