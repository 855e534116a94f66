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
    pub fn to_slice(self, x: f64, y: f64, size: usize) -> (f64, f64) {
        let (left, top) = self.origin();
        (left + x * self.width / size as f64, top + y * self.height / size as f64)
    }

    /// Point of the model's frame of `size` px for slice coordinates.
    #[cfg(test)]
    pub fn of_slice(self, x: f64, y: f64, size: usize) -> (f64, f64) {
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
    Tap { low, high: (low + 1).min(last), part: index - low as f64, inside: (0.0..=length as f64).contains(&at) }
}

/// Bilinear value from two rows at a column tap; the rows are as long as the axis that the tap was made for.
///
/// This and the other loops over pixels index slices in plain loops: the development profile does not optimise this
/// crate, and iterator chains cost ten times as much there.
fn blend(top: &[f32], low: &[f32], y: &Tap, x: &Tap) -> f64 {
    let upper = top[x.low] as f64 * (1.0 - x.part) + top[x.high] as f64 * x.part;
    let lower = low[x.low] as f64 * (1.0 - x.part) + low[x.high] as f64 * x.part;
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
        (0..size).map(|i| tap(centre + ((i as f64 + 0.5) * extent / size as f64 - extent / 2.0), length)).collect()
    };
    let (ys, xs) = (taps(region.cy, region.height, rows), taps(region.cx, region.width, columns));
    let image = image.as_standard_layout();
    let pixels = image.as_slice().unwrap_or(&[]);
    let mut patch = Patch { values: vec![0.0; size * size], inside: vec![false; size * size] };
    if rows == 0 || columns == 0 || pixels.len() != rows * columns {
        return patch;
    }
    let usable = |y: &Tap, x: &Tap| {
        let near = |t: &Tap| if t.part < 0.5 { t.low } else { t.high };
        valid.as_ref().is_none_or(|v| v.get((near(y), near(x))).copied().unwrap_or(false))
    };
    let (values, inside) = (patch.values.as_mut_slice(), patch.inside.as_mut_slice());
    let (xs, ys) = (xs.as_slice(), ys.as_slice());
    let mut i = 0;
    while i < size {
        let y = &ys[i];
        let (top, low) = (&pixels[y.low * columns..][..columns], &pixels[y.high * columns..][..columns]);
        let mut j = 0;
        while j < size && y.inside {
            let x = &xs[j];
            if x.inside {
                let value = blend(top, low, y, x);
                if value.is_finite() && usable(y, x) {
                    values[i * size + j] = value;
                    inside[i * size + j] = true;
                }
            }
            j += 1;
        }
        i += 1;
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
        let values = values.as_mut_slice();
        let mut rows: Vec<(&[f32], &[f32])> = Vec::with_capacity(planes.len());
        let xs = self.xs.as_slice();
        for (row, y) in &self.ys {
            rows.clear();
            for plane in &planes {
                rows.push((&plane[y.low * self.size..][..self.size], &plane[y.high * self.size..][..self.size]));
            }
            let lines = rows.as_slice();
            let mut i = 0;
            while i < xs.len() {
                let (column, x) = &xs[i];
                let mut k = 0;
                while k < lines.len() {
                    values[k] = blend(lines[k].0, lines[k].1, y, x) as f32;
                    k += 1;
                }
                each(*row, *column, values);
                i += 1;
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
            batch.extend(
                patch
                    .values
                    .iter()
                    .zip(&patch.inside)
                    .map(|(value, inside)| if *inside { own.apply(kind, *value, channel) as f32 } else { outside }),
            );
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::manifest::{Orientation, Scope};
    use super::*;
    use proptest::prelude::*;

    /// (i * 7919) mod 101 in memory order: the image that the reference values below were computed on.
    fn image(rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(r, c)| ((r * columns + c) * 7919 % 101) as f32)
    }

    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= tolerance, "at {i}: {a}, expected {b}");
        }
    }

    fn input(size: usize, channels: usize, kind: IntensityKind, lo: Option<f64>, hi: Option<f64>) -> Input {
        Input {
            name: "input".into(),
            channels,
            size,
            regions: vec![Scope::Slice],
            crop_factor: 1.5,
            geometry: Geometry::Letterbox,
            orientation: Orientation::Native,
            intensity: Intensity { kind, lo, hi, scope: IntensityScope::Region },
        }
    }

    /// torch 2 `interpolate(x, size, mode="bilinear", align_corners=False)` of the same image.
    #[test]
    fn a_stretched_image_is_what_torch_interpolates() {
        let whole = Region::whole((5, 7), Geometry::Stretch);
        let patch = crop(image(5, 7).view(), None, &whole, 8);
        let rows = [
            [0.0, 33.3125, 69.1875, 48.25, 39.9375, 44.25, 10.6875, 44.0],
            [37.1875, 34.5977, 62.1875, 41.25, 32.9375, 51.0586, 39.5898, 37.0],
            [84.0, 35.25, 52.1875, 34.8008, 26.4883, 58.8125, 75.75, 27.0],
        ];
        close(&patch.values[..24], rows.as_flattened(), 1e-4);
        assert!(patch.inside.iter().all(|inside| *inside));
        let whole = Region::whole((6, 6), Geometry::Letterbox);
        let shrunk = crop(image(6, 6).view(), None, &whole, 4);
        let rows = [
            [21.25, 63.8125, 36.9375, 22.6875],
            [68.3125, 54.0625, 27.1875, 69.75],
            [45.9375, 31.6875, 67.9375, 53.6875],
            [36.1875, 78.75, 58.1875, 43.9375],
        ];
        close(&shrunk.values, rows.as_flattened(), 1e-4);
    }

    /// `scargate_train.geometry.crop` (NumPy) of the same image: letterbox, and a crop that leaves the image.
    #[test]
    fn letterbox_and_crop_are_those_of_training() {
        let patch = crop(image(5, 7).view(), None, &Region::whole((5, 7), Geometry::Letterbox), 8);
        assert!(patch.inside[..8].iter().chain(&patch.inside[56..]).all(|inside| !inside), "padding above and below");
        close(&patch.values[16..24], &[58.4375, 35.332, 58.1875, 37.25, 28.9375, 54.9492, 56.1055, 33.0], 1e-4);
        let bottom = crop(image(5, 7).view(), None, &Region::whole((5, 7), Geometry::LongestBr), 7);
        assert!(bottom.inside[..35].iter().all(|i| *i) && bottom.inside[35..].iter().all(|i| !i));
        let patch = crop(image(5, 7).view(), None, &Region::square(6.0, 1.5, 5.0), 4);
        let rows = [
            [0.0, 0.0, 0.0, 0.0],
            [41.625, 37.64062, 38.0, 0.0],
            [45.29688, 72.875, 18.0, 0.0],
            [39.5, 52.875, 86.375, 0.0],
        ];
        close(&patch.values, rows.as_flattened(), 1e-4);
        let mut out = Vec::new();
        let input = input(4, 3, IntensityKind::PercentileMinmax, Some(1.0), Some(99.0));
        normalise(&patch, &input, Format::Dense, None, &mut out);
        let rows = [
            [0.0, 0.0, 0.0, 0.0],
            [0.33555, 0.27493, 0.2804, 0.0],
            [0.39142, 0.81103, 0.0, 0.0],
            [0.30322, 0.50672, 1.0, 0.0],
        ];
        for channel in 0..3 {
            let found: Vec<f64> = out[channel * 16..(channel + 1) * 16].iter().map(|v| f64::from(*v)).collect();
            close(&found, rows.as_flattened(), 1e-5);
        }
        let mut grey = Vec::new();
        normalise(&patch, &input, Format::Ultralytics, None, &mut grey);
        assert!((grey[0] - 114.0 / 255.0).abs() < 1e-6, "Ultralytics models know grey borders");
    }

    /// `scargate_train.geometry.back` (NumPy).
    #[test]
    fn planes_come_back_to_the_slice_grid() {
        let planes: Vec<f32> = (0..32).map(|i| (i * 31 % 17) as f32).collect();
        let mut seen = Array2::from_elem((5, 7), None);
        Back::new(&Region::square(6.0, 1.5, 5.0), (5, 7), 4, (0.0, 0.0)).each(&planes, |r, c, values| {
            seen[(r, c)] = Some((values[0], values[1]));
        });
        let first = [[3.5, 4.13, 6.49, 13.61], [7.5, 6.6, 5.05, 9.45], [11.5, 10.6, 8.2, 5.8], [15.0, 14.1, 11.7, 9.3]];
        let second = [[6.5, 5.6, 3.71, 5.39], [10.5, 9.6, 7.2, 4.8], [9.4, 10.03, 11.2, 8.8], [1.0, 5.2, 14.7, 12.3]];
        for ((r, c), found) in seen.indexed_iter() {
            assert_eq!(found.is_some(), r < 4 && c > 2, "({r}, {c})");
            if let Some((a, b)) = found {
                assert!((a - first[r][c - 3]).abs() < 1e-4 && (b - second[r][c - 3]).abs() < 1e-4, "({r}, {c})");
            }
        }
    }

    const SAMPLE: [f64; 10] = [3.0, -1.5, 8.25, 0.5, 12.0, 7.0, -4.0, 2.0, 9.5, 1.0];

    /// NumPy 2 `percentile` (linear).
    #[test]
    fn percentiles_are_those_of_numpy() {
        let expected =
            [(0.0, -4.0), (1.0, -3.775), (5.0, -2.875), (33.3, 0.9984999999999999), (50.0, 2.5), (75.0, 7.9375)];
        for (percent, value) in expected.into_iter().chain([(99.0, 11.775), (100.0, 12.0)]) {
            let found = percentile(&mut SAMPLE.clone(), percent).unwrap();
            assert!((found - value).abs() < 1e-12, "{percent}: {found}, expected {value}");
        }
        assert_eq!(percentile(&mut [], 50.0), None);
    }

    /// NumPy: clip to the percentiles, then `(c - c.mean()) / c.std()`; segment-anything's mean and deviation of 255 u.
    #[test]
    fn intensity_kinds_are_those_of_numpy() {
        let intensity = |kind| Intensity { kind, lo: Some(10.0), hi: Some(90.0), scope: IntensityScope::Region };
        let apply = |kind, channel| -> Vec<f64> {
            let window = Window::of(&intensity(kind), SAMPLE.into_iter());
            SAMPLE.iter().map(|v| window.apply(kind, *v, channel)).collect()
        };
        let z =
            [-0.182959, -1.245298, 1.056438, -0.773147, 1.410551, 0.761344, -1.304317, -0.419034, 1.351532, -0.65511];
        close(&apply(IntensityKind::PercentileZscore, 0), &z, 1e-6);
        let red = [-0.31422, -2.02297, 1.67932, -1.26353, 2.24891, 1.20467, -2.1179, -0.69394, 2.15398, -1.07367];
        close(&apply(IntensityKind::Sam, 0), &red, 1e-5);
        let blue = [0.0313, -1.70783, 2.06029, -0.93488, 2.64, 1.5772, -1.80444, -0.35517, 2.54338, -0.74164];
        close(&apply(IntensityKind::Sam, 2), &blue, 1e-5);
        let window = Window::of(&intensity(IntensityKind::Minmax), SAMPLE.into_iter());
        close(
            &[window.apply(IntensityKind::Minmax, -4.0, 0), window.apply(IntensityKind::Minmax, 12.0, 0)],
            &[0.0, 1.0],
            0.0,
        );
    }

    #[test]
    fn padding_pixels_and_non_finite_ones_do_not_count() {
        let mut picture = Array2::from_elem((8, 8), 5.0f32);
        picture[(0, 0)] = f32::NAN;
        let valid = Array2::from_shape_fn((8, 8), |(_, c)| c < 6);
        let patch = crop(picture.view(), Some(valid.view()), &Region::square(4.0, 4.0, 8.0), 8);
        let inside = patch.inside.iter().filter(|inside| **inside).count();
        assert_eq!(inside, 47, "six columns of eight, less the one that is not a number");
        assert!(patch.values.iter().all(|v| v.is_finite()));
        let flat = Window::of(
            &Intensity {
                kind: IntensityKind::PercentileMinmax,
                lo: Some(1.0),
                hi: Some(99.0),
                scope: IntensityScope::Region,
            },
            std::iter::empty(),
        );
        assert!(flat.apply(IntensityKind::PercentileMinmax, f64::MAX, 0).is_finite());
    }

    proptest! {
        #[test]
        fn points_map_to_the_frame_and_back(
            cx in -20.0f64..300.0, cy in -20.0f64..300.0, side in 4.0f64..400.0, size in 8usize..1024,
            x in 0.0f64..1.0, y in 0.0f64..1.0,
        ) {
            let region = Region::square(cx, cy, side);
            let (u, v) = (x * size as f64, y * size as f64);
            let (sx, sy) = region.to_slice(u, v, size);
            let (back_u, back_v) = region.of_slice(sx, sy, size);
            prop_assert!((back_u - u).abs() < 1e-6 * size as f64 && (back_v - v).abs() < 1e-6 * size as f64);
        }

        /// A plane of x coordinates taken through a region and back is the x coordinate again.
        #[test]
        fn a_ramp_survives_the_round_trip(cx in 12.0f64..28.0, cy in 12.0f64..28.0, side in 8.0f64..20.0) {
            let ramp = Array2::from_shape_fn((40, 40), |(_, c)| c as f32 + 0.5);
            let region = Region::square(cx, cy, side);
            let patch = crop(ramp.view(), None, &region, 64);
            let planes: Vec<f32> = patch.values.iter().map(|v| *v as f32).collect();
            let half = side / 64.0;
            Back::new(&region, (40, 40), 64, (0.0, 0.0)).each(&planes, |_, c, values| {
                // At the rim of the region edge samples are repeated, for half a sample.
                assert!((f64::from(values[0]) - (c as f64 + 0.5)).abs() < half + 1e-4);
            });
        }

        #[test]
        fn windows_keep_values_within_bounds(values in proptest::collection::vec(-1e6f32..1e6, 64)) {
            let picture = Array2::from_shape_vec((8, 8), values).unwrap();
            let patch = crop(picture.view(), None, &Region::square(4.0, 4.0, 9.0), 16);
            let mut out = Vec::new();
            normalise(&patch, &input(16, 1, IntensityKind::PercentileMinmax, Some(1.0), Some(99.0)), Format::Dense, None, &mut out);
            prop_assert!(out.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
}
