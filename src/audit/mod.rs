//! The audit trail: the canonical form of an event, the hash chain, checkpoints, the verifier and the export.
//!
//! An event is written, unchained, in the transaction of the act it tells of. One sealer chains what is committed, at
//! most `[audit] seal_secs` later, and signs checkpoints that leave the database. See [`canonical`] for the bytes that
//! are hashed and [`chain`] for how the digests hang together.

pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod export;
pub mod fhir;
pub mod pseudonym;
pub mod sealer;
pub mod verify;
