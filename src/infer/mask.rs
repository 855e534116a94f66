//! Operations on pixel masks: the largest component of a stack, dilation, Dice.

use ndarray::{Array2, Array3};

/// Grows a mask by one pixel (3 x 3 square).
pub fn dilate(mask: &Array2<bool>) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    let mut out = mask.clone();
    for ((r, c), _) in mask.indexed_iter().filter(|(_, set)| **set) {
        for near in neighbours([r, c], [rows, columns]) {
            if let Some(pixel) = out.get_mut(near) {
                *pixel = true;
            }
        }
    }
    out
}

/// Indices that differ by at most one in each coordinate, the index itself included.
fn neighbours<const N: usize>(at: [usize; N], dim: [usize; N]) -> impl Iterator<Item = [usize; N]> {
    (0..3usize.pow(N as u32)).filter_map(move |code| {
        let mut rest = code;
        let mut near = at;
        for (value, end) in near.iter_mut().zip(dim) {
            *value = (*value + rest % 3).checked_sub(1).filter(|v| *v < end)?;
            rest /= 3;
        }
        Some(near)
    })
}

/// The largest component (26-connected) of a volume of masks [slices, rows, columns]; of several equally large ones,
/// the first in memory order.
pub fn largest_component(volume: &Array3<bool>) -> Array3<bool> {
    let (n, rows, columns) = volume.dim();
    let mut part = Array3::<u32>::zeros((n, rows, columns));
    let (mut best, mut best_size, mut next) = (0u32, 0usize, 1u32);
    let mut open: Vec<[usize; 3]> = Vec::new();
    for ((s, r, c), set) in volume.indexed_iter() {
        if !set || part[[s, r, c]] != 0 {
            continue;
        }
        part[[s, r, c]] = next;
        open.push([s, r, c]);
        let mut size = 0usize;
        while let Some(at) = open.pop() {
            size += 1;
            for near in neighbours(at, [n, rows, columns]) {
                if volume[near] && part[near] == 0 {
                    part[near] = next;
                    open.push(near);
                }
            }
        }
        if size > best_size {
            (best, best_size) = (next, size);
        }
        next += 1;
    }
    part.mapv(|p| best != 0 && p == best)
}

/// The components (8-connected) of `seeds` that touch or overlap `anchor`.
pub fn touching(seeds: &Array2<bool>, anchor: &Array2<bool>) -> Array2<bool> {
    let (rows, columns) = seeds.dim();
    let near_anchor = dilate(anchor);
    let mut kept = Array2::from_elem((rows, columns), false);
    let mut open: Vec<[usize; 2]> =
        seeds.indexed_iter().filter(|(at, set)| **set && near_anchor[*at]).map(|((r, c), _)| [r, c]).collect();
    for at in &open {
        kept[*at] = true;
    }
    while let Some(at) = open.pop() {
        for near in neighbours(at, [rows, columns]) {
            if seeds[near] && !kept[near] {
                kept[near] = true;
                open.push(near);
            }
        }
    }
    kept
}

/// Dice overlap of two masks; 1 when both are empty.
pub fn dice(a: &Array2<bool>, b: &Array2<bool>) -> f32 {
    let both = a.iter().zip(b).filter(|(x, y)| **x && **y).count();
    let sum = a.iter().filter(|x| **x).count() + b.iter().filter(|x| **x).count();
    if sum == 0 { 1.0 } else { 2.0 * both as f32 / sum as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;
    use proptest::prelude::*;

    fn mask(text: &[&str]) -> Array2<bool> {
        let columns = text.first().map_or(0, |line| line.len());
        Array2::from_shape_fn((text.len(), columns), |(r, c)| text[r].as_bytes()[c] == b'#')
    }

    #[test]
    fn dilation_is_a_square_and_stops_at_the_border() {
        let grown = dilate(&mask(&["#....", ".....", "....."]));
        assert_eq!(grown, mask(&["##...", "##...", "....."]));
        let grown = dilate(&mask(&[".....", "..#..", "....."]));
        assert_eq!(grown, mask(&[".###.", ".###.", ".###."]));
    }

    #[test]
    fn the_largest_component_connects_through_slices_and_corners() {
        let slices = [mask(&["#..#", "...."]), mask(&[".#.#", "...."]), mask(&["..#.", "...."])];
        let volume = Array3::from_shape_fn((3, 2, 4), |(s, r, c)| slices[s][[r, c]]);
        // (0,0,0)-(1,0,1)-(2,0,2) is diagonal; (0,0,3)-(1,0,3)-(2,0,2) joins it at the last slice.
        assert_eq!(largest_component(&volume), volume);
        let far = Array3::from_shape_fn((2, 1, 6), |(_, _, c)| c != 3 && c != 2);
        let kept = largest_component(&far);
        assert!(kept[[0, 0, 0]] && kept[[1, 0, 1]] && !kept[[0, 0, 4]], "of two equal ones the first is kept");
    }

    #[test]
    fn touching_keeps_whole_components_next_to_the_anchor() {
        let anchor = mask(&["#......", ".......", "......."]);
        let seeds = mask(&[".##....", ".......", "....##."]);
        assert_eq!(touching(&seeds, &anchor), mask(&[".##....", ".......", "......."]));
    }

    #[test]
    fn dice_of_known_masks() {
        assert!((dice(&arr2(&[[true, true, false]]), &arr2(&[[true, false, false]])) - 2.0 / 3.0).abs() < 1e-6);
        assert!((dice(&arr2(&[[false]]), &arr2(&[[false]])) - 1.0).abs() < 1e-6);
        assert!(dice(&arr2(&[[true]]), &arr2(&[[false]])).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn components_are_subsets_and_dilation_grows(bits in proptest::collection::vec(any::<bool>(), 3 * 6 * 7)) {
            let volume = Array3::from_shape_vec((3, 6, 7), bits).unwrap_or_default();
            let kept = largest_component(&volume);
            prop_assert!(kept.iter().zip(&volume).all(|(k, v)| !k || *v));
            prop_assert_eq!(kept.iter().any(|k| *k), volume.iter().any(|v| *v));
            prop_assert_eq!(&largest_component(&kept), &kept);
            let slice = volume.index_axis(ndarray::Axis(0), 0).to_owned();
            prop_assert!(dilate(&slice).iter().zip(&slice).all(|(d, s)| *d || !s));
        }
    }
}
