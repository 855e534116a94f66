//! Where the left ventricle is: one square crop for a stack, from the dense model's labels of whole slices.

use super::mask;
use super::preprocess::Region;
use crate::domain::labels::Label;
use ndarray::{Array2, Array3};

/// Clears everything but the largest component of cavity and wall through the stack (26-connected). A false ring far
/// from the heart, or beyond base and apex, does not join the chain of slices that holds the heart: it neither moves
/// the crop nor adds mass.
pub fn keep_heart(labels: &mut [Array2<u8>]) {
    let Some(dim) = labels.first().map(Array2::dim) else { return };
    let body = Array3::from_shape_fn((labels.len(), dim.0, dim.1), |(s, r, c)| {
        labels.get(s).and_then(|slice| slice.get((r, c))).is_some_and(|label| *label != Label::Background as u8)
    });
    let heart = mask::largest_component(&body);
    for (slice, kept) in labels.iter_mut().zip(heart.outer_iter()) {
        slice.zip_mut_with(&kept, |label, kept| {
            if !kept {
                *label = Label::Background as u8;
            }
        });
    }
}

/// The crop: centre of the common bounding box of all wall pixels, side = `factor` x its longer side. `None` without
/// wall. The labels went through [`keep_heart`].
pub fn crop_of(labels: &[Array2<u8>], factor: f64) -> Option<Region> {
    let wall = labels
        .iter()
        .flat_map(|slice| slice.indexed_iter())
        .filter(|(_, label)| **label >= Label::Myocardium as u8)
        .map(|(at, _)| at);
    let (mut y, mut x) = ((usize::MAX, 0), (usize::MAX, 0));
    for (row, column) in wall {
        y = (y.0.min(row), y.1.max(row + 1));
        x = (x.0.min(column), x.1.max(column + 1));
    }
    if y.0 == usize::MAX {
        return None;
    }
    let (height, width) = ((y.1 - y.0) as f64, (x.1 - x.0) as f64);
    Some(Region::square((x.0 + x.1) as f64 / 2.0, (y.0 + y.1) as f64 / 2.0, factor * height.max(width)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(dim: usize, top: usize, left: usize, side: usize) -> Array2<u8> {
        Array2::from_shape_fn((dim, dim), |(r, c)| {
            let inside = |v: usize, low: usize| v >= low && v < low + side;
            let edge = |v: usize, low: usize| v == low || v + 1 == low + side;
            match (inside(r, top) && inside(c, left), edge(r, top) || edge(c, left)) {
                (true, true) => 2,
                (true, false) => 1,
                _ => 0,
            }
        })
    }

    #[test]
    fn the_crop_is_about_the_common_box_of_the_heart_and_ignores_false_rings() {
        let mut stack = vec![ring(64, 20, 10, 8), ring(64, 20, 12, 10), Array2::zeros((64, 64))];
        stack[2].assign(&ring(64, 50, 50, 6));
        keep_heart(&mut stack);
        assert!(stack[2].iter().all(|label| *label == 0), "a ring that touches no other slice's heart is dropped");
        // Rows 20..30, columns 10..22: centre (16, 25), longer side 12.
        assert_eq!(crop_of(&stack, 1.5), Some(Region::square(16.0, 25.0, 18.0)));
    }

    #[test]
    fn no_wall_no_crop() {
        let mut stack = vec![Array2::from_elem((8, 8), 1u8)];
        keep_heart(&mut stack);
        assert_eq!(crop_of(&stack, 1.5), None);
        assert_eq!(crop_of(&[], 1.5), None);
    }
}
