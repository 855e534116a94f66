//! Smooth random fields in space, and Gaussian numbers.

use rand::Rng;

/// Standard normal number (Box-Muller, one of the pair).
pub fn normal(rng: &mut impl Rng) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Two independent standard normal numbers.
pub fn normal_pair(rng: &mut impl Rng) -> (f32, f32) {
    let u: f32 = 1.0 - rng.random::<f32>();
    let v: f32 = rng.random();
    let radius = (-2.0 * u.max(1e-12).ln()).sqrt();
    let (s, c) = (std::f32::consts::TAU * v).sin_cos();
    (radius * c, radius * s)
}

const SIDE: usize = 32;

/// A periodic lattice of random values read with trilinear interpolation: a smooth field with mean 0, variance about 1
/// at the nodes and a correlation length of one cell. Slices cut through it at any angle agree where they cross.
#[derive(Debug, Clone)]
pub struct Field {
    nodes: Vec<f32>,
    per_mm: f32,
    offset: [f32; 3],
}

impl Field {
    /// A field whose cells are `cell_mm` wide; it repeats after 32 cells.
    pub fn new(rng: &mut impl Rng, cell_mm: f32) -> Self {
        let nodes = (0..SIDE * SIDE * SIDE / 2).flat_map(|_| <[f32; 2]>::from(normal_pair(rng))).collect();
        let offset = [rng.random::<f32>() * 32.0, rng.random::<f32>() * 32.0, rng.random::<f32>() * 32.0];
        Self { nodes, per_mm: 1.0 / cell_mm, offset }
    }

    /// Value at a point in millimetres.
    #[must_use]
    #[inline(always)]
    pub fn at(&self, p: [f32; 3]) -> f32 {
        let (x0, x1, fx) = split(p[0] * self.per_mm + self.offset[0]);
        let (y0, y1, fy) = split(p[1] * self.per_mm + self.offset[1]);
        let (z0, z1, fz) = split(p[2] * self.per_mm + self.offset[2]);
        let row = |z: usize, y: usize| {
            let base = (z * SIDE + y) * SIDE;
            let a = self.nodes[base + x0];
            a + (self.nodes[base + x1] - a) * fx
        };
        let (near, far) = (row(z0, y0), row(z1, y0));
        let low = near + (row(z0, y1) - near) * fy;
        let high = far + (row(z1, y1) - far) * fy;
        low + (high - low) * fz
    }
}

/// Lattice neighbours (wrapped) and the smoothed fraction between them. Written without library calls: this is the
/// innermost loop.
#[inline(always)]
fn split(v: f32) -> (usize, usize, f32) {
    let truncated = v as i32;
    let floor = truncated - i32::from((truncated as f32) > v);
    let f = v - floor as f32;
    let i = (floor as usize) % SIDE;
    (i, (i + 1) % SIDE, f * f * (3.0 - 2.0 * f))
}
