//! Pictures of a result: the slices with the contours drawn on them, for the command line and pages.

use super::EncodeError;
use crate::domain::artefact::{Artefact, ArtefactKind};
use crate::domain::labels::{Label, Region, Segmentation, SliceLabels};
use crate::domain::measures::Measures;
use crate::domain::stack::{Slice, Stack};
use font8x8::UnicodeFonts;
use image::{ImageFormat, Rgb, RgbImage};
use ndarray::Array2;
use std::io::Cursor;

/// Burned into every picture until a person signed.
pub const BANNER: &str = "AI RESULT, NOT VERIFIED - RESEARCH USE ONLY";

const TILE: u32 = 224;
const COLUMNS: u32 = 5;
const HEADER: u32 = 44;
/// Colour-blind safe (Okabe and Ito): cavity outline sky blue, epicardial outline green, scar orange, no-reflow purple.
const ENDO: Rgb<u8> = Rgb([86, 180, 233]);
const EPI: Rgb<u8> = Rgb([0, 158, 115]);
pub(super) const SCAR: Rgb<u8> = Rgb([230, 159, 0]);
const NO_REFLOW: Rgb<u8> = Rgb([204, 121, 167]);
pub(super) const TEXT: Rgb<u8> = Rgb([230, 230, 230]);

/// Square window of a slice that is shown, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    row: f64,
    column: f64,
    side: f64,
}

/// What of the slices is shown, and how bright: found once for all pictures of a result.
pub struct View {
    pub(super) window: Window,
    pub(super) ranges: Vec<DisplayRange>,
}

impl View {
    /// The window around the ventricle and the display range of each slice.
    pub fn of(stack: &Stack, labels: &Segmentation) -> Self {
        let ranges = stack.slices.iter().map(|slice| display_range(&slice.pixels)).collect();
        Self { window: window(stack, labels), ranges }
    }
}

/// Square of a canvas that a slice is drawn into, in pixels of the canvas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    pub origin: (u32, u32),
    pub side: u32,
}

/// A picture as an artefact.
///
/// # Errors
/// When the PNG cannot be written.
pub fn png(name: &str, canvas: &RgbImage) -> Result<Artefact, EncodeError> {
    let mut bytes = Vec::new();
    canvas.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
    Ok(Artefact { kind: ArtefactKind::Overlay, name: name.to_owned(), dicom: None, bytes })
}

/// Every slice in one picture: contours and scar over the image, the numbers and the banner above.
///
/// # Errors
/// When labels and stack differ in number.
pub fn canvas(stack: &Stack, labels: &Segmentation, measures: &Measures, view: &View) -> Result<RgbImage, EncodeError> {
    if stack.slices.len() != labels.slices.len() {
        return Err(EncodeError::Mismatch("number of slices"));
    }
    let count = u32::try_from(stack.slices.len()).unwrap_or(u32::MAX).max(1);
    let columns = count.min(COLUMNS);
    let mut canvas = RgbImage::new(columns * TILE, HEADER + count.div_ceil(COLUMNS) * TILE);
    write_text(&mut canvas, 6, 6, BANNER, SCAR);
    write_text(&mut canvas, 6, 24, &summary(measures), TEXT);
    for (index, ((slice, slice_labels), range)) in
        (0u32..).zip(stack.slices.iter().zip(&labels.slices).zip(&view.ranges))
    {
        let origin = ((index % COLUMNS) * TILE, HEADER + (index / COLUMNS) * TILE);
        draw_slice(&mut canvas, Tile { origin, side: TILE }, slice, slice_labels, view.window, *range);
        write_text(&mut canvas, origin.0 + 4, origin.1 + 4, &format!("{}", index + 1), TEXT);
    }
    Ok(canvas)
}

fn summary(measures: &Measures) -> String {
    let show = |value: Option<f64>, unit: &str| value.map_or("absent".to_owned(), |v| format!("{v:.1} {unit}"));
    format!(
        "LV {}  scar {}  burden {}  no-reflow {}",
        show(measures.lv_mass.value().map(|v| v.0), "g"),
        show(measures.scar_mass.value().map(|v| v.0), "g"),
        show(measures.burden.value().map(|v| v.0), "%"),
        show(measures.no_reflow_mass.value().map(|v| v.0), "g"),
    )
}

/// The ventricle with a margin, the same window for all slices; the whole slice when nothing was drawn.
fn window(stack: &Stack, labels: &Segmentation) -> Window {
    let (rows, columns) = stack.dim();
    let whole = Window { row: 0.0, column: 0.0, side: rows.max(columns) as f64 };
    let set = labels.slices.iter().flat_map(|s| s.labels.indexed_iter()).filter(|(_, label)| **label > 0);
    let bounds = set.fold(None, |bounds: Option<[usize; 4]>, ((r, c), _)| {
        let [r0, r1, c0, c1] = bounds.unwrap_or([r, r, c, c]);
        Some([r0.min(r), r1.max(r), c0.min(c), c1.max(c)])
    });
    bounds.map_or(whole, |[r0, r1, c0, c1]| {
        let side = 1.7 * (r1 - r0 + 1).max(c1 - c0 + 1) as f64;
        Window { row: (r0 + r1 + 1) as f64 / 2.0 - side / 2.0, column: (c0 + c1 + 1) as f64 / 2.0 - side / 2.0, side }
    })
}

pub(super) fn draw_slice(
    canvas: &mut RgbImage,
    tile: Tile,
    slice: &Slice,
    labels: &SliceLabels,
    window: Window,
    range: DisplayRange,
) {
    let Tile { origin, side } = tile;
    let seen = Seen::of(slice, labels, window, side, range);
    let label = |x: u32, y: u32| seen.label(x, y);
    for y in 0..side {
        for x in 0..side {
            let grey = seen.grey(x, y);
            let here = label(x, y);
            let colour = if here == Label::Background as u8 { Rgb([grey; 3]) } else { drawn(x, y, side, grey, &label) };
            if let Some(pixel) = canvas.get_pixel_mut_checked(origin.0 + x, origin.1 + y) {
                *pixel = colour;
            }
        }
    }
}

/// Colour of a pixel of the ventricle: outlines over tints over the image.
fn drawn(x: u32, y: u32, side: u32, grey: u8, label: &impl Fn(u32, u32) -> u8) -> Rgb<u8> {
    let here = label(x, y);
    let edge = |region: Region| {
        let inside = region.contains(here);
        inside
            && [(x + 1, y), (x, y + 1), (x.wrapping_sub(1), y), (x, y.wrapping_sub(1))]
                .into_iter()
                .any(|(x, y)| x >= side || y >= side || !region.contains(label(x, y)))
    };
    if edge(Region::BloodPool) {
        ENDO
    } else if edge(Region::Myocardium) && touches_background(x, y, side, label) {
        EPI
    } else if here == Label::Scar as u8 {
        blend(Rgb([grey; 3]), SCAR, 0.45)
    } else if here == Label::NoReflow as u8 {
        blend(Rgb([grey; 3]), NO_REFLOW, 0.55)
    } else {
        Rgb([grey; 3])
    }
}

/// A slice at the size of its tile: grey values and labels, row by row.
struct Seen {
    side: u32,
    grey: Vec<u8>,
    labels: Vec<u8>,
}

impl Seen {
    fn of(slice: &Slice, labels: &SliceLabels, window: Window, side: u32, (low, high): DisplayRange) -> Self {
        let scale = window.side / f64::from(side);
        // Row or column of the slice for each of the tile; none outside of the slice.
        let source = |first: f64, count: usize| -> Vec<Option<usize>> {
            let places = (0..side).map(|k| first + (f64::from(k) + 0.5) * scale);
            places.map(|at| Some(at).filter(|at| *at >= 0.0).map(|at| at as usize).filter(|at| *at < count)).collect()
        };
        let (rows, columns) = labels.labels.dim();
        let (rows, columns) = (source(window.row, rows), source(window.column, columns));
        let mut seen = Self { side, grey: Vec::new(), labels: Vec::new() };
        let mut before = None;
        for row in rows {
            // Tiles are larger than what they show: most rows are the one above.
            if before == Some(row) {
                let last = seen.grey.len().saturating_sub(side as usize);
                seen.grey.extend_from_within(last..);
                seen.labels.extend_from_within(last..);
                continue;
            }
            before = Some(row);
            for column in &columns {
                let at = row.zip(*column);
                let value = at.and_then(|at| slice.pixels.get(at)).copied().unwrap_or(low);
                let grey = (value - low) / (high - low).max(f32::MIN_POSITIVE) * 255.0;
                seen.grey.push(grey.clamp(0.0, 255.0) as u8);
                seen.labels.push(at.and_then(|at| labels.labels.get(at)).copied().unwrap_or(0));
            }
        }
        seen
    }

    fn at(&self, values: &[u8], x: u32, y: u32) -> u8 {
        let inside = x < self.side;
        Some((y as usize).wrapping_mul(self.side as usize).wrapping_add(x as usize))
            .filter(|_| inside)
            .and_then(|index| values.get(index))
            .copied()
            .unwrap_or(0)
    }

    fn grey(&self, x: u32, y: u32) -> u8 {
        self.at(&self.grey, x, y)
    }

    fn label(&self, x: u32, y: u32) -> u8 {
        self.at(&self.labels, x, y)
    }
}

fn touches_background(x: u32, y: u32, side: u32, label: &impl Fn(u32, u32) -> u8) -> bool {
    [(x + 1, y), (x, y + 1), (x.wrapping_sub(1), y), (x, y.wrapping_sub(1))]
        .into_iter()
        .any(|(x, y)| x < side && y < side && label(x, y) == Label::Background as u8)
}

fn blend(base: Rgb<u8>, over: Rgb<u8>, alpha: f32) -> Rgb<u8> {
    let mix = |a: u8, b: u8| (f32::from(a) * (1.0 - alpha) + f32::from(b) * alpha) as u8;
    let (Rgb(a), Rgb(b)) = (base, over);
    Rgb(std::array::from_fn(|i| mix(a[i], b[i])))
}

/// Values of a slice that are shown as black and as white.
pub(super) type DisplayRange = (f32, f32);

/// 1st and 99.5th percentile.
fn display_range(pixels: &Array2<f32>) -> DisplayRange {
    let mut values: Vec<f32> = pixels.iter().copied().filter(|v| v.is_finite()).collect();
    let Some(last) = values.len().checked_sub(1) else { return (0.0, 0.0) };
    let mut at = |fraction: f64| *values.select_nth_unstable_by((fraction * last as f64) as usize, f32::total_cmp).1;
    (at(0.01), at(0.995))
}

pub(super) fn write_text(canvas: &mut RgbImage, x: u32, y: u32, text: &str, colour: Rgb<u8>) {
    for (index, character) in (0u32..).zip(text.chars()) {
        let Some(glyph) = font8x8::BASIC_FONTS.get(character) else { continue };
        for (row, bits) in (0u32..).zip(glyph) {
            for bit in (0u32..8).filter(|bit| bits >> bit & 1 == 1) {
                if let Some(pixel) = canvas.get_pixel_mut_checked(x + index * 8 + bit, y + row) {
                    *pixel = colour;
                }
            }
        }
    }
}
