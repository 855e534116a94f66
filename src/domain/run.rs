//! The life of a run: states, the transitions that are allowed, and the ways it can end.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Identity of a run; the only identifier of ours that may stand in logs, spans and URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A new, time-ordered id.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// State of a run. The runs table is the truth; the broker carries work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Recorded, waiting for a worker.
    Received,
    /// A worker fetches the images.
    Retrieving,
    /// Selection, inference, quantification and encoding.
    Analyzing,
    /// Results are in the outbox.
    Delivering,
    /// Every required delivery is delivered.
    Completed,
    /// A coded reason that a person can act on; nothing was sent.
    Rejected,
    /// Attempts used up.
    Failed,
    /// A person stopped it.
    Cancelled,
    /// A newer revision took its place before it ended.
    Superseded,
    /// It selected the same instances as the run before it: nothing was sent.
    Unchanged,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Received,
        Self::Retrieving,
        Self::Analyzing,
        Self::Delivering,
        Self::Completed,
        Self::Rejected,
        Self::Failed,
        Self::Cancelled,
        Self::Superseded,
        Self::Unchanged,
    ];

    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Retrieving => "retrieving",
            Self::Analyzing => "analyzing",
            Self::Delivering => "delivering",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Unchanged => "unchanged",
        }
    }

    /// True for the six ends.
    pub fn is_end(self) -> bool {
        !matches!(self, Self::Received | Self::Retrieving | Self::Analyzing | Self::Delivering)
    }

    /// Whether a run may go from `self` to `next`. A worker that lost its lease leaves the run where it was; the next
    /// claim starts again at `Retrieving`, since source pixels are not kept. A person may retry a rejected or failed run
    /// from its start, or let a failed one whose result is stored deliver again.
    pub fn may_become(self, next: Self) -> bool {
        use RunState::*;
        match self {
            Received => matches!(next, Retrieving | Cancelled | Superseded | Failed),
            Retrieving | Analyzing => {
                matches!(
                    next,
                    Received
                        | Retrieving
                        | Analyzing
                        | Delivering
                        | Rejected
                        | Failed
                        | Cancelled
                        | Superseded
                        | Unchanged
                ) && !(self == Retrieving && next == Delivering)
            }
            Delivering => matches!(next, Completed | Failed | Cancelled | Superseded),
            Failed => matches!(next, Received | Delivering),
            Rejected => matches!(next, Received),
            Completed | Cancelled | Superseded | Unchanged => false,
        }
    }
}

impl FromStr for RunState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| format!("unknown run state `{text}`"))
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Fencing token of a claim: grows with every claim of a run; a writer with an older token may not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(pub i64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_state() -> impl Strategy<Value = RunState> {
        (0..RunState::ALL.len()).prop_map(|i| RunState::ALL[i])
    }

    proptest! {
        #[test]
        fn names_round_trip(state in any_state()) {
            prop_assert_eq!(state.name().parse::<RunState>(), Ok(state));
        }

        #[test]
        fn finished_work_is_never_reopened_by_a_worker(state in any_state(), next in any_state()) {
            if matches!(state, RunState::Completed | RunState::Cancelled | RunState::Superseded | RunState::Unchanged) {
                prop_assert!(!state.may_become(next));
            }
        }

        #[test]
        fn only_a_delivering_run_completes(state in any_state()) {
            prop_assert_eq!(state.may_become(RunState::Completed), state == RunState::Delivering);
        }
    }

    #[test]
    fn every_open_state_reaches_an_end() {
        for state in RunState::ALL.into_iter().filter(|s| !s.is_end()) {
            assert!(RunState::ALL.into_iter().any(|next| next.is_end() && state.may_become(next)));
        }
    }
}
