//! Volumes and masses: V = sum over slices of area x height, mass = V x 1.05 g/mL, all from unions of labels.

use crate::config;
use crate::domain::labels::{Region, Segmentation, SliceLabels};
use crate::domain::measures::{
    AbsentReason, ContourSensitivity, Measured, Measures, Quality, QualityGrade, SecondOpinion, Signals, SliceMeasures,
};
use crate::domain::segments::Segments;
use crate::domain::stack::{Slice, Stack, StackFlag};
use crate::domain::units::{Grams, Millilitres, Percent};

/// Volumes of one slice; `no_reflow` is false where it is withheld.
fn volumes(index: usize, slice: &Slice, labels: &SliceLabels, no_reflow: bool) -> SliceMeasures {
    let volume = |region| Millilitres(labels.count(region) as f64 * slice.voxel_ml());
    SliceMeasures {
        index,
        source: slice.source.clone(),
        height_mm: slice.height_mm,
        cavity: volume(Region::BloodPool),
        myocardium: volume(Region::Myocardium),
        scar: volume(Region::Scar),
        no_reflow: no_reflow.then(|| volume(Region::NoReflow)),
    }
}

/// All measures but those by place and the review flags.
pub(super) fn measures(
    stack: &Stack,
    labels: &Segmentation,
    settings: &config::Quantify,
    quality: Quality,
    signals: Signals,
) -> Measures {
    let slices: Vec<SliceMeasures> = stack
        .slices
        .iter()
        .zip(&labels.slices)
        .enumerate()
        .map(|(index, (slice, drawn))| volumes(index, slice, drawn, labels.no_reflow))
        .filter(|slice| slice.myocardium.0 > 0.0)
        .collect();
    let absent = absent_reason(stack, &slices, &quality);
    let sum = |volume: fn(&SliceMeasures) -> Millilitres| -> Grams {
        slices.iter().map(volume).sum::<Millilitres>().myocardial_mass()
    };
    let (lv, scar, no_reflow) =
        (sum(|s| s.myocardium), sum(|s| s.scar), sum(|s| s.no_reflow.unwrap_or(Millilitres(0.0))));
    // None found is withheld too: of a model that overlooks no-reflow, 0 g would be as misleading as any other number.
    let no_reflow_absent = absent.or((!labels.no_reflow).then_some(AbsentReason::WithheldForAccuracy));
    let give = |reason: Option<AbsentReason>, mass: Grams| reason.map_or(Measured::Value(mass), Measured::Absent);
    let share = |reason: Option<AbsentReason>, part: Grams, whole: Grams| match reason {
        Some(reason) => Measured::Absent(reason),
        None if whole.0 > 0.0 => Measured::Value(Percent(100.0 * part.0 / whole.0)),
        None => Measured::Absent(AbsentReason::NotApplicable),
    };
    Measures {
        lv_mass: give(absent, lv),
        scar_mass: give(absent, scar),
        burden: share(absent, scar, lv),
        no_reflow_mass: give(no_reflow_absent, no_reflow),
        no_reflow_of_myocardium: share(no_reflow_absent, no_reflow, lv),
        no_reflow_of_scar: share(no_reflow_absent, no_reflow, scar),
        scar_mass_sensitivity: absent.map_or_else(|| Measured::Value(sensitivity(stack, labels)), Measured::Absent),
        slices,
        detection_limit: Percent(settings.min_burden_percent),
        slices_in_stack: stack.slices.len(),
        stack_flags: stack.flags.clone(),
        review_flags: Vec::new(),
        quality,
        signals,
        second_opinion: SecondOpinion::default(),
        segments: Segments::not_measured(),
    }
}

/// Why sums over slices must not be given.
fn absent_reason(stack: &Stack, slices: &[SliceMeasures], quality: &Quality) -> Option<AbsentReason> {
    if quality.grade == QualityGrade::NotUsable {
        return Some(AbsentReason::ImageQuality);
    }
    gap_inside_ventricle(stack, slices).then_some(AbsentReason::MissingSlice)
}

/// True when a slice is missing between the first and the last slice that hold myocardium.
fn gap_inside_ventricle(stack: &Stack, slices: &[SliceMeasures]) -> bool {
    let (Some(first), Some(last)) = (slices.first(), slices.last()) else {
        return false;
    };
    let inside = first.index..last.index;
    stack
        .flags
        .iter()
        .any(|flag| matches!(flag, StackFlag::MissingSlice { after_slice, .. } if inside.contains(after_slice)))
}

fn sensitivity(stack: &Stack, labels: &Segmentation) -> ContourSensitivity {
    let mass = |pick: fn(&SliceLabels) -> &ndarray::Array2<bool>| -> Grams {
        let slices = stack.slices.iter().zip(&labels.slices);
        slices
            .map(|(slice, labels)| pick(labels).iter().filter(|set| **set).count() as f64 * slice.voxel_ml())
            .map(Millilitres)
            .sum::<Millilitres>()
            .myocardial_mass()
    };
    ContourSensitivity { low: mass(|l| &l.scar_inner), high: mass(|l| &l.scar_outer) }
}
