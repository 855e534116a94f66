//! From a region of a slice to a model's input tensor, and from a model's planes back to the slice.
//!
//! Coordinates: a pixel covers [i, i + 1), its centre is i + 0.5; x = column, y = row. Resampling is bilinear with edge
//! pixels repeated for half a pixel, which is `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`
//! when a region is exactly the image.

use super::manifest::{Format, Geometry, Input, Intensity, IntensityKind, IntensityScope};
use ndarray::{Array2, ArrayView2};
use std::ops::Range;

/// A rectangle in slice pixels that is resampled to a model's square; it may reach outside the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Centre, x.
    pub cx: f64,
    /// Centre, y.
    pub cy: f64,
    /// Extent in x, px.
    pub width: f64,
    /// Extent in y, px.
    pub height: f64,
}

impl Region {
    /// A square about a centre.
    pub fn square(cx: f64, cy: f64, side: f64) -> Self {
        Self { cx, cy, width: side, height: side }
    }

    /// The whole slice of (rows, columns).
    pub fn whole((rows, columns): (usize, usize), geometry: Geometry) -> Self {
        let (h, w) = (rows as f64, columns as f64);
        let side = h.max(w);
        match geometry {
            Geometry::Stretch => Self { cx: w / 2.0, cy: h / 2.0, width: w, height: h },
            Geometry::Letterbox => Self::square(w / 2.0, h / 2.0, side),
            Geometry::LongestBr => Self::square(side / 2.0, side / 2.0, side),
        }
    }

    /// Left and top edge.
    pub fn origin(&self) -> (f64, f64) {
        (self.cx - self.width / 2.0, self.cy - self.height / 2.0)
    }

    /// Slice coordinates of a point of the model's frame of `size` px.
    pub fn to_slice(&self, x: f64, y: f64, size: usize) -> (f64, f64) {
        let (left, top) = self.origin();
        (left + x * self.width / size as f64, top + y * self.height / size as f64)
    }

    /// Point of the model's frame of `size` px for slice coordinates.
    #[cfg(test)]
    pub fn from_slice(&self, x: f64, y: f64, size: usize) -> (f64, f64) {
        let (left, top) = self.origin();
        ((x - left) * size as f64 / self.width, (y - top) * size as f64 / self.height)
    }
}

/// Where one output sample lies between two input samples.
#[derive(Debug, Clone, Copy)]
struct Tap {
    low: usize,
    high: usize,
    part: f64,
    inside: bool,
}

/// The tap at edge coordinate `at` of `length` samples.
fn tap(at: f64, length: usize) -> Tap {
    let last = length.saturating_sub(1);
    let index = (at - 0.5).clamp(0.0, last as f64);
    let low = index.floor() as usize;
    Tap {
        low,
        high: (low + 1).min(last),
        part: index - low as f64,
        inside: (0.0..=length as f64).contains(&at),
    }
}

/// Bilinear value from two rows at a column tap.
fn blend(top: &[f32], low: &[f32], y: Tap, x: Tap) -> f64 {
    let at = |row: &[f32], i: usize| f64::from(row.get(i).copied().unwrap_or(0.0));
    let upper = at(top, x.low) * (1.0 - x.part) + at(top, x.high) * x.part;
    let lower = at(low, x.low) * (1.0 - x.part) + at(low, x.high) * x.part;
    upper * (1.0 - y.part) + lower * y.part
}

/// A region resampled to a square: values and which of them have their centre inside the image (and on valid pixels).
pub struct Patch {
    /// Row-major, size x size.
    pub values: Vec<f64>,
    /// Same order.
    pub inside: Vec<bool>,
}

/// Resamples a region of an image to `size` x `size`. Pixels that are not valid or not finite count as outside.
pub fn crop(image: ArrayView2<f32>, valid: Option<ArrayView2<bool>>, region: &Region, size: usize) -> Patch {
    let (rows, columns) = image.dim();
    let taps = |centre: f64, extent: f64, length: usize| -> Vec<Tap> {
        (0..size)
            .map(|i| tap(centre + ((i as f64 + 0.5) * extent / size as f64 - extent / 2.0), length))
            .collect()
    };
    let (ys, xs) = (taps(region.cy, region.height, rows), taps(region.cx, region.width, columns));
    let image = image.as_standard_layout();
    let pixels = image.as_slice().unwrap_or(&[]);
    let row = |i: usize| pixels.get(i * columns..(i + 1) * columns).unwrap_or(&[]);
    let usable = |y: Tap, x: Tap| {
        let near = |t: Tap| if t.part < 0.5 { t.low } else { t.high };
        valid.as_ref().is_none_or(|v| v.get((near(y), near(x))).copied().unwrap_or(false))
    };
    let mut patch = Patch { values: Vec::with_capacity(size * size), inside: Vec::with_capacity(size * size) };
    for &y in &ys {
        let (top, low) = (row(y.low), row(y.high));
        for &x in &xs {
            let value = if y.inside && x.inside { blend(top, low, y, x) } else { f64::NAN };
            let inside = value.is_finite() && usable(y, x);
            patch.values.push(if inside { value } else { 0.0 });
            patch.inside.push(inside);
        }
    }
    patch
}

/// The part of the slice grid that a region covers, and where its pixels lie in the model's frame.
pub struct Back {
    ys: Vec<(usize, Tap)>,
    xs: Vec<(usize, Tap)>,
    size: usize,
}

impl Back {
    /// Mapping from planes of `size` x `size` to a slice of (rows, columns). `shift` moves the point that is looked up
    /// by (x, y) slice pixels.
    pub fn new(region: &Region, (rows, columns): (usize, usize), size: usize, shift: (f64, f64)) -> Self {
        let (left, top) = region.origin();
        let taps = |count: usize, origin: f64, extent: f64, shift: f64| -> Vec<(usize, Tap)> {
            (0..count)
                .map(|i| (i, tap((i as f64 + 0.5 + shift - origin) * size as f64 / extent, size)))
                .filter(|(_, t)| t.inside)
                .collect()
        };
        Self { ys: taps(rows, top, region.height, shift.1), xs: taps(columns, left, region.width, shift.0), size }
    }

    /// Only the pixels of these rows and columns.
    #[must_use]
    pub fn within(mut self, rows: &Range<usize>, columns: &Range<usize>) -> Self {
        self.ys.retain(|(row, _)| rows.contains(row));
        self.xs.retain(|(column, _)| columns.contains(column));
        self
    }

    /// Calls `each(row, column, values)` for every slice pixel inside the region, with the bilinear value of every
    /// plane. `planes` holds whole planes of size x size, row-major.
    pub fn each(&self, planes: &[f32], mut each: impl FnMut(usize, usize, &[f32])) {
        let area = self.size * self.size;
        let planes: Vec<&[f32]> = planes.chunks_exact(area.max(1)).collect();
        let mut values = vec![0.0f32; planes.len()];
        for &(row, y) in &self.ys {
            let rows: Vec<(&[f32], &[f32])> = planes
                .iter()
                .map(|plane| {
                    let line = |i: usize| plane.get(i * self.size..(i + 1) * self.size).unwrap_or(&[]);
                    (line(y.low), line(y.high))
                })
                .collect();
            for &(column, x) in &self.xs {
                for (value, (top, low)) in values.iter_mut().zip(&rows) {
                    *value = blend(top, low, y, x) as f32;
                }
                each(row, column, &values);
            }
        }
    }
}

/// Mean and standard deviation per channel (R, G, B) for inputs of 0..255 (segment-anything) and of 0..1 (ImageNet).
const SAM: ([f64; 3], [f64; 3]) = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// Linear mapping of pixel values, found from some pixels and applied to others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    low: f64,
    high: f64,
    mean: f64,
    sd: f64,
}

/// Percentile of values that are put in order in place, linear between ranks (NumPy's default). `None` when empty.
pub fn percentile(values: &mut [f64], percent: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let rank = percent / 100.0 * last as f64;
    let low = (rank.floor() as usize).min(last);
    let (_, &mut at, above) = values.select_nth_unstable_by(low, f64::total_cmp);
    let next = above.iter().copied().min_by(f64::total_cmp).unwrap_or(at);
    let part = rank - low as f64;
    // The order of operations of NumPy's `_lerp`, so that results agree to the last bit.
    Some(if part < 0.5 { at + (next - at) * part } else { next - (next - at) * (1.0 - part) })
}

impl Window {
    /// The window that a mapping takes from pixels; what is not finite is left out.
    pub fn of(intensity: &Intensity, pixels: impl Iterator<Item = f64>) -> Self {
        let flat = Self { low: 0.0, high: 1.0, mean: 0.0, sd: 1.0 };
        if intensity.kind == IntensityKind::Unit {
            return Self { low: 0.0, high: 255.0, ..flat };
        }
        let mut values: Vec<f64> = pixels.filter(|v| v.is_finite()).collect();
        let (lo, hi) = match intensity.kind {
            IntensityKind::Minmax => (0.0, 100.0),
            _ => (intensity.lo.unwrap_or(0.0), intensity.hi.unwrap_or(100.0)),
        };
        let (Some(low), Some(high)) = (percentile(&mut values, lo), percentile(&mut values, hi)) else {
            return flat;
        };
        let mut window = Self { low, high, ..flat };
        if intensity.kind == IntensityKind::PercentileZscore {
            let n = values.len() as f64;
            window.mean = values.iter().map(|v| v.clamp(low, high)).sum::<f64>() / n;
            let square = values.iter().map(|v| (v.clamp(low, high) - window.mean).powi(2)).sum::<f64>();
            window.sd = (square / n).sqrt();
        }
        window
    }

    fn apply(&self, kind: IntensityKind, value: f64, channel: usize) -> f64 {
        if kind == IntensityKind::PercentileZscore {
            return (value.clamp(self.low, self.high) - self.mean) / self.sd.max(1e-6);
        }
        let unit = ((value - self.low) / (self.high - self.low).max(1e-6)).clamp(0.0, 1.0);
        let c = channel.min(2);
        match kind {
            IntensityKind::Sam => (unit * 255.0 - SAM.0[c]) / SAM.1[c],
            IntensityKind::Imagenet => (unit - IMAGENET.0[c]) / IMAGENET.1[c],
            _ => unit,
        }
    }
}

/// Value of what lies outside the image, after normalisation. Ultralytics models were trained with grey borders.
fn border(format: Format) -> f32 {
    match format {
        Format::Ultralytics | Format::E2e | Format::Yolov5 => 114.0 / 255.0,
        Format::Dense | Format::Libreyolo9 | Format::Sam => 0.0,
    }
}

/// Appends a patch as channels x size x size, normalised, to a batch. `wider` is the window of the slice or the stack
/// where the manifest takes it from there.
pub fn normalise(patch: &Patch, input: &Input, format: Format, wider: Option<&Window>, batch: &mut Vec<f32>) {
    let kind = input.intensity.kind;
    let own = match (input.intensity.scope, wider) {
        (IntensityScope::Slice | IntensityScope::Stack, Some(window)) => *window,
        _ => {
            let inside = patch.values.iter().zip(&patch.inside).filter_map(|(v, inside)| inside.then_some(*v));
            Window::of(&input.intensity, inside)
        }
    };
    let outside = border(format);
    let start = batch.len();
    for channel in 0..input.channels {
        let same = channel > 0 && !matches!(kind, IntensityKind::Sam | IntensityKind::Imagenet);
        if same {
            batch.extend_from_within(start..start + patch.values.len());
        } else {
            batch.extend(patch.values.iter().zip(&patch.inside).map(|(value, inside)| {
                if *inside { own.apply(kind, *value, channel) as f32 } else { outside }
            }));
        }
    }
}

/// Valid pixels of a slice, for windows that are taken from slices or stacks.
pub fn valid_pixels<'a>(image: &'a Array2<f32>, valid: Option<&'a Array2<bool>>) -> impl Iterator<Item = f64> + 'a {
    image
        .indexed_iter()
        .filter(move |(at, _)| valid.is_none_or(|v| v.get(*at).copied().unwrap_or(false)))
        .map(|(_, value)| f64::from(*value))
}
