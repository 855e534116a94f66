//! Scar by intensity inside a wall that is already drawn: FWHM, n-SD and Otsu, safe for signed PSIR. A second opinion on
//! what the models drew and the baseline that they must beat; never evidence alone, since every threshold finds "scar" in
//! healthy hearts.
//!
//! Definitions (Amado 2004, Kim 1999, Bondarenko 2005, Flett 2011, Otsu 1979), with what PSIR needs: nulled myocardium is
//! not zero, so the half maximum lies half-way between remote myocardium and peak. Remote myocardium, peak and threshold are
//! those of the whole stack: a slice whose ring is fully infarcted has no remote of its own. Images are smoothed first
//! (Gaussian, 0.7 px).

use crate::domain::labels::{Label, Region, Segmentation};
use crate::domain::stack::Stack;
use crate::domain::units::{Grams, Millilitres};
use ndarray::{Array2, ArrayView2};

/// Smoothing before any threshold, px.
const SMOOTH_PX: f64 = 0.7;
/// Quantile of the wall that stands for the brightest scar: single bright pixels at the blood border must not decide.
const PEAK_QUANTILE: f64 = 0.995;
/// Part of the wall's thickness left out at either border when remote myocardium is looked for.
const BORDER: f64 = 0.15;
/// Width and step of the sectors that are tried as remote, degrees.
const SECTOR_DEG: usize = 60;
const STEP_DEG: usize = 10;
/// Part of a hole's outline that must lie on scar for the hole to count as no-reflow.
const HOLE_ON_SCAR: f64 = 0.75;
/// SD of a normal distribution / its median absolute deviation.
const MAD_TO_SD: f64 = 1.4826;
/// Otsu splits any histogram: the classes must differ by this many SD of remote, and the brighter hold this share.
const OTSU_CONTRAST_SD: f64 = 3.0;
const OTSU_SHARE: f64 = 0.01;

/// A rule that tells scar from myocardium.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// Half-way between remote and peak.
    Fwhm,
    /// Remote + n x its SD.
    Sd(f64),
    /// Largest variance between two classes.
    Otsu,
}

/// Remote myocardium of a stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Remote {
    /// Typical intensity (median).
    pub mean: f64,
    /// Standard deviation within slices, robust.
    pub sd: f64,
}

/// What a rule found.
#[derive(Debug, Clone)]
pub struct Thresholded {
    /// Intensity above which myocardium is scar.
    pub level: f64,
    /// Remote myocardium that the level was set by.
    pub remote: Remote,
    /// Scar incl. dark cores, one mask per slice of the stack, inside the wall.
    pub masks: Vec<Array2<bool>>,
}

/// The wall of a segmentation with its remote myocardium, which any number of rules can be asked about.
pub struct Wall<'a> {
    slices: Vec<WallSlice<'a>>,
    remote: Remote,
}

impl<'a> Wall<'a> {
    /// `None` without a wall, and without a remote whose intensities vary.
    pub fn of(stack: &Stack, labels: &'a Segmentation) -> Option<Self> {
        let pairs = stack.slices.iter().zip(&labels.slices);
        let slices: Vec<WallSlice> =
            pairs.map(|(slice, labels)| WallSlice::new(&slice.pixels, &labels.labels)).collect();
        let remote = remote(&slices)?;
        Some(Self { slices, remote })
    }

    /// Scar by a rule; `None` when Otsu's two classes are not scar and remote.
    pub fn scar(&self, rule: Threshold) -> Option<Thresholded> {
        let values: Vec<f64> = self.slices.iter().flat_map(WallSlice::values).collect();
        let level = level(rule, &values, self.remote)?;
        let masks = self.slices.iter().map(|slice| slice.above(level)).collect();
        Some(Thresholded { level, remote: self.remote, masks })
    }
}

/// Mass of masks on a stack.
pub fn mass(stack: &Stack, masks: &[Array2<bool>]) -> Grams {
    let volume = |(slice, mask): (&crate::domain::stack::Slice, &Array2<bool>)| {
        Millilitres(mask.iter().filter(|set| **set).count() as f64 * slice.voxel_ml())
    };
    stack.slices.iter().zip(masks).map(volume).sum::<Millilitres>().myocardial_mass()
}

/// The same wall with this scar and no other; no-reflow is part of it and no longer told apart.
pub fn with_scar(labels: &Segmentation, masks: &[Array2<bool>]) -> Segmentation {
    let mut out = labels.clone();
    for (slice, mask) in out.slices.iter_mut().zip(masks) {
        slice.labels.zip_mut_with(mask, |label, scar| {
            if Region::Myocardium.contains(*label) {
                *label = if *scar { Label::Scar } else { Label::Myocardium } as u8;
            }
        });
        slice.scar_inner = mask.clone();
        slice.scar_outer = mask.clone();
    }
    out
}

/// The threshold of a rule for the intensities of a wall; above it is scar.
pub fn level(rule: Threshold, wall: &[f64], remote: Remote) -> Option<f64> {
    match rule {
        Threshold::Fwhm => Some(remote.mean + (quantile(wall, PEAK_QUANTILE)? - remote.mean) / 2.0),
        Threshold::Sd(n) => Some(remote.mean + n * remote.sd),
        Threshold::Otsu => {
            let split = otsu(wall)?;
            let real = split.high - split.low > OTSU_CONTRAST_SD * remote.sd && split.share > OTSU_SHARE;
            real.then_some(split.level)
        }
    }
}

/// Quantile with linear interpolation.
fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let place = q * values.len().checked_sub(1)? as f64;
    let mut values = values.to_vec();
    let (_, low, above) = values.select_nth_unstable_by(place.floor() as usize, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(*low);
    Some(*low + (high - *low) * place.fract())
}

/// Otsu's split of some values.
struct Split {
    /// Half-way between the neighbouring values of the two classes.
    level: f64,
    /// Mean of the darker class, and of the brighter one.
    low: f64,
    high: f64,
    /// Share of the brighter class.
    share: f64,
}

/// Maximises w0 w1 (m0 - m1)^2 over all splits of the sorted values; no histogram, so no bin width.
fn otsu(values: &[f64]) -> Option<Split> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (count, total) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    let mut below = 0.0;
    let mut best: Option<(f64, Split)> = None;
    for (index, pair) in sorted.windows(2).enumerate() {
        let [a, b] = pair else { continue };
        below += a;
        if a == b {
            continue;
        }
        let dark = (index + 1) as f64;
        let (low, high) = (below / dark, (total - below) / (count - dark));
        let variance = dark / count * (1.0 - dark / count) * (high - low).powi(2);
        if best.as_ref().is_none_or(|(largest, _)| variance > *largest) {
            best = Some((variance, Split { level: (a + b) / 2.0, low, high, share: 1.0 - dark / count }));
        }
    }
    best.map(|(_, split)| split)
}

/// The wall of a slice: smoothed pixels under the labels, and the centre that angles are counted about.
struct WallSlice<'a> {
    labels: &'a Array2<u8>,
    wall: Vec<(Pixel, f64)>,
    centre: Option<(f64, f64)>,
}

/// (row, column).
type Pixel = (usize, usize);

impl<'a> WallSlice<'a> {
    fn new(pixels: &Array2<f32>, labels: &'a Array2<u8>) -> Self {
        let centre = centroid(labels, |label| label != Label::Background as u8);
        let smoothed = if centre.is_some() { smooth(pixels) } else { Array2::zeros((0, 0)) };
        let of_wall = smoothed.indexed_iter().zip(labels).filter(|(_, label)| Region::Myocardium.contains(**label));
        let wall = of_wall.map(|((at, value), _)| (at, *value)).collect();
        Self { labels, wall, centre }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.wall.iter().map(|(_, value)| *value)
    }

    /// (angle in degrees, value) of the wall's pixels that are not at its borders.
    fn core(&self) -> Vec<(usize, f64)> {
        let Some((row, column)) = self.centre else { return Vec::new() };
        let polar = |((r, c), value): &(Pixel, f64)| {
            let (y, x) = (*r as f64 - row, *c as f64 - column);
            ((y.atan2(x).to_degrees().rem_euclid(360.0) as usize).min(359), x.hypot(y), *value)
        };
        let wall: Vec<(usize, f64, f64)> = self.wall.iter().map(polar).collect();
        // Inner and outer border by direction, 5 degrees each.
        let mut borders = [(f64::INFINITY, 0.0f64); 72];
        for (angle, radius, _) in &wall {
            if let Some((inner, outer)) = borders.get_mut(angle / 5) {
                *inner = inner.min(*radius);
                *outer = outer.max(*radius);
            }
        }
        let inside = |angle: usize, radius: f64| {
            borders.get(angle / 5).is_some_and(|(inner, outer)| {
                let depth = (radius - inner) / (outer - inner).max(1.0);
                (BORDER..=1.0 - BORDER).contains(&depth)
            })
        };
        wall.into_iter().filter(|(a, r, _)| inside(*a, *r)).map(|(a, _, value)| (a, value)).collect()
    }

    fn above(&self, level: f64) -> Array2<bool> {
        let mut mask = Array2::from_elem(self.labels.dim(), false);
        for (at, value) in &self.wall {
            if let Some(set) = mask.get_mut(*at) {
                *set = *value > level;
            }
        }
        fill_holes(&mut mask, self.labels, self.wall.iter().map(|(at, _)| *at));
        mask
    }
}

fn centroid(labels: &Array2<u8>, wanted: impl Fn(u8) -> bool) -> Option<(f64, f64)> {
    let pixels = || labels.indexed_iter().filter(|(_, label)| wanted(**label)).map(|(at, _)| at);
    let count = pixels().count() as f64;
    let (rows, columns) = pixels().fold((0.0, 0.0), |(r, c), (row, column)| (r + row as f64, c + column as f64));
    (count > 0.0).then(|| (rows / count, columns / count))
}

/// The 60-degree sector of the stack's wall with the lowest median among those whose SD is not above the median SD. The SD is
/// that of a region drawn in a calm place of a slice: 1.4826 x the median absolute deviation from the slice's own median, so
/// that neither windowing by slice nor border pixels widen it.
fn remote(slices: &[WallSlice]) -> Option<Remote> {
    let core: Vec<Vec<(usize, f64)>> = slices.iter().map(WallSlice::core).collect();
    let sectors: Vec<Remote> = (0..360 / STEP_DEG).filter_map(|step| sector(&core, step * STEP_DEG)).collect();
    let median = quantile(&sectors.iter().map(|sector| sector.sd).collect::<Vec<_>>(), 0.5)?;
    let calm = sectors.into_iter().filter(|sector| sector.sd <= median);
    calm.min_by(|a, b| a.mean.total_cmp(&b.mean)).filter(|remote| remote.sd > 0.0)
}

/// Median and SD of the sector that begins at an angle.
fn sector(core: &[Vec<(usize, f64)>], from: usize) -> Option<Remote> {
    let inside = |angle: usize| (angle + 360 - from) % 360 < SECTOR_DEG;
    let (mut values, mut deviations) = (Vec::new(), Vec::new());
    for slice in core {
        let own: Vec<f64> = slice.iter().filter(|(angle, _)| inside(*angle)).map(|(_, value)| *value).collect();
        if let Some(median) = quantile(&own, 0.5) {
            deviations.extend(own.iter().map(|value| (value - median).abs()));
        }
        values.extend(own);
    }
    Some(Remote { mean: quantile(&values, 0.5)?, sd: MAD_TO_SD * quantile(&deviations, 0.5)? })
}

/// Gaussian smoothing, separable, cut at four SD, mirrored at the border (as `scipy.ndimage.gaussian_filter`).
fn smooth(pixels: &Array2<f32>) -> Array2<f64> {
    let across = smooth_columns(pixels.mapv(f64::from).reversed_axes().view());
    smooth_columns(across.t())
}

fn smooth_columns(pixels: ArrayView2<'_, f64>) -> Array2<f64> {
    let radius = (4.0 * SMOOTH_PX + 0.5) as isize;
    let weights: Vec<(isize, f64)> =
        (-radius..=radius).map(|i| (i, (-0.5 * (i as f64 / SMOOTH_PX).powi(2)).exp())).collect();
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let size = pixels.nrows() as isize;
    let mirrored = |at: isize| -> usize {
        let at = at.rem_euclid(2 * size);
        (if at < size { at } else { 2 * size - 1 - at }) as usize
    };
    let mut smoothed = Array2::zeros(pixels.dim());
    for (at, mut row) in (0..).zip(smoothed.rows_mut()) {
        for (i, weight) in &weights {
            row.scaled_add(*weight, &pixels.row(mirrored(at + i)));
        }
        row /= total;
    }
    smoothed
}

/// Adds dark cores: 4-connected parts of the wall without scar whose outline touches only scar and cavity, at least 75 %
/// of it scar.
fn fill_holes(mask: &mut Array2<bool>, labels: &Array2<u8>, starts: impl Iterator<Item = Pixel>) {
    let mut seen = mask.clone();
    let wall = |at: Pixel| labels.get(at).is_some_and(|label| Region::Myocardium.contains(*label));
    for start in starts {
        if seen.get(start) != Some(&false) {
            continue;
        }
        let (mut part, mut next) = (vec![start], 0);
        let (mut on_scar, mut on_cavity, mut outside) = (0usize, 0usize, 0usize);
        if let Some(mark) = seen.get_mut(start) {
            *mark = true;
        }
        while let Some(&(r, c)) = part.get(next) {
            next += 1;
            for at in [(r + 1, c), (r, c + 1), (r.wrapping_sub(1), c), (r, c.wrapping_sub(1))] {
                if mask.get(at) == Some(&true) {
                    on_scar += 1;
                } else if !wall(at) {
                    let cavity = labels.get(at) == Some(&(Label::Cavity as u8));
                    *(if cavity { &mut on_cavity } else { &mut outside }) += 1;
                } else if let Some(mark @ false) = seen.get_mut(at) {
                    *mark = true;
                    part.push(at);
                }
            }
        }
        if outside == 0 && on_scar as f64 >= HOLE_ON_SCAR * (on_scar + on_cavity) as f64 && on_scar > 0 {
            for at in part {
                if let Some(set) = mask.get_mut(at) {
                    *set = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn levels_follow_their_formulas() {
        let remote = Remote { mean: -20.0, sd: 4.0 };
        // 0..=200: the 99.5th percentile is 199.
        let wall: Vec<f64> = (0..=200).map(f64::from).collect();
        assert_eq!(level(Threshold::Fwhm, &wall, remote), Some(-20.0 + 219.0 / 2.0));
        assert_eq!(level(Threshold::Sd(5.0), &wall, remote), Some(0.0));
    }

    #[test]
    fn otsu_is_scikit_images_and_needs_two_real_classes() {
        // skimage.filters.threshold_otsu of these whole numbers is 13: above it are the four bright ones.
        let values = [9.0, 10.0, 10.0, 11.0, 12.0, 13.0, 40.0, 42.0, 44.0, 50.0];
        let level_of = |sd: f64| level(Threshold::Otsu, &values, Remote { mean: 10.0, sd });
        assert_eq!(level_of(2.0), Some(26.5));
        assert_eq!(level_of(20.0), None, "classes nearer than 3 SD of remote are one class");
        assert_eq!(level(Threshold::Otsu, &[5.0; 8], Remote { mean: 5.0, sd: 1.0 }), None);
    }

    #[test]
    fn smoothing_is_scipys() {
        let mut pixels = Array2::zeros((5, 5));
        pixels[(0, 1)] = 100.0f32;
        let found = smooth(&pixels);
        for (at, wanted) in SMOOTHED {
            assert!((found[at] - wanted).abs() < 1e-4, "{at:?}: {} for {wanted}", found[at]);
        }
    }

    /// scipy.ndimage.gaussian_filter(x, 0.7)
    const SMOOTHED: [((usize, usize), f64); 4] =
        [((0, 1), 44.181571), ((0, 0), 16.669218), ((1, 2), 4.416474), ((2, 1), 0.551522)];

    /// A ring of radii 10 and 20 px about (30, 30): wall at 10 +- 1 (a chequer pattern), cavity at 80, a bright sector.
    fn ring(scar: bool, core: bool) -> (Array2<f32>, Array2<u8>) {
        let label = |r: usize, c: usize| {
            let (y, x) = (r as f64 - 30.0, c as f64 - 30.0);
            let (radius, angle) = (x.hypot(y), y.atan2(x).to_degrees());
            let inside = scar && angle.abs() < 40.0;
            let dark = core && angle.abs() < 15.0 && (13.0..17.0).contains(&radius);
            (radius, inside, dark)
        };
        let labels = Array2::from_shape_fn((61, 61), |(r, c)| match label(r, c).0 {
            radius if radius < 10.0 => 1,
            radius if radius < 20.0 => 2,
            _ => 0,
        });
        let pixels = Array2::from_shape_fn((61, 61), |(r, c)| match label(r, c) {
            (radius, ..) if radius < 10.0 => 80.0,
            (radius, ..) if radius >= 20.0 => 0.0,
            (_, _, true) => 10.0,
            (_, true, _) => 90.0,
            _ => {
                if (r / 2 + c / 2) % 2 == 0 {
                    9.0
                } else {
                    11.0
                }
            }
        });
        (pixels, labels)
    }

    fn found(scar: bool, core: bool, rule: Threshold) -> (f64, usize) {
        let (pixels, labels) = ring(scar, core);
        let slices = [WallSlice::new(&pixels, &labels)];
        let remote = remote(&slices).unwrap();
        assert!((remote.mean - 10.0).abs() < 0.5, "{remote:?}");
        let wall: Vec<f64> = slices[0].values().collect();
        let level = level(rule, &wall, remote).unwrap();
        (level, slices[0].above(level).iter().filter(|set| **set).count())
    }

    #[test]
    fn a_bright_sector_is_found_with_its_dark_core() {
        // 80 of 360 degrees of a ring of 3 x 100 pi px: 209 px, less and more at its rims.
        let (level, count) = found(true, false, Threshold::Fwhm);
        assert!((level - 50.0).abs() < 3.0, "{level}");
        assert!((190..=230).contains(&count), "{count}");
        let (_, with_core) = found(true, true, Threshold::Fwhm);
        assert!(with_core.abs_diff(count) < 12, "the dark core counts as scar: {with_core} for {count}");
    }

    #[test]
    fn the_half_maximum_does_not_take_zero_for_nulled_myocardium() {
        // The same image 200 lower, as signed PSIR may be: the level moves with it.
        let (mut pixels, labels) = ring(true, false);
        pixels.mapv_inplace(|value| value - 200.0);
        let slices = [WallSlice::new(&pixels, &labels)];
        let wall: Vec<f64> = slices[0].values().collect();
        let level = level(Threshold::Fwhm, &wall, remote(&slices).unwrap()).unwrap();
        assert!((level + 150.0).abs() < 3.0, "{level}");
        let count = slices[0].above(level).iter().filter(|set| **set).count();
        assert_eq!(count, found(true, false, Threshold::Fwhm).1);
    }
}
