//! What a scanner does to an ideal image: noise, truncated k-space, point spread, receive field, motion ghosts.

use std::sync::Arc;

use rand::Rng;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use super::noise::normal_pair;
use super::ranges::{Ranges, span};
use super::render::Ideal;
use super::scene::Plane;

/// Degradations of one series, the same for all of its slices.
#[derive(Debug, Clone, Copy)]
pub struct Degradation {
    /// Noise SD in each complex channel, unit of the signal.
    pub noise: f32,
    /// Fraction of k-space kept along rows and columns; the rest is zero-filled, which rings (Gibbs).
    pub kspace: (f32, f32),
    /// Gaussian point spread, SD in pixels.
    pub psf_px: f32,
    /// Receive field, log units per SD of the smooth field.
    pub bias: f32,
    /// Chance of a ghost per slice.
    pub ghost_chance: f64,
}

impl Degradation {
    /// Draws the degradations of a series. `reference` is the signal difference that the noise refers to.
    pub fn draw(ranges: &Ranges, reference: f32, rng: &mut impl Rng) -> Self {
        Self {
            noise: reference * ranges.noise.draw(rng) as f32,
            kspace: (ranges.kspace.draw(rng) as f32, ranges.kspace.draw(rng) as f32),
            psf_px: ranges.psf_px.draw(rng) as f32,
            bias: ranges.bias.draw(rng) as f32,
            ghost_chance: ranges.ghost_chance,
        }
    }

    /// No degradation at all.
    #[must_use]
    pub const fn none() -> Self {
        Self { noise: 0.0, kspace: (1.0, 1.0), psf_px: 0.0, bias: 0.0, ghost_chance: 0.0 }
    }
}

/// Fourier plans for one image size, reused over the slices.
pub struct Scanner {
    rows: usize,
    columns: usize,
    forward: [Arc<dyn Fft<f32>>; 2],
    inverse: [Arc<dyn Fft<f32>>; 2],
}

impl Scanner {
    /// Plans for a matrix.
    #[must_use]
    pub fn new(rows: usize, columns: usize) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            rows,
            columns,
            forward: [planner.plan_fft_forward(columns), planner.plan_fft_forward(rows)],
            inverse: [planner.plan_fft_inverse(columns), planner.plan_fft_inverse(rows)],
        }
    }

    /// Measures an ideal image: complex, with the signed (phase-corrected) image in the real part and noise in both, so that
    /// the modulus has Rician noise.
    pub fn acquire(&self, ideal: &Ideal, plane: &Plane, how: &Degradation, rng: &mut impl Rng) -> Vec<Complex32> {
        debug_assert_eq!((self.rows, self.columns), (plane.rows, plane.columns));
        // The band limit removes noise power with the signal's high frequencies; what is left should have the asked SD.
        let kept = (how.kspace.0 * how.kspace.1).clamp(0.05, 1.0).sqrt();
        let sd = how.noise / kept;
        let mut data: Vec<Complex32> = ideal
            .signal
            .iter()
            .zip(&ideal.sensitivity)
            .map(|(signal, field)| {
                let (a, b) = normal_pair(rng);
                Complex32::new(signal * (how.bias * field).exp() + sd * a, sd * b)
            })
            .collect();
        self.band_limit(&mut data, how);
        if rng.random_bool(how.ghost_chance) {
            self.ghost(&mut data, rng);
        }
        data
    }

    fn band_limit(&self, data: &mut Vec<Complex32>, how: &Degradation) {
        if how.psf_px <= 0.0 && how.kspace.0 >= 1.0 && how.kspace.1 >= 1.0 {
            return;
        }
        self.forward[0].process(data);
        let mut turned = transpose(data, self.rows, self.columns);
        self.forward[1].process(&mut turned);
        let across = weights(self.columns, how.kspace.0, how.psf_px);
        let down = weights(self.rows, how.kspace.1, how.psf_px);
        let scale = 1.0 / (self.rows * self.columns) as f32;
        for (line, w) in turned.chunks_exact_mut(self.rows).zip(&across) {
            for (v, u) in line.iter_mut().zip(&down) {
                *v *= w * u * scale;
            }
        }
        self.inverse[1].process(&mut turned);
        *data = transpose(&turned, self.columns, self.rows);
        self.inverse[0].process(data);
    }

    /// Adds weak copies of the image displaced along the columns, as respiratory motion does in the phase direction.
    fn ghost(&self, data: &mut [Complex32], rng: &mut impl Rng) {
        let strength = span(0.05, 0.18).draw(rng) as f32;
        let shift = rng.random_range(5..=self.rows / 4);
        let original = data.to_vec();
        let columns = self.columns;
        for (row, line) in data.chunks_exact_mut(columns).enumerate() {
            let from = |r: usize| original.iter().skip(r * columns);
            let above = from((row + shift) % self.rows);
            let below = from((row + self.rows - shift) % self.rows);
            for ((v, a), b) in line.iter_mut().zip(above).zip(below) {
                *v += (a + b) * (0.5 * strength);
            }
        }
    }
}

fn transpose(data: &[Complex32], rows: usize, columns: usize) -> Vec<Complex32> {
    const TILE: usize = 16;
    let mut out = vec![Complex32::default(); data.len()];
    for r0 in (0..rows).step_by(TILE) {
        for c0 in (0..columns).step_by(TILE) {
            for r in r0..(r0 + TILE).min(rows) {
                for c in c0..(c0 + TILE).min(columns) {
                    out[c * rows + r] = data[r * columns + c];
                }
            }
        }
    }
    out
}

/// Weight of each frequency in the order of the transform: a rectangle for the truncation times the Gaussian's transform.
fn weights(n: usize, kept: f32, psf_px: f32) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let f = i.min(n - i) as f32 / n as f32;
            let inside = f <= 0.5 * kept + 1e-6;
            let spread = (-2.0 * (std::f32::consts::PI * f * psf_px).powi(2)).exp();
            if inside { spread } else { 0.0 }
        })
        .collect()
}
