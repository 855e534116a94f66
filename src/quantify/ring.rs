//! The ring of a slice: endocardial and epicardial outline, the centre, and how much of the circumference has a wall.

use super::contour::{Outline, between, cross2, largest_filled, minus, outlines};
use super::view::{Point, View};
use crate::domain::labels::Label;
use ndarray::Array2;

/// Points of a contour.
const POINTS: usize = 200;
/// Smoothing of contours, pixels along the line.
const SMOOTH_PX: f64 = 1.5;
/// A cavity that fills less than this of its hull is replaced by it: papillary muscles were left out of it.
const MIN_SOLIDITY: f64 = 0.9;
/// A wall thinner than this is none, pixels.
pub(super) const MIN_WALL_PX: f64 = 1.5;
/// Directions in which coverage and midline are sampled.
pub(super) const DIRECTIONS: usize = 200;

/// Two directions at right angles that angles are counted in: 0 along the first, growing toward the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Basis {
    pub first: Point,
    pub second: Point,
}

impl Basis {
    /// Direction of an angle, radians.
    pub(super) fn direction(&self, angle: f64) -> Point {
        let (sin, cos) = angle.sin_cos();
        [cos * self.first[0] + sin * self.second[0], cos * self.first[1] + sin * self.second[1]]
    }

    /// Angle of a vector, radians in -pi to pi.
    pub(super) fn angle(&self, v: Point) -> f64 {
        let along = |d: Point| v[0] * d[0] + v[1] * d[1];
        along(self.second).atan2(along(self.first))
    }
}

/// Contours of a slice that holds a cavity, in millimetres of its view.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    pub endo: Outline,
    pub epi: Outline,
    /// Centre of the cavity.
    pub centre: Point,
    /// Area within the endocardium, mm^2.
    pub cavity_mm2: f64,
}

impl Ring {
    /// The ring; `None` without a cavity. `ventricle` is the largest part of cavity and wall, filled.
    pub(super) fn of(view: &View, ventricle: &Array2<bool>) -> Option<Self> {
        let cavity = largest_filled(&view.mask(|label| label == Label::Cavity as u8));
        let mut endo = contour(&cavity, view)?;
        let hull = endo.hull();
        if endo.area() < MIN_SOLIDITY * hull.area() {
            endo = hull.resampled(POINTS);
        }
        let epi = contour(ventricle, view)?;
        let cavity_mm2 = endo.area();
        (cavity_mm2 > 0.0 && epi.area() > 0.0).then(|| Self { centre: endo.centre(), cavity_mm2, endo, epi })
    }

    /// Distance from the centre to the endocardium (first crossing) and to the epicardium (last crossing) in
    /// `DIRECTIONS` directions.
    pub(super) fn radii(&self, basis: &Basis, count: usize) -> Vec<Option<(f64, f64)>> {
        let inner = crossings(&self.endo, self.centre, basis, count, f64::min);
        let outer = crossings(&self.epi, self.centre, basis, count, f64::max);
        inner.into_iter().zip(outer).map(|(inner, outer)| Some((inner?, outer?))).collect()
    }

    /// Share of the circumference that has a wall.
    pub(super) fn coverage(&self, view: &View, basis: &Basis) -> f64 {
        let least = MIN_WALL_PX * view.pixel_mm();
        let radii = self.radii(basis, DIRECTIONS);
        let walled = radii.iter().enumerate().filter(|(index, radii)| {
            radii.is_some_and(|(inner, outer)| {
                let direction = basis.direction(angle_of(*index, DIRECTIONS));
                outer - inner >= least && walled(view, self.centre, direction, inner, outer) >= 0.5
            })
        });
        walled.count() as f64 / DIRECTIONS as f64
    }
}

/// Share of the way from `inner` to `outer` that is wall.
fn walled(view: &View, centre: Point, direction: Point, inner: f64, outer: f64) -> f64 {
    const STEPS: usize = 8;
    let wall = (0..STEPS).filter(|k| {
        let r = inner + (outer - inner) * (*k as f64 + 0.5) / STEPS as f64;
        view.wall_and_scar([centre[0] + r * direction[0], centre[1] + r * direction[1]]).0 >= 0.5
    });
    wall.count() as f64 / STEPS as f64
}

/// Angle of direction `index` of `count`, radians.
pub(super) fn angle_of(index: usize, count: usize) -> f64 {
    std::f64::consts::TAU * index as f64 / count as f64
}

fn contour(mask: &Array2<bool>, view: &View) -> Option<Outline> {
    let outline = outlines(mask, view.spacing).into_iter().max_by(|a, b| a.area().total_cmp(&b.area()))?;
    let step = outline.length() / POINTS as f64;
    Some(outline.resampled(POINTS).smoothed(SMOOTH_PX * view.pixel_mm() / step))
}

/// Distance from `centre` to an outline in `count` directions; `choose` decides between several crossings.
fn crossings(
    outline: &Outline,
    centre: Point,
    basis: &Basis,
    count: usize,
    choose: fn(f64, f64) -> f64,
) -> Vec<Option<f64>> {
    let mut found: Vec<Option<f64>> = vec![None; count];
    let step = angle_of(1, count);
    let mut next = outline.points.first().map_or(0.0, |point| basis.angle(minus(*point, centre)));
    for (a, b) in outline.sides() {
        let (a, b) = (minus(a, centre), minus(b, centre));
        let from = std::mem::replace(&mut next, basis.angle(b));
        // The way round that is shorter than half a turn.
        let sweep = wrap(next - from);
        let (low, high) = if sweep < 0.0 { (from + sweep, from) } else { (from, from + sweep) };
        for k in (low / step).ceil() as i64..=(high / step).floor() as i64 {
            let direction = basis.direction(k as f64 * step);
            let across = cross2(direction, minus(b, a));
            let distance = if across.abs() > 1e-12 { cross2(a, minus(b, a)) / across } else { 0.0 };
            if let Some(slot) = found.get_mut(k.rem_euclid(count as i64) as usize).filter(|_| distance > 0.0) {
                *slot = Some(slot.map_or(distance, |old| choose(old, distance)));
            }
        }
    }
    found
}

/// Angle in -pi to pi.
pub(super) fn wrap(angle: f64) -> f64 {
    let turn = std::f64::consts::TAU;
    (angle + 0.5 * turn).rem_euclid(turn) - 0.5 * turn
}

/// Point midway through the wall in a direction.
pub(super) fn midpoint(ring: &Ring, basis: &Basis, angle: f64, (inner, outer): (f64, f64)) -> Point {
    let d = basis.direction(angle);
    let at = |r: f64| [ring.centre[0] + r * d[0], ring.centre[1] + r * d[1]];
    between(at(inner), at(outer), 0.5)
}
