//! A contact sheet of short-axis slices for people to look at.

use std::path::Path;

use image::{Rgb, RgbImage};

use super::patient::LateSlice;

/// Grey level of a value in a window.
fn grey(v: f32, (low, high): (f32, f32)) -> u8 {
    ((v - low) / (high - low).max(1e-6) * 255.0).clamp(0.0, 255.0) as u8
}

/// One row per stack, eight slices each from base to apex: PSIR windowed to the stack's 1st..99th percentile, with the exact
/// outline of cavity (blue), wall (green), scar (red) and no-reflow (yellow) when `outlines`.
#[must_use]
pub fn contact_sheet(stacks: &[Vec<LateSlice>], outlines: bool) -> RgbImage {
    const ACROSS: usize = 8;
    let side = stacks.iter().flatten().map(|s| s.plane.columns).max().unwrap_or(1);
    let mut sheet = RgbImage::new((ACROSS * side) as u32, (stacks.len() * side) as u32);
    for (row, stack) in stacks.iter().enumerate().filter(|(_, s)| !s.is_empty()) {
        let mut sorted: Vec<f32> = stack.iter().flat_map(|s| s.psir.iter().step_by(11).copied()).collect();
        sorted.sort_by(f32::total_cmp);
        let window = (sorted[sorted.len() / 100], sorted[sorted.len() * 99 / 100]);
        for place in 0..ACROSS {
            let slice = &stack[place * (stack.len() - 1) / (ACROSS - 1)];
            draw(&mut sheet, slice, (place * side, row * side), window, outlines);
        }
    }
    sheet
}

fn draw(sheet: &mut RgbImage, slice: &LateSlice, at: (usize, usize), window: (f32, f32), outlines: bool) {
    let columns = slice.plane.columns;
    for (i, v) in slice.psir.iter().enumerate() {
        let (x, y) = (i % columns, i / columns);
        let g = grey(*v, window);
        let label = slice.labels[i];
        let edge = label > 0
            && [i.wrapping_sub(1), i + 1, i.wrapping_sub(columns), i + columns]
                .iter()
                .any(|n| slice.labels.get(*n).is_some_and(|other| *other < label));
        let colour = match label {
            _ if !(outlines && edge) => Rgb([g, g, g]),
            1 => Rgb([60, 90, 255]),
            2 => Rgb([0, 200, 90]),
            3 => Rgb([255, 40, 40]),
            _ => Rgb([255, 220, 0]),
        };
        sheet.put_pixel((at.0 + x) as u32, (at.1 + y) as u32, colour);
    }
}

/// Writes a contact sheet as PNG.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, stacks: &[Vec<LateSlice>], outlines: bool) -> std::io::Result<()> {
    contact_sheet(stacks, outlines).save(path).map_err(std::io::Error::other)
}
