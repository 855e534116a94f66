//! The short-axis LGE stack in patient space: pixels, planes and where each slice came from.

use super::identity::StudyIdentity;
use super::uid::Uid;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Contrast of the pixels that a model is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contrast {
    /// Phase-sensitive inversion recovery: signed, nulled myocardium dark, scar bright.
    Psir,
    /// Magnitude inversion recovery.
    Magnitude,
    /// Dark-blood late enhancement.
    DarkBlood,
}

impl Contrast {
    /// The name used in manifests and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Psir => "psir",
            Self::Magnitude => "magnitude",
            Self::DarkBlood => "dark-blood",
        }
    }
}

/// A direction or position in the DICOM patient coordinate system (LPS: +x left, +y posterior, +z head), mm.
pub type Vector3 = [f64; 3];

/// Dot product.
pub fn dot(a: Vector3, b: Vector3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Cross product.
pub fn cross(a: Vector3, b: Vector3) -> Vector3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Plane of one slice (PS3.3 C.7.6.2): `position + column_index * spacing[1] * row + row_index * spacing[0] * column`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plane {
    /// ImagePositionPatient: centre of the first pixel, mm, LPS.
    pub position_mm: Vector3,
    /// Direction of a row (increasing column index), unit vector: the first three of ImageOrientationPatient.
    pub row: Vector3,
    /// Direction of a column (increasing row index), unit vector: the last three.
    pub column: Vector3,
    /// PixelSpacing: [between rows, between columns], mm.
    pub spacing_mm: [f64; 2],
}

impl Plane {
    /// Unit normal, row x column.
    pub fn normal(&self) -> Vector3 {
        cross(self.row, self.column)
    }

    /// Distance of the plane along `normal` from the origin, mm.
    pub fn distance_mm(&self, normal: Vector3) -> f64 {
        dot(self.position_mm, normal)
    }

    /// Patient position of the pixel centre at (row, column), which may be fractional, mm LPS.
    pub fn to_patient(&self, row_index: f64, column_index: f64) -> Vector3 {
        let (r, c) = (row_index * self.spacing_mm[0], column_index * self.spacing_mm[1]);
        std::array::from_fn(|i| self.position_mm[i] + c * self.row[i] + r * self.column[i])
    }

    /// Area of a pixel, mm^2.
    pub fn pixel_area_mm2(&self) -> f64 {
        self.spacing_mm[0] * self.spacing_mm[1]
    }
}

/// Where the pixels of a slice came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFrame {
    /// SOPClassUID (0008,0016).
    pub sop_class: Uid,
    /// SOPInstanceUID (0008,0018).
    pub sop_instance: Uid,
    /// SeriesInstanceUID (0020,000E).
    pub series: Uid,
    /// 1-based frame number when the source is multi-frame.
    pub frame: Option<u32>,
}

/// One slice of a stack.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Rescaled pixel values, [rows, columns]; PSIR keeps its sign. Padding pixels hold the slice's minimum.
    pub pixels: Array2<f32>,
    /// False where PixelPaddingValue applies; `None` when every pixel is valid. [rows, columns].
    pub valid: Option<Array2<bool>>,
    /// Plane in patient space.
    pub plane: Plane,
    /// SliceThickness (0018,0050), mm.
    pub thickness_mm: f64,
    /// Length of the LV that this slice stands for, mm: half the distance to both neighbours, at the ends the median
    /// spacing, never above 1.5 x the median.
    pub height_mm: f64,
    /// Source frame.
    pub source: SourceFrame,
}

impl Slice {
    /// Volume of one pixel of this slice, mL.
    pub fn voxel_ml(&self) -> f64 {
        self.plane.pixel_area_mm2() * self.height_mm / 1000.0
    }
}

/// Something about the stack's geometry that a reader of the result must know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "flag", rename_all = "kebab-case")]
pub enum StackFlag {
    /// A step between neighbours was above 1.5 x the median: a slice is missing after index `after_slice`.
    MissingSlice {
        /// Index (0-based) of the slice before the gap.
        after_slice: usize,
        /// The step, mm.
        step_mm: f64,
    },
    /// Several images stood at one position; the newest acquisition was kept.
    DuplicatePosition {
        /// Index (0-based) of the slice concerned.
        slice: usize,
        /// How many images were dropped.
        dropped: usize,
    },
    /// Neither plane positions nor SpacingBetweenSlices told the spacing; SliceThickness was used.
    NoGapInformation,
    /// SpacingBetweenSlices disagrees with the plane positions; the positions were used.
    SpacingDisagrees,
    /// ImageOrientationPatient is missing: no anatomical directions.
    NoOrientation,
    /// Slice normals differ by up to this many degrees.
    NonParallel {
        /// Largest angle, degrees.
        degrees: f64,
    },
}

/// Why a series was taken or left; recorded with the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesDecision {
    /// SeriesInstanceUID.
    pub series: Uid,
    /// SeriesNumber, for people.
    pub series_number: Option<i32>,
    /// True for the series that was analysed.
    pub taken: bool,
    /// Coded reason, kebab-case, e.g. `psir-short-axis`, `cine`, `long-axis`, `magnitude-has-psir-twin`.
    pub reason: String,
}

/// The slices of one short-axis LGE acquisition, sorted by distance along the first slice's normal (either end may be
/// the base), with all that later steps need to know about their study.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Whose study it is.
    pub identity: StudyIdentity,
    /// Contrast of all slices.
    pub contrast: Contrast,
    /// FrameOfReferenceUID (0020,0052).
    pub frame_of_reference: Uid,
    /// PositionReferenceIndicator (0020,1040), empty when absent.
    pub position_reference_indicator: String,
    /// True when any source says LossyImageCompression (0028,2110) = 01.
    pub lossy: bool,
    /// Scanner's manufacturer and field strength, tesla, when stated: for cohorts and checks, not for decisions.
    pub manufacturer: String,
    /// MagneticFieldStrength (0018,0087), tesla.
    pub field_strength_t: Option<f64>,
    /// The slices; never empty, all with the same rows and columns.
    pub slices: Vec<Slice>,
    /// What a reader must know about the geometry.
    pub flags: Vec<StackFlag>,
    /// Why each series of the study was taken or left.
    pub decisions: Vec<SeriesDecision>,
}

impl Stack {
    /// (rows, columns) of every slice.
    pub fn dim(&self) -> (usize, usize) {
        self.slices.first().map_or((0, 0), |s| s.pixels.dim())
    }

    /// True when a slice is missing inside the stack.
    pub fn missing_slice(&self) -> bool {
        self.flags.iter().any(|f| matches!(f, StackFlag::MissingSlice { .. }))
    }
}
