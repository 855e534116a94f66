//! Lesions: how many, how large, how compact.

use super::components::{Pixel, components};
use super::contour::outlines;
use crate::domain::labels::{Region, Segmentation};
use crate::domain::segments::Lesion;
use crate::domain::stack::Stack;
use ndarray::Array2;

/// Number of 3-D lesions (26-connected), and every lesion slice by slice (8-connected), largest 3-D lesion first.
pub(super) fn measure(stack: &Stack, labels: &Segmentation) -> (usize, Vec<Lesion>) {
    let masks: Vec<Array2<bool>> = labels.slices.iter().map(|slice| slice.region(Region::Scar)).collect();
    let mut lesions = components(&masks);
    lesions.sort_by_key(|part| std::cmp::Reverse(part.len()));
    let mut found = Vec::new();
    for (lesion, pixels) in (1..).zip(&lesions) {
        for (slice, plane) in stack.slices.iter().map(|slice| &slice.plane).enumerate() {
            let here: Vec<&Pixel> = pixels.iter().filter(|(s, _, _)| *s == slice).collect();
            let mut parts: Vec<Lesion> = components(&[window(&here)])
                .iter()
                .filter_map(|part| shape(&window(&part.iter().collect::<Vec<_>>()), plane.spacing_mm, slice, lesion))
                .collect();
            parts.sort_by(|a, b| b.area_mm2.total_cmp(&a.area_mm2));
            found.extend(parts);
        }
    }
    (lesions.len(), found)
}

/// The pixels in a mask just large enough.
fn window(pixels: &[&Pixel]) -> Array2<bool> {
    let bounds = pixels.iter().fold(None, |bounds: Option<[usize; 4]>, (_, r, c)| {
        let [r0, r1, c0, c1] = bounds.unwrap_or([*r, *r, *c, *c]);
        Some([r0.min(*r), r1.max(*r), c0.min(*c), c1.max(*c)])
    });
    let Some([r0, r1, c0, c1]) = bounds else { return Array2::from_elem((0, 0), false) };
    let mut mask = Array2::from_elem((r1 - r0 + 1, c1 - c0 + 1), false);
    for (_, r, c) in pixels {
        if let Some(pixel) = mask.get_mut((r - r0, c - c0)) {
            *pixel = true;
        }
    }
    mask
}

fn shape(mask: &Array2<bool>, spacing: [f64; 2], slice: usize, lesion: usize) -> Option<Lesion> {
    let lines = outlines(mask, spacing);
    let area: f64 = lines.iter().map(|line| line.area()).sum();
    let outer = lines.into_iter().max_by(|a, b| a.area().total_cmp(&b.area()))?;
    let (perimeter, hull) = (outer.length(), outer.hull().area());
    let circularity = (4.0 * std::f64::consts::PI * area / (perimeter * perimeter)).min(1.0);
    (hull > 0.0).then(|| Lesion { slice, lesion, area_mm2: area, solidity: area / hull, circularity })
}
