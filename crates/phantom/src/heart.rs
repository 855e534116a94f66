//! The heart in its own frame: x toward mid-septum, y toward the anterior wall, z from mitral plane to apex, mm.

use rand::Rng;

use super::noise::Field;
use super::ranges::{CAVITY_LENGTH_MM, Ranges, span};
use super::scar::Lesion;
use super::seed::PhantomSeed;
use super::tissue::Tissue;

const ANGLES: usize = 256;
const LEVELS: usize = 128;
const MAX_LESIONS: usize = 3;

/// Shape of one heart at end-diastole; lengths in mm, angles in radians.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Endocardial radius at the widest level.
    pub endo: f64,
    /// Healthy wall thickness.
    pub wall: f64,
    /// Wall thickness at the apical cap, along the axis.
    pub cap: f64,
    /// Mitral plane to cavity end.
    pub length: f64,
    /// Level of the widest diameter as a fraction of the length.
    pub widest: f64,
    /// Fourier terms of the contour: (order, relative amplitude, phase).
    pub wobble: Vec<(f64, f64, f64)>,
    /// Height by which the mitral plane is inclined, at the wall, and its direction.
    pub base_tilt: (f64, f64),
    /// Radius of the right ventricle including its wall, distance of its centre, stretch along y, wall.
    pub rv: (f64, f64, f64, f64),
    /// Papillary muscles: angle, radius, position as a fraction of the endocardial radius.
    pub papillaries: Vec<(f64, f64, f64)>,
    /// Epicardial fat rim.
    pub rim: f64,
    /// Scars.
    pub lesions: Vec<Lesion>,
}

impl Shape {
    /// Draws a heart.
    pub fn draw(seed: &PhantomSeed, lesions: Vec<Lesion>) -> Self {
        let rng = &mut seed.stream("heart shape");
        let r = Ranges::of(seed.space);
        let endo = r.endo_mm.draw(rng);
        let wall = r.wall_mm.draw(rng);
        let outer = endo + wall;
        let mut wobble = vec![(2.0, (r.eccentricity.draw(rng) - 1.0) / 2.0, rng.random::<f64>() * 3.2)];
        let total = r.wobble.draw(rng);
        wobble.extend((2..=4).map(|k| (f64::from(k), total / f64::from(k), rng.random::<f64>() * 6.3)));
        let papillary = |centre: f64, rng: &mut rand_chacha::ChaCha8Rng| {
            ((centre + span(-20.0, 20.0).draw(rng)).to_radians(), span(2.0, 4.5).draw(rng), span(0.6, 0.95).draw(rng))
        };
        Self {
            endo,
            wall,
            cap: wall * span(0.5, 0.8).draw(rng),
            length: CAVITY_LENGTH_MM.draw(seed.space, rng),
            widest: span(0.1, 0.3).draw(rng),
            wobble,
            base_tilt: (span(0.0, 4.0).draw(rng), rng.random::<f64>() * 6.3),
            rv: (
                span(0.85, 1.2).draw(rng) * outer,
                span(0.95, 1.2).draw(rng) * outer,
                span(1.0, 1.3).draw(rng),
                span(2.5, 4.5).draw(rng),
            ),
            papillaries: vec![papillary(130.0, rng), papillary(228.0, rng)],
            rim: span(0.5, 6.0).draw(rng),
            lesions,
        }
    }

    /// Profile of a truncated ellipsoid whose end lies at `end`; 0 past the end.
    fn profile(&self, z: f64, end: f64) -> f64 {
        let widest = self.widest * self.length;
        (1.0 - ((z - widest) / (end - widest)).powi(2)).max(0.0).sqrt()
    }

    fn contour(&self, angle: f64) -> f64 {
        1.0 + self.wobble.iter().map(|(k, a, p)| a * (k * angle - p).cos()).sum::<f64>()
    }

    /// Where the LV ends, along the axis.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.length + self.cap
    }
}

/// Wall at one (level, angle): radii, then depth intervals of scars and cores.
#[derive(Debug, Clone, Copy)]
struct Cell {
    endo: f32,
    epi: f32,
    scars: [[(f32, f32); 2]; MAX_LESIONS],
}

/// A heart ready to be sampled, at one moment of the beat.
#[derive(Debug, Clone)]
pub struct Heart {
    shape: Shape,
    cells: Vec<Cell>,
    step: f32,
    texture: Field,
    squeeze: f32,
}

impl Heart {
    /// Tabulates a shape. `contraction` is 0 at end-diastole and 1 at end-systole.
    #[must_use]
    pub fn new(seed: &PhantomSeed, shape: Shape, contraction: f64) -> Self {
        let rough = Field::new(&mut seed.stream("scar roughness"), 4.5);
        let texture = Field::new(&mut seed.stream("heart texture"), 9.0);
        let step = shape.end() / (LEVELS - 1) as f64;
        let mut cells = Vec::with_capacity(ANGLES * LEVELS);
        for level in 0..LEVELS {
            for a in 0..ANGLES {
                let angle = std::f64::consts::TAU * a as f64 / ANGLES as f64;
                cells.push(cell(&shape, &rough, level as f64 * step, angle, contraction));
            }
        }
        Self { shape, cells, step: step as f32, texture, squeeze: 1.0 - 0.18 * contraction as f32 }
    }

    /// The shape that was tabulated.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether a point of the heart frame can belong to the heart at all: a cheap test before [`Self::tissue`].
    #[must_use]
    pub fn reaches(&self, [x, y, z]: [f32; 3]) -> bool {
        let (radius, distance, stretch, _) = self.shape.rv;
        let reach = (distance + radius * stretch.max(1.1) + 4.0) as f32;
        let left = 1.35 * (self.shape.endo + self.shape.wall) as f32 + 10.0;
        x * x + y * y < reach * reach && x > -left && z > -62.0 && z < self.shape.end() as f32 + 12.0
    }

    /// Tissue at a point of the heart frame; none where the heart does not reach.
    #[must_use]
    pub fn tissue(&self, p: [f32; 3]) -> Option<Tissue> {
        if !self.reaches(p) {
            return None;
        }
        let [x, y, z] = p;
        let r = (x * x + y * y).sqrt();
        let angle = y.atan2(x);
        let (lean, toward) = self.shape.base_tilt;
        let base = lean as f32 * (angle - toward as f32).cos() * (r / self.shape.endo as f32).min(1.3);
        if z < base {
            return self.above_base(x, y, z);
        }
        self.left(r, angle, z, x, y).or_else(|| self.right(x, y, z)).or_else(|| self.fat_rim(r, angle, p))
    }

    fn radii(&self, angle: f32, z: f32) -> (f32, f32, &Cell) {
        let turn = (angle / std::f32::consts::TAU + 1.0) * ANGLES as f32;
        let level = (z / self.step).clamp(0.0, (LEVELS - 1) as f32 - 0.001);
        let (a0, l0) = (turn as usize % ANGLES, level as usize);
        let (fa, fl) = (turn.fract(), level.fract());
        let a1 = (a0 + 1) % ANGLES;
        let (c00, c01) = (&self.cells[l0 * ANGLES + a0], &self.cells[l0 * ANGLES + a1]);
        let (c10, c11) = (&self.cells[(l0 + 1) * ANGLES + a0], &self.cells[(l0 + 1) * ANGLES + a1]);
        let mix = |f: fn(&Cell) -> f32| {
            let low = f(c00) + (f(c01) - f(c00)) * fa;
            let high = f(c10) + (f(c11) - f(c10)) * fa;
            low + (high - low) * fl
        };
        let near = match (fa < 0.5, fl < 0.5) {
            (true, true) => c00,
            (false, true) => c01,
            (true, false) => c10,
            (false, false) => c11,
        };
        (mix(|c| c.endo), mix(|c| c.epi), near)
    }

    fn left(&self, r: f32, angle: f32, z: f32, x: f32, y: f32) -> Option<Tissue> {
        if z > self.shape.end() as f32 {
            return None;
        }
        let (endo, epi, cell) = self.radii(angle, z);
        if r >= epi {
            return None;
        }
        if r < endo {
            return Some(self.in_cavity(endo, z, x, y));
        }
        let depth = (r - endo) / (epi - endo).max(0.1);
        let mut found = Tissue::Myocardium;
        for [scar, core] in &cell.scars[..self.shape.lesions.len().min(MAX_LESIONS)] {
            if (core.0..core.1).contains(&depth) {
                return Some(Tissue::NoReflow);
            }
            if (scar.0..scar.1).contains(&depth) {
                found = Tissue::Scar;
            }
        }
        Some(found)
    }

    fn in_cavity(&self, endo: f32, z: f32, x: f32, y: f32) -> Tissue {
        let length = self.shape.length as f32;
        if z > 0.25 * length && z < 0.78 * length {
            for (angle, radius, place) in &self.shape.papillaries {
                let at = *place as f32 * (endo - *radius as f32).max(0.0);
                let (s, c) = (*angle as f32).sin_cos();
                let (dx, dy) = (x - at * c, y - at * s);
                if dx * dx + dy * dy < (radius * radius) as f32 {
                    return Tissue::Papillary;
                }
            }
        }
        Tissue::Cavity
    }

    /// Signed distance-like value of the right ventricle: below 0 in its cavity, below its wall in the wall.
    fn right_edge(&self, x: f32, y: f32, z: f32) -> f32 {
        let (radius, distance, stretch, wall) = self.shape.rv;
        let along = (z - 0.1 * self.shape.length as f32) / (0.8 * self.shape.length as f32);
        let scale = (1.0 - along.clamp(-0.6, 1.0).powi(2)).max(0.0).sqrt();
        let centre = distance as f32 * (0.45 + 0.55 * scale);
        let dx = x - centre;
        let dy = y / stretch as f32;
        (dx * dx + dy * dy).sqrt() - (radius as f32 * scale * self.squeeze - wall as f32)
    }

    fn right(&self, x: f32, y: f32, z: f32) -> Option<Tissue> {
        let edge = self.right_edge(x, y, z);
        let wall = self.shape.rv.3 as f32;
        if edge < 0.0 {
            return Some(Tissue::Blood);
        }
        if edge < wall {
            return Some(Tissue::ThinWall);
        }
        (edge < wall + self.shape.rim as f32 && self.texture.at([x, y, z]) > -0.5).then_some(Tissue::Fat)
    }

    fn fat_rim(&self, r: f32, angle: f32, p: [f32; 3]) -> Option<Tissue> {
        let epi = if p[2] > self.shape.end() as f32 { 0.0 } else { self.radii(angle, p[2]).1 };
        let limit = epi + self.shape.rim as f32 * (1.0 + 0.7 * self.texture.at(p));
        (r < limit).then_some(Tissue::Fat)
    }

    /// Atria, outflow tracts and the groove fat between them.
    fn above_base(&self, x: f32, y: f32, z: f32) -> Option<Tissue> {
        let outer = (self.shape.endo + self.shape.wall) as f32;
        let ball = |cx: f32, cy: f32, cz: f32, rx: f32, ry: f32, rz: f32| {
            (((x - cx) / rx).powi(2) + ((y - cy) / ry).powi(2) + ((z - cz) / rz).powi(2)).sqrt()
        };
        let tube = |cx: f32, cy: f32, r: f32| ((x - cx).powi(2) + (y - cy).powi(2)).sqrt() / r;
        let aorta = tube(0.45 * outer, 0.3 * outer, 0.42 * outer);
        let outflow = tube(0.95 * outer, 0.85 * outer, 0.4 * outer);
        let left = ball(-0.2 * outer, -0.25 * outer, -24.0, 0.9 * outer, 0.75 * outer, 30.0);
        let right = ball(1.15 * outer, -0.3 * outer, -28.0, 0.7 * outer, 0.75 * outer, 30.0);
        let edge = aorta.min(outflow).min(left).min(right);
        if edge < 0.93 || self.right_edge(x, y, z) < 0.0 && z > -12.0 {
            return Some(Tissue::Blood);
        }
        if edge < 1.0 {
            return Some(Tissue::ThinWall);
        }
        (edge < 1.2).then_some(Tissue::Fat)
    }

    /// Radius of the endocardium at an angle (radians) and level.
    #[must_use]
    pub fn inner_radius(&self, angle: f64, z: f64) -> f64 {
        f64::from(self.radii(wrapped(angle), z as f32).0)
    }

    /// Radius of the epicardium at an angle (radians) and level.
    #[must_use]
    pub fn outer_radius(&self, angle: f64, z: f64) -> f64 {
        f64::from(self.radii(wrapped(angle), z as f32).1)
    }

    /// Angles (radians, heart frame) at which the right ventricle joins the left at a level: anterior, inferior.
    #[must_use]
    pub fn insertions(&self, z: f64) -> Option<(f64, f64)> {
        let z = z as f32;
        let inside = |angle: f32| {
            let r = self.radii(angle, z).1 + 0.2;
            self.right_edge(r * angle.cos(), r * angle.sin(), z) < self.shape.rv.3 as f32
        };
        let walk =
            |sign: f32| (0..720).map(|i| sign * i as f32 * 0.25f32.to_radians()).take_while(|a| inside(*a)).last();
        Some((f64::from(walk(1.0)?), f64::from(walk(-1.0)?)))
    }
}

/// The angle in -pi..pi.
fn wrapped(angle: f64) -> f32 {
    ((angle + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU) - std::f64::consts::PI) as f32
}

fn cell(shape: &Shape, rough: &Field, z: f64, angle: f64, contraction: f64) -> Cell {
    let contour = shape.contour(angle);
    let level = z / shape.length;
    let degrees = angle.to_degrees();
    let weight = |l: &Lesion| l.weight(l.distance(degrees, level));
    let dead = shape.lesions.iter().map(|l| l.extent.min(1.0) * weight(l)).fold(0.0, f64::max);
    let thin = shape.lesions.iter().map(|l| l.thinning * weight(l)).fold(0.0, f64::max);
    let rest = shape.endo * contour * shape.profile(z, shape.length);
    let outside = (shape.endo * contour + shape.wall) * shape.profile(z, shape.end());
    let thick = (outside - rest).max(0.0) * if rest > 0.0 { 1.0 - thin } else { 1.0 };
    let outside = rest + thick;
    let endo = rest * (1.0 - 0.32 * contraction * (1.0 - 0.8 * dead));
    let epi = (endo * endo + outside * outside - rest * rest).max(0.0).sqrt();
    let noise = rough.at([25.0 * angle.cos() as f32, 25.0 * angle.sin() as f32, z as f32]);
    let mut scars = [[(2.0, 2.0); 2]; MAX_LESIONS];
    for (slot, lesion) in scars.iter_mut().zip(&shape.lesions) {
        *slot = lesion.depths(degrees, level, f64::from(noise)).map(|(a, b)| (a as f32, b as f32));
    }
    Cell { endo: endo as f32, epi: epi as f32, scars }
}
