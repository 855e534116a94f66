//! Scars: where they lie in the wall, how deep they reach, and the no-reflow core.

use rand::Rng;

use super::ranges::span;

/// Coronary territory that an ischaemic scar follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Territory {
    /// Left anterior descending: anterior and anteroseptal wall, apex.
    Lad,
    /// Left circumflex: lateral wall.
    Lcx,
    /// Right coronary: inferior and inferoseptal wall.
    Rca,
}

impl Territory {
    /// Centre of the territory in heart angle, degrees: 0 mid-septum, 90 anterior, 180 lateral, 270 inferior.
    #[must_use]
    pub const fn centre_deg(self) -> f64 {
        match self {
            Self::Lad => 65.0,
            Self::Lcx => 185.0,
            Self::Rca => 280.0,
        }
    }
}

/// Which layer of the wall a scar occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// From the endocardium outward: ischaemic.
    Subendocardial,
    /// A stripe inside the wall: non-ischaemic.
    MidWall,
    /// From the epicardium inward: non-ischaemic.
    Subepicardial,
}

/// One scar. Angles are heart angles (see [`Territory::centre_deg`]); levels run from 0 at the mitral plane to 1 at the
/// end of the cavity.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Lesion {
    /// Layer of the wall.
    pub layer: Layer,
    /// Middle of the scar around the ring, degrees.
    pub centre_deg: f64,
    /// Half its angular width, degrees; 180 and more goes all around.
    pub half_width_deg: f64,
    /// Middle of the scar along the long axis, 0..1.
    pub centre_level: f64,
    /// Half its length along the long axis, in levels.
    pub half_level: f64,
    /// Transmural extent at the middle, fraction of the wall; above 1 the transmural part is wide.
    pub extent: f64,
    /// Exponent of the fall-off toward the edges: 2 is a dome, 8 nearly a box.
    pub falloff: f64,
    /// Relative roughness of the depth.
    pub roughness: f64,
    /// Size of the no-reflow core relative to the scar, 0..0.8; none when absent.
    pub no_reflow: Option<f64>,
    /// Fraction of the wall lost at the middle (chronic thinning).
    pub thinning: f64,
}

impl Lesion {
    /// A subendocardial scar of a territory without no-reflow, of typical size.
    #[must_use]
    pub fn of(territory: Territory) -> Self {
        Self {
            layer: Layer::Subendocardial,
            centre_deg: territory.centre_deg(),
            half_width_deg: 45.0,
            centre_level: 0.55,
            half_level: 0.4,
            extent: 0.75,
            falloff: 4.0,
            roughness: 0.1,
            no_reflow: None,
            thinning: 0.0,
        }
    }

    /// Enhancement of the whole ring: outside what the models are trained on.
    #[must_use]
    pub fn whole_ring() -> Self {
        Self { half_width_deg: 1e6, centre_level: 0.5, half_level: 1e6, extent: 0.95, ..Self::of(Territory::Lad) }
    }

    /// Normalised distance from the middle of the scar: 0 there, 1 at the edge.
    #[must_use]
    pub fn distance(&self, angle_deg: f64, level: f64) -> f64 {
        let turn = (angle_deg - self.centre_deg).rem_euclid(360.0);
        let across = turn.min(360.0 - turn) / self.half_width_deg;
        let along = (level - self.centre_level) / self.half_level;
        (across * across + along * along).sqrt()
    }

    /// Lateral weight: 1 in the middle, 0 from the edge on.
    #[must_use]
    pub fn weight(&self, distance: f64) -> f64 {
        (1.0 - distance.powf(self.falloff)).max(0.0)
    }

    /// Depth interval of the scar at a place of the wall, as fractions from endocardium (0) to epicardium (1), and that
    /// of the no-reflow core. `rough` is a standard normal value that varies over the wall. Empty intervals are (2, 2).
    #[must_use]
    pub fn depths(&self, angle_deg: f64, level: f64, rough: f64) -> [(f64, f64); 2] {
        const EMPTY: (f64, f64) = (2.0, 2.0);
        let d = self.distance(angle_deg, level);
        let depth = self.extent * self.weight(d) * (1.0 + self.roughness * rough).max(0.3);
        if depth < 0.03 {
            return [EMPTY, EMPTY];
        }
        let whole = match self.layer {
            Layer::Subendocardial => (-0.01, depth.min(1.01)),
            Layer::Subepicardial => (1.0 - depth.min(1.0), 1.01),
            Layer::MidWall => (0.5 - depth / 2.0, 0.5 + depth / 2.0),
        };
        let core = match self.no_reflow {
            Some(size) if d < size => {
                let half = 0.5 * (1.0 - (d / size).powi(2)).max(0.0) * size * depth;
                let middle = 0.08 + 0.42 * depth;
                (middle - half.min(middle - 0.05), middle + half.min(depth - middle))
            }
            _ => EMPTY,
        };
        [whole, core]
    }
}

/// A random plan of scars as in infarct patients: one or two lesions, sometimes with no-reflow, rarely non-ischaemic.
pub fn random_lesions(rng: &mut impl Rng) -> Vec<Lesion> {
    let count = if rng.random_bool(0.2) { 2 } else { 1 };
    let acute = rng.random_bool(0.6);
    let mut taken: Vec<f64> = Vec::new();
    let mut lesions = Vec::new();
    while lesions.len() < count {
        let territory = [Territory::Lad, Territory::Lcx, Territory::Rca][rng.random_range(0..3)];
        let centre = territory.centre_deg() + span(-25.0, 25.0).draw(rng);
        if taken.iter().any(|t| (t - centre).abs() < 60.0) {
            continue;
        }
        taken.push(centre);
        lesions.push(random_lesion(territory, centre, acute, rng));
    }
    lesions
}

fn random_lesion(territory: Territory, centre_deg: f64, acute: bool, rng: &mut impl Rng) -> Lesion {
    let unusual = rng.random_bool(0.06);
    let layer = match (unusual, rng.random_bool(0.5)) {
        (false, _) => Layer::Subendocardial,
        (true, true) => Layer::MidWall,
        (true, false) => Layer::Subepicardial,
    };
    let extent = if unusual { span(0.25, 0.6).draw(rng) } else { span(0.3, 1.2).draw(rng) };
    let core = acute && !unusual && extent > 0.6 && rng.random_bool(0.75);
    let apical = territory == Territory::Lad && rng.random_bool(0.5);
    Lesion {
        layer,
        centre_deg,
        half_width_deg: 25.0 + 90.0 * rng.random::<f64>(),
        centre_level: if apical { span(0.6, 0.95).draw(rng) } else { span(0.2, 0.75).draw(rng) },
        half_level: span(0.25, 0.75).draw(rng),
        extent,
        falloff: span(2.0, 9.0).draw(rng),
        roughness: span(0.05, 0.3).draw(rng),
        no_reflow: core.then(|| span(0.3, 0.8).draw(rng)),
        thinning: if acute { 0.0 } else { span(0.0, 0.5).draw(rng) * extent.min(1.0) },
    }
}
