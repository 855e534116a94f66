//! Everything around the heart, in patient space (LPS, mm, origin in the middle of the chest at heart level).

use super::noise::Field;
use super::ranges::span;
use super::seed::PhantomSeed;
use super::tissue::Tissue;

/// Chest wall, lungs, diaphragm, liver, stomach, spine and great vessels.
#[derive(Debug, Clone)]
pub struct Torso {
    half: (f32, f32),
    fat: f32,
    muscle: f32,
    domes: [(f32, f32, f32); 2],
    spine: (f32, f32),
    aorta: (f32, f32, f32),
    mediastinum: f32,
    pericardium: f32,
    heart: [f32; 3],
    reach: f32,
    warp: [Field; 2],
    coarse: Field,
    fine: Field,
}

impl Torso {
    /// Draws a torso around a heart whose centre is `heart` and whose outer reach is about `reach` mm.
    #[must_use]
    pub fn draw(seed: &PhantomSeed, heart: [f64; 3], reach: f64) -> Self {
        let rng = &mut seed.stream("torso");
        let mut pick = |lo: f64, hi: f64| span(lo, hi).draw(rng) as f32;
        let half = (pick(145.0, 185.0), pick(100.0, 128.0));
        let (fat, muscle) = (pick(6.0, 34.0), pick(12.0, 22.0));
        let top = heart[2] as f32;
        let domes = [
            (-0.45 * half.0, top + pick(-30.0, 5.0), pick(0.006, 0.012)),
            (0.45 * half.0, top + pick(-50.0, -20.0), pick(0.006, 0.012)),
        ];
        let spine = (pick(0.45, 0.6) * half.1, pick(17.0, 23.0));
        let aorta = (pick(18.0, 30.0), pick(0.3, 0.42) * half.1, pick(9.0, 13.0));
        let (mediastinum, pericardium) = (pick(14.0, 30.0), pick(-16.0, 6.0));
        let mut field = |cell: f32| Field::new(rng, cell);
        Self {
            half,
            fat,
            muscle,
            domes,
            spine,
            aorta,
            mediastinum,
            pericardium,
            heart: heart.map(|v| v as f32),
            reach: reach as f32,
            warp: [field(52.0), field(60.0)],
            coarse: field(14.0),
            fine: field(4.5),
        }
    }

    /// Tissue at a point of the patient.
    #[must_use]
    pub fn tissue(&self, p: [f32; 3]) -> Tissue {
        let (rx, ry) = (p[0] / (self.half.0 + 30.0), p[1] / (self.half.1 + 30.0));
        if rx * rx + ry * ry > 1.0 {
            return Tissue::Air;
        }
        let (w0, w1) = (self.warp[0].at(p), self.warp[1].at(p));
        let [x, y, z] = [p[0] + 7.0 * w0, p[1] + 7.0 * w1, p[2] + 5.0 * w0];
        // Depth under the skin, to first order: the elliptic radius scaled by the local half axis.
        let (ex, ey) = (x / self.half.0, y / self.half.1);
        let e = (ex * ex + ey * ey).sqrt();
        let depth = (1.0 - e) * (x * x + y * y).sqrt() / e.max(0.05);
        if depth < 0.0 {
            return Tissue::Air;
        }
        let fat = self.fat * if y < 0.0 { 1.0 } else { 0.6 };
        if depth < fat {
            return Tissue::Fat;
        }
        if depth < fat + self.muscle {
            return self.chest_wall(p, depth - fat);
        }
        self.behind_wall(p, [x, y, z])
    }

    fn chest_wall(&self, p: [f32; 3], inside: f32) -> Tissue {
        let rib = fraction((p[2] + 0.35 * p[1]) / 27.0 + 0.3 * self.coarse.at(p)) < 0.42;
        let layer = inside / self.muscle;
        match (layer, rib) {
            (0.45..0.9, true) => Tissue::Bone,
            _ if self.coarse.at([p[2], p[0], p[1]]) > 1.1 => Tissue::Fat,
            _ => Tissue::Muscle,
        }
    }

    fn behind_wall(&self, p: [f32; 3], [x, y, z]: [f32; 3]) -> Tissue {
        let (sx, sr) = self.spine;
        let spine = (x * x + (y - sx) * (y - sx)).sqrt();
        if spine < sr || (x.abs() < 9.0 && y > sx) {
            return if spine > sr - 2.0 { Tissue::Muscle } else { Tissue::Bone };
        }
        let (ax, ay, ar) = self.aorta;
        if (x - ax).powi(2) + (y - ay).powi(2) < ar * ar {
            return Tissue::Blood;
        }
        if y > sx - 6.0 && x.abs() < 55.0 {
            return Tissue::Muscle;
        }
        let dome = |(cx, top, bend): (f32, f32, f32)| top - bend * ((x - cx).powi(2) + (y - 5.0).powi(2));
        let (right, left) = (dome(self.domes[0]), dome(self.domes[1]));
        if z < right.max(left) {
            return self.abdomen(p, x, y, z);
        }
        let d = [p[0] - self.heart[0], p[1] - self.heart[1], p[2] - self.heart[2]];
        let from_heart = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt();
        let rough = self.coarse.at(p);
        if from_heart < self.reach + self.pericardium + 5.0 * rough || x.abs() < self.mediastinum + 8.0 * rough {
            return if self.coarse.at([p[1], p[2], p[0]]) > 1.0 { Tissue::ThinWall } else { Tissue::Fat };
        }
        if self.fine.at(p) > 1.25 { Tissue::Blood } else { Tissue::Lung }
    }

    fn abdomen(&self, p: [f32; 3], x: f32, y: f32, z: f32) -> Tissue {
        if x < 35.0 + 12.0 * self.coarse.at(p) {
            return if self.fine.at(p) > 1.5 { Tissue::Blood } else { Tissue::Liver };
        }
        let (dx, dy, dz) = ((x - 75.0) / 48.0, (y + 10.0) / 45.0, (z - self.domes[1].1 + 45.0) / 42.0);
        let stomach = dx * dx + dy * dy + dz * dz;
        match stomach {
            s if s < 0.8 => Tissue::Stomach,
            s if s < 1.0 => Tissue::ThinWall,
            _ if y > 25.0 => Tissue::Liver,
            _ => Tissue::Fat,
        }
    }

    /// Small-scale texture for intensities, standard normal.
    #[must_use]
    pub fn texture(&self, p: [f32; 3]) -> f32 {
        self.fine.at([p[2], p[0], p[1]])
    }

    /// Large-scale field for the receive sensitivity, standard normal.
    #[must_use]
    pub fn sensitivity(&self, p: [f32; 3]) -> f32 {
        self.warp[1].at([0.6 * p[1], 0.6 * p[2], 0.6 * p[0]])
    }
}

/// Fractional part, in 0..1 for negative numbers too.
fn fraction(v: f32) -> f32 {
    let f = v - (v as i32) as f32;
    if f < 0.0 { f + 1.0 } else { f }
}
