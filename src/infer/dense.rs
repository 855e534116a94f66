//! The dense model's planes: probabilities, labels on the slice grid, entropy, and the margin that moves its contour.

use super::manifest::{Activation, DENSE_CLASSES};
use super::preprocess::{Back, Region};
use crate::domain::labels::Label;
use ndarray::Array2;

/// Number of classes.
pub const CLASSES: usize = DENSE_CLASSES.len();

/// Makes planes [classes, size, size] into probabilities; false when a value is not finite.
pub fn activate(planes: &mut [f32], activation: Activation) -> bool {
    if planes.iter().any(|v| !v.is_finite()) {
        return false;
    }
    if activation == Activation::Logits {
        softmax(planes);
    }
    true
}

/// Softmax over the first of [classes, area]; plain loops for the reason given at `preprocess::blend`.
fn softmax(planes: &mut [f32]) {
    let area = planes.len() / CLASSES;
    let mut pixel = 0;
    while pixel < area {
        let mut top = f32::NEG_INFINITY;
        let mut k = 0;
        while k < CLASSES {
            let value = planes[k * area + pixel];
            if value > top {
                top = value;
            }
            k += 1;
        }
        let mut sum = 0.0;
        k = 0;
        while k < CLASSES {
            let part = (planes[k * area + pixel] - top).exp();
            planes[k * area + pixel] = part;
            sum += part;
            k += 1;
        }
        k = 0;
        while k < CLASSES {
            planes[k * area + pixel] /= sum;
            k += 1;
        }
        pixel += 1;
    }
}

/// Labels on the slice grid: the likeliest class of the interpolated probabilities (of equal ones the lower), background
/// outside the region.
pub fn labels(planes: &[f32], region: &Region, dim: (usize, usize), size: usize) -> Array2<u8> {
    let mut out = vec![0u8; dim.0 * dim.1];
    let pixels = out.as_mut_slice();
    Back::new(region, dim, size, (0.0, 0.0)).each(planes, |row, column, values| {
        let (mut best, mut class) = (0, 1);
        while class < values.len() {
            if values[class] > values[best] {
                best = class;
            }
            class += 1;
        }
        pixels[row * dim.1 + column] = best as u8;
    });
    Array2::from_shape_vec(dim, out).unwrap_or_else(|_| Array2::zeros(dim))
}

/// Mean entropy, nats, of the class probabilities over the wall; `None` without wall.
pub fn entropy(planes: &[f32], region: &Region, labels: &Array2<u8>, size: usize) -> Option<f32> {
    let (mut sum, mut count) = (0.0f64, 0usize);
    Back::new(region, labels.dim(), size, (0.0, 0.0)).each(planes, |row, column, values| {
        if labels.get((row, column)).is_some_and(|label| *label >= Label::Myocardium as u8) {
            sum -= values.iter().filter(|p| **p > 0.0).map(|p| f64::from(*p) * f64::from(*p).ln()).sum::<f64>();
            count += 1;
        }
    });
    (count > 0).then(|| (sum / count as f64) as f32)
}

/// One plane [size, size]: how much likelier scar or no-reflow is than every other class; positive inside scar.
pub fn scar_margin(planes: &[f32], size: usize) -> Vec<f32> {
    let area = size * size;
    let best = |classes: std::ops::Range<usize>, pixel: usize| {
        classes
            .filter_map(|class| planes.get(class * area + pixel))
            .fold(f32::NEG_INFINITY, |best, value| best.max(*value))
    };
    let scar = Label::Scar as usize;
    (0..area).map(|pixel| best(scar..CLASSES, pixel) - best(0..scar, pixel)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_and_entropy_of_known_logits() {
        // torch.softmax(torch.tensor([1., 2., 3., 0., -1.]), 0)
        let expected = [0.086_128_54, 0.234_121_66, 0.636_408_6, 0.031_684_92, 0.011_656_23];
        let mut planes: Vec<f32> = [1.0, 2.0, 3.0, 0.0, -1.0].iter().flat_map(|v| [*v; 4]).collect();
        assert!(activate(&mut planes, Activation::Logits));
        for (class, value) in expected.iter().enumerate() {
            assert!((planes[class * 4 + 2] - value).abs() < 1e-6);
        }
        let region = Region::square(1.0, 1.0, 2.0);
        let found = labels(&planes, &region, (2, 2), 2);
        assert!(found.iter().all(|label| *label == 2));
        let nats: f32 = expected.iter().map(|p| -p * p.ln()).sum();
        let found = entropy(&planes, &region, &found, 2);
        assert!(found.is_some_and(|e| (e - nats).abs() < 1e-5), "{found:?} against {nats}");
        assert!(entropy(&planes, &region, &Array2::zeros((2, 2)), 2).is_none());
    }

    #[test]
    fn ties_take_the_lower_class_and_bad_values_are_refused() {
        let planes = vec![0.2f32; CLASSES * 4];
        let region = Region::square(1.0, 1.0, 2.0);
        assert!(labels(&planes, &region, (2, 2), 2).iter().all(|label| *label == 0));
        assert!(!activate(&mut [0.0, f32::NAN, 0.0, 0.0, 0.0], Activation::Logits));
    }
}
