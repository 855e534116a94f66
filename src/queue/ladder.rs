//! The retry ladder: which delay an attempt waits, on rungs that exist as queues.

use std::time::Duration;

/// The delays, shortest first; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<Duration>);

impl Ladder {
    /// From `broker.retry_delays_secs`; sorted, without repeats. An empty list gives one rung of a minute.
    pub fn new(seconds: &[u64]) -> Self {
        let mut rungs: Vec<Duration> = seconds.iter().map(|s| Duration::from_secs((*s).max(1))).collect();
        rungs.sort_unstable();
        rungs.dedup();
        if rungs.is_empty() {
            rungs.push(Duration::from_secs(60));
        }
        Self(rungs)
    }

    /// Every rung, shortest first.
    pub fn rungs(&self) -> &[Duration] {
        &self.0
    }

    /// The shortest rung that is not shorter than `wanted`, else the longest.
    pub fn at_least(&self, wanted: Duration) -> Duration {
        let longest = self.0.last().copied().unwrap_or(wanted);
        self.0.iter().copied().find(|rung| *rung >= wanted).unwrap_or(longest)
    }

    /// Delay after the `attempt`th attempt (1-based) failed; a peer's Retry-After is respected up to the longest rung.
    pub fn after_attempt(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let index = (attempt.max(1) - 1) as usize;
        let rung = self.0.get(index).or(self.0.last()).copied().unwrap_or_default();
        self.at_least(rung.max(retry_after.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn attempts_climb_and_stay_on_top() {
        let ladder = Ladder::new(&[30, 5, 120]);
        let delays: Vec<Duration> = (1..=5).map(|attempt| ladder.after_attempt(attempt, None)).collect();
        assert_eq!(delays, [secs(5), secs(30), secs(120), secs(120), secs(120)]);
    }

    #[test]
    fn a_peer_that_asks_for_time_gets_it() {
        let ladder = Ladder::new(&[5, 30, 120]);
        assert_eq!(ladder.after_attempt(1, Some(secs(20))), secs(30));
        assert_eq!(ladder.after_attempt(2, Some(secs(1))), secs(30), "never sooner than the ladder says");
        assert_eq!(ladder.after_attempt(1, Some(secs(86_400))), secs(120), "clamped to the longest");
    }

    proptest! {
        #[test]
        fn a_delay_is_always_a_rung_and_never_falls(
            seconds in proptest::collection::vec(0_u64..5000, 0..8),
            attempt in any::<u32>(),
            asked in proptest::option::of(0_u64..100_000),
        ) {
            let ladder = Ladder::new(&seconds);
            let delay = ladder.after_attempt(attempt, asked.map(secs));
            prop_assert!(ladder.rungs().contains(&delay));
            prop_assert!(ladder.after_attempt(attempt.saturating_add(1), asked.map(secs)) >= delay);
        }
    }
}
