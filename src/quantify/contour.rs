//! Outlines of masks in millimetres: marching squares at one half, areas, hulls, smoothing.

use super::view::Point;
use ndarray::Array2;

/// A closed line; the last point is joined to the first. Positive area means the inside lies to the left in (x, y).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outline {
    pub points: Vec<Point>,
}

/// Cross product of two plane vectors.
pub(super) fn cross2(a: Point, b: Point) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

/// Difference.
pub(super) fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

/// Length.
pub(super) fn norm(a: Point) -> f64 {
    a[0].hypot(a[1])
}

/// `a + t (b - a)`.
pub(super) fn between(a: Point, b: Point, t: f64) -> Point {
    [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])]
}

impl Outline {
    /// Sides, each from its point to the next.
    pub(super) fn sides(&self) -> impl Iterator<Item = (Point, Point)> {
        let next = self.points.iter().skip(1).chain(self.points.first());
        self.points.iter().copied().zip(next.copied())
    }

    /// Signed area, mm^2.
    pub(super) fn area(&self) -> f64 {
        0.5 * self.sides().map(|(a, b)| cross2(a, b)).sum::<f64>()
    }

    /// Perimeter, mm.
    pub(super) fn length(&self) -> f64 {
        self.sides().map(|(a, b)| norm(minus(b, a))).sum()
    }

    /// Centre of the area.
    pub(super) fn centre(&self) -> Point {
        let sum = self.sides().fold([0.0; 3], |[x, y, w], (a, b)| {
            let c = cross2(a, b);
            [x + (a[0] + b[0]) * c, y + (a[1] + b[1]) * c, w + 3.0 * c]
        });
        [sum[0] / sum[2], sum[1] / sum[2]]
    }

    /// The same line with `count` points at equal distances along it.
    pub(super) fn resampled(&self, count: usize) -> Self {
        let step = self.length() / count.max(1) as f64;
        let mut points = Vec::with_capacity(count);
        let mut walked = 0.0;
        for (a, b) in self.sides() {
            let side = norm(minus(b, a));
            while side > 0.0 && points.len() < count && points.len() as f64 * step < walked + side {
                points.push(between(a, b, (points.len() as f64 * step - walked) / side));
            }
            walked += side;
        }
        Self { points }
    }

    /// Smoothed with a periodic Gaussian of `sigma` points. What the Gaussian takes from the radius is given back once
    /// (`2G - GG`): a small cavity would otherwise shrink.
    pub(super) fn smoothed(&self, sigma: f64) -> Self {
        let once = gaussian(&self.points, sigma);
        let rest: Vec<Point> = self.points.iter().zip(&once).map(|(p, s)| minus(*p, *s)).collect();
        let back = gaussian(&rest, sigma);
        Self { points: once.iter().zip(&back).map(|(s, b)| [s[0] + b[0], s[1] + b[1]]).collect() }
    }

    /// Convex hull (Andrew's monotone chain), positive area.
    pub(super) fn hull(&self) -> Self {
        let mut sorted = self.points.clone();
        sorted.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        let chain = |points: &mut dyn Iterator<Item = Point>| {
            let mut line: Vec<Point> = Vec::new();
            for p in points {
                while let [.., a, b] = line.as_slice() {
                    if cross2(minus(*b, *a), minus(p, *a)) > 0.0 {
                        break;
                    }
                    line.pop();
                }
                line.push(p);
            }
            line.pop();
            line
        };
        let mut points = chain(&mut sorted.iter().copied());
        points.extend(chain(&mut sorted.iter().rev().copied()));
        Self { points }
    }
}

fn gaussian(points: &[Point], sigma: f64) -> Vec<Point> {
    let n = points.len();
    let reach = ((3.0 * sigma).ceil() as usize).min(n / 2);
    let offsets = (0..=2 * reach).map(|k| k as f64 - reach as f64);
    let weights: Vec<f64> = offsets.map(|offset| (-0.5 * (offset / sigma.max(1e-9)).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let weights: Vec<f64> = weights.into_iter().map(|weight| weight / total).collect();
    // Laid out once around, so that the windows of the first and the last point are whole.
    let around: Vec<Point> = points.iter().cycle().skip(n - reach).take(n + 2 * reach).copied().collect();
    let mean = |near: &[Point]| {
        near.iter()
            .zip(&weights)
            .fold([0.0; 2], |[x, y], (point, weight)| [x + weight * point[0], y + weight * point[1]])
    };
    around.windows(weights.len()).map(mean).collect()
}

/// All outlines of a mask, outer ones with positive area and holes with negative; diagonal neighbours belong together.
/// `spacing` is [between rows, between columns], mm; the centre of pixel (0, 0) is the origin.
pub(super) fn outlines(mask: &Array2<bool>, spacing: [f64; 2]) -> Vec<Outline> {
    let (rows, columns) = mask.dim();
    // One row and column of background is laid around the mask, so that every outline closes.
    let inside = |r: usize, c: usize| r > 0 && c > 0 && mask.get((r - 1, c - 1)) == Some(&true);
    let width = columns + 2;
    let mut next = vec![usize::MAX; 2 * (rows + 2) * width];
    for r in 0..=rows {
        let mut corners = [false; 4];
        for c in 0..=columns {
            // What was right is left.
            corners = [corners[1], inside(r, c + 1), inside(r + 1, c + 1), corners[2]];
            let edges =
                [edge(width, r, c, 0), edge(width, r, c + 1, 1), edge(width, r + 1, c, 0), edge(width, r, c, 1)];
            for (from, to) in steps(corners) {
                if let (Some(slot), Some(to)) = (next.get_mut(edges[from]), edges.get(to)) {
                    *slot = *to;
                }
            }
        }
    }
    let mut found = Vec::new();
    for start in 0..next.len() {
        let mut points = Vec::new();
        let mut at = start;
        while let Some(to) =
            next.get_mut(at).map(|slot| std::mem::replace(slot, usize::MAX)).filter(|t| *t != usize::MAX)
        {
            points.push(middle(width, at, spacing));
            at = to;
        }
        if !points.is_empty() {
            found.push(Outline { points });
        }
    }
    found
}

/// Number of the side between a pixel and its right (0) or lower (1) neighbour.
fn edge(width: usize, row: usize, column: usize, down: usize) -> usize {
    2 * (row * width + column) + down
}

fn middle(width: usize, edge: usize, spacing: [f64; 2]) -> Point {
    let (pixel, down) = (edge / 2, edge % 2);
    let (row, column) = ((pixel / width) as f64, (pixel % width) as f64);
    let (dr, dc) = if down == 1 { (0.5, 0.0) } else { (0.0, 0.5) };
    // Less the background around the mask.
    [(column + dc - 1.0) * spacing[1], (row + dr - 1.0) * spacing[0]]
}

/// Steps through a cell between its sides (0 top, 1 right, 2 bottom, 3 left), inside to the left in (x, y). Corners:
/// top left, top right, bottom right, bottom left.
fn steps(corners: [bool; 4]) -> impl Iterator<Item = (usize, usize)> {
    let list: &[(usize, usize)] = match corners {
        [true, false, false, false] => &[(0, 3)],
        [false, true, false, false] => &[(1, 0)],
        [false, false, true, false] => &[(2, 1)],
        [false, false, false, true] => &[(3, 2)],
        [true, true, false, false] => &[(1, 3)],
        [false, true, true, false] => &[(2, 0)],
        [false, false, true, true] => &[(3, 1)],
        [true, false, false, true] => &[(0, 2)],
        [true, true, true, false] => &[(2, 3)],
        [false, true, true, true] => &[(3, 0)],
        [true, false, true, true] => &[(0, 1)],
        [true, true, false, true] => &[(1, 2)],
        [true, false, true, false] => &[(0, 1), (2, 3)],
        [false, true, false, true] => &[(3, 0), (1, 2)],
        [true, true, true, true] | [false, false, false, false] => &[],
    };
    list.iter().copied()
}

/// The largest 8-connected part of a mask, holes filled.
pub(super) fn largest_filled(mask: &Array2<bool>) -> Array2<bool> {
    let parts = super::components::components(std::slice::from_ref(mask));
    // The first of equals by position, so that the choice does not depend on anything else.
    let largest = parts.iter().max_by_key(|part| part.len());
    let mut kept = Array2::from_elem(mask.dim(), false);
    for (_, row, column) in largest.into_iter().flatten() {
        if let Some(pixel) = kept.get_mut((*row, *column)) {
            *pixel = true;
        }
    }
    fill_holes(&mut kept);
    kept
}

/// Fills background that is not 4-connected to the border.
fn fill_holes(mask: &mut Array2<bool>) {
    let (rows, columns) = mask.dim();
    let mut outside = Array2::from_elem((rows, columns), false);
    let mut front: Vec<(usize, usize)> = Vec::new();
    for r in 0..rows {
        for c in 0..columns {
            if r == 0 || c == 0 || r + 1 == rows || c + 1 == columns {
                front.push((r, c));
            }
        }
    }
    while let Some((r, c)) = front.pop() {
        let Some(seen) = outside.get_mut((r, c)) else { continue };
        if *seen || mask.get((r, c)) != Some(&false) {
            continue;
        }
        *seen = true;
        front.extend([(r + 1, c), (r, c + 1), (r.wrapping_sub(1), c), (r, c.wrapping_sub(1))]);
    }
    ndarray::Zip::from(mask).and(&outside).for_each(|pixel, outside| *pixel = !outside);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(radius: f64, hole: f64) -> Array2<bool> {
        Array2::from_shape_fn((64, 64), |(r, c)| {
            let d = (r as f64 - 31.5).hypot(c as f64 - 31.5);
            d < radius && d >= hole
        })
    }

    #[test]
    fn outlines_hold_areas_and_holes() {
        let ring = outlines(&disc(20.0, 12.0), [1.0, 2.0]);
        assert_eq!(ring.len(), 2);
        let area: f64 = ring.iter().map(Outline::area).sum();
        assert!((area / (std::f64::consts::PI * (400.0 - 144.0) * 2.0) - 1.0).abs() < 0.02, "{area}");
        assert!(ring.iter().any(|o| o.area() > 0.0) && ring.iter().any(|o| o.area() < 0.0));
        let centre = ring[0].centre();
        assert!((centre[0] - 63.0).abs() < 1e-9 && (centre[1] - 31.5).abs() < 1e-9, "{centre:?}");
    }

    #[test]
    fn a_pixel_at_the_border_has_a_closed_outline() {
        let single = Array2::from_elem((1, 1), true);
        let outline = outlines(&single, [1.0, 1.0]);
        assert_eq!(outline.len(), 1);
        assert!((outline[0].area() - 0.5).abs() < 1e-12, "a diamond through the middles of the sides");
        assert!((outline[0].hull().area() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn diagonal_pixels_have_one_outline() {
        let mask = Array2::from_shape_fn((4, 4), |(r, c)| r == c);
        assert_eq!(outlines(&mask, [1.0, 1.0]).len(), 1);
    }

    #[test]
    fn smoothing_keeps_the_radius() {
        for radius in [5.0, 10.0, 25.0] {
            let outline = &outlines(&disc(radius, 0.0), [1.0, 1.0])[0];
            let smooth = outline.resampled(200);
            let smooth = smooth.smoothed(1.5 / (outline.length() / 200.0));
            let found = (smooth.area() / std::f64::consts::PI).sqrt();
            assert!((found - radius).abs() < 0.15, "{radius}: {found}");
            assert_eq!(smooth.points.len(), 200);
        }
    }

    #[test]
    fn largest_part_wins_and_is_filled() {
        let mut mask = disc(20.0, 12.0);
        mask[(0, 0)] = true;
        let filled = largest_filled(&mask);
        assert!(filled[(31, 31)] && !filled[(0, 0)]);
    }
}
