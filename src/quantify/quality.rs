//! Rule-based image quality and the proof of polarity, from intensities under the labels.

use crate::domain::labels::{Label, Region, Segmentation};
use crate::domain::measures::{Quality, QualityGrade};
use crate::domain::stack::{Stack, StackFlag};
use crate::failure::{Code, Failure};

/// Cavity-to-remote contrast in units of the remote SD below which a stack is limited, and not usable.
const LIMITED_CONTRAST_SD: f64 = 2.0;
const UNUSABLE_CONTRAST_SD: f64 = 0.5;
/// Largest jump of the ventricle's centre between neighbouring slices, mm, that is still called good.
const MOTION_LIMIT_MM: f64 = 9.0;
/// Fewest slices with myocardium for an unreserved mass.
const FEW_SLICES: usize = 5;

/// Mean and SD of the intensities of the tissues over the whole stack.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Intensities {
    cavity: Stats,
    remote: Stats,
    scar: Stats,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stats {
    count: usize,
    mean: f64,
    sd: f64,
}

impl Stats {
    fn of(values: &[f64]) -> Self {
        let count = values.len();
        if count == 0 {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64;
        Self { count, mean, sd: variance.sqrt() }
    }
}

impl Intensities {
    /// Statistics of cavity, non-enhanced myocardium and enhanced myocardium.
    pub(super) fn of(stack: &Stack, labels: &Segmentation) -> Self {
        let collect = |wanted: Label| {
            let slices = stack.slices.iter().zip(&labels.slices);
            let values = slices.flat_map(|(slice, labels)| slice.pixels.iter().zip(labels.labels.iter()));
            let values: Vec<f64> =
                values.filter(|(_, label)| **label == wanted as u8).map(|(value, _)| f64::from(*value)).collect();
            Stats::of(&values)
        };
        Self { cavity: collect(Label::Cavity), remote: collect(Label::Myocardium), scar: collect(Label::Scar) }
    }

    /// Refuses a stack whose cavity, or enhanced scar, is darker than its remote myocardium.
    pub(super) fn prove_polarity(&self) -> Result<(), Failure> {
        let darker = |tissue: Stats| tissue.count > 0 && self.remote.count > 0 && tissue.mean <= self.remote.mean;
        if darker(self.cavity) || darker(self.scar) {
            return Err(Failure::rejected(Code::PolarityUnproven, ""));
        }
        Ok(())
    }

    fn contrast_sd(&self) -> Option<f64> {
        let known = self.cavity.count > 0 && self.remote.count > 0 && self.remote.sd > 0.0;
        known.then(|| (self.cavity.mean - self.remote.mean) / self.remote.sd)
    }
}

/// Grade with coded reasons.
pub(super) fn grade(stack: &Stack, labels: &Segmentation, intensities: &Intensities) -> Quality {
    let mut reasons = Vec::new();
    let contrast = intensities.contrast_sd();
    let unusable = contrast.is_some_and(|contrast| contrast < UNUSABLE_CONTRAST_SD);
    if contrast.is_some_and(|contrast| contrast < LIMITED_CONTRAST_SD) {
        reasons.push("low-contrast-cavity-myocardium".to_owned());
    }
    if largest_jump_mm(stack, labels) > MOTION_LIMIT_MM {
        reasons.push("motion-between-slices".to_owned());
    }
    if labels.slices.iter().filter(|slice| slice.count(Region::Myocardium) > 0).count() < FEW_SLICES {
        reasons.push("few-slices".to_owned());
    }
    if stack.flags.iter().any(|flag| matches!(flag, StackFlag::NoGapInformation)) {
        reasons.push("no-gap-information".to_owned());
    }
    let grade = match (unusable, reasons.is_empty()) {
        (true, _) => QualityGrade::NotUsable,
        (false, true) => QualityGrade::Good,
        (false, false) => QualityGrade::Limited,
    };
    Quality { grade, reasons }
}

/// Largest distance between the centres of the ventricle in neighbouring slices, across the slice normal, mm. The
/// ventricle's own obliquity against the stack is small; breath-hold shifts are not.
fn largest_jump_mm(stack: &Stack, labels: &Segmentation) -> f64 {
    let centres: Vec<Option<[f64; 3]>> = stack
        .slices
        .iter()
        .zip(&labels.slices)
        .map(|(slice, labels)| {
            let pixels: Vec<(usize, usize)> = labels
                .labels
                .indexed_iter()
                .filter(|(_, label)| **label != Label::Background as u8)
                .map(|(index, _)| index)
                .collect();
            let count = pixels.len() as f64;
            let (rows, columns) =
                pixels.iter().fold((0.0, 0.0), |(r, c), (row, column)| (r + *row as f64, c + *column as f64));
            (count > 0.0).then(|| slice.plane.to_patient(rows / count, columns / count))
        })
        .collect();
    let Some(normal) = stack.slices.first().map(|slice| slice.plane.normal()) else {
        return 0.0;
    };
    centres
        .iter()
        .zip(centres.iter().skip(1))
        .filter_map(|(a, b)| Some(in_plane_distance((*a)?, (*b)?, normal)))
        .fold(0.0, f64::max)
}

fn in_plane_distance(a: [f64; 3], b: [f64; 3], normal: [f64; 3]) -> f64 {
    let step: [f64; 3] = std::array::from_fn(|i| b[i] - a[i]);
    let along = crate::domain::stack::dot(step, normal);
    (crate::domain::stack::dot(step, step) - along * along).max(0.0).sqrt()
}
