//! The numbers a clinician sees, computed once in `quantify` and only copied afterwards.

use super::segments::Segments;
use super::stack::{SourceFrame, StackFlag};
use super::units::{Grams, Millilitres, Percent};
use serde::{Deserialize, Serialize};

/// Why a value is absent. An absent value is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AbsentReason {
    /// A slice is missing inside the left ventricle: sums over slices would be wrong.
    MissingSlice,
    /// No myocardium was found.
    NoMyocardium,
    /// The images are not usable.
    ImageQuality,
    /// The quantity has no meaning here, e.g. no-reflow as % of scar where there is no scar.
    NotApplicable,
    /// The model's measured accuracy for this quantity is too low to show it.
    WithheldForAccuracy,
    /// The images do not say how they lie in the patient.
    NoOrientation,
    /// No slice holds a ring of myocardium about a cavity.
    NoRing,
    /// Less than half of the segment's chords are valid.
    RingIncomplete,
    /// Base or apex is cut off: levels would be wrong.
    VentricleIncomplete,
    /// Anatomical directions are only estimated: shown, not sent.
    DirectionsEstimated,
}

impl AbsentReason {
    /// Code, kebab-case.
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingSlice => "missing-slice",
            Self::NoMyocardium => "no-myocardium",
            Self::ImageQuality => "image-quality",
            Self::NotApplicable => "not-applicable",
            Self::WithheldForAccuracy => "withheld-for-accuracy",
            Self::NoOrientation => "no-orientation",
            Self::NoRing => "no-ring",
            Self::RingIncomplete => "ring-incomplete",
            Self::VentricleIncomplete => "ventricle-incomplete",
            Self::DirectionsEstimated => "directions-estimated",
        }
    }

    /// A sentence for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::MissingSlice => "a slice is missing inside the left ventricle",
            Self::NoMyocardium => "no left ventricular myocardium was found",
            Self::ImageQuality => "image quality does not allow a measurement",
            Self::NotApplicable => "not applicable to this result",
            Self::WithheldForAccuracy => "withheld: the model's accuracy for this quantity is not sufficient",
            Self::NoOrientation => "the images do not say how they lie in the patient",
            Self::NoRing => "no slice holds a ring of myocardium around a cavity",
            Self::RingIncomplete => "less than half of this part of the wall is in the images",
            Self::VentricleIncomplete => "the slices do not hold the whole left ventricle",
            Self::DirectionsEstimated => "anatomical directions are only estimated",
        }
    }
}

/// A value or the reason why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measured<T> {
    /// The value.
    Value(T),
    /// Why it is absent.
    Absent(AbsentReason),
}

impl<T: Copy> Measured<T> {
    /// The value, when present.
    pub fn value(&self) -> Option<T> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Absent(_) => None,
        }
    }

    /// Why it is absent, when it is.
    pub fn reason(&self) -> Option<AbsentReason> {
        match self {
            Self::Value(_) => None,
            Self::Absent(reason) => Some(*reason),
        }
    }

    /// Applies a function to a present value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Measured<U> {
        match self {
            Self::Value(value) => Measured::Value(f(value)),
            Self::Absent(reason) => Measured::Absent(reason),
        }
    }
}

/// Image quality, said first in every conclusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QualityGrade {
    /// Usable without reservation.
    Good,
    /// Usable with the reasons given.
    Limited,
    /// No value is given.
    NotUsable,
}

/// Image quality with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// The grade.
    pub grade: QualityGrade,
    /// Coded reasons, kebab-case.
    pub reasons: Vec<String>,
}

/// A rule that keeps a result from leaving before a person looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewFlag {
    /// Scar burden above 55 % of the myocardium: outside what the models were trained on.
    BurdenOutsideTraining,
    /// The whole ring is enhanced in a slice.
    WholeRingEnhanced,
    /// Scar without any contact to the subendocardium: a pattern the models were not trained on.
    NoSubendocardialContact,
    /// No remote myocardium to compare with.
    NoRemoteMyocardium,
    /// Image quality is limited or not usable.
    ImageQuality,
    /// The promptable and the dense model disagree on the scar.
    ModelsDisagree,
    /// A slice is missing inside the left ventricle.
    MissingSlice,
    /// Several images at one position: one was chosen.
    DuplicatePosition,
    /// LV mass outside what is physiologically plausible.
    ImplausibleMass,
    /// The last slice toward the apex still holds a large cavity: the apex is not in the images.
    ApexCutOff,
    /// The slices with a ring are too short for a whole ventricle although the apex is there.
    BaseCutOff,
    /// Between slices with a ring, one has no cavity or less than half a ring.
    BrokenRing,
    /// Wall or scar was drawn apart from the left ventricle.
    ScarOutsideWall,
    /// Cavity areas and patient axes disagree on which end is the base.
    BaseApexUnclear,
}

impl ReviewFlag {
    /// Code, kebab-case.
    pub fn code(self) -> &'static str {
        match self {
            Self::BurdenOutsideTraining => "burden-outside-training",
            Self::WholeRingEnhanced => "whole-ring-enhanced",
            Self::NoSubendocardialContact => "no-subendocardial-contact",
            Self::NoRemoteMyocardium => "no-remote-myocardium",
            Self::ImageQuality => "image-quality",
            Self::ModelsDisagree => "models-disagree",
            Self::MissingSlice => "missing-slice",
            Self::DuplicatePosition => "duplicate-position",
            Self::ImplausibleMass => "implausible-mass",
            Self::ApexCutOff => "apex-cut-off",
            Self::BaseCutOff => "base-cut-off",
            Self::BrokenRing => "broken-ring",
            Self::ScarOutsideWall => "scar-outside-wall",
            Self::BaseApexUnclear => "base-apex-unclear",
        }
    }

    /// A sentence for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::BurdenOutsideTraining => "scar burden is above what the models were trained on",
            Self::WholeRingEnhanced => "a slice is enhanced around its whole circumference",
            Self::NoSubendocardialContact => "scar does not touch the subendocardium",
            Self::NoRemoteMyocardium => "no remote myocardium to compare with",
            Self::ImageQuality => "image quality is limited",
            Self::ModelsDisagree => "the two scar models disagree",
            Self::MissingSlice => "a slice is missing inside the left ventricle",
            Self::DuplicatePosition => "several images at one slice position",
            Self::ImplausibleMass => "left ventricular mass is not plausible",
            Self::ApexCutOff => "the apex is not in the images",
            Self::BaseCutOff => "the base is not in the images",
            Self::BrokenRing => "the ring of the wall is broken in a slice between base and apex",
            Self::ScarOutsideWall => "wall or scar was drawn apart from the left ventricle",
            Self::BaseApexUnclear => "it is not clear which end of the stack is the base",
        }
    }
}

/// Areas and volumes of one slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceMeasures {
    /// Index in the stack.
    pub index: usize,
    /// Source frame.
    pub source: SourceFrame,
    /// Length of LV it stands for, mm.
    pub height_mm: f64,
    /// Cavity volume.
    pub cavity: Millilitres,
    /// Volume of the whole wall.
    pub myocardium: Millilitres,
    /// Volume of scar incl. no-reflow.
    pub scar: Millilitres,
    /// Volume of no-reflow; `None` where it is withheld.
    pub no_reflow: Option<Millilitres>,
}

/// What the image quality was judged by, from intensities under the labels. PSIR has no meaningful zero: remote
/// myocardium, which inversion nulls, takes its place. Noise is the robust deviation of neighbouring pixels of remote
/// myocardium; interpolated images have less of it, so that these numbers compare images of one protocol only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// (Cavity - remote) / noise.
    pub blood_to_noise: Option<f64>,
    /// (Scar - remote) / noise; `None` without scar.
    pub scar_to_noise: Option<f64>,
    /// (Cavity - remote) / standard deviation of remote.
    pub blood_to_remote_sd: Option<f64>,
    /// Smallest share of a circumference that has a wall, over the slices with a ring, %.
    pub ring_coverage: Option<f64>,
    /// Largest shift of the ventricle's centre between neighbouring slices against a straight axis, mm.
    pub motion_mm: f64,
}

/// Scar mass by intensity thresholds inside the same wall: a second opinion on the model's scar, never evidence alone,
/// because every threshold finds "scar" in healthy hearts. Not given where the model found none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SecondOpinion {
    /// Full width at half maximum between remote and peak.
    pub fwhm: Measured<Grams>,
    /// Five standard deviations above remote.
    pub five_sd: Measured<Grams>,
}

impl Default for SecondOpinion {
    fn default() -> Self {
        let absent = Measured::Absent(AbsentReason::NotApplicable);
        Self { fwhm: absent, five_sd: absent }
    }
}

/// A range that moving the contour by half a pixel either way gives; not a confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContourSensitivity {
    /// With the scar contour half a pixel inward.
    pub low: Grams,
    /// With the scar contour half a pixel outward.
    pub high: Grams,
}

/// All measures of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Image quality.
    pub quality: Quality,
    /// Mass of the whole LV wall.
    pub lv_mass: Measured<Grams>,
    /// LGE mass incl. no-reflow (infarct/scar).
    pub scar_mass: Measured<Grams>,
    /// Scar as % of the LV wall over the same slices.
    pub burden: Measured<Percent>,
    /// No-reflow mass.
    pub no_reflow_mass: Measured<Grams>,
    /// No-reflow as % of the LV wall.
    pub no_reflow_of_myocardium: Measured<Percent>,
    /// No-reflow as % of scar.
    pub no_reflow_of_scar: Measured<Percent>,
    /// How far the scar mass moves with the contour.
    pub scar_mass_sensitivity: Measured<ContourSensitivity>,
    /// Scar below this share of the LV wall counts as none.
    pub detection_limit: Percent,
    /// Slices with myocardium.
    pub slices: Vec<SliceMeasures>,
    /// Number of slices in the stack.
    pub slices_in_stack: usize,
    /// Geometry flags of the stack.
    pub stack_flags: Vec<StackFlag>,
    /// Rules that hold the result for a person.
    pub review_flags: Vec<ReviewFlag>,
    /// What the image quality was judged by.
    #[serde(default)]
    pub signals: Signals,
    /// Scar mass by thresholds.
    #[serde(default)]
    pub second_opinion: SecondOpinion,
    /// Everything by place.
    #[serde(default = "Segments::not_measured")]
    pub segments: Segments,
}

impl Measures {
    /// No value at all, for one reason.
    pub fn absent(quality: Quality, reason: AbsentReason) -> Self {
        Self {
            quality,
            lv_mass: Measured::Absent(reason),
            scar_mass: Measured::Absent(reason),
            burden: Measured::Absent(reason),
            no_reflow_mass: Measured::Absent(reason),
            no_reflow_of_myocardium: Measured::Absent(reason),
            no_reflow_of_scar: Measured::Absent(reason),
            scar_mass_sensitivity: Measured::Absent(reason),
            detection_limit: Percent(0.0),
            slices: Vec::new(),
            slices_in_stack: 0,
            stack_flags: Vec::new(),
            review_flags: Vec::new(),
            signals: Signals::default(),
            second_opinion: SecondOpinion::default(),
            segments: Segments::absent(reason),
        }
    }
}
