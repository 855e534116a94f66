//! The promptable segmenter: prompts of the segment-anything decoder contract, the choice of a mask, and masks on the
//! slice grid with their contour moved inward and outward.

use super::detector::Found;
use super::error::InferError;
use super::manifest::{Contract, MaskSelect};
use super::preprocess::{Back, Region};
use super::session::{Model, Tensor};
use ndarray::Array2;

/// Logits of a whole region, square.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// Row-major, size x size.
    pub values: Vec<f32>,
    /// Side.
    pub size: usize,
}

impl Logits {
    /// Pixel-wise maximum: the logical OR of masks, before the threshold.
    pub fn join(&mut self, other: &Self) {
        for (value, more) in self.values.iter_mut().zip(&other.values) {
            *value = value.max(*more);
        }
    }
}

/// The output with IoU estimates, under the names in use.
pub fn iou_output(model: &Model) -> Option<&'static str> {
    ["iou_predictions", "scores"].into_iter().find(|name| model.output(name).is_some())
}

/// Masks of one box prompt. `detector_size` is the frame that the box is given in.
///
/// # Errors
/// [`InferError`] when the forward pass fails or its output has another shape than the contract says.
pub fn mask(model: &Model, embedding: &Tensor, found: &Found, detector_size: usize) -> Result<Logits, InferError> {
    let role = model.manifest.role;
    let Contract::Decoder { masks, low_res, frame, select, .. } = &model.manifest.contract else {
        return Err(InferError::Mismatch(format!("{role} is not a decoder")));
    };
    let feeds = feeds(model, embedding, found, detector_size, *frame, *select);
    let mut borrowed: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (*name, tensor)).collect();
    borrowed.push((&model.manifest.input.name, embedding));
    let output = low_res.as_ref().unwrap_or(masks);
    let mut wanted = vec![output.as_str()];
    wanted.extend((*select == MaskSelect::BestIou).then(|| iou_output(model)).flatten());
    let mut outputs = model.run(&borrowed, &wanted)?.into_iter();
    let wrong = |found: String| InferError::Contract {
        role,
        expected: format!("output `{output}` [1, masks, S, S] of finite values"),
        found,
    };
    let planes = outputs.next().ok_or_else(|| wrong("nothing".to_owned()))?;
    let &[1, count, size, columns] = planes.shape.as_slice() else {
        return Err(wrong(format!("{:?}", planes.shape)));
    };
    if size != columns || size == 0 || count == 0 || planes.data.iter().any(|v| !v.is_finite()) {
        return Err(wrong(format!("{:?}", planes.shape)));
    }
    let index = match select {
        MaskSelect::Only if count == 1 => 0,
        MaskSelect::Token0 => 0,
        MaskSelect::BestIou => {
            best(outputs.next().as_ref(), count).ok_or_else(|| wrong("no IoU per mask".to_owned()))?
        }
        MaskSelect::Only => return Err(wrong(format!("{count} masks, mask_select = \"only\""))),
    };
    let area = size * size;
    let values = planes.data.get(index * area..(index + 1) * area).unwrap_or(&[]).to_vec();
    Ok(Logits { values, size })
}

fn best(estimates: Option<&Tensor>, count: usize) -> Option<usize> {
    let estimates = estimates.filter(|tensor| tensor.data.len() == count)?;
    let mut best = 0;
    for (index, value) in estimates.data.iter().enumerate() {
        if estimates.data.get(best).is_none_or(|top| value > top) {
            best = index;
        }
    }
    Some(best)
}

/// Inputs for a box in px of the decoder's own frame, besides the embedding; empty when the model is no decoder.
pub fn prompt(model: &Model, embedding: &Tensor, found: &Found) -> Vec<(&'static str, Tensor)> {
    match &model.manifest.contract {
        Contract::Decoder { frame, select, .. } => feeds(model, embedding, found, *frame, *frame, *select),
        _ => Vec::new(),
    }
}

/// Inputs of the decoder besides the embedding, as many of them as it has. Points are in px of `frame`; labels 2 and 3 are a box's corners.
fn feeds(
    model: &Model,
    embedding: &Tensor,
    found: &Found,
    detector_size: usize,
    frame: usize,
    select: MaskSelect,
) -> Vec<(&'static str, Tensor)> {
    let scale = |v: f32| v * frame as f32 / detector_size as f32;
    let mut points: Vec<f32> = found.edges.iter().map(|v| scale(*v)).collect();
    let mut labels = vec![2.0, 3.0];
    if select == MaskSelect::Token0 && single_mask(model) {
        // A single-mask export prefers token 0 only from three points on; a padding point (label -1) makes it three.
        points.extend([0.0, 0.0]);
        labels.push(-1.0);
    }
    let count = labels.len();
    let prior = prior_shape(model, embedding);
    let zeros = vec![0.0; prior.iter().product()];
    let all = [
        ("point_coords", vec![1, count, 2], points),
        ("point_labels", vec![1, count], labels),
        ("mask_input", prior, zeros),
        ("has_mask_input", vec![1], vec![0.0]),
        ("orig_im_size", vec![2], vec![frame as f32, frame as f32]),
    ];
    all.into_iter()
        .filter(|(name, ..)| model.input(name).is_some())
        .map(|(name, shape, data)| (name, Tensor { shape, data }))
        .collect()
}

/// Whether the export gives one mask by design.
fn single_mask(model: &Model) -> bool {
    let Contract::Decoder { masks, .. } = &model.manifest.contract else { return false };
    model.output(masks).is_some_and(|port| port.dims.get(1) == Some(&1))
}

/// Shape of `mask_input`: the graph's where it is fixed, else four times the embedding's side, as segment-anything has it.
fn prior_shape(model: &Model, embedding: &Tensor) -> Vec<usize> {
    let side = embedding.shape.last().copied().unwrap_or(64) * 4;
    let dims = model.input("mask_input").map(|port| port.dims.clone()).unwrap_or_default();
    let dim = |at: usize, otherwise: usize| {
        dims.get(at).and_then(|d| usize::try_from(*d).ok()).filter(|d| *d > 0).unwrap_or(otherwise)
    };
    vec![1, 1, dim(2, side), dim(3, side)]
}

/// A mask on the slice grid, with its contour moved by half a pixel to either side.
pub struct Contoured {
    /// The mask.
    pub mask: Array2<bool>,
    /// Pixels that stay when the contour moves inward; a subset of `mask`.
    pub inner: Array2<bool>,
    /// Pixels that are reached when it moves outward; a superset of `mask`.
    pub outer: Array2<bool>,
}

/// Half a pixel in the eight directions.
const SHIFTS: [(f64, f64); 8] = {
    const D: f64 = 0.353_553_390_593_273_8;
    [(0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5), (D, D), (D, -D), (-D, D), (-D, -D)]
};

/// Where interpolated `logits` are above `threshold` and `gate` allows. The contour is moved by looking the logits up
/// half a slice pixel away: inner where they are above the threshold in all eight directions, outer where in any.
pub fn contour(logits: &Logits, threshold: f32, region: &Region, gate: &Array2<bool>) -> Contoured {
    let dim = gate.dim();
    let empty = || Array2::from_elem(dim, false);
    let (mut mask, mut reach) = (empty(), empty());
    let allowed = |at: (usize, usize)| gate.get(at).copied().unwrap_or(false);
    let mut window = None;
    Back::new(region, dim, logits.size, (0.0, 0.0)).each(&logits.values, |row, column, values| {
        if values.first().is_some_and(|v| *v > threshold) {
            let (r, c): &mut (std::ops::Range<usize>, std::ops::Range<usize>) =
                window.get_or_insert((row..row + 1, column..column + 1));
            *r = r.start.min(row)..r.end.max(row + 1);
            *c = c.start.min(column)..c.end.max(column + 1);
            if allowed((row, column)) {
                mask[(row, column)] = true;
                reach[(row, column)] = true;
            }
        }
    });
    let mut inner = mask.clone();
    let Some((rows, columns)) = window else { return Contoured { inner, outer: reach, mask } };
    let grow = |r: std::ops::Range<usize>, end: usize| r.start.saturating_sub(1)..(r.end + 1).min(end);
    let (rows, columns) = (grow(rows, dim.0), grow(columns, dim.1));
    for shift in SHIFTS {
        let mut seen = empty();
        Back::new(region, dim, logits.size, shift).within(&rows, &columns).each(
            &logits.values,
            |row, column, values| {
                seen[(row, column)] = values.first().is_some_and(|v| *v > threshold);
            },
        );
        for row in rows.clone() {
            for column in columns.clone() {
                let at = (row, column);
                inner[at] &= seen[at];
                reach[at] |= seen[at] && allowed(at);
            }
        }
    }
    Contoured { mask, inner, outer: reach }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Signed distance to a circle in a frame of `size`, positive inside.
    fn disc(size: usize, cx: f64, cy: f64, radius: f64) -> Logits {
        let values = (0..size * size)
            .map(|i| {
                let (y, x) = ((i / size) as f64 + 0.5, (i % size) as f64 + 0.5);
                (radius - ((x - cx).powi(2) + (y - cy).powi(2)).sqrt()) as f32
            })
            .collect();
        Logits { values, size }
    }

    #[test]
    fn the_contour_moves_by_half_a_pixel() {
        // A disc of radius 10 slice pixels seen in a frame twice as fine: areas are those of radii 9.5, 10, 10.5.
        let region = Region::square(24.0, 24.0, 40.0);
        let logits = disc(80, 40.0, 40.0, 20.0);
        let gate = Array2::from_elem((48, 48), true);
        let found = contour(&logits, 0.0, &region, &gate);
        for (mask, radius) in [(&found.mask, 10.0f64), (&found.inner, 9.5), (&found.outer, 10.5)] {
            let area = mask.iter().filter(|set| **set).count() as f64;
            let expected = std::f64::consts::PI * radius * radius;
            // Eight directions make an octagon of the half pixel, so a little less than a disc.
            assert!((area / expected - 1.0).abs() < 0.05, "area {area}, a disc of radius {radius} has {expected:.0}");
        }
    }

    #[test]
    fn masks_are_joined_by_their_maximum() {
        let mut a = Logits { values: vec![-1.0, 2.0], size: 1 };
        a.join(&Logits { values: vec![3.0, -5.0], size: 1 });
        assert_eq!(a.values, [3.0, 2.0]);
    }

    #[test]
    fn the_best_estimate_wins_and_ties_take_the_first() {
        let tensor = |data: Vec<f32>| Tensor { shape: vec![1, data.len()], data };
        assert_eq!(best(Some(&tensor(vec![0.1, 0.7, 0.7, 0.2])), 4), Some(1));
        assert_eq!(best(Some(&tensor(vec![0.1])), 4), None);
        assert_eq!(best(None, 1), None);
    }

    proptest! {
        #[test]
        fn inner_is_inside_and_outer_outside_and_all_inside_the_gate(
            cx in 2.0f64..14.0, cy in 2.0f64..14.0, radius in 0.3f64..7.0,
            gate in proptest::collection::vec(any::<bool>(), 20 * 20), left in 0.0f64..9.0, side in 8.0f64..22.0,
        ) {
            let region = Region::square(left, 8.0, side);
            let gate = Array2::from_shape_vec((20, 20), gate).unwrap();
            let found = contour(&disc(16, cx, cy, radius), 0.0, &region, &gate);
            for (((mask, inner), outer), gate) in found.mask.iter().zip(&found.inner).zip(&found.outer).zip(&gate) {
                prop_assert!(!inner || *mask);
                prop_assert!(!mask || *outer);
                prop_assert!(!outer || *gate);
            }
        }
    }
}
