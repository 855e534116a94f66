//! From frames in patient space to an ordered stack: one frame per position, the length each slice stands for, and flags.

use super::classify::angle_between;
use super::header::Frame;
use crate::domain::stack::{Plane, StackFlag, Vector3};

/// Planes that differ by more are flagged, degrees.
const TILT_FLAGGED: f64 = 2.0;
/// A step above this multiple of the median is a missing slice; also the bound of a slice's height.
const GAP: f64 = 1.5;
/// Positions nearer than this multiple of the median step are one position.
const DUPLICATE: f64 = 0.1;
/// Steps below are no steps between slices, mm: table jitter, rounding.
const STEP_MIN_MM: f64 = 0.5;

/// A frame with its place in the stack.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub frame: Frame,
    pub plane: Plane,
    pub thickness_mm: f64,
    pub height_mm: f64,
}

/// Plane of a frame; `None` when an attribute is missing.
pub(super) fn plane(frame: &Frame) -> Option<Plane> {
    let (row, column) = frame.orientation?;
    Some(Plane { position_mm: frame.position?, row, column, spacing_mm: frame.spacing? })
}

/// Number of distinct positions along the normal of the first frame.
pub(super) fn distinct_positions(frames: &[Frame]) -> usize {
    let mut distances = distances(frames);
    distances.sort_by(f64::total_cmp);
    distances.dedup_by(|a, b| (*a - *b).abs() < STEP_MIN_MM);
    distances.len()
}

/// Distances along the first frame's normal; frames without geometry are left out.
fn distances(frames: &[Frame]) -> Vec<f64> {
    let planes: Vec<Plane> = frames.iter().filter_map(plane).collect();
    let normal = planes.first().map(Plane::normal).unwrap_or_default();
    planes.iter().map(|plane| plane.distance_mm(normal)).collect()
}

/// Orders frames along their normal, keeps the newest at each position and measures what each slice stands for.
/// Frames without geometry are left out; the caller has refused them before.
pub(super) fn arrange(frames: &[Frame]) -> (Vec<Placed>, Vec<StackFlag>) {
    let mut flags = Vec::new();
    let Some(normal) = frames.iter().find_map(plane).map(|plane| plane.normal()) else { return (Vec::new(), flags) };
    let mut all: Vec<(f64, Plane, &Frame)> =
        frames.iter().filter_map(|f| plane(f).map(|plane| (plane.distance_mm(normal), plane, f))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let tilt = largest_angle(&all.iter().map(|(_, plane, _)| (plane.row, plane.column)).collect::<Vec<_>>());
    if tilt > TILT_FLAGGED {
        flags.push(StackFlag::NonParallel { degrees: tilt });
    }
    let kept = newest_per_position(all, &mut flags);
    let steps: Vec<f64> = kept.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let spacing = spacing(&steps, &kept, &mut flags);
    for (index, step) in steps.iter().enumerate() {
        if *step > GAP * spacing {
            flags.push(StackFlag::MissingSlice { after_slice: index, step_mm: *step });
        }
    }
    let heights = heights(&steps, spacing, kept.len());
    let placed = kept.into_iter().zip(heights).map(|((_, plane, frame), height_mm)| Placed {
        frame: frame.clone(),
        plane,
        thickness_mm: frame.thickness_mm.unwrap_or(spacing),
        height_mm,
    });
    (placed.collect(), flags)
}

fn largest_angle(directions: &[(Vector3, Vector3)]) -> f64 {
    let pairs = directions.iter().enumerate().flat_map(|(i, a)| directions.iter().skip(i + 1).map(move |b| (*a, *b)));
    pairs.map(|(a, b)| angle_between(a, b)).fold(0.0, f64::max)
}

/// Keeps the frame that was acquired last at each position.
fn newest_per_position<'a>(
    sorted: Vec<(f64, Plane, &'a Frame)>,
    flags: &mut Vec<StackFlag>,
) -> Vec<(f64, Plane, &'a Frame)> {
    let steps: Vec<f64> = sorted.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|s| *s > STEP_MIN_MM).collect();
    let tolerance = median(&steps).map_or(STEP_MIN_MM, |step| DUPLICATE * step);
    let mut kept: Vec<(f64, Plane, &Frame)> = Vec::new();
    let mut dropped: Vec<usize> = Vec::new();
    for candidate in sorted {
        match kept.last_mut() {
            Some(last) if candidate.0 - last.0 <= tolerance => {
                let age = |frame: &'a Frame| (&frame.acquired, frame.instance_number, frame.number);
                if age(candidate.2) > age(last.2) {
                    *last = candidate;
                }
                if let Some(count) = dropped.last_mut() {
                    *count += 1;
                }
            }
            _ => {
                kept.push(candidate);
                dropped.push(0);
            }
        }
    }
    for (slice, dropped) in dropped.into_iter().enumerate().filter(|(_, dropped)| *dropped > 0) {
        flags.push(StackFlag::DuplicatePosition { slice, dropped });
    }
    kept
}

/// Centre-to-centre distance of neighbours: positions first, then SpacingBetweenSlices, then SliceThickness.
fn spacing(steps: &[f64], kept: &[(f64, Plane, &Frame)], flags: &mut Vec<StackFlag>) -> f64 {
    let stated = median(&kept.iter().filter_map(|(_, _, frame)| frame.between_mm).collect::<Vec<_>>());
    let thickness = median(&kept.iter().filter_map(|(_, _, frame)| frame.thickness_mm).collect::<Vec<_>>());
    if let Some(measured) = median(steps) {
        // Some old exports store the gap instead; then it disagrees as well, and the positions stand.
        if stated.is_some_and(|stated| (stated - measured).abs() > 0.1 * measured) {
            flags.push(StackFlag::SpacingDisagrees);
        }
        return measured;
    }
    match (stated, thickness) {
        (Some(stated), Some(thickness)) if stated < 0.6 * thickness => {
            flags.push(StackFlag::SpacingDisagrees);
            thickness
        }
        (Some(stated), _) => stated,
        (None, thickness) => {
            flags.push(StackFlag::NoGapInformation);
            thickness.unwrap_or(0.0)
        }
    }
}

/// Lower median: of an even number the smaller middle one, so that one gap among two steps is still seen as a gap.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// Half the distance to both neighbours, at the ends the median, never above 1.5 x the median.
fn heights(steps: &[f64], median: f64, slices: usize) -> Vec<f64> {
    (0..slices)
        .map(|k| {
            let before = k.checked_sub(1).and_then(|before| steps.get(before));
            match (before, steps.get(k)) {
                (Some(before), Some(after)) => (0.5 * (before + after)).min(GAP * median),
                _ => median,
            }
        })
        .collect()
}

/// Whether two frames can be slices of one stack: same matrix, pixel spacing within 0.1 %, planes within 10 degrees.
pub(super) fn stackable(a: &Frame, b: &Frame) -> bool {
    let (Some(p), Some(q)) = (plane(a), plane(b)) else { return false };
    let same_spacing = p.spacing_mm.iter().zip(q.spacing_mm).all(|(p, q)| (p - q).abs() <= 1e-3 * p.max(q));
    let same_matrix = (a.rows, a.columns) == (b.rows, b.columns);
    same_matrix && same_spacing && angle_between((p.row, p.column), (q.row, q.column)) <= 10.0
}
