//! One phantom patient: what to draw, and the late-enhancement short axis of it.

use rand::Rng;

use super::degrade::{Degradation, Scanner};
use super::noise::normal;
use super::ranges::{PIXEL_MM, Ranges};
use super::render::render;
use super::scar::{Lesion, random_lesions};
use super::scene::{Plane, Scene, StackPlan, short_axis};
use super::seed::{PhantomSeed, SeedSpace};
use super::signal::{Contrast, FieldStrength, late_enhancement};
use super::vec3::V3;

/// Which scars a phantom has.
#[derive(Debug, Clone, PartialEq)]
pub enum Scars {
    /// As in infarct patients; a fraction of the hearts is healthy.
    Random {
        /// Chance of no scar at all, 0..1.
        healthy_fraction: f64,
    },
    /// No scar.
    None,
    /// Exactly these.
    Given(Vec<Lesion>),
}

/// What to draw. Everything that is not set follows from the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Seed and its space.
    pub seed: PhantomSeed,
    /// Scars.
    pub scars: Scars,
    /// Rows and columns of the short-axis images.
    pub matrix: usize,
    /// In-plane pixel size in mm; drawn from the space's range when absent.
    pub pixel_mm: Option<f64>,
}

impl Spec {
    /// The first phantom of a seed, with scars drawn at random (one heart in five healthy), 224 x 224.
    #[must_use]
    pub fn new(space: SeedSpace, seed: u64) -> Self {
        Self {
            seed: PhantomSeed { space, seed, index: 0 },
            scars: Scars::Random { healthy_fraction: 0.2 },
            matrix: 224,
            pixel_mm: None,
        }
    }

    /// Position in a run of several phantoms.
    #[must_use]
    pub fn index(mut self, index: u64) -> Self {
        self.seed.index = index;
        self
    }

    /// Chooses the scars.
    #[must_use]
    pub fn scars(mut self, scars: Scars) -> Self {
        self.scars = scars;
        self
    }

    /// Chooses the matrix.
    #[must_use]
    pub fn matrix(mut self, matrix: usize) -> Self {
        self.matrix = matrix;
        self
    }

    /// The scars that this phantom has.
    #[must_use]
    pub fn lesions(&self) -> Vec<Lesion> {
        let rng = &mut self.seed.stream("scars");
        match &self.scars {
            Scars::None => Vec::new(),
            Scars::Given(list) => list.clone(),
            Scars::Random { healthy_fraction } => {
                if rng.random_bool(healthy_fraction.clamp(0.0, 1.0)) {
                    Vec::new()
                } else {
                    random_lesions(rng)
                }
            }
        }
    }
}

/// One slice of late enhancement with its truth.
#[derive(Debug, Clone)]
pub struct LateSlice {
    /// Where the scanner says that the slice lies.
    pub plane: Plane,
    /// Signed PSIR, row-major.
    pub psir: Vec<f32>,
    /// Magnitude of the same measurement, row-major.
    pub magnitude: Vec<f32>,
    /// Training class per pixel, row-major.
    pub labels: Vec<u8>,
}

/// A drawn patient, ready to be imaged.
#[derive(Debug, Clone)]
pub struct Phantom {
    /// What it was drawn from.
    pub spec: Spec,
    /// The body.
    pub scene: Scene,
    /// Short-axis plan.
    pub plan: StackPlan,
    /// Field of the scanner.
    pub field: FieldStrength,
    /// Late-enhancement contrast.
    pub late: Contrast,
    /// Degradations of the late-enhancement series.
    pub degradation: Degradation,
}

impl Phantom {
    /// Draws a phantom; the same spec gives the same phantom.
    #[must_use]
    pub fn draw(spec: &Spec) -> Self {
        let seed = spec.seed;
        let ranges = Ranges::of(seed.space);
        let scene = Scene::draw(&seed, spec.lesions());
        let rng = &mut seed.stream("study");
        let pixel = PIXEL_MM.draw(seed.space, rng);
        let pixel = spec.pixel_mm.unwrap_or((pixel * 1000.0).round() / 1000.0);
        let field = if rng.random_bool(0.6) { FieldStrength::T15 } else { FieldStrength::T30 };
        let plan = short_axis(&seed, &scene, (spec.matrix, spec.matrix), pixel);
        let late = late_enhancement(&seed, field);
        let degradation = Degradation::draw(&ranges, late.reference, rng);
        Self { spec: spec.clone(), scene, plan, field, late, degradation }
    }

    /// Displacement of the patient in the breath hold of a short-axis slice, mm: mostly along the body, a little forward.
    #[must_use]
    pub fn breath(&self, slice: usize) -> V3 {
        let rng = &mut self.spec.seed.stream(&format!("breath {slice}"));
        let deviation = Ranges::of(self.spec.seed.space).breath_mm.draw(&mut self.spec.seed.stream("breath"));
        let shift = (deviation * normal(rng)).clamp(-6.0, 6.0);
        [0.0, -0.25 * shift, shift]
    }

    /// Measures one short-axis slice.
    #[must_use]
    pub fn late_slice(&self, scanner: &Scanner, slice: usize, plane: &Plane) -> LateSlice {
        let ideal = render(&self.scene, plane, &self.late, self.breath(slice));
        let rng = &mut self.spec.seed.stream(&format!("late slice {slice}"));
        let measured = scanner.acquire(&ideal, plane, &self.degradation, rng);
        LateSlice {
            plane: *plane,
            psir: measured.iter().map(|v| v.re).collect(),
            magnitude: measured.iter().map(|v| v.norm()).collect(),
            labels: ideal.labels,
        }
    }

    /// Measures the whole short-axis stack, base to apex.
    #[must_use]
    pub fn late_stack(&self) -> Vec<LateSlice> {
        let scanner = Scanner::new(self.spec.matrix, self.spec.matrix);
        self.plan.planes.iter().enumerate().map(|(k, plane)| self.late_slice(&scanner, k, plane)).collect()
    }
}
