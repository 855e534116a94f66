//! What the steps pass to one another: values that could be written to disk, with no I/O and no wire formats.
//!
//! Arrows point down the data's path: every step may import `domain`, no step imports another step.

pub mod artefact;
pub mod codes;
pub mod delivery;
pub mod events;
pub mod identity;
pub mod labels;
pub mod lines;
pub mod measures;
pub mod provenance;
pub mod run;
pub mod segments;
pub mod source;
pub mod stack;
pub mod submission;
pub mod uid;
pub mod units;
