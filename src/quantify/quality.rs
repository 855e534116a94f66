//! Rule-based image quality and the proof of polarity, from intensities under the labels.

use super::segments::{Geometry, motion_mm};
use crate::domain::labels::{Label, Region, Segmentation};
use crate::domain::measures::{Quality, QualityGrade, Signals};
use crate::domain::segments::{SliceRing, SliceRole};
use crate::domain::stack::{Stack, StackFlag};
use crate::failure::{Code, Failure};

/// Cavity-to-remote contrast in units of the remote SD below which a stack is limited, and not usable.
const LIMITED_CONTRAST_SD: f64 = 2.0;
const UNUSABLE_CONTRAST_SD: f64 = 0.5;
/// Largest shift of the ventricle's centre between neighbouring slices against its straight axis, mm, still called good.
const MOTION_LIMIT_MM: f64 = 9.0;
/// Share of the circumference that must have a wall in every ring but the most basal one, %.
const RING_COVERAGE: f64 = 75.0;
/// Cavity-to-remote contrast in units of noise below which a stack is limited.
const LIMITED_CONTRAST_NOISE: f64 = 4.0;
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
        let (mut cavity, mut remote, mut scar) = (Vec::new(), Vec::new(), Vec::new());
        for (slice, labels) in stack.slices.iter().zip(&labels.slices) {
            for (value, label) in slice.pixels.iter().zip(&labels.labels) {
                let tissue = match Label::from_u8(*label) {
                    Some(Label::Cavity) => &mut cavity,
                    Some(Label::Myocardium) => &mut remote,
                    Some(Label::Scar) => &mut scar,
                    _ => continue,
                };
                tissue.push(f64::from(*value));
            }
        }
        Self { cavity: Stats::of(&cavity), remote: Stats::of(&remote), scar: Stats::of(&scar) }
    }

    /// Refuses a stack whose cavity, or enhanced scar, is darker than its remote myocardium.
    pub(super) fn prove_polarity(&self) -> Result<(), Failure> {
        let darker = |tissue: Stats| tissue.count > 0 && self.remote.count > 0 && tissue.mean <= self.remote.mean;
        if darker(self.cavity) || darker(self.scar) {
            return Err(Failure::rejected(Code::PolarityUnproven, ""));
        }
        Ok(())
    }

    /// An intensity on the scale on which remote myocardium is 0 and the cavity is 1.
    pub(super) fn relative(&self, value: f64) -> Option<f64> {
        let range = self.cavity.mean - self.remote.mean;
        (self.cavity.count > 0 && self.remote.count > 0 && range > 0.0).then(|| (value - self.remote.mean) / range)
    }

    fn contrast_sd(&self) -> Option<f64> {
        let known = self.cavity.count > 0 && self.remote.count > 0 && self.remote.sd > 0.0;
        known.then(|| (self.cavity.mean - self.remote.mean) / self.remote.sd)
    }
}

/// What the grade is judged by.
pub(super) fn signals(stack: &Stack, labels: &Segmentation, intensities: &Intensities, geometry: &Geometry) -> Signals {
    let noise = noise(stack, labels);
    let above_remote = |tissue: Stats| {
        let known = tissue.count > 0 && intensities.remote.count > 0 && noise > 0.0;
        known.then(|| (tissue.mean - intensities.remote.mean) / noise)
    };
    Signals {
        blood_to_noise: above_remote(intensities.cavity),
        scar_to_noise: above_remote(intensities.scar),
        blood_to_remote_sd: intensities.contrast_sd(),
        ring_coverage: ring_coverage(&geometry.slices),
        motion_mm: motion_mm(geometry),
    }
}

/// Noise from neighbouring pixels of remote myocardium: 1.4826 x median of the absolute differences / sqrt 2. Slow changes
/// of the surface coils' sensitivity are not in it.
fn noise(stack: &Stack, labels: &Segmentation) -> f64 {
    let mut differences: Vec<f32> = Vec::new();
    for (slice, labels) in stack.slices.iter().zip(&labels.slices) {
        let remote = |index| labels.labels.get(index) == Some(&(Label::Myocardium as u8));
        for ((r, c), value) in slice.pixels.indexed_iter().filter(|(index, _)| remote(*index)) {
            for next in [(r + 1, c), (r, c + 1)].into_iter().filter(|index| remote(*index)) {
                differences.extend(slice.pixels.get(next).map(|other| (other - value).abs()));
            }
        }
    }
    let middle = differences.len() / 2;
    if differences.is_empty() {
        return 0.0;
    }
    let (_, median, _) = differences.select_nth_unstable_by(middle, f32::total_cmp);
    1.4826 * f64::from(*median) / std::f64::consts::SQRT_2
}

/// Smallest coverage of the rings; the ring with the least of all basal ones does not count: the outflow tract opens it.
fn ring_coverage(slices: &[SliceRing]) -> Option<f64> {
    let rings = slices.iter().filter(|slice| matches!(slice.role, SliceRole::Ring(_)));
    let mut shares: Vec<f64> = rings.map(|slice| slice.coverage.0).collect();
    shares.sort_by(f64::total_cmp);
    shares.get(1).or(shares.first()).copied()
}

/// Grade with coded reasons.
pub(super) fn grade(stack: &Stack, labels: &Segmentation, signals: &Signals) -> Quality {
    let mut reasons = Vec::new();
    let below = |value: Option<f64>, limit: f64| value.is_some_and(|value| value < limit);
    let mut reason = |applies: bool, code: &str| {
        if applies {
            reasons.push(code.to_owned());
        }
    };
    let walled = labels.slices.iter().filter(|slice| slice.count(Region::Myocardium) > 0).count();
    reason(below(signals.blood_to_remote_sd, LIMITED_CONTRAST_SD), "low-contrast-cavity-myocardium");
    reason(below(signals.blood_to_noise, LIMITED_CONTRAST_NOISE), "noise");
    reason(signals.motion_mm > MOTION_LIMIT_MM, "motion-between-slices");
    reason(below(signals.ring_coverage, RING_COVERAGE), "wall-incomplete");
    reason(walled < FEW_SLICES, "few-slices");
    reason(stack.flags.iter().any(|flag| matches!(flag, StackFlag::NoGapInformation)), "no-gap-information");
    let grade = match (below(signals.blood_to_remote_sd, UNUSABLE_CONTRAST_SD), reasons.is_empty()) {
        (true, _) => QualityGrade::NotUsable,
        (false, true) => QualityGrade::Good,
        (false, false) => QualityGrade::Limited,
    };
    Quality { grade, reasons }
}
