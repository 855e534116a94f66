//! Segmentation by ONNX models: manifests and digests, sessions with a proven provider, and the way from a stack to
//! labels. Nothing here knows where a stack came from or what is measured on its labels.
//!
//! Order of a run ([`Engine::segment`]): the `myocardium` model sees each whole slice and gives one square crop around
//! the left ventricle for the stack; on that crop it draws cavity and wall; the `scar-detector` finds lesion boxes; the
//! `scar-encoder` embeds a slice once and the `scar-decoder` draws one mask per box; the masks are joined and kept only
//! where the wall is. All resampling is bilinear with pixel centres at +0.5 (PyTorch: `align_corners=False`).

mod adopt;
mod dense;
mod detector;
mod engine;
mod error;
mod locate;
mod manifest;
mod mask;
mod onnx;
mod preprocess;
mod probe;
mod runtime;
mod sam;
mod session;

pub use adopt::adopt;
pub use engine::{Engine, Progress, Stage};
pub use error::InferError;
pub use manifest::{Format, Manifest, Role};
pub use probe::{ModelReport, check, list};

#[cfg(test)]
mod tests;
