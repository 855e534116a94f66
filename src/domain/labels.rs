//! What the models drew: one label per pixel, and what is known about how sure they were.

use super::provenance::ModelRef;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Label of a pixel. The classes exclude one another; unions are made by the functions below, so that every mass is
/// computed from the same sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Label {
    /// Outside the left ventricle.
    Background = 0,
    /// LV blood pool, papillary muscles included.
    Cavity = 1,
    /// Myocardium that is neither enhanced nor no-reflow.
    Myocardium = 2,
    /// Late-enhanced myocardium.
    Scar = 3,
    /// No-reflow (microvascular obstruction) inside scar.
    NoReflow = 4,
}

impl Label {
    /// The label of a stored value, or `None` above 4.
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Background,
            1 => Self::Cavity,
            2 => Self::Myocardium,
            3 => Self::Scar,
            4 => Self::NoReflow,
            _ => return None,
        })
    }
}

/// A segment of the result as clinicians name it; the unions of labels it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Region {
    /// LV blood pool.
    BloodPool,
    /// The whole wall: normal myocardium, scar and no-reflow.
    Myocardium,
    /// Enhanced + no-reflow.
    Scar,
    /// No-reflow.
    NoReflow,
}

impl Region {
    /// All, in the order in which segments are written.
    pub const ALL: [Self; 4] = [Self::BloodPool, Self::Myocardium, Self::Scar, Self::NoReflow];

    /// Whether a label value belongs to the region.
    pub fn contains(self, label: u8) -> bool {
        match self {
            Self::BloodPool => label == Label::Cavity as u8,
            Self::Myocardium => label >= Label::Myocardium as u8 && label <= Label::NoReflow as u8,
            Self::Scar => label == Label::Scar as u8 || label == Label::NoReflow as u8,
            Self::NoReflow => label == Label::NoReflow as u8,
        }
    }
}

/// A lesion box found by the detector, in pixels of the slice (x = column, y = row; edges, not centres).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LesionBox {
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
    /// Detector confidence, 0 to 1.
    pub confidence: f32,
}

/// Labels of one slice, on the grid of the source slice.
#[derive(Debug, Clone)]
pub struct SliceLabels {
    /// `Label` values, [rows, columns].
    pub labels: Array2<u8>,
    /// Contour sensitivity: scar labels with the decision threshold moved so that the contour goes inward by about
    /// half a pixel; same shape as `labels`.
    pub scar_inner: Array2<bool>,
    /// The same, outward.
    pub scar_outer: Array2<bool>,
    /// Boxes that the detector found.
    pub boxes: Vec<LesionBox>,
    /// Mean entropy (nats) of the dense model over its myocardium; `None` where it drew none.
    pub entropy: Option<f32>,
    /// Dice between the promptable model's scar and the dense model's in this slice (1 when both empty, and when the dense
    /// model ran alone).
    pub agreement: f32,
}

impl SliceLabels {
    /// True where the region is, [rows, columns].
    pub fn region(&self, region: Region) -> Array2<bool> {
        self.labels.mapv(|label| region.contains(label))
    }

    /// Number of pixels of a region.
    pub fn count(&self, region: Region) -> usize {
        self.labels.iter().filter(|label| region.contains(**label)).count()
    }
}

/// Which model's scar was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScarSource {
    /// Detector -> promptable segmenter, gated by the myocardium.
    Sam,
    /// The dense model's scar class.
    Dense,
}

/// Time and work of one model in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelTiming {
    /// Role of the model.
    pub role: String,
    /// Number of forward passes.
    pub runs: u32,
    /// Wall time of all of them, milliseconds.
    pub wall_ms: f64,
}

/// Labels of a stack and how they came about. `slices` matches the stack's slices one to one.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// One per slice of the stack.
    pub slices: Vec<SliceLabels>,
    /// False when no-reflow is withheld: then no pixel is labelled so (what was drawn counts as scar) and no output has a
    /// place for it, since an empty one would say that none was found.
    pub no_reflow: bool,
    /// Which scar was used.
    pub scar_source: ScarSource,
    /// The models that took part.
    pub models: Vec<ModelRef>,
    /// Execution provider that was proven in use, e.g. `cpu`.
    pub provider: String,
    /// Time per model.
    pub timings: Vec<ModelTiming>,
}

impl Segmentation {
    /// The regions that the result speaks of, in the order in which segments are written.
    pub fn regions(&self) -> &'static [Region] {
        match self.no_reflow {
            true => &Region::ALL,
            false => &[Region::BloodPool, Region::Myocardium, Region::Scar],
        }
    }
}
