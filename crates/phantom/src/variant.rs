//! Faults and special cases: studies that a gateway must answer with a coded outcome, each named by what it is.

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::patient::{Phantom, Scars};
use super::scar::Lesion;
use super::series::{Component, Role, Series, Session};

/// A whole study or one with a named peculiarity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// A complete study.
    Whole,
    /// Everything but late enhancement; the TI scout, whose name is tempting, is there.
    NoLge,
    /// Cine alone.
    CineOnly,
    /// Late enhancement in long-axis views only.
    LongAxisOnly,
    /// Late enhancement without PSIR reconstruction.
    MagnitudeOnly,
    /// One slice of the late-enhancement stack.
    OneSlice,
    /// One slice acquired twice, the second time a minute later.
    DuplicatePositions,
    /// A slice inside the left ventricle was not sent.
    MissingSlice,
    /// The apical half of the stack has another FrameOfReferenceUID.
    MixedFrameOfReference,
    /// No image position and orientation in the short-axis late enhancement.
    NoOrientation,
    /// Pixel data of half the stated length in one late-enhancement image.
    ShortPixelData,
    /// Rows and Columns of 65535 in one late-enhancement image.
    AbsurdRows,
    /// NumberOfFrames of 2147483647 in one late-enhancement image.
    AbsurdFrames,
    /// A healthy heart.
    ScarFree,
    /// The whole ring enhanced in every slice.
    WholeRingScar,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 15] = [
        Self::Whole,
        Self::NoLge,
        Self::CineOnly,
        Self::LongAxisOnly,
        Self::MagnitudeOnly,
        Self::OneSlice,
        Self::DuplicatePositions,
        Self::MissingSlice,
        Self::MixedFrameOfReference,
        Self::NoOrientation,
        Self::ShortPixelData,
        Self::AbsurdRows,
        Self::AbsurdFrames,
        Self::ScarFree,
        Self::WholeRingScar,
    ];

    /// Name on the command line and in the truth.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::NoLge => "no-lge",
            Self::CineOnly => "cine-only",
            Self::LongAxisOnly => "long-axis-only",
            Self::MagnitudeOnly => "magnitude-only",
            Self::OneSlice => "one-slice",
            Self::DuplicatePositions => "duplicate-positions",
            Self::MissingSlice => "missing-slice",
            Self::MixedFrameOfReference => "mixed-frame-of-reference",
            Self::NoOrientation => "no-orientation",
            Self::ShortPixelData => "short-pixel-data",
            Self::AbsurdRows => "absurd-rows",
            Self::AbsurdFrames => "absurd-frames",
            Self::ScarFree => "scar-free",
            Self::WholeRingScar => "whole-ring-scar",
        }
    }

    /// The scars of a variant that is about scars.
    #[must_use]
    pub fn scars(self) -> Option<Scars> {
        match self {
            Self::ScarFree => Some(Scars::None),
            Self::WholeRingScar => Some(Scars::Given(vec![Lesion::whole_ring()])),
            _ => None,
        }
    }

    /// Whether a series is acquired at all.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        match self {
            Self::NoLge => !role.is_late(),
            Self::CineOnly => matches!(role, Role::CineSax),
            Self::LongAxisOnly => !matches!(role, Role::LateSax | Role::TiScout),
            _ => true,
        }
    }

    /// Changes the short-axis late-enhancement series (both components) before it is encoded.
    pub fn alter(self, series: &mut Series, phantom: &Phantom, session: &Session<'_>) {
        let middle = middle_slice(phantom);
        match self {
            Self::MagnitudeOnly => series.frames.retain(|f| f.component == Component::Magnitude),
            Self::OneSlice => series.frames.retain(|f| f.slice == middle),
            Self::MissingSlice => series.frames.retain(|f| f.slice != middle),
            Self::DuplicatePositions => series.frames.extend(session.late_repeat(middle)),
            Self::MixedFrameOfReference => {
                series.frames.iter_mut().for_each(|f| f.moved_patient = f.slice > middle);
            }
            _ => {}
        }
    }

    /// Damages one encoded late-enhancement object; `first` tells whether it is the first of its series.
    pub fn damage(self, object: &mut InMemDicomObject, first: bool) {
        match self {
            Self::NoOrientation => remove_orientation(object),
            Self::ShortPixelData if first => halve_pixels(object),
            Self::AbsurdRows if first => {
                for tag in [tags::ROWS, tags::COLUMNS] {
                    object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(u16::MAX)));
                }
            }
            Self::AbsurdFrames if first => {
                let text = PrimitiveValue::from(i32::MAX.to_string());
                object.put(DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, text));
            }
            _ => {}
        }
    }
}

/// A slice that lies well inside the left ventricle.
fn middle_slice(phantom: &Phantom) -> usize {
    let half = 0.5 * phantom.scene.heart.shape().length;
    let depth = |k: &usize| {
        let plane = phantom.plan.planes.get(*k);
        plane.map_or(f64::MAX, |p| {
            let centre = p.point(p.rows as f64 / 2.0, p.columns as f64 / 2.0);
            (phantom.scene.pose.to_heart(centre)[2] - half).abs()
        })
    };
    (0..phantom.plan.planes.len()).min_by(|a, b| depth(a).total_cmp(&depth(b))).unwrap_or(0)
}

fn remove_orientation(object: &mut InMemDicomObject) {
    for tag in [
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::IMAGE_POSITION_PATIENT,
        tags::PLANE_ORIENTATION_SEQUENCE,
        tags::PLANE_POSITION_SEQUENCE,
    ] {
        object.remove_element(tag);
    }
    for groups in [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE] {
        object.update_value(groups, |value| {
            if let Some(items) = value.items_mut() {
                items.iter_mut().for_each(remove_orientation);
            }
        });
    }
}

fn halve_pixels(object: &mut InMemDicomObject) {
    object.update_value(tags::PIXEL_DATA, |value| {
        if let dicom_core::value::Value::Primitive(PrimitiveValue::U16(words)) = value {
            words.truncate(words.len() / 2);
        }
    });
}
