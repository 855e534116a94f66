//! Removal of parts too small to be scar (reference: 2-D parts below max(3 px, min_area), then 3-D parts below min_mass).

use super::components::{Pixel, components};
use crate::config;
use crate::domain::labels::{Label, Region, Segmentation};
use crate::domain::stack::Stack;
use crate::domain::units::Millilitres;
use ndarray::{Array2, Axis};

const MIN_PIXELS: usize = 3;

/// Relabels small parts of scar (enhanced or no-reflow) as myocardium.
pub(super) fn drop_small_parts(stack: &Stack, labels: &mut Segmentation, settings: &config::Quantify) {
    for (slice, slice_labels) in stack.slices.iter().zip(&mut labels.slices) {
        let pixel_mm2 = slice.plane.pixel_area_mm2();
        let mask = slice_labels.region(Region::Scar);
        for part in components(std::slice::from_ref(&mask)) {
            if part.len() < MIN_PIXELS || part.len() as f64 * pixel_mm2 < settings.min_area_mm2 {
                relabel(&mut slice_labels.labels, part.iter());
            }
        }
    }
    let masks: Vec<Array2<bool>> = labels.slices.iter().map(|slice| slice.region(Region::Scar)).collect();
    for part in components(&masks) {
        let volume: Millilitres =
            part.iter().filter_map(|(s, _, _)| stack.slices.get(*s)).map(|slice| Millilitres(slice.voxel_ml())).sum();
        if volume.myocardial_mass().0 < settings.min_mass_g {
            for (index, slice) in labels.slices.iter_mut().enumerate() {
                relabel(&mut slice.labels, part.iter().filter(|(s, _, _)| *s == index));
            }
        }
    }
}

/// Relabels all scar as myocardium when it is below the detection limit: models that saw no smaller scar in training
/// cannot tell it from a healthy wall (the published EMIDEC model of myopari does the same at 2.5 %).
pub(super) fn drop_below_detection_limit(stack: &Stack, labels: &mut Segmentation, settings: &config::Quantify) {
    let volume = |region| -> f64 {
        let slices = stack.slices.iter().zip(&labels.slices);
        slices.map(|(slice, labels)| labels.count(region) as f64 * slice.voxel_ml()).sum()
    };
    if volume(Region::Scar) * 100.0 >= settings.min_burden_percent * volume(Region::Myocardium) {
        return;
    }
    for slice in &mut labels.slices {
        slice.labels.mapv_inplace(|label| if Region::Scar.contains(label) { Label::Myocardium as u8 } else { label });
    }
}

/// Counts no-reflow as plain scar, so that no output shows what the model outlines too poorly to be told.
pub(super) fn withhold_no_reflow(labels: &mut Segmentation) {
    labels.no_reflow = false;
    for slice in &mut labels.slices {
        slice.labels.mapv_inplace(|label| if Region::NoReflow.contains(label) { Label::Scar as u8 } else { label });
    }
}

fn relabel<'a>(labels: &mut Array2<u8>, part: impl Iterator<Item = &'a Pixel>) {
    for (_, row, column) in part {
        if let Some(label) = labels.get_mut((*row, *column)) {
            *label = Label::Myocardium as u8;
        }
    }
}

/// Keeps the moved contours consistent with what is left: inner inside scar, outer only around scar and never in the
/// cavity.
pub(super) fn bound_sensitivity(labels: &mut Segmentation) {
    for slice in &mut labels.slices {
        let scar = slice.region(Region::Scar);
        let cavity = slice.region(Region::BloodPool);
        let near = dilate(&dilate(&scar));
        for (index, set) in scar.indexed_iter() {
            if let Some(inner) = slice.scar_inner.get_mut(index) {
                *inner &= *set;
            }
            let allowed = near.get(index) == Some(&true) && cavity.get(index) != Some(&true);
            if let Some(outer) = slice.scar_outer.get_mut(index) {
                *outer = *set || (*outer && allowed);
            }
        }
    }
}

/// Grows a mask by one pixel in the four directions.
pub(super) fn dilate(mask: &Array2<bool>) -> Array2<bool> {
    let mut grown = mask.clone();
    for axis in [Axis(0), Axis(1)] {
        let count = mask.len_of(axis);
        for (from, to) in (1..count).flat_map(|at| [(at - 1, at), (at, at - 1)]) {
            grown.index_axis_mut(axis, to).zip_mut_with(&mask.index_axis(axis, from), |grown, set| *grown |= set);
        }
    }
    grown
}
