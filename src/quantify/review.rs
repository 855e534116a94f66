//! Rules that hold a result for a person: patterns outside what the models were trained on, and doubtful inputs.

use super::clean::dilate;
use super::components::components;
use super::segments::Geometry;
use crate::config;
use crate::domain::labels::{Label, Region, Segmentation, SliceLabels};
use crate::domain::measures::{Measures, QualityGrade, ReviewFlag};
use crate::domain::segments::SliceRole;
use crate::domain::stack::{Stack, StackFlag};
use crate::domain::units::Millilitres;
use ndarray::Array2;

/// Angular bins of the ring when asking whether all of it is enhanced.
const SECTORS: usize = 24;
/// Share of the wall that must be free of scar to serve as remote.
const MIN_REMOTE_SHARE: f64 = 0.10;
/// Scar-weighted mean Dice of the two scar models below which they disagree, and the scar mass from which it matters, g.
const MIN_AGREEMENT: f64 = 0.4;
const AGREEMENT_FROM_G: f64 = 3.0;
/// Wall or scar apart from the ventricle that matters, g.
const STRAY_FROM_G: f64 = 0.5;
/// LV mass outside this range is not physiological for an adult heart, g.
const LV_MASS_RANGE_G: std::ops::RangeInclusive<f64> = 30.0..=400.0;

/// Every rule that applies.
pub(super) fn flags(
    stack: &Stack,
    labels: &Segmentation,
    geometry: &Geometry,
    measures: &Measures,
    settings: &config::Quantify,
) -> Vec<ReviewFlag> {
    let burden = measures.burden.value().map_or(0.0, |burden| burden.0);
    let lv = measures.lv_mass.value().map(|mass| mass.0);
    let has = |wanted: fn(&StackFlag) -> bool| stack.flags.iter().any(wanted);
    let rules = [
        (burden > settings.max_burden_percent, ReviewFlag::BurdenOutsideTraining),
        (labels.slices.iter().any(whole_ring_enhanced), ReviewFlag::WholeRingEnhanced),
        (no_subendocardial_contact(labels), ReviewFlag::NoSubendocardialContact),
        (remote_share(labels) < MIN_REMOTE_SHARE, ReviewFlag::NoRemoteMyocardium),
        (measures.quality.grade != QualityGrade::Good, ReviewFlag::ImageQuality),
        (models_disagree(labels, measures), ReviewFlag::ModelsDisagree),
        (has(|f| matches!(f, StackFlag::MissingSlice { .. })), ReviewFlag::MissingSlice),
        (has(|f| matches!(f, StackFlag::DuplicatePosition { .. })), ReviewFlag::DuplicatePosition),
        (lv.is_some_and(|lv| !LV_MASS_RANGE_G.contains(&lv)), ReviewFlag::ImplausibleMass),
        (geometry.apex_cut, ReviewFlag::ApexCutOff),
        (geometry.base_cut, ReviewFlag::BaseCutOff),
        (geometry.slices.iter().any(|slice| slice.role == SliceRole::Broken), ReviewFlag::BrokenRing),
        (Millilitres(geometry.stray_ml).myocardial_mass().0 > STRAY_FROM_G, ReviewFlag::ScarOutsideWall),
        (geometry.axis.as_ref().is_some_and(|axis| axis.ends_disagree), ReviewFlag::BaseApexUnclear),
    ];
    rules.into_iter().filter(|(applies, _)| *applies).map(|(_, flag)| flag).collect()
}

fn remote_share(labels: &Segmentation) -> f64 {
    let count = |region| labels.slices.iter().map(|slice| slice.count(region)).sum::<usize>() as f64;
    let wall = count(Region::Myocardium);
    if wall > 0.0 { 1.0 - count(Region::Scar) / wall } else { 1.0 }
}

/// Every angular sector of the ring about the cavity holds scar. Slices without a cavity (the apical cap) do not count.
fn whole_ring_enhanced(slice: &SliceLabels) -> bool {
    let Some((row, column)) = centroid(&slice.region(Region::BloodPool)) else {
        return false;
    };
    let mut enhanced = [false; SECTORS];
    for ((r, c), label) in slice.labels.indexed_iter() {
        if Region::Scar.contains(*label) {
            let angle = (r as f64 - row).atan2(c as f64 - column) / std::f64::consts::TAU + 0.5;
            let sector = ((angle * SECTORS as f64) as usize).min(SECTORS - 1);
            if let Some(seen) = enhanced.get_mut(sector) {
                *seen = true;
            }
        }
    }
    enhanced.iter().all(|seen| *seen)
}

fn centroid(mask: &Array2<bool>) -> Option<(f64, f64)> {
    let pixels: Vec<(usize, usize)> = mask.indexed_iter().filter(|(_, set)| **set).map(|(index, _)| index).collect();
    let count = pixels.len() as f64;
    let (rows, columns) = pixels.iter().fold((0.0, 0.0), |(r, c), (row, column)| (r + *row as f64, c + *column as f64));
    (count > 0.0).then(|| (rows / count, columns / count))
}

/// A 3-D lesion no pixel of which lies within two pixels of the cavity: not the ischaemic pattern the models know.
fn no_subendocardial_contact(labels: &Segmentation) -> bool {
    let scar: Vec<Array2<bool>> = labels.slices.iter().map(|slice| slice.region(Region::Scar)).collect();
    let near_cavity: Vec<Array2<bool>> =
        labels.slices.iter().map(|slice| dilate(&dilate(&slice.region(Region::BloodPool)))).collect();
    let has_cavity: Vec<bool> =
        labels.slices.iter().map(|slice| slice.labels.iter().any(|l| *l == Label::Cavity as u8)).collect();
    components(&scar).iter().any(|lesion| {
        let judged = lesion.iter().any(|(s, _, _)| has_cavity.get(*s) == Some(&true));
        judged && !lesion.iter().any(|(s, r, c)| near_cavity.get(*s).and_then(|near| near.get((*r, *c))) == Some(&true))
    })
}

/// Dice of the two scar models, weighted by the scar of each slice.
fn models_disagree(labels: &Segmentation, measures: &Measures) -> bool {
    let weighted = labels.slices.iter().map(|slice| (slice.count(Region::Scar) as f64, f64::from(slice.agreement)));
    let (weight, sum) = weighted.fold((0.0, 0.0), |(w, s), (weight, agreement)| (w + weight, s + weight * agreement));
    let scar_g = measures.scar_mass.value().map_or(0.0, |mass| mass.0);
    scar_g >= AGREEMENT_FROM_G && weight > 0.0 && sum / weight < MIN_AGREEMENT
}
