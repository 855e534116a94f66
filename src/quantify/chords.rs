//! Chords through the wall and the share of each that is scar.

use super::contour::{Outline, between, cross2, minus, norm};
use super::ring::{Basis, DIRECTIONS, MIN_WALL_PX, Ring, angle_of, midpoint};
use super::view::{Point, View};
use crate::domain::segments::ChordMethod;

/// A chord is the mean of this many rays side by side: a chord between two of them has a width, so that the edge of a
/// lesion does not jump from chord to chord.
pub(super) const RAYS: usize = 4;
/// Step along a ray, pixels.
const STEP_PX: f64 = 0.25;
/// Smoothing of the midline, pixels along it.
const SMOOTH_PX: f64 = 2.0;
/// Radial chords replace centreline chords when these lose more than this share of valid rays against them.
const MAX_LOSS: f64 = 0.1;
/// Least share of a ray that must be wall, and what share of wall in its neighbourhood makes a place wall.
const MIN_WALL_SHARE: f64 = 0.5;
const MIN_WALL: f64 = 0.05;

/// A ray from endocardium to epicardium.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ray {
    /// Direction of its middle from the centre of the cavity, radians in the basis.
    pub angle: f64,
    /// What it crosses; `None` where there is no wall.
    pub share: Option<Share>,
}

/// Scar on the way through the wall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// Length of scar over length of wall, 0 to 1.
    pub scar: f64,
    /// True when it crosses the outline of scar.
    pub enhanced: bool,
}

/// The chords of a slice, `RAYS` rays each, counted from the first direction of the basis.
#[derive(Debug, Clone)]
pub(super) struct Chords {
    pub method: ChordMethod,
    pub rays: Vec<Ray>,
}

impl Chords {
    /// Lays `count` chords: on the centreline, or from the centre where the centreline is not sound.
    pub(super) fn of(view: &View, ring: &Ring, basis: &Basis, count: usize) -> Self {
        let radial = || radial(view, ring, basis, count * RAYS);
        let lost = |rays: &[Ray]| rays.iter().filter(|ray| ray.share.is_none()).count() as f64;
        // Radial chords are laid only where they could win: they may lose some rays themselves.
        let sound = |rays: &Vec<Ray>| {
            let excess = lost(rays) - MAX_LOSS * (count * RAYS) as f64;
            excess <= 0.0 || excess <= lost(&radial())
        };
        match centreline(view, ring, basis, count * RAYS).filter(sound) {
            Some(rays) => Self { method: ChordMethod::Centreline, rays },
            None => Self { method: ChordMethod::Radial, rays: radial() },
        }
    }
}

fn radial(view: &View, ring: &Ring, basis: &Basis, count: usize) -> Vec<Ray> {
    let radii = ring.radii(basis, count);
    let ray = |(index, radii): (usize, Option<(f64, f64)>)| {
        let angle = angle_of(index, count);
        let d = basis.direction(angle);
        let at = |r: f64| [ring.centre[0] + r * d[0], ring.centre[1] + r * d[1]];
        Ray { angle, share: radii.and_then(|(inner, outer)| scar_share(view, at(inner), at(outer))) }
    };
    radii.into_iter().enumerate().map(ray).collect()
}

/// Rays at right angles to the line midway between the contours; `None` when that line cannot be drawn.
fn centreline(view: &View, ring: &Ring, basis: &Basis, count: usize) -> Option<Vec<Ray>> {
    let radii: Option<Vec<(f64, f64)>> = ring.radii(basis, DIRECTIONS).into_iter().collect();
    let points: Vec<Point> =
        (0..).zip(radii?).map(|(index, radii)| midpoint(ring, basis, angle_of(index, DIRECTIONS), radii)).collect();
    let line = Outline { points };
    let line = line.resampled(count);
    let line = line.smoothed(SMOOTH_PX * view.pixel_mm() / (line.length() / count as f64));
    let outward = if line.area() > 0.0 { 1.0 } else { -1.0 };
    let mut feet: Vec<Option<(Point, Point)>> = Vec::with_capacity(count);
    for (index, middle) in line.points.iter().enumerate() {
        let before = line.points.get((index + count - 1) % count)?;
        let after = line.points.get((index + 1) % count)?;
        let along = minus(*after, *before);
        let length = norm(along);
        let normal = [outward * along[1] / length, -outward * along[0] / length];
        let inner = nearest_crossing(&ring.endo, *middle, [-normal[0], -normal[1]]);
        let outer = nearest_crossing(&ring.epi, *middle, normal);
        feet.push(inner.zip(outer));
    }
    let crossed = crossing_neighbours(&feet);
    let rays = line.points.iter().zip(feet).zip(crossed).map(|((middle, feet), crossed)| Ray {
        angle: basis.angle(minus(*middle, ring.centre)),
        share: feet.filter(|_| !crossed).and_then(|(inner, outer)| scar_share(view, inner, outer)),
    });
    Some(rays.collect())
}

/// Where a ray from `start` first meets an outline. It may start on the wrong side by the width of the smoothing.
fn nearest_crossing(outline: &Outline, start: Point, direction: Point) -> Option<Point> {
    const SLACK_MM: f64 = 1.0;
    let leftward = |point: Point| cross2(direction, minus(point, start)) > 0.0;
    let mut nearest: Option<f64> = None;
    let mut from = outline.points.first().is_some_and(|point| leftward(*point));
    for (a, b) in outline.sides() {
        let to = leftward(b);
        if std::mem::replace(&mut from, to) == to {
            continue;
        }
        let side = minus(b, a);
        let distance = cross2(minus(a, start), side) / cross2(direction, side);
        if distance > -SLACK_MM && nearest.is_none_or(|old| distance.abs() < old.abs()) {
            nearest = Some(distance);
        }
    }
    nearest.map(|r| [start[0] + r * direction[0], start[1] + r * direction[1]])
}

/// Marks rays that cross the ray before them.
fn crossing_neighbours(feet: &[Option<(Point, Point)>]) -> Vec<bool> {
    let before = feet.iter().cycle().skip(feet.len().saturating_sub(1));
    feet.iter().zip(before).map(|(ray, before)| ray.zip(*before).is_some_and(|(a, b)| cross(a, b))).collect()
}

fn cross((a, b): (Point, Point), (c, d): (Point, Point)) -> bool {
    let side = |p: Point, q: Point, r: Point| cross2(minus(q, p), minus(r, p)) > 0.0;
    side(a, b, c) != side(a, b, d) && side(c, d, a) != side(c, d, b)
}

/// Length of scar over length of wall between two points, and whether it crosses the outline of scar.
///
/// At a place, scar is its share of the wall in the bilinear neighbourhood: that keeps areas, and at the contours, where
/// wall and scar fade together, a transmural scar stays transmural.
fn scar_share(view: &View, inner: Point, outer: Point) -> Option<Share> {
    let length = norm(minus(outer, inner));
    if length < MIN_WALL_PX * view.pixel_mm() {
        return None;
    }
    let steps = (length / (STEP_PX * view.pixel_mm())).ceil() as usize;
    let (mut walled, mut scarred, mut enhanced) = (0_usize, 0.0, false);
    for k in 0..steps {
        let (wall, scar) = view.wall_and_scar(between(inner, outer, (k as f64 + 0.5) / steps as f64));
        // No wall at all: a hole in the drawing, or the contour ran a little outside of it.
        if wall > MIN_WALL {
            walled += 1;
            scarred += scar / wall;
            enhanced |= scar >= 0.5 * wall;
        }
    }
    let sound = walled as f64 >= MIN_WALL_SHARE * steps as f64;
    sound.then(|| Share { scar: scarred / walled as f64, enhanced })
}
