//! Figures of one case: volumes, slices, sectors. Everything a table needs is computed here, once.

use super::overlap::{Counts, boundary, boundary_3d, hausdorff, similarity};
use super::transmurality;
use super::volume::{Pair, Paired, Spacing};
use crate::domain::labels::Region;
use ndarray::Array2;
use serde::Serialize;

/// What a method said about a case.
#[derive(Debug, Clone)]
pub enum Prediction {
    /// Masks.
    Labels(super::volume::Volume),
    /// Nothing, for this reason: scored as empty masks.
    Missing(String),
    /// Only a scar fraction, in % of the myocardium.
    Fraction(f64),
}

/// One slice with scar in the reference, prediction or both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SliceScore {
    /// Name of the case.
    pub case: String,
    /// Slice number in the reference.
    pub slice: usize,
    /// Scar pixels of the reference.
    pub reference_px: usize,
    /// Scar pixels of the prediction.
    pub predicted_px: usize,
    /// Dice of scar incl. no-reflow.
    pub dsc: f64,
    /// Hausdorff distance, px; absent when one side has no scar.
    pub hd_px: Option<f64>,
    /// The same in mm, when the spacing is known.
    pub hd_mm: Option<f64>,
    /// Area similarity.
    pub area: f64,
    /// Perimeter similarity.
    pub perimeter: f64,
}

/// Volumes and agreement of one region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RegionScore {
    /// Volume Dice; absent when both are empty.
    pub dice: Option<f64>,
    /// Voxels of the reference.
    pub reference_px: usize,
    /// Voxels of the prediction.
    pub predicted_px: usize,
    /// Volume of the reference, mL, when the spacing is known.
    pub reference_ml: Option<f64>,
    /// Volume of the prediction, mL.
    pub predicted_ml: Option<f64>,
}

impl RegionScore {
    /// |predicted - reference|, mL.
    pub fn error_ml(&self) -> Option<f64> {
        Some((self.predicted_ml? - self.reference_ml?).abs())
    }
}

/// All figures of a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseScore {
    /// Name.
    pub case: String,
    /// Why there is no prediction, when there is none.
    pub missing: Option<String>,
    /// True when masks were scored (false when only a fraction was given).
    pub masks: bool,
    /// Cavity.
    pub cavity: RegionScore,
    /// Whole wall.
    pub myocardium: RegionScore,
    /// Scar incl. no-reflow.
    pub scar: RegionScore,
    /// No-reflow.
    pub no_reflow: RegionScore,
    /// Scar in % of the myocardium, reference.
    pub fraction_reference: f64,
    /// Scar in % of the myocardium, prediction; absent without predicted myocardium.
    pub fraction_predicted: Option<f64>,
    /// Three-dimensional Hausdorff distance of the myocardium, mm.
    pub myocardium_hd_mm: Option<f64>,
    /// Slices.
    pub slices: usize,
    /// Slices whose reference shows no myocardium, and those of them where some was predicted.
    pub empty_slices: usize,
    /// Of these, slices where myocardium was predicted.
    pub empty_with_wall: usize,
    /// Scar pixels predicted in these.
    pub empty_scar_px: usize,
    /// Slices with myocardium in the reference where none was predicted.
    pub missed_slices: usize,
    /// Slices without scar in the reference where some was predicted.
    pub false_scar_slices: usize,
    /// Slices without scar in the reference.
    pub scar_free_slices: usize,
    /// (reference, predicted) transmurality of sectors, %.
    #[serde(skip)]
    pub sectors: Vec<(f64, f64)>,
    /// Slices with scar on either side.
    #[serde(skip)]
    pub scored: Vec<SliceScore>,
}

impl CaseScore {
    /// Some scar in the reference.
    pub fn pathological(&self) -> bool {
        self.scar.reference_px > 0
    }

    /// Predicted fraction, with nothing predicted counting as no scar.
    pub fn fraction_or_zero(&self) -> f64 {
        self.fraction_predicted.unwrap_or(0.0)
    }

    /// |V predicted - V reference| of a region in % of the reference's myocardium: EMIDEC's volume difference ratio.
    pub fn volume_ratio_error(&self, region: &RegionScore) -> Option<f64> {
        let wall = self.myocardium.reference_px;
        (wall > 0).then(|| 100.0 * region.predicted_px.abs_diff(region.reference_px) as f64 / wall as f64)
    }

    /// Mean absolute error of the sectors' transmurality, percentage points.
    pub fn transmurality_error(&self) -> Option<f64> {
        let errors: Vec<f64> = self.sectors.iter().map(|(r, p)| (r - p).abs()).collect();
        super::stats::mean(&errors)
    }
}

/// Scores a case whose prediction was laid on its reference.
pub fn score(case: &str, paired: &Paired, missing: Option<String>) -> CaseScore {
    let mut out = empty(case, missing, true);
    let voxel = paired.spacing.map(|spacing| spacing.voxel_ml());
    out.cavity = region(paired, Region::BloodPool, voxel);
    out.myocardium = region(paired, Region::Myocardium, voxel);
    out.scar = region(paired, Region::Scar, voxel);
    out.no_reflow = region(paired, Region::NoReflow, voxel);
    let share = |scar: usize, wall: usize| (wall > 0).then(|| 100.0 * scar as f64 / wall as f64);
    out.fraction_reference = share(out.scar.reference_px, out.myocardium.reference_px).unwrap_or(0.0);
    out.fraction_predicted = share(out.scar.predicted_px, out.myocardium.predicted_px);
    out.myocardium_hd_mm = paired.spacing.and_then(|spacing| wall_distance(paired, spacing));
    out.slices = paired.slices.len();
    let pixel_mm = paired.spacing.map_or([1.0, 1.0], |spacing| [spacing.row_mm, spacing.column_mm]);
    for pair in &paired.slices {
        slice(&mut out, pair, paired.spacing);
        out.sectors.extend(transmurality::sectors(&pair.reference, &pair.predicted, pixel_mm));
    }
    out
}

/// A case of which only the scar fraction was predicted.
pub fn score_fraction(case: &str, paired: &Paired, fraction: f64) -> CaseScore {
    let mut out = score(case, paired, None);
    let reference = (out.scar, out.fraction_reference, out.myocardium);
    out = empty(case, None, false);
    (out.scar, out.fraction_reference, out.myocardium) = reference;
    (out.scar.dice, out.myocardium.dice) = (None, None);
    out.fraction_predicted = Some(fraction);
    out
}

fn empty(case: &str, missing: Option<String>, masks: bool) -> CaseScore {
    CaseScore {
        case: case.to_owned(),
        missing,
        masks,
        cavity: RegionScore::default(),
        myocardium: RegionScore::default(),
        scar: RegionScore::default(),
        no_reflow: RegionScore::default(),
        fraction_reference: 0.0,
        fraction_predicted: None,
        myocardium_hd_mm: None,
        slices: 0,
        empty_slices: 0,
        empty_with_wall: 0,
        empty_scar_px: 0,
        missed_slices: 0,
        false_scar_slices: 0,
        scar_free_slices: 0,
        sectors: Vec::new(),
        scored: Vec::new(),
    }
}

fn mask(labels: &Array2<u8>, region: Region) -> Array2<bool> {
    labels.mapv(|label| region.contains(label))
}

fn region(paired: &Paired, region: Region, voxel_ml: Option<f64>) -> RegionScore {
    let mut counts = Counts::default();
    for pair in &paired.slices {
        counts.add(Counts::of(&mask(&pair.predicted, region), &mask(&pair.reference, region)));
    }
    RegionScore {
        dice: counts.dice(),
        reference_px: counts.reference,
        predicted_px: counts.predicted,
        reference_ml: voxel_ml.map(|ml| counts.reference as f64 * ml),
        predicted_ml: voxel_ml.map(|ml| counts.predicted as f64 * ml),
    }
}

/// Counts of a slice, and its scores when either side has scar.
fn slice(out: &mut CaseScore, pair: &Pair, spacing: Option<Spacing>) {
    let wall = Counts::of(&mask(&pair.predicted, Region::Myocardium), &mask(&pair.reference, Region::Myocardium));
    let (predicted, reference) = (mask(&pair.predicted, Region::Scar), mask(&pair.reference, Region::Scar));
    let scar = Counts::of(&predicted, &reference);
    if wall.reference == 0 {
        out.empty_slices += 1;
        out.empty_with_wall += usize::from(wall.predicted > 0);
        out.empty_scar_px += scar.predicted;
    } else {
        out.missed_slices += usize::from(wall.predicted == 0);
    }
    if scar.reference == 0 {
        out.scar_free_slices += 1;
        out.false_scar_slices += usize::from(scar.predicted > 0);
    }
    let Some(dsc) = scar.dice() else { return };
    let (a, b) = (boundary(&predicted), boundary(&reference));
    let scaled = |points: &[(usize, usize)], row: f64, column: f64| -> Vec<[f64; 3]> {
        points.iter().map(|(r, c)| [*r as f64 * row, *c as f64 * column, 0.0]).collect()
    };
    let distance = |row: f64, column: f64| hausdorff(&scaled(&a, row, column), &scaled(&b, row, column));
    out.scored.push(SliceScore {
        case: out.case.clone(),
        slice: pair.number,
        reference_px: scar.reference,
        predicted_px: scar.predicted,
        dsc,
        hd_px: distance(1.0, 1.0),
        hd_mm: spacing.and_then(|spacing| distance(spacing.row_mm, spacing.column_mm)),
        area: similarity(scar.predicted, scar.reference).unwrap_or(1.0),
        perimeter: similarity(a.len(), b.len()).unwrap_or(1.0),
    });
}

fn wall_distance(paired: &Paired, spacing: Spacing) -> Option<f64> {
    let points = |pick: fn(&Pair) -> &Array2<u8>| -> Vec<[f64; 3]> {
        let masks: Vec<_> = paired.slices.iter().map(|pair| mask(pick(pair), Region::Myocardium)).collect();
        let place = |(s, r, c): (usize, usize, usize)| {
            let z = paired.slices.get(s).and_then(|pair| pair.z_mm).unwrap_or(s as f64 * spacing.slice_mm);
            [z, r as f64 * spacing.row_mm, c as f64 * spacing.column_mm]
        };
        boundary_3d(&masks).into_iter().map(place).collect()
    };
    hausdorff(&points(|pair| &pair.predicted), &points(|pair| &pair.reference))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Background, cavity 2 px, wall 6 px of which `scar` are scar, `no_reflow` no-reflow.
    fn labels(scar: usize, no_reflow: usize) -> Array2<u8> {
        let wall = |i: usize| match i {
            i if i < no_reflow => 4,
            i if i < no_reflow + scar => 3,
            _ => 2,
        };
        Array2::from_shape_fn((3, 4), |(row, column)| match (row, column) {
            (1, 1 | 2) => 1,
            (0, c) => wall(c),
            (2, c) if c < 2 => wall(4 + c),
            _ => 0,
        })
    }

    fn paired(slices: &[(Array2<u8>, Array2<u8>)], spacing: Option<Spacing>) -> Paired {
        let slices = slices.iter().enumerate().map(|(number, (reference, predicted))| Pair {
            number,
            z_mm: None,
            reference: reference.clone(),
            predicted: predicted.clone(),
        });
        Paired { slices: slices.collect(), spacing, unscored: 0 }
    }

    #[test]
    fn figures_follow_their_definitions() {
        let spacing = Spacing { row_mm: 2.0, column_mm: 1.0, slice_mm: 10.0 };
        let score =
            score("a", &paired(&[(labels(2, 1), labels(1, 0)), (labels(0, 0), labels(1, 0))], Some(spacing)), None);
        // Scar: reference 3, predicted 1 + 1, both 1; myocardium 12 each; a voxel is 0.02 mL.
        assert_eq!(score.scar.dice, Some(2.0 / 5.0));
        assert_eq!(score.no_reflow.dice, Some(0.0));
        assert_eq!((score.myocardium.dice, score.cavity.dice), (Some(1.0), Some(1.0)));
        assert!((score.fraction_reference - 25.0).abs() < 1e-12);
        assert!((score.fraction_predicted.unwrap() - 100.0 / 6.0).abs() < 1e-12);
        assert!((score.scar.error_ml().unwrap() - 0.02).abs() < 1e-12);
        assert!((score.volume_ratio_error(&score.scar).unwrap() - 100.0 / 12.0).abs() < 1e-12);
        assert_eq!((score.scar_free_slices, score.false_scar_slices), (1, 1));
        assert_eq!(score.scored.len(), 2);
        let first = &score.scored[0];
        assert_eq!((first.dsc, first.area, first.hd_px, first.hd_mm), (0.5, 0.5, Some(2.0), Some(2.0)));
        assert_eq!((score.scored[1].dsc, score.scored[1].hd_px), (0.0, None));
    }

    #[test]
    fn a_missing_prediction_is_a_miss() {
        let nothing = Array2::zeros((3, 4));
        let score = score("a", &paired(&[(labels(2, 0), nothing)], None), Some("no-myocardium".into()));
        assert_eq!((score.scar.dice, score.myocardium.dice), (Some(0.0), Some(0.0)));
        assert_eq!((score.fraction_predicted, score.missed_slices), (None, 1));
        assert_eq!((score.scored[0].dsc, score.scored[0].area, score.scored[0].perimeter), (0.0, 0.0, 0.0));
    }

    #[test]
    fn both_empty_is_no_dice() {
        let score = score("a", &paired(&[(labels(0, 0), labels(0, 0))], None), None);
        assert_eq!((score.scar.dice, score.no_reflow.dice, score.scored.len()), (None, None, 0));
        assert!(!score.pathological());
    }
}
