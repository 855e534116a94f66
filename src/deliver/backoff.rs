//! When to try again: growing pauses with jitter, a peer's Retry-After within bounds, a breaker per destination.

use crate::config;
use rand::Rng;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Pauses between attempts.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    retry_after_max: Duration,
}

impl Backoff {
    /// From `[deliver]`.
    pub fn new(deliver: &config::Deliver) -> Self {
        Self {
            first: Duration::from_secs(deliver.backoff_secs.max(1)),
            max: Duration::from_secs(deliver.backoff_max_secs.max(deliver.backoff_secs.max(1))),
            retry_after_max: Duration::from_secs(deliver.retry_after_max_secs),
        }
    }

    /// Pause after the `attempt`th failure (from 1): half of the doubled pause is certain, the other half is random, so
    /// that deliveries which failed together do not come back together. A peer's Retry-After is never undercut, up to
    /// the configured bound.
    pub fn after(&self, attempt: u32, retry_after: Option<Duration>, rng: &mut impl Rng) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(30))).min(self.max);
        let pause = doubled.mul_f64(0.5 + rng.random::<f64>() / 2.0);
        match retry_after {
            Some(wish) => pause.max(wish.min(self.retry_after_max)),
            None => pause,
        }
    }
}

/// Reads a Retry-After header: seconds, or an HTTP date (RFC 9110 10.2.3). A date in the past means now.
pub fn retry_after(text: &str, now: OffsetDateTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX / 2)));
    }
    // IMF-fixdate, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`: RFC 2822 but for the name of the zone.
    let date = text.strip_suffix("GMT").map(|start| format!("{start}+0000"))?;
    let moment = OffsetDateTime::parse(&date, &time::format_description::well_known::Rfc2822).ok()?;
    Some((moment - now).try_into().unwrap_or(Duration::ZERO))
}

/// Opens after consecutive failures of the peer, so that a dead peer costs one attempt per pause and not one per
/// delivery; after the pause one delivery is the probe.
#[derive(Debug)]
pub struct Breaker {
    limit: u32,
    pause: Duration,
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// From `[deliver]`.
    pub fn new(deliver: &config::Deliver) -> Self {
        Self {
            limit: deliver.breaker_failures.max(1),
            pause: Duration::from_secs(deliver.breaker_open_secs),
            failures: 0,
            open_until: None,
        }
    }

    /// How long nothing is to be sent; `None` when something may be.
    pub fn closed_for(&self, now: Instant) -> Option<Duration> {
        self.open_until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// The peer answered, whatever it answered: it is alive.
    pub fn alive(&mut self) {
        self.failures = 0;
        self.open_until = None;
    }

    /// The peer refuses us whatever we send: open at once.
    pub fn trip(&mut self, now: Instant) {
        self.open_until = now.checked_add(self.pause);
    }

    /// The peer could not be reached or was not able to work. True when this opened the breaker.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = self.failures >= self.limit;
        if opens {
            self.open_until = now.checked_add(self.pause);
        }
        opens
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use time::macros::datetime;

    fn deliver() -> config::Deliver {
        let mut deliver = crate::config::tests::defaults().deliver;
        (deliver.backoff_secs, deliver.backoff_max_secs, deliver.retry_after_max_secs) = (2, 900, 3600);
        (deliver.breaker_failures, deliver.breaker_open_secs) = (3, 15);
        deliver
    }

    proptest! {
        #[test]
        fn a_pause_keeps_its_bounds(attempt in 0_u32..200, wish in proptest::option::of(0_u64..100_000), seed in any::<u64>()) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let pause = Backoff::new(&deliver()).after(attempt, wish.map(Duration::from_secs), &mut rng);
            let doubled = 2_u64.saturating_pow(attempt.clamp(1, 20)).min(900);
            prop_assert!(pause >= Duration::from_secs(doubled) / 2);
            let bound = wish.unwrap_or(0).min(3600).max(doubled);
            prop_assert!(pause <= Duration::from_secs(bound), "{:?} {}", pause, bound);
            if let Some(wish) = wish {
                prop_assert!(pause >= Duration::from_secs(wish.min(3600)));
            }
        }

        #[test]
        fn any_header_is_read_or_refused_without_a_panic(text in ".{0,40}") {
            let _ = retry_after(&text, datetime!(2026-01-01 00:00 UTC));
        }
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = datetime!(1994-11-06 08:49:07 UTC);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        for bad in ["", "soon", "-5", "1.5", "GMT"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
        assert!(retry_after("99999999999999999999999", now).unwrap() > Duration::from_secs(1 << 40));
    }

    #[test]
    fn the_breaker_opens_on_consecutive_failures_and_closes_on_a_sign_of_life() {
        let (mut breaker, now) = (Breaker::new(&deliver()), Instant::now());
        assert!(!breaker.failed(now) && !breaker.failed(now));
        breaker.alive();
        assert!(!breaker.failed(now) && !breaker.failed(now) && breaker.closed_for(now).is_none());
        assert!(breaker.failed(now));
        assert_eq!(breaker.closed_for(now), Some(Duration::from_secs(15)));
        let later = now + Duration::from_secs(15);
        assert_eq!(breaker.closed_for(later), None, "a probe may go");
        assert!(breaker.failed(later), "a failed probe opens it again at once");
        assert!(breaker.closed_for(later).is_some());
    }
}
