//! Masks to measures: clean-up, masses, burden, transmurality by segment, lesions, image quality, plausibility. Pure
//! functions; every number that a clinician sees is computed here and nowhere else. Definitions: docs/measures.md.

mod chords;
mod clean;
mod components;
mod contour;
mod crop;
mod directions;
mod lesions;
mod mass;
mod quality;
mod review;
mod ring;
mod segments;
pub mod threshold;
mod view;

use crop::Crop;

use crate::config::{self, NoReflow};
use crate::domain::labels::{Region, Segmentation};
use crate::domain::measures::{AbsentReason, Measured, Measures, SecondOpinion};
use crate::domain::stack::Stack;
use crate::domain::units::Grams;
use crate::failure::{Code, Failure};

/// Cleans the labels and measures them.
///
/// # Errors
/// `no-myocardium` when no wall was drawn; `polarity-unproven` when the cavity is not brighter than remote myocardium;
/// `internal` when stack and labels do not belong together.
pub fn measure(
    stack: &Stack,
    mut labels: Segmentation,
    settings: &config::Quantify,
) -> Result<(Segmentation, Measures), Failure> {
    let matching = stack.slices.len() == labels.slices.len()
        && stack.slices.iter().zip(&labels.slices).all(|(slice, labels)| slice.pixels.dim() == labels.labels.dim());
    if !matching {
        return Err(Failure::permanent(Code::Internal, "labels do not match the stack"));
    }
    let crop = Crop::of(stack, &labels).ok_or_else(|| Failure::rejected(Code::NoMyocardium, ""))?;
    let mut heart = crop.labels(&labels);
    let measures = measure_heart(&crop.stack(stack), &mut heart, settings)?;
    crop.put_back(&heart, &mut labels);
    Ok((labels, measures))
}

fn measure_heart(stack: &Stack, labels: &mut Segmentation, settings: &config::Quantify) -> Result<Measures, Failure> {
    clean::drop_small_parts(stack, labels, settings);
    clean::drop_below_detection_limit(stack, labels, settings);
    clean::bound_sensitivity(labels);
    if labels.slices.iter().all(|slice| slice.count(Region::Myocardium) == 0) {
        return Err(Failure::rejected(Code::NoMyocardium, ""));
    }
    let intensities = quality::Intensities::of(stack, labels);
    intensities.prove_polarity()?;
    // Only now: dark cores among the enhanced pixels would make scar look darker than it is.
    if settings.no_reflow == NoReflow::Withhold {
        clean::withhold_no_reflow(labels);
    }
    let geometry = segments::Geometry::of(stack, labels);
    let signals = quality::signals(stack, labels, &intensities, &geometry);
    let quality = quality::grade(stack, labels, &signals);
    let mut measures = mass::measures(stack, labels, settings, quality, signals);
    let withheld = measures.lv_mass.reason();
    let directions = segments::directions(&geometry, &intensities, settings, withheld);
    measures.segments = segments::measure(stack, labels, &geometry, directions, settings.chords);
    measures.second_opinion = second_opinion(stack, labels, measures.scar_mass);
    measures.review_flags = review::flags(stack, labels, &geometry, &measures, settings);
    Ok(measures)
}

/// Scar mass by thresholds, where the model found scar: without that gate they find some in every healthy heart.
fn second_opinion(stack: &Stack, labels: &Segmentation, scar: Measured<Grams>) -> SecondOpinion {
    let none = Measured::Absent(scar.reason().unwrap_or(AbsentReason::NotApplicable));
    if scar.value().is_none_or(|mass| mass.0 <= 0.0) {
        return SecondOpinion { fwhm: none, five_sd: none };
    }
    let wall = threshold::Wall::of(stack, labels);
    let by = |rule| {
        let found = wall.as_ref().and_then(|wall| wall.scar(rule));
        found.map_or(none, |found| Measured::Value(threshold::mass(stack, &found.masks)))
    };
    SecondOpinion { fwhm: by(threshold::Threshold::Fwhm), five_sd: by(threshold::Threshold::Sd(5.0)) }
}

#[cfg(test)]
mod analytic_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_tests;
