//! Labels of one case as they were read, and how predictions and references of a case are laid on one another.

use super::error::Error;
use crate::domain::stack::{Plane, dot};
use ndarray::Array2;

/// Distance of the pixel centres and of the slices, mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spacing {
    /// Between rows.
    pub row_mm: f64,
    /// Between columns.
    pub column_mm: f64,
    /// Between slices.
    pub slice_mm: f64,
}

impl Spacing {
    /// Volume of a voxel, mL.
    pub fn voxel_ml(&self) -> f64 {
        self.row_mm * self.column_mm * self.slice_mm / 1000.0
    }
}

/// One slice: `Label` values [rows, columns].
#[derive(Debug, Clone)]
pub struct LabelSlice {
    /// Number in its file or file name; order along the stack.
    pub number: usize,
    /// Plane in patient space, where known.
    pub plane: Option<Plane>,
    /// SOPInstanceUID and frame that it was drawn on, where stated (SEG).
    pub source: Option<(String, u32)>,
    /// Labels.
    pub labels: Array2<u8>,
}

/// Labels of a case.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Slices in order.
    pub slices: Vec<LabelSlice>,
    /// Spacing, when the files state it.
    pub spacing: Option<Spacing>,
    /// True when slices without labels are left out (SEG): absent means empty.
    pub sparse: bool,
}

/// Two label images of one slice.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Number of the slice in the reference.
    pub number: usize,
    /// Position along the stack, mm.
    pub z_mm: Option<f64>,
    /// Reference.
    pub reference: Array2<u8>,
    /// Prediction, empty where there is none.
    pub predicted: Array2<u8>,
}

/// A case ready to be scored.
#[derive(Debug, Clone)]
pub struct Paired {
    /// Slices, in order.
    pub slices: Vec<Pair>,
    /// Spacing of the reference (of the prediction when only it states one).
    pub spacing: Option<Spacing>,
    /// Predicted slices for which there is no reference: not scored.
    pub unscored: usize,
}

/// Lays a prediction on its reference: by place in patient space when both state it, else by slice number. Without a
/// prediction every slice is empty.
///
/// # Errors
/// When sizes differ, or neither places nor numbers can be compared.
pub fn pair(case: &str, reference: &Volume, predicted: Option<&Volume>) -> Result<Paired, Error> {
    let Some(predicted) = predicted else {
        return Ok(Paired {
            slices: reference.slices.iter().map(|slice| alone(slice, reference)).collect(),
            spacing: reference.spacing,
            unscored: 0,
        });
    };
    let placed = |volume: &Volume| volume.slices.iter().all(|slice| slice.plane.is_some());
    let same_kind = !(reference.sparse || predicted.sparse);
    if placed(reference) && placed(predicted) {
        return Ok(by_place(reference, predicted));
    }
    if same_kind {
        return by_number(case, reference, predicted);
    }
    let why = "a SEG says where its slices lie, the other side does not: convert one of them".to_owned();
    Err(Error::Unmatched { case: case.to_owned(), why })
}

fn z_of(slice: &LabelSlice, volume: &Volume) -> Option<f64> {
    let normal = volume.slices.first()?.plane?.normal();
    Some(slice.plane?.distance_mm(normal))
}

fn alone(slice: &LabelSlice, volume: &Volume) -> Pair {
    Pair {
        number: slice.number,
        z_mm: z_of(slice, volume),
        reference: slice.labels.clone(),
        predicted: Array2::zeros(slice.labels.dim()),
    }
}

fn by_number(case: &str, reference: &Volume, predicted: &Volume) -> Result<Paired, Error> {
    let mut slices = Vec::with_capacity(reference.slices.len());
    let mut used = 0;
    for slice in &reference.slices {
        let mut pair = alone(slice, reference);
        if let Some(found) = predicted.slices.iter().find(|found| found.number == slice.number) {
            if found.labels.dim() != slice.labels.dim() {
                let why = format!(
                    "slice {} is {:?} in the prediction and {:?} in the reference (rows, columns)",
                    slice.number,
                    found.labels.dim(),
                    slice.labels.dim()
                );
                return Err(Error::Unmatched { case: case.to_owned(), why });
            }
            used += 1;
            pair.predicted.assign(&found.labels);
        }
        slices.push(pair);
    }
    if used == 0 {
        let why = "prediction and reference have no slice number in common".to_owned();
        return Err(Error::Unmatched { case: case.to_owned(), why });
    }
    let unscored = predicted.slices.len() - used;
    Ok(Paired { slices, spacing: reference.spacing.or(predicted.spacing), unscored })
}

/// Half of the smaller slice distance: planes nearer than this are one plane.
fn tolerance_mm(reference: &Volume, predicted: &Volume) -> f64 {
    let step = |volume: &Volume| volume.spacing.map_or(f64::INFINITY, |spacing| spacing.slice_mm);
    let step = step(reference).min(step(predicted));
    if step.is_finite() { step / 2.0 } else { 1.0 }
}

fn by_place(reference: &Volume, predicted: &Volume) -> Paired {
    let limit = tolerance_mm(reference, predicted);
    let normal = reference.slices.iter().chain(&predicted.slices).find_map(|slice| slice.plane).map(|p| p.normal());
    let z = |slice: &LabelSlice| normal.and_then(|normal| Some(slice.plane?.distance_mm(normal)));
    let near = |a: &LabelSlice, b: &LabelSlice| z(a).zip(z(b)).is_some_and(|(a, b)| (a - b).abs() < limit);
    let mut slices: Vec<Pair> = Vec::new();
    for slice in &reference.slices {
        let found = predicted.slices.iter().filter(|other| near(slice, other)).min_by(|a, b| {
            let gap = |other: &LabelSlice| z(slice).zip(z(other)).map_or(f64::INFINITY, |(a, b)| (a - b).abs());
            gap(a).total_cmp(&gap(b))
        });
        let empty = || Array2::zeros(slice.labels.dim());
        slices.push(Pair {
            number: slice.number,
            z_mm: z(slice),
            reference: slice.labels.clone(),
            predicted: found.map_or_else(empty, |found| on_grid(found, slice)),
        });
    }
    let alone = |slice: &&LabelSlice| !reference.slices.iter().any(|other| near(slice, other));
    let extra: Vec<&LabelSlice> = predicted.slices.iter().filter(alone).collect();
    let unscored = if reference.sparse { 0 } else { extra.len() };
    if reference.sparse {
        for (slice, number) in extra.into_iter().zip(reference.slices.iter().map(|s| s.number).max().unwrap_or(0) + 1..)
        {
            slices.push(Pair {
                number,
                z_mm: z(slice),
                reference: Array2::zeros(slice.labels.dim()),
                predicted: slice.labels.clone(),
            });
        }
    }
    slices.sort_by(|a, b| a.z_mm.unwrap_or(0.0).total_cmp(&b.z_mm.unwrap_or(0.0)));
    Paired { slices, spacing: reference.spacing.or(predicted.spacing), unscored }
}

/// The labels of one slice on the pixel grid of another, nearest neighbour in patient space.
fn on_grid(found: &LabelSlice, wanted: &LabelSlice) -> Array2<u8> {
    let (Some(from), Some(to)) = (found.plane, wanted.plane) else { return found.labels.clone() };
    if found.labels.dim() == wanted.labels.dim() && same_grid(&from, &to) {
        return found.labels.clone();
    }
    Array2::from_shape_fn(wanted.labels.dim(), |(row, column)| {
        let place = to.to_patient(row as f64, column as f64);
        let step: [f64; 3] = std::array::from_fn(|i| place[i] - from.position_mm[i]);
        let row = (dot(step, from.column) / from.spacing_mm[0]).round();
        let column = (dot(step, from.row) / from.spacing_mm[1]).round();
        if row < 0.0 || column < 0.0 {
            return 0;
        }
        found.labels.get((row as usize, column as usize)).copied().unwrap_or(0)
    })
}

/// Same directions and spacing, and origins that differ by less than a tenth of a pixel within the plane.
fn same_grid(a: &Plane, b: &Plane) -> bool {
    let step: [f64; 3] = std::array::from_fn(|i| a.position_mm[i] - b.position_mm[i]);
    let inside = dot(step, a.row).abs().max(dot(step, a.column).abs());
    let pixel = a.spacing_mm[0].min(a.spacing_mm[1]);
    let close = |u: f64, v: f64| (u - v).abs() < 1e-3;
    inside < 0.1 * pixel
        && dot(a.row, b.row) > 0.9999
        && dot(a.column, b.column) > 0.9999
        && close(a.spacing_mm[0], b.spacing_mm[0])
        && close(a.spacing_mm[1], b.spacing_mm[1])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plane(z: f64, origin: f64) -> Plane {
        Plane { position_mm: [origin, 0.0, z], row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0], spacing_mm: [1.0, 1.0] }
    }

    fn volume(slices: &[(usize, Option<Plane>, u8)], sparse: bool) -> Volume {
        let slices = slices.iter().map(|(number, plane, value)| {
            let mut labels = Array2::zeros((4, 4));
            labels[(1, 2)] = *value;
            LabelSlice { number: *number, plane: *plane, source: None, labels }
        });
        let spacing = Spacing { row_mm: 1.0, column_mm: 1.0, slice_mm: 8.0 };
        Volume { slices: slices.collect(), spacing: Some(spacing), sparse }
    }

    #[test]
    fn by_number_a_slice_without_prediction_is_empty_and_one_without_reference_is_not_scored() {
        let reference = volume(&[(0, None, 3), (1, None, 3)], false);
        let predicted = volume(&[(1, None, 2), (7, None, 3)], false);
        let paired = pair("a", &reference, Some(&predicted)).unwrap();
        assert_eq!(paired.unscored, 1);
        assert_eq!((paired.slices[0].predicted[(1, 2)], paired.slices[1].predicted[(1, 2)]), (0, 2));
        assert!(pair("a", &reference, Some(&volume(&[(9, None, 1)], false))).is_err(), "nothing in common");
    }

    #[test]
    fn a_sparse_reference_counts_what_was_predicted_elsewhere_against_an_empty_slice() {
        let reference = volume(&[(0, Some(plane(0.0, 0.0)), 3)], true);
        let predicted = volume(&[(0, Some(plane(8.0, 0.0)), 3), (1, Some(plane(0.1, 0.0)), 4)], true);
        let paired = pair("a", &reference, Some(&predicted)).unwrap();
        assert_eq!(paired.slices.len(), 2);
        assert_eq!((paired.slices[0].reference[(1, 2)], paired.slices[0].predicted[(1, 2)]), (3, 4));
        assert_eq!((paired.slices[1].reference[(1, 2)], paired.slices[1].predicted[(1, 2)]), (0, 3));
    }

    #[test]
    fn another_pixel_grid_is_resampled_in_patient_space() {
        let reference = volume(&[(0, Some(plane(0.0, 0.0)), 3)], false);
        // The same place seen from an origin one pixel further along the rows: column 2 there is column 3 here.
        let predicted = volume(&[(0, Some(plane(0.0, 1.0)), 3)], false);
        let paired = pair("a", &reference, Some(&predicted)).unwrap();
        assert_eq!((paired.slices[0].predicted[(1, 3)], paired.slices[0].predicted[(1, 2)]), (3, 0));
    }

    #[test]
    fn a_seg_cannot_be_laid_on_pictures_without_place() {
        let picture = volume(&[(0, None, 3)], false);
        let seg = volume(&[(0, Some(plane(0.0, 0.0)), 3)], true);
        assert!(pair("a", &picture, Some(&seg)).is_err());
    }
}
