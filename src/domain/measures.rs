//! The numbers a clinician sees, computed once in `quantify` and only copied afterwards.

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
    /// Volume of no-reflow.
    pub no_reflow: Millilitres,
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
}
