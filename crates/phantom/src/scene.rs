//! A patient: heart placed in a torso, and how the scanner is turned toward it.

use rand::Rng;

use super::heart::{Heart, Shape};
use super::ranges::{Ranges, span};
use super::scar::Lesion;
use super::seed::PhantomSeed;
use super::torso::Torso;
use super::vec3::{V3, add_scaled, cross, dot, perpendicular, rotate, sub, unit};

/// Position and axes of the heart in patient space (LPS). `septum`, `anterior` and `apex` are the x, y and z of the
/// heart frame, unit vectors with `septum` x `apex` = `anterior` (so the frame is left-handed).
#[derive(Debug, Clone, Copy)]
pub struct Pose {
    /// Middle of the mitral plane.
    pub base: V3,
    /// From LV axis toward mid-septum.
    pub septum: V3,
    /// From LV axis toward the anterior wall.
    pub anterior: V3,
    /// From mitral plane to apex.
    pub apex: V3,
}

impl Pose {
    fn draw(seed: &PhantomSeed, length: f64) -> Self {
        let rng = &mut seed.stream("pose");
        let usual = unit([0.62, -0.52, -0.58]);
        let sideways = perpendicular([rng.random::<f64>() - 0.5, rng.random::<f64>() - 0.5, 0.1], usual);
        let apex = rotate(usual, sideways, span(0.0, 14.0).draw(rng).to_radians());
        let anterior = rotate(perpendicular([0.0, 0.0, 1.0], apex), apex, span(-15.0, 15.0).draw(rng).to_radians());
        // septum x apex = anterior, the relation the AHA directions are defined with.
        let septum = cross(apex, anterior);
        let middle = [span(28.0, 48.0).draw(rng), span(-42.0, -18.0).draw(rng), span(-10.0, 10.0).draw(rng)];
        Self { base: add_scaled(middle, apex, -0.5 * length), septum, anterior, apex }
    }

    /// Patient point to heart frame.
    #[must_use]
    pub fn to_heart(&self, p: V3) -> V3 {
        self.turn(sub(p, self.base))
    }

    /// Patient direction to heart frame.
    #[must_use]
    pub fn turn(&self, d: V3) -> V3 {
        [dot(d, self.septum), dot(d, self.anterior), dot(d, self.apex)]
    }

    /// Heart frame to patient point.
    #[must_use]
    pub fn to_patient(&self, h: V3) -> V3 {
        let p = add_scaled(self.base, self.septum, h[0]);
        add_scaled(add_scaled(p, self.anterior, h[1]), self.apex, h[2])
    }
}

/// A patient who can be imaged at any plane.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The heart.
    pub heart: Heart,
    /// What surrounds it.
    pub torso: Torso,
    /// Where the heart lies.
    pub pose: Pose,
}

impl Scene {
    /// Draws a patient with the given scars.
    #[must_use]
    pub fn draw(seed: &PhantomSeed, lesions: Vec<Lesion>) -> Self {
        Self::with_shape(seed, Shape::draw(seed, lesions))
    }

    /// A patient with a given heart.
    #[must_use]
    pub fn with_shape(seed: &PhantomSeed, shape: Shape) -> Self {
        let pose = Pose::draw(seed, shape.length);
        let middle = pose.to_patient([15.0, 0.0, 0.45 * shape.length]);
        let reach = 0.5 * shape.length + 4.0;
        let torso = Torso::draw(seed, middle, reach);
        Self { heart: Heart::new(seed, shape, 0.0), torso, pose }
    }

    /// The same patient at another moment of the beat (0 end-diastole, 1 end-systole).
    #[must_use]
    pub fn at_contraction(&self, seed: &PhantomSeed, contraction: f64) -> Self {
        let heart = Heart::new(seed, self.heart.shape().clone(), contraction);
        Self { heart, torso: self.torso.clone(), pose: self.pose }
    }
}

/// A rectangular image in patient space. Row and column indices count from the first pixel's centre.
#[derive(Debug, Clone, Copy)]
pub struct Plane {
    /// Centre of the first pixel (ImagePositionPatient).
    pub origin: V3,
    /// Direction in which the column index grows (first three values of ImageOrientationPatient).
    pub along_row: V3,
    /// Direction in which the row index grows (last three values).
    pub along_column: V3,
    /// Pixel size in both directions, mm.
    pub pixel: f64,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Slice thickness, mm.
    pub thickness: f64,
}

impl Plane {
    /// Image whose middle lies at `centre`.
    #[must_use]
    pub fn centred(
        centre: V3,
        along_row: V3,
        along_column: V3,
        size: (usize, usize),
        pixel: f64,
        thickness: f64,
    ) -> Self {
        let (rows, columns) = size;
        let half = |n: usize| -0.5 * (n as f64 - 1.0) * pixel;
        let origin = add_scaled(add_scaled(centre, along_row, half(columns)), along_column, half(rows));
        Self { origin, along_row, along_column, pixel, rows, columns, thickness }
    }

    /// Unit normal: along_row x along_column.
    #[must_use]
    pub fn normal(&self) -> V3 {
        cross(self.along_row, self.along_column)
    }

    /// Patient position of a pixel; fractions are allowed.
    #[must_use]
    pub fn point(&self, row: f64, column: f64) -> V3 {
        let p = add_scaled(self.origin, self.along_row, column * self.pixel);
        add_scaled(p, self.along_column, row * self.pixel)
    }
}

/// How the technologist placed the short-axis stack.
#[derive(Debug, Clone)]
pub struct StackPlan {
    /// Slices in order base to apex.
    pub planes: Vec<Plane>,
    /// Centre-to-centre distance, mm.
    pub spacing: f64,
}

/// Plans a short-axis stack that begins beyond the base and ends beyond the apex.
#[must_use]
pub fn short_axis(seed: &PhantomSeed, scene: &Scene, size: (usize, usize), pixel: f64) -> StackPlan {
    let rng = &mut seed.stream("short axis plan");
    let ranges = Ranges::of(seed.space);
    let pose = &scene.pose;
    let sideways = rotate(pose.septum, pose.apex, rng.random::<f64>() * std::f64::consts::TAU);
    let axis = rotate(pose.apex, sideways, ranges.tilt_deg.draw(rng).to_radians());
    // Septum left, anterior wall up, seen from the apex; turned a little, as every technologist does differently.
    let lateral = perpendicular(pose.septum.map(|v| -v), axis);
    let turn = span(-22.0, 22.0).draw(rng).to_radians();
    let along_row = rotate(lateral, axis, turn);
    let along_column = cross(along_row, axis);
    let thickness = (ranges.thickness_mm.draw(rng) * 2.0).round() / 2.0;
    let spacing = thickness + (ranges.gap_mm.draw(rng) * 2.0).round() / 2.0;
    let shape = scene.heart.shape();
    let middle = add_scaled(pose.to_patient([8.0, 0.0, 0.5 * shape.length]), along_row, span(-18.0, 18.0).draw(rng));
    let middle = add_scaled(middle, along_column, span(-18.0, 18.0).draw(rng));
    let before = spacing * span(0.7, 2.2).draw(rng) + 0.5 * shape.length;
    let after = spacing * span(0.7, 2.2).draw(rng) + shape.end() - 0.5 * shape.length;
    let count = ((before + after) / spacing).floor() as usize + 1;
    let plane = |k: usize| {
        let centre = add_scaled(middle, axis, k as f64 * spacing - before);
        Plane::centred(centre, along_row, along_column, size, pixel, thickness)
    };
    StackPlan { planes: (0..count).map(plane).collect(), spacing }
}
