//! A slice turned to one standard position and cut to the heart, so that the same anatomy gives the same arithmetic
//! whatever way its pixels were stored.

use super::crop::MARGIN_MM;
use crate::domain::labels::{Label, SliceLabels};
use crate::domain::stack::{Plane, Slice, Vector3, dot};
use ndarray::{Array2, ArrayView2, Axis, Slice as Span};
use std::ops::Range;

/// Background pixels around the labels at least: outlines must close.
const MIN_MARGIN: usize = 3;

/// A point of a view, mm: [along `x`, along `y`].
pub(super) type Point = [f64; 2];

/// One slice in standard position. Pixel (i, j) has its centre at (j * spacing[1], i * spacing[0]).
#[derive(Debug, Clone)]
pub(super) struct View {
    /// `Label` values.
    pub labels: Array2<u8>,
    /// Intensities.
    pub pixels: Array2<f32>,
    /// Distance of rows, of columns, mm.
    pub spacing: [f64; 2],
    /// Patient direction of growing column index.
    pub x: Vector3,
    /// Patient direction of growing row index.
    pub y: Vector3,
    /// Patient position of pixel (0, 0).
    pub origin: Vector3,
    /// Volume of a pixel, mL.
    pub voxel_ml: f64,
}

impl View {
    /// Turns and cuts a slice; a slice without labels gives an empty view.
    pub(super) fn of(slice: &Slice, labels: &SliceLabels) -> Self {
        let turn = Turn::of(&slice.plane, labels.labels.dim());
        let (labels, pixels) = (turn.apply(labels.labels.view()), turn.apply(slice.pixels.view()));
        let spacing = turn.spacing;
        let (rows, columns) = window(&labels, spacing);
        let offset: [f64; 2] = [rows.start as f64 * spacing[0], columns.start as f64 * spacing[1]];
        Self {
            labels: cut(labels, &rows, &columns),
            pixels: cut(pixels, &rows, &columns),
            spacing,
            x: turn.x,
            y: turn.y,
            origin: std::array::from_fn(|k| turn.corner[k] + offset[0] * turn.y[k] + offset[1] * turn.x[k]),
            voxel_ml: slice.voxel_ml(),
        }
    }

    /// Side of a square pixel of the same area, mm.
    pub(super) fn pixel_mm(&self) -> f64 {
        (self.spacing[0] * self.spacing[1]).sqrt()
    }

    /// Centre of a pixel.
    pub(super) fn point(&self, (row, column): (usize, usize)) -> Point {
        [column as f64 * self.spacing[1], row as f64 * self.spacing[0]]
    }

    /// Patient position of a point, mm LPS.
    pub(super) fn to_patient(&self, [x, y]: Point) -> Vector3 {
        std::array::from_fn(|k| self.origin[k] + x * self.x[k] + y * self.y[k])
    }

    /// In-plane part of a patient direction.
    pub(super) fn project(&self, direction: Vector3) -> Point {
        [dot(direction, self.x), dot(direction, self.y)]
    }

    /// Labels where `inside` holds.
    pub(super) fn mask(&self, inside: impl Fn(u8) -> bool) -> Array2<bool> {
        self.labels.mapv(inside)
    }

    /// Share of the bilinear neighbourhood of a point that is wall, and that is scar.
    pub(super) fn wall_and_scar(&self, point: Point) -> (f64, f64) {
        let (mut wall, mut scar) = (0.0, 0.0);
        for (index, weight) in self.neighbours(point) {
            let label = self.labels.get(index).copied().unwrap_or(0);
            wall += if label >= Label::Myocardium as u8 { weight } else { 0.0 };
            scar += if label >= Label::Scar as u8 { weight } else { 0.0 };
        }
        (wall, scar)
    }

    /// Intensity at a point, bilinear; `None` outside the view.
    pub(super) fn intensity(&self, point: Point) -> Option<f64> {
        let values = self.neighbours(point).map(|(index, w)| Some(f64::from(*self.pixels.get(index)?) * w));
        values.into_iter().sum()
    }

    fn neighbours(&self, [x, y]: Point) -> [((usize, usize), f64); 4] {
        let (row, column) = ((y / self.spacing[0]).max(0.0), (x / self.spacing[1]).max(0.0));
        let (r, c) = (row as usize, column as usize);
        let (fr, fc) = (row - r as f64, column - c as f64);
        [
            ((r, c), (1.0 - fr) * (1.0 - fc)),
            ((r, c + 1), (1.0 - fr) * fc),
            ((r + 1, c), fr * (1.0 - fc)),
            ((r + 1, c + 1), fr * fc),
        ]
    }
}

/// How a pixel grid is turned: rows toward the head (or, in a plane that has no such direction, backward), columns
/// toward the patient's left.
struct Turn {
    transpose: bool,
    flip_rows: bool,
    flip_columns: bool,
    x: Vector3,
    y: Vector3,
    corner: Vector3,
    spacing: [f64; 2],
}

impl Turn {
    fn of(plane: &Plane, (rows, columns): (usize, usize)) -> Self {
        // In-plane part of "up"; where the plane has next to none, "back" decides.
        let up = plane.row[2].hypot(plane.column[2]);
        let axis = if up > 0.3 { 2 } else { 1 };
        let transpose = plane.row[axis].abs() > plane.column[axis].abs();
        let (mut x, mut y) = if transpose { (plane.column, plane.row) } else { (plane.row, plane.column) };
        let spacing = if transpose { [plane.spacing_mm[1], plane.spacing_mm[0]] } else { plane.spacing_mm };
        let flip_rows = y[axis] < 0.0;
        // Left; in a sagittal plane, where neither axis has a left, back.
        let side = if x[0].abs() > 1e-6 { x[0] } else { x[1] };
        let flip_columns = side < 0.0;
        let (rows, columns) = if transpose { (columns, rows) } else { (rows, columns) };
        let mut corner = plane.position_mm;
        let mut flip = |direction: &mut Vector3, count: usize, spacing: f64| {
            let length = count.saturating_sub(1) as f64 * spacing;
            corner = std::array::from_fn(|k| corner[k] + length * direction[k]);
            *direction = direction.map(|v| -v);
        };
        if flip_rows {
            flip(&mut y, rows, spacing[0]);
        }
        if flip_columns {
            flip(&mut x, columns, spacing[1]);
        }
        Self { transpose, flip_rows, flip_columns, x, y, corner, spacing }
    }

    fn apply<'a, T>(&self, array: ArrayView2<'a, T>) -> ArrayView2<'a, T> {
        let mut view = if self.transpose { array.reversed_axes() } else { array };
        if self.flip_rows {
            view.invert_axis(Axis(0));
        }
        if self.flip_columns {
            view.invert_axis(Axis(1));
        }
        view
    }
}

fn cut<T: Copy>(array: ArrayView2<'_, T>, rows: &Range<usize>, columns: &Range<usize>) -> Array2<T> {
    let rows = array.slice_axis(Axis(0), Span::from(rows.clone()));
    rows.slice_axis(Axis(1), Span::from(columns.clone())).to_owned()
}

/// Rows and columns that hold labels, with the margin.
fn window(labels: &ArrayView2<'_, u8>, spacing: [f64; 2]) -> (Range<usize>, Range<usize>) {
    let (height, width) = labels.dim();
    let mut bounds: Option<[usize; 4]> = None;
    for ((row, column), label) in labels.indexed_iter() {
        if *label != 0 {
            let [r0, r1, c0, c1] = bounds.unwrap_or([row, row, column, column]);
            bounds = Some([r0.min(row), r1.max(row), c0.min(column), c1.max(column)]);
        }
    }
    let Some([r0, r1, c0, c1]) = bounds else { return (0..0, 0..0) };
    let margin = |spacing: f64| ((MARGIN_MM / spacing) as usize).max(MIN_MARGIN);
    let (mr, mc) = (margin(spacing[0]), margin(spacing[1]));
    (r0.saturating_sub(mr)..(r1 + 1 + mr).min(height), c0.saturating_sub(mc)..(c1 + 1 + mc).min(width))
}
