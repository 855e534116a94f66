//! Connected components of boolean masks, in a slice and through a stack.

use ndarray::Array2;

/// A pixel: (slice, row, column).
pub(super) type Pixel = (usize, usize, usize);

/// 26-connected components through slices; with one slice these are 8-connected components.
pub(super) fn components(masks: &[Array2<bool>]) -> Vec<Vec<Pixel>> {
    let mut seen: Vec<Array2<bool>> = masks.iter().map(|mask| Array2::from_elem(mask.dim(), false)).collect();
    let mut found = Vec::new();
    for (slice, mask) in masks.iter().enumerate() {
        for ((row, column), set) in mask.indexed_iter() {
            if *set && visit(&mut seen, (slice, row, column)) {
                found.push(grow(masks, &mut seen, (slice, row, column)));
            }
        }
    }
    found
}

/// Marks a pixel; true when it was not marked before.
fn visit(seen: &mut [Array2<bool>], (slice, row, column): Pixel) -> bool {
    match seen.get_mut(slice).and_then(|plane| plane.get_mut((row, column))) {
        Some(mark) if !*mark => {
            *mark = true;
            true
        }
        _ => false,
    }
}

fn grow(masks: &[Array2<bool>], seen: &mut [Array2<bool>], start: Pixel) -> Vec<Pixel> {
    let mut part = vec![start];
    let mut next = 0;
    while let Some(&(slice, row, column)) = part.get(next) {
        next += 1;
        for neighbour in neighbours(slice, row, column, masks.len() > 1) {
            let set = masks.get(neighbour.0).and_then(|mask| mask.get((neighbour.1, neighbour.2)));
            if set == Some(&true) && visit(seen, neighbour) {
                part.push(neighbour);
            }
        }
    }
    part
}

/// The 26 neighbours, or the 8 of the same slice; positions below zero wrap to values that no mask holds.
fn neighbours(slice: usize, row: usize, column: usize, through: bool) -> impl Iterator<Item = Pixel> {
    let offsets = [usize::MAX, 0, 1];
    let slices = if through { 0..3 } else { 1..2 };
    slices.filter_map(move |k| offsets.get(k).copied()).flat_map(move |s| {
        offsets.into_iter().flat_map(move |r| {
            offsets.into_iter().filter_map(move |c| {
                let own = s == 0 && r == 0 && c == 0;
                (!own).then(|| (slice.wrapping_add(s), row.wrapping_add(r), column.wrapping_add(c)))
            })
        })
    })
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
