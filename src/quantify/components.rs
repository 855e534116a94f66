//! Connected components of boolean masks, in a slice and through a stack.

use ndarray::Array2;
use std::ops::Range;

/// A pixel: (slice, row, column).
pub(super) type Pixel = (usize, usize, usize);

/// 26-connected components through slices; with one slice these are 8-connected components.
pub(super) fn components(masks: &[Array2<bool>]) -> Vec<Vec<Pixel>> {
    // What belongs to no component yet.
    let mut left = masks.to_vec();
    let mut found = Vec::new();
    for (slice, mask) in masks.iter().enumerate() {
        for ((row, column), set) in mask.indexed_iter() {
            if *set && left.get(slice).and_then(|left| left.get((row, column))) == Some(&true) {
                found.push(grow(&mut left, (slice, row, column)));
            }
        }
    }
    found
}

/// Takes the component of a pixel out of `left`.
fn grow(left: &mut [Array2<bool>], (slice, row, column): Pixel) -> Vec<Pixel> {
    let mut part = Vec::new();
    take(left, &mut part, [slice, row, column].map(|at| at..at + 1));
    let mut next = 0;
    while let Some(&(slice, row, column)) = part.get(next) {
        next += 1;
        take(left, &mut part, [slice, row, column].map(|at| at.saturating_sub(1)..at + 2));
    }
    part
}

/// Moves the set pixels of a box from `left` to `part`.
fn take(left: &mut [Array2<bool>], part: &mut Vec<Pixel>, [slices, rows, columns]: [Range<usize>; 3]) {
    for slice in slices {
        let Some(plane) = left.get_mut(slice) else { break };
        for row in rows.clone() {
            for column in columns.clone() {
                if let Some(pixel @ true) = plane.get_mut((row, column)) {
                    *pixel = false;
                    part.push((slice, row, column));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Array2<bool> {
        Array2::from_shape_fn((rows.len(), rows[0].len()), |(r, c)| rows[r].as_bytes()[c] == b'#')
    }

    #[test]
    fn diagonal_neighbours_belong_together() {
        assert_eq!(components(&[mask(&["#..", ".#.", "..#"])]).len(), 1);
        assert_eq!(components(&[mask(&["#.#", "...", "#.#"])]).len(), 4);
    }

    #[test]
    fn parts_join_through_slices() {
        let (a, b) = (mask(&["#..", "..."]), mask(&["...", ".#."]));
        assert_eq!(components(&[a.clone(), b.clone()]).len(), 1);
        assert_eq!(components(&[a, mask(&["...", "..."]), b]).len(), 2);
    }
}
