//! How sealed events hang together.
//!
//! `event_hash = SHA-256(canonical form)`.
//! `link(n) = SHA-256("scargate-chain-1" | link(n-1) | n as u64 BE | event id (16) | recorded, µs since 1970, i64 BE |
//! sealed, same | event_hash)`. `link(0) = SHA-256("scargate-genesis-1" | ledger id (16))`.
//! So every column of a chain row is covered, and two ledgers never share a link.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// What a link covers, apart from the link before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Position in the chain, from 1.
    pub sequence: u64,
    /// The event.
    pub event: Uuid,
    /// When it was recorded.
    pub recorded: OffsetDateTime,
    /// When it was sealed.
    pub sealed: OffsetDateTime,
    /// Digest of its canonical form.
    pub event_hash: Hash,
}

/// Digest of an event's canonical form.
pub fn event_hash(canonical: &str) -> Hash {
    Sha256::digest(canonical.as_bytes()).into()
}

/// The link before the first event of a ledger.
pub fn genesis(ledger: Uuid) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(b"scargate-genesis-1");
    hasher.update(ledger.as_bytes());
    hasher.finalize().into()
}

impl Link {
    /// Digest of this link on top of the one before it.
    pub fn hash(&self, previous: &Hash) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(b"scargate-chain-1");
        hasher.update(previous);
        hasher.update(self.sequence.to_be_bytes());
        hasher.update(self.event.as_bytes());
        hasher.update(micros(self.recorded).to_be_bytes());
        hasher.update(micros(self.sealed).to_be_bytes());
        hasher.update(self.event_hash);
        hasher.finalize().into()
    }
}

fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn matches_an_independent_computation() {
        // Python: hashlib over the bytes as the module's text says, struct.pack('>Q' / '>q').
        let ledger = Uuid::from_u128(1);
        let link = Link {
            sequence: 1,
            event: Uuid::from_u128(2),
            recorded: datetime!(2026-01-01 00:00:00.000001 UTC),
            sealed: datetime!(2026-01-01 00:00:01 UTC),
            event_hash: event_hash("{}"),
        };
        assert_eq!(hex::encode(link.hash(&genesis(ledger))), PYTHON);
    }

    const PYTHON: &str = "7670061ff0739d51347ecaee2ed37d97fe846185b26b030147ee0734f41ccddf";

    #[test]
    fn every_part_counts() {
        let base = Link {
            sequence: 1,
            event: Uuid::from_u128(2),
            recorded: datetime!(2026-01-01 00:00:00 UTC),
            sealed: datetime!(2026-01-01 00:00:01 UTC),
            event_hash: [0; 32],
        };
        let digest = base.hash(&[0; 32]);
        let others = [
            Link { sequence: 2, ..base },
            Link { event: Uuid::from_u128(3), ..base },
            Link { recorded: datetime!(2026-01-01 00:00:00.000001 UTC), ..base },
            Link { sealed: datetime!(2026-01-01 00:00:02 UTC), ..base },
            Link { event_hash: [1; 32], ..base },
        ];
        assert!(others.iter().all(|other| other.hash(&[0; 32]) != digest));
        assert_ne!(base.hash(&[1; 32]), digest);
    }
}
