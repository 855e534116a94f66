//! Anatomical directions from patient space: which end is the base, where the septum lies, where the right ventricle
//! joins in front.

use super::quality::Intensities;
use super::ring::{Basis, Ring, angle_of, wrap};
use super::view::View;
use crate::domain::segments::{DirectionSource, Directions};
use crate::domain::stack::{Stack, StackFlag, Vector3, cross, dot};

/// Where the apex usually lies as seen from the base: left, anterior, inferior (LPS).
const USUAL_APEX: Vector3 = [0.6, -0.6, -0.5];
/// Where the septum usually lies as seen from the LV: right and anterior.
const USUAL_SEPTUM: Vector3 = [-1.0, -1.0, 0.0];
/// Patient axes say nothing about the ends of a stack whose normal is this close to a right angle with them (cosine).
const MIN_COSINE: f64 = 0.2;
/// Ratio of the cavity areas of both halves above which areas decide alone, and above which a contradiction is told.
const AREAS_DECIDE: f64 = 1.5;
const AREAS_SPEAK: f64 = 1.2;
/// Angle from mid-septum to the anterior insertion when only one is known, degrees (AHA: the septum takes 120).
const HALF_SEPTUM_DEG: f64 = 60.0;

/// How far the bright arc ends before the insertion, degrees: the right ventricle thins out to a wedge where it joins. The
/// insertion is taken half-way between this and the nominal septum, which errs less than either (docs/measures.md).
const WEDGE_DEG: f64 = 10.0;

/// Directions in which the right ventricle is looked for.
const LOOKS: usize = 120;
/// Band outside the epicardium in which it is looked for, mm.
const BAND_MM: [f64; 2] = [3.0, 13.0];
/// Share of the band that must be as bright as blood, and what counts as that: (I - remote) / (cavity - remote).
const BRIGHT_SHARE: f64 = 0.7;
const AS_BRIGHT: std::ops::RangeInclusive<f64> = 0.5..=1.5;
/// Gaps in the arc that are closed; arcs that can be a right ventricle; largest distance of its middle from where the
/// septum usually lies; degrees.
const CLOSE_DEG: f64 = 15.0;
const ARC_DEG: std::ops::RangeInclusive<f64> = 50.0..=170.0;
const MAX_OFF_USUAL_DEG: f64 = 60.0;
/// Share of the slices in the basal two thirds in which it must be found, and largest deviation among them, degrees.
const MIN_FOUND: f64 = 0.5;
const MAX_SPREAD_DEG: f64 = 20.0;

/// What is known before any right ventricle was looked for.
pub(super) struct Axis {
    /// Unit vector base to apex.
    pub base_to_apex: Vector3,
    /// Cavity areas and patient axes contradict one another.
    pub ends_disagree: bool,
}

impl Axis {
    /// `None` without orientation, or when neither areas nor patient axes tell the ends apart.
    pub(super) fn of(stack: &Stack, rings: &[Option<Ring>]) -> Option<Self> {
        if stack.flags.iter().any(|flag| matches!(flag, StackFlag::NoOrientation)) {
            return None;
        }
        let normal = stack.slices.first()?.plane.normal();
        let usual = dot(normal, USUAL_APEX) / dot(USUAL_APEX, USUAL_APEX).sqrt();
        let mut areas: Vec<(f64, f64)> = stack
            .slices
            .iter()
            .zip(rings)
            .filter_map(|(slice, ring)| Some((slice.plane.distance_mm(normal), ring.as_ref()?.cavity_mm2)))
            .collect();
        areas.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = areas.len() / 2;
        let sum = |part: &[(f64, f64)]| part.iter().map(|(_, area)| area).sum::<f64>();
        let (low, high) = (sum(areas.get(..half)?), sum(areas.get(areas.len() - half..)?));
        let ratio = if low > 0.0 && high > 0.0 { low / high } else { 1.0 };
        // Above 1: the cavity shrinks along the normal, so that the normal points to the apex.
        let by_area = |least: f64| (ratio >= least).then_some(1.0).or((ratio <= 1.0 / least).then_some(-1.0));
        let by_axes = (usual.abs() >= MIN_COSINE).then(|| usual.signum());
        let sign = by_area(AREAS_DECIDE).or(by_axes)?;
        let contradiction = by_area(AREAS_SPEAK).zip(by_axes).is_some_and(|(a, b)| a != b);
        Some(Self { base_to_apex: normal.map(|v| sign * v), ends_disagree: contradiction })
    }
}

/// Plane basis of a slice for a septum direction: angles from mid-septum toward the anterior wall.
pub(super) fn basis(view: &View, septum: Vector3, base_to_apex: Vector3) -> Basis {
    let in_plane = normalised(view.project(septum));
    let anterior = normalised(view.project(cross(septum, base_to_apex)));
    // Made square again: slices may be tilted against one another by up to two degrees.
    let turned = [-in_plane[1], in_plane[0]];
    let sign = if turned[0] * anterior[0] + turned[1] * anterior[1] < 0.0 { -1.0 } else { 1.0 };
    Basis { first: in_plane, second: turned.map(|v| sign * v) }
}

fn normalised(v: [f64; 2]) -> [f64; 2] {
    let length = v[0].hypot(v[1]);
    if length > 0.0 { v.map(|x| x / length) } else { [1.0, 0.0] }
}

/// The part of a direction at right angles to an axis, as unit vector.
fn across(direction: Vector3, axis: Vector3) -> Vector3 {
    let along = dot(direction, axis);
    let flat: Vector3 = std::array::from_fn(|k| direction[k] - along * axis[k]);
    let length = dot(flat, flat).sqrt();
    flat.map(|v| v / length)
}

/// Where the septum usually lies, across the axis.
pub(super) fn usual_septum(base_to_apex: Vector3) -> Vector3 {
    across(USUAL_SEPTUM, base_to_apex)
}

/// The directions: given, else found in the images, else estimated.
pub(super) fn find(
    axis: &Axis,
    views: &[View],
    rings: &[Option<Ring>],
    intensities: &Intensities,
    given: Option<Vector3>,
) -> Directions {
    let usual = usual_septum(axis.base_to_apex);
    let directions = |source, septum: Vector3, anterior_insertion_deg, slices_found| Directions {
        source,
        base_to_apex: axis.base_to_apex,
        septum,
        anterior_insertion_deg,
        slices_found,
        ends_disagree: axis.ends_disagree,
    };
    if let Some(point) = given {
        let septum = septum_of_insertion(axis, views, rings, point);
        return directions(DirectionSource::Given, septum.unwrap_or(usual), HALF_SEPTUM_DEG, 0);
    }
    let arcs: Vec<(f64, f64)> = right_ventricles(axis, views, rings, intensities, usual);
    let wanted = (MIN_FOUND * rings.iter().flatten().count() as f64 * 2.0 / 3.0).max(2.0);
    let middles: Vec<f64> = arcs.iter().map(|(low, high)| 0.5 * (low + high)).collect();
    let middle = median(&middles);
    let spread = median(&middles.iter().map(|m| (m - middle).abs()).collect::<Vec<f64>>());
    if (arcs.len() as f64) < wanted || spread.to_degrees() > MAX_SPREAD_DEG {
        return directions(DirectionSource::Estimated, usual, HALF_SEPTUM_DEG, arcs.len());
    }
    let septum = turned(usual, axis.base_to_apex, middle);
    let half_arc = median(&arcs.iter().map(|(low, high)| 0.5 * (high - low)).collect::<Vec<f64>>()).to_degrees();
    let half_septum = 0.5 * (HALF_SEPTUM_DEG + half_arc + WEDGE_DEG);
    directions(DirectionSource::Found, septum, half_septum, arcs.len())
}

/// `septum` turned by `angle` toward the anterior wall.
fn turned(septum: Vector3, base_to_apex: Vector3, angle: f64) -> Vector3 {
    let anterior = cross(septum, base_to_apex);
    let (sin, cos) = angle.sin_cos();
    std::array::from_fn(|k| cos * septum[k] + sin * anterior[k])
}

/// Septum direction such that a patient point lies at the anterior insertion, seen from the middle of the LV.
fn septum_of_insertion(axis: &Axis, views: &[View], rings: &[Option<Ring>], point: Vector3) -> Option<Vector3> {
    let centres: Vec<Vector3> =
        views.iter().zip(rings).filter_map(|(view, ring)| Some(view.to_patient(ring.as_ref()?.centre))).collect();
    let distance = |c: &Vector3| dot(axis.base_to_apex, std::array::from_fn(|k| point[k] - c[k])).abs();
    let centre = centres.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    let toward = across(std::array::from_fn(|k| point[k] - centre[k]), axis.base_to_apex);
    Some(turned(toward, axis.base_to_apex, -HALF_SEPTUM_DEG.to_radians()))
}

/// Arcs (radians about the usual septum, inferior end and anterior end) of the right ventricle, in the slices where it
/// was found.
fn right_ventricles(
    axis: &Axis,
    views: &[View],
    rings: &[Option<Ring>],
    intensities: &Intensities,
    usual: Vector3,
) -> Vec<(f64, f64)> {
    let slices = views.iter().zip(rings).filter_map(|(view, ring)| Some((view, ring.as_ref()?)));
    slices
        .filter_map(|(view, ring)| {
            let basis = basis(view, usual, axis.base_to_apex);
            arc(&bright_directions(view, ring, &basis, intensities))
        })
        .collect()
}

/// Whether the band outside the epicardium is as bright as blood, in `LOOKS` directions.
fn bright_directions(view: &View, ring: &Ring, basis: &Basis, intensities: &Intensities) -> Vec<bool> {
    let radii = ring.radii(basis, LOOKS);
    let bright = |(index, radii): (usize, Option<(f64, f64)>)| {
        let Some((_, epi)) = radii else { return false };
        let d = basis.direction(angle_of(index, LOOKS));
        let steps = (BAND_MM[1] - BAND_MM[0]) as usize;
        let at = |k: usize| epi + BAND_MM[0] + k as f64;
        let samples = (0..=steps).filter_map(|k| {
            let value = view.intensity([ring.centre[0] + at(k) * d[0], ring.centre[1] + at(k) * d[1]])?;
            intensities.relative(value)
        });
        samples.filter(|v| AS_BRIGHT.contains(v)).count() as f64 >= BRIGHT_SHARE * (steps + 1) as f64
    };
    radii.into_iter().enumerate().map(bright).collect()
}

/// The longest run of bright directions that can be a right ventricle.
fn arc(bright: &[bool]) -> Option<(f64, f64)> {
    let count = bright.len();
    let gap = (CLOSE_DEG / 360.0 * count as f64) as usize;
    let dark = (0..count).find(|k| (0..=gap).all(|j| bright.get((k + j) % count) == Some(&false)))?;
    // Runs are walked from a place that is dark for more than a gap, so that none is cut in two.
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for k in dark..dark + count {
        if bright.get(k % count) == Some(&true) {
            match runs.last_mut() {
                Some((_, end)) if k - *end <= gap => *end = k,
                _ => runs.push((k, k)),
            }
        }
    }
    let angles = |(from, to): (usize, usize)| {
        let half = 0.5 * angle_of(to - from, count);
        let middle = wrap(angle_of(from, count) + half);
        (middle - half, middle + half)
    };
    let fits = |(low, high): &(f64, f64)| {
        ARC_DEG.contains(&(high - low).to_degrees()) && (0.5 * (low + high)).abs().to_degrees() <= MAX_OFF_USUAL_DEG
    };
    runs.into_iter().map(angles).filter(fits).max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let at = |k: usize| sorted.get(k).copied().unwrap_or(0.0);
    if n % 2 == 1 { at(n / 2) } else { 0.5 * (at((n / 2).wrapping_sub(1)) + at(n / 2)) }
}
