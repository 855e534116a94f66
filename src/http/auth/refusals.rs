//! Refused requests: counted per source and minute, so that an attack neither fills the audit trail nor goes on for free.

use super::Refused;
use crate::domain::events::{Event, EventKind, EventOutcome};
use serde_json::json;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Sources that are counted by themselves; further ones are counted together.
const MAX_SOURCES: usize = 4096;
/// Events kept while the database is away; the newest are dropped beyond it.
const MAX_UNSTORED: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// Refusals of one source within a minute of its first.
struct Count {
    since: Instant,
    total: u32,
    by_reason: HashMap<(&'static str, String), u32>,
}

/// All sources.
pub(super) struct Refusals {
    per_minute: u32,
    sources: Mutex<HashMap<IpAddr, Count>>,
    /// Events that the database did not take yet.
    unstored: Mutex<Vec<Event>>,
}

impl Refusals {
    /// `per_minute` refusals shut a source out for the rest of its minute; 0 = never.
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute, sources: Mutex::default(), unstored: Mutex::default() }
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<IpAddr, Count>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal.
    pub(super) fn note(&self, source: IpAddr, refused: Refused, route: &str) {
        let mut sources = self.sources();
        let crowded = sources.len() >= MAX_SOURCES && !sources.contains_key(&source);
        let source = if crowded { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { source };
        let new = || Count { since: Instant::now(), total: 0, by_reason: HashMap::new() };
        let count = sources.entry(source).or_insert_with(new);
        count.total = count.total.saturating_add(1);
        let by_reason = count.by_reason.entry((refused.name(), route.to_owned())).or_default();
        *by_reason = by_reason.saturating_add(1);
    }

    /// True while a source has used up its minute.
    pub(super) fn too_many(&self, source: IpAddr) -> bool {
        let sources = self.sources();
        let current = sources.get(&source).filter(|count| count.since.elapsed() < MINUTE);
        self.per_minute > 0 && current.is_some_and(|count| count.total >= self.per_minute)
    }

    /// One event per source, reason and route of the minutes that are over, or of all.
    pub(super) fn take(&self, all: bool) -> Vec<Event> {
        let mut sources = self.sources();
        let is_over = |count: &Count| all || count.since.elapsed() >= MINUTE;
        let over: Vec<(IpAddr, Count)> = sources.extract_if(|_, count| is_over(count)).collect();
        let rows =
            over.into_iter().flat_map(|(source, count)| count.by_reason.into_iter().map(move |row| (source, row)));
        let new = rows.map(|(source, ((reason, route), count))| Event {
            kind: EventKind::AccessRefused,
            outcome: EventOutcome::MinorFailure,
            actor: "unknown".into(),
            study: None,
            run: None,
            peer: None,
            detail: json!({ "source": source.to_string(), "reason": reason, "route": route, "count": count }),
        });
        let mut unstored = self.unstored.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *unstored).into_iter().chain(new).collect()
    }

    /// Keeps events for the next [`Self::take`].
    pub(super) fn keep(&self, events: Vec<Event>) {
        let mut unstored = self.unstored.lock().unwrap_or_else(PoisonError::into_inner);
        unstored.extend(events);
        unstored.truncate(MAX_UNSTORED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn refusals_are_summed_by_source_and_reason() {
        let refusals = Refusals::new(0);
        (0..5).for_each(|_| refusals.note(ONE, Refused::Expired, "/a"));
        refusals.note(ONE, Refused::Missing, "/a");
        refusals.note(OTHER, Refused::Expired, "/a");
        assert!(refusals.take(false).is_empty(), "the minute is not over");
        let mut counts: Vec<u64> =
            refusals.take(true).iter().filter_map(|event| event.detail["count"].as_u64()).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 1, 5]);
        assert!(refusals.take(true).is_empty(), "each is told once");
        refusals.note(ONE, Refused::Expired, "/a");
        refusals.keep(refusals.take(true));
        assert_eq!(refusals.take(false).len(), 1, "what was not stored is told again");
    }

    #[test]
    fn a_source_is_shut_out_after_its_share_and_no_other_is() {
        let refusals = Refusals::new(3);
        (0..3).for_each(|_| refusals.note(ONE, Refused::Signature, "/a"));
        assert!(refusals.too_many(ONE) && !refusals.too_many(OTHER));
        let never = Refusals::new(0);
        (0..1000).for_each(|_| never.note(ONE, Refused::Signature, "/a"));
        assert!(!never.too_many(ONE));
    }

    #[test]
    fn an_attack_from_many_addresses_takes_bounded_memory() {
        let refusals = Refusals::new(3);
        (0..2 * MAX_SOURCES as u32).for_each(|n| refusals.note(IpAddr::V4(Ipv4Addr::from(n)), Refused::Missing, "/a"));
        assert!(refusals.sources().len() <= MAX_SOURCES + 1);
    }
}
