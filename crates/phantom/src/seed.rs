//! Where randomness comes from: a seed in a named space, split into independent streams by label.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Which world a phantom belongs to.
///
/// The two spaces are domain-separated before hashing, so no training phantom can share a random stream (or a UID)
/// with a phantom of the demo or the tests, whatever the seed numbers are. The spaces also draw from disjoint
/// parameter bands, see [`super::ranges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeedSpace {
    /// Phantoms that networks are trained on.
    Training,
    /// Phantoms that measure, demonstrate and test; never trained on.
    Evaluation,
}

impl SeedSpace {
    /// Stable name, used in metadata and in the hash.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Evaluation => "evaluation",
        }
    }
}

/// Seed of one phantom: space, user's seed and position in a `--count` run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PhantomSeed {
    /// The space that the seed lives in.
    pub space: SeedSpace,
    /// The number that the user gave.
    pub seed: u64,
    /// Which phantom of the run, from 0.
    pub index: u64,
}

impl PhantomSeed {
    /// 256-bit digest of space, seed, index and a label; equal inputs give equal digests on every machine.
    #[must_use]
    pub fn digest(&self, label: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"scargate phantom v1\0");
        hash.update(self.space.name().as_bytes());
        hash.update([0]);
        hash.update(self.seed.to_le_bytes());
        hash.update(self.index.to_le_bytes());
        hash.update(label.as_bytes());
        hash.finalize().into()
    }

    /// An independent random stream. Adding a draw to one stream leaves all the others as they were.
    #[must_use]
    pub fn stream(&self, label: &str) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.digest(label))
    }

    /// UUID-derived DICOM UID (`2.25.` form, PS3.5 B.2) that depends only on the seed and the label.
    #[must_use]
    pub fn uid(&self, label: &str) -> String {
        let digest = self.digest(&format!("uid:{label}"));
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        format!("2.25.{}", uuid::Builder::from_custom_bytes(bytes).into_uuid().as_u128())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::collections::HashSet;

    fn seed(space: SeedSpace, seed: u64, index: u64) -> PhantomSeed {
        PhantomSeed { space, seed, index }
    }

    #[test]
    fn spaces_cannot_share_a_stream_or_a_uid() {
        let mut seen = HashSet::new();
        for space in [SeedSpace::Training, SeedSpace::Evaluation] {
            for number in 0..40 {
                for index in 0..40 {
                    let s = seed(space, number, index);
                    assert!(seen.insert(s.digest("anatomy")), "stream met twice: {s:?}");
                    assert!(seen.insert(s.digest("uid:study")), "uid met twice: {s:?}");
                }
            }
        }
        // The separator keeps one space's name from being the beginning of another hash input.
        assert!(!SeedSpace::Training.name().starts_with(SeedSpace::Evaluation.name()));
    }

    #[test]
    fn uid_is_valid_and_stable() {
        let uid = seed(SeedSpace::Evaluation, 7, 0).uid("study");
        assert!(uid.len() <= 44 && uid.starts_with("2.25."));
        assert_eq!(uid, seed(SeedSpace::Evaluation, 7, 0).uid("study"));
        assert_ne!(uid, seed(SeedSpace::Training, 7, 0).uid("study"));
    }
}
