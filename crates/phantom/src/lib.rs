//! Synthetic cardiac MR with exact truth: anatomy, signal, scanner, DICOM objects and training arrays. No network, no
//! database, and files only through the explicit writers.
//!
//! A phantom is one patient drawn from a seed ([`seed`]): a heart ([`heart`]) with scars ([`scar`]) in a torso ([`torso`]),
//! seen by a scanner ([`signal`], [`render`], [`degrade`]). All planes cut the same three-dimensional scene, so series agree
//! with one another. Parameters follow published ranges ([`ranges`]); training and evaluation draw from disjoint seeds and
//! disjoint bands.

pub mod arrays;
pub mod classic;
pub mod degrade;
pub mod element;
pub mod enhanced;
pub mod header;
pub mod heart;
pub mod noise;
pub mod npy;
pub mod patient;
pub mod preview;
pub mod ranges;
pub mod render;
pub mod scar;
pub mod scene;
pub mod seed;
pub mod series;
pub mod signal;
pub mod study;
pub mod tissue;
pub mod torso;
pub mod truth;
pub mod variant;
pub mod vec3;
pub mod vendor;

#[cfg(test)]
mod tests;

pub use header::PatientInfo;
pub use patient::{LateSlice, Phantom, Scars, Spec};
pub use scar::{Layer, Lesion, Territory};
pub use seed::{PhantomSeed, SeedSpace};
pub use study::{Instance, Study, StudyError, StudySpec};
pub use truth::Truth;
pub use variant::Variant;
pub use vendor::Vendor;
