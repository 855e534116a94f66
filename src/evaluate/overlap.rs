//! Agreement of two masks: Dice, area and perimeter similarity, Hausdorff distance.
//!
//! Definitions as in arXiv 2506.21151: perimeters count boundary pixels, boundary = mask without its erosion by the
//! 4-neighbour cross (outside the image is background).

use ndarray::Array2;

/// Pixel counts of two masks and of their intersection; counts of slices add up to those of a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pixels of the prediction.
    pub predicted: usize,
    /// Pixels of the reference.
    pub reference: usize,
    /// Pixels of both.
    pub both: usize,
}

impl Counts {
    /// Counts of two masks of one shape.
    pub fn of(predicted: &Array2<bool>, reference: &Array2<bool>) -> Self {
        let mut counts = Self::default();
        for (p, r) in predicted.iter().zip(reference) {
            counts.predicted += usize::from(*p);
            counts.reference += usize::from(*r);
            counts.both += usize::from(*p && *r);
        }
        counts
    }

    /// Adds another slice.
    pub fn add(&mut self, other: Self) {
        self.predicted += other.predicted;
        self.reference += other.reference;
        self.both += other.both;
    }

    /// Dice coefficient; `None` when both are empty, 0 when one is.
    pub fn dice(&self) -> Option<f64> {
        let total = self.predicted + self.reference;
        (total > 0).then(|| 2.0 * self.both as f64 / total as f64)
    }
}

/// `1 - |a - b| / (a + b)` of two sizes; `None` when both are zero.
pub fn similarity(a: usize, b: usize) -> Option<f64> {
    (a + b > 0).then(|| 1.0 - a.abs_diff(b) as f64 / (a + b) as f64)
}

/// Boundary pixels (row, column).
pub fn boundary(mask: &Array2<bool>) -> Vec<(usize, usize)> {
    let set = |r: usize, c: usize| mask.get((r, c)) == Some(&true);
    let inner =
        |r: usize, c: usize| set(r + 1, c) && set(r, c + 1) && set(r.wrapping_sub(1), c) && set(r, c.wrapping_sub(1));
    mask.indexed_iter().filter(|((r, c), on)| **on && !inner(*r, *c)).map(|(at, _)| at).collect()
}

/// Boundary voxels (slice, row, column) of a volume: without its erosion by the 6-neighbour cross.
pub fn boundary_3d(masks: &[Array2<bool>]) -> Vec<(usize, usize, usize)> {
    let set = |s: usize, r: usize, c: usize| masks.get(s).and_then(|m| m.get((r, c))) == Some(&true);
    let mut found = Vec::new();
    for (s, mask) in masks.iter().enumerate() {
        for ((r, c), on) in mask.indexed_iter() {
            let inner = || {
                set(s + 1, r, c)
                    && set(s.wrapping_sub(1), r, c)
                    && set(s, r + 1, c)
                    && set(s, r.wrapping_sub(1), c)
                    && set(s, r, c + 1)
                    && set(s, r, c.wrapping_sub(1))
            };
            if *on && !inner() {
                found.push((s, r, c));
            }
        }
    }
    found
}

/// Hausdorff distance of two point sets: the larger of the two directed maxima of nearest distances. `None` when one is
/// empty. Stops looking at a point's neighbours as soon as one is nearer than the maximum so far (Taha and Hanbury 2015).
pub fn hausdorff(a: &[[f64; 3]], b: &[[f64; 3]]) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    Some(directed(b, a, directed(a, b, 0.0)).sqrt())
}

/// Largest squared distance of a point of `a` to its nearest of `b`, at least `so_far`.
fn directed(a: &[[f64; 3]], b: &[[f64; 3]], so_far: f64) -> f64 {
    let mut largest = so_far;
    for p in a {
        let mut nearest = f64::INFINITY;
        for q in b {
            let (x, y, z) = (p[0] - q[0], p[1] - q[1], p[2] - q[2]);
            nearest = nearest.min(x * x + y * y + z * z);
            if nearest <= largest {
                break;
            }
        }
        largest = largest.max(nearest);
    }
    largest
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A mask drawn with `#`.
    pub(crate) fn mask(rows: &[&str]) -> Array2<bool> {
        Array2::from_shape_fn((rows.len(), rows[0].len()), |(r, c)| rows[r].as_bytes()[c] == b'#')
    }

    fn points(mask: &Array2<bool>, row_mm: f64, column_mm: f64) -> Vec<[f64; 3]> {
        boundary(mask).into_iter().map(|(r, c)| [r as f64 * row_mm, c as f64 * column_mm, 0.0]).collect()
    }

    /// An L and a block; goldens from scipy.ndimage.binary_erosion and scipy.spatial.distance.directed_hausdorff.
    fn shapes() -> (Array2<bool>, Array2<bool>) {
        let a = mask(&["........", ".#####..", ".#####..", ".#####..", ".##.....", ".##.....", "........"]);
        let b = mask(&["####....", "####....", "####....", "####....", "........", ".....##.", "........"]);
        (a, b)
    }

    #[test]
    fn two_shapes_agree_as_scipy_says() {
        let (a, b) = shapes();
        let counts = Counts::of(&a, &b);
        assert_eq!((counts.predicted, counts.reference, counts.both), (19, 18, 9));
        assert!((counts.dice().unwrap() - 0.486_486_486_486_486_5).abs() < 1e-12);
        assert_eq!((boundary(&a).len(), boundary(&b).len()), (15, 14));
        assert!((similarity(15, 14).unwrap() - 0.965_517_241_379_310_4).abs() < 1e-12);
        let distance = hausdorff(&points(&a, 1.0, 1.0), &points(&b, 1.0, 1.0)).unwrap();
        assert!((distance - HD_PX).abs() < 1e-12, "{distance}");
        let distance = hausdorff(&points(&a, 1.5, 1.25), &points(&b, 1.5, 1.25)).unwrap();
        assert!((distance - HD_MM).abs() < 1e-12, "{distance}");
    }

    const HD_PX: f64 = 2.236_067_977_499_79;
    const HD_MM: f64 = 3.25;

    #[test]
    fn a_volume_has_the_boundary_that_scipy_gives() {
        let full = Array2::from_elem((5, 5), true);
        // 4 x 5 x 5 block: all but the inner 2 x 3 x 3.
        assert_eq!(boundary_3d(&[full.clone(), full.clone(), full.clone(), full]).len(), 100 - 18);
    }

    #[test]
    fn empties_are_told_apart_from_misses() {
        let (empty, one) = (mask(&["..."]), mask(&[".#."]));
        assert_eq!(Counts::of(&empty, &empty).dice(), None);
        assert_eq!(Counts::of(&empty, &one).dice(), Some(0.0));
        assert_eq!((similarity(0, 0), similarity(0, 4)), (None, Some(0.0)));
        assert_eq!(hausdorff(&[], &[[0.0; 3]]), None);
    }
}
