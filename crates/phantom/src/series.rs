//! The series of a study: what is measured, in which order, and what each frame looks like before it is encoded.

use super::degrade::{Degradation, Scanner};
use super::patient::Phantom;
use super::ranges::Ranges;
use super::render::render;
use super::scene::{Plane, Scene};
use super::signal::{Contrast, late_enhancement_at, steady_state};
use super::vec3::V3;

/// What a series is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Three orthogonal planes.
    Localiser,
    /// Short-axis cine.
    CineSax,
    /// One mid slice at many inversion times.
    TiScout,
    /// Late enhancement, short axis.
    LateSax,
    /// Late enhancement, two-chamber view.
    Late2Ch,
    /// Late enhancement, four-chamber view.
    Late4Ch,
}

impl Role {
    /// Name used in folders and by tests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Localiser => "localiser",
            Self::CineSax => "cine-sax",
            Self::TiScout => "ti-scout",
            Self::LateSax => "lge-sax",
            Self::Late2Ch => "lge-2ch",
            Self::Late4Ch => "lge-4ch",
        }
    }

    /// Whether the images are late enhancement.
    #[must_use]
    pub const fn is_late(self) -> bool {
        matches!(self, Self::LateSax | Self::Late2Ch | Self::Late4Ch)
    }
}

/// Part of the complex image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    /// Modulus.
    Magnitude,
    /// Phase-corrected real part: signed.
    Psir,
}

impl Component {
    /// Name used in folders and by tests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Magnitude => "mag",
            Self::Psir => "psir",
        }
    }
}

/// One image.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Where it lies.
    pub plane: Plane,
    /// Values, row-major.
    pub values: Vec<f32>,
    /// Part of the complex image.
    pub component: Component,
    /// Position in the stack, from 0 (base first).
    pub slice: usize,
    /// Moment of the heart beat: index and time after the R wave in ms.
    pub phase: (usize, f64),
    /// Inversion time in ms; 0 for none.
    pub inversion_ms: f64,
    /// Seconds after the start of the study.
    pub at_s: f64,
    /// Second frame of reference (a fault).
    pub moved_patient: bool,
}

/// One series.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is for.
    pub role: Role,
    /// Component in its name; frames carry their own.
    pub component: Component,
    /// SeriesNumber.
    pub number: u32,
    /// Images in the order of their InstanceNumber.
    pub frames: Vec<Frame>,
    /// Centre-to-centre distance of slices when there are several, mm.
    pub spacing: Option<f64>,
    /// Repetition time, ms.
    pub repetition_ms: f64,
    /// R-R interval, ms.
    pub rr_ms: f64,
    /// Frames per beat.
    pub phases: usize,
}

impl Series {
    /// Name used in folders and by tests, for example `lge-sax-psir`.
    #[must_use]
    pub fn name(&self) -> String {
        let several = self.frames.iter().any(|f| f.component != self.component);
        match (self.role.is_late(), several) {
            (true, true) => format!("{}-mixed", self.role.name()),
            (true, false) => format!("{}-{}", self.role.name(), self.component.name()),
            _ => self.role.name().to_owned(),
        }
    }
}

/// Contraction (0 end-diastole, 1 end-systole) at a fraction of the beat.
#[must_use]
pub fn contraction(fraction: f64) -> f64 {
    const SYSTOLE: f64 = 0.36;
    let wave = |x: f64| 0.5 * (1.0 - (std::f64::consts::PI * x).cos());
    match fraction {
        f if f < SYSTOLE => wave(f / SYSTOLE),
        f if f < 0.62 => 1.0 - 0.8 * wave((f - SYSTOLE) / (0.62 - SYSTOLE)),
        f if f < 0.85 => 0.2,
        f => 0.2 * (1.0 - wave((f - 0.85) / 0.15)),
    }
}

/// Measures series of one phantom.
pub struct Session<'a> {
    phantom: &'a Phantom,
    rr_ms: f64,
    cine: Contrast,
    cine_how: Degradation,
}

impl<'a> Session<'a> {
    /// A scanner session with the patient.
    #[must_use]
    pub fn new(phantom: &'a Phantom) -> Self {
        let seed = phantom.spec.seed;
        let cine = steady_state(&seed);
        let ranges = Ranges::of(seed.space);
        let mut cine_how = Degradation::draw(&ranges, cine.reference, &mut seed.stream("cine scanner"));
        cine_how.noise *= 0.4;
        Self { phantom, rr_ms: phantom.late.repetition_ms / 2.0, cine, cine_how }
    }

    fn series(&self, role: Role, frames: Vec<Frame>, spacing: Option<f64>, phases: usize) -> Series {
        let repetition_ms = if role.is_late() { self.phantom.late.repetition_ms } else { self.cine.repetition_ms };
        Series {
            role,
            component: Component::Magnitude,
            number: 0,
            frames,
            spacing,
            repetition_ms,
            rr_ms: self.rr_ms,
            phases,
        }
    }

    fn bright(&self, scene: &Scene, scanner: &Scanner, plane: &Plane, label: &str) -> Vec<f32> {
        let ideal = render(scene, plane, &self.cine, [0.0; 3]);
        let rng = &mut self.phantom.spec.seed.stream(label);
        scanner.acquire(&ideal, plane, &self.cine_how, rng).iter().map(|v| v.norm()).collect()
    }

    /// Coronal, sagittal and transverse plane through the middle of the chest.
    #[must_use]
    pub fn localiser(&self) -> Series {
        let scanner = Scanner::new(192, 192);
        let centre = self.phantom.scene.pose.to_patient([0.0, 0.0, 40.0]);
        let planes: [(V3, V3); 3] = [
            ([1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
            ([0.0, 1.0, 0.0], [0.0, 0.0, -1.0]),
            ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        ];
        let frames = planes.iter().enumerate().map(|(k, (row, column))| {
            let middle = [0.3 * centre[0], 0.3 * centre[1], centre[2]];
            let plane = Plane::centred(middle, *row, *column, (192, 192), 2.0, 8.0);
            let values = self.bright(&self.phantom.scene, &scanner, &plane, &format!("localiser {k}"));
            frame(plane, values, Component::Magnitude, k, 10.0 + 2.0 * k as f64)
        });
        self.series(Role::Localiser, frames.collect(), None, 1)
    }

    /// Cine of every slice of the short-axis plan.
    #[must_use]
    pub fn cine_short_axis(&self, phases: usize) -> Series {
        let plan = &self.phantom.plan;
        let side = self.phantom.spec.matrix;
        let scanner = Scanner::new(side, side);
        let phases = phases.max(1);
        let beats: Vec<Scene> = (0..phases)
            .map(|p| self.phantom.scene.at_contraction(&self.phantom.spec.seed, contraction(p as f64 / phases as f64)))
            .collect();
        let mut frames = Vec::with_capacity(plan.planes.len() * phases);
        for (k, plane) in plan.planes.iter().enumerate() {
            for (p, scene) in beats.iter().enumerate() {
                let values = self.bright(scene, &scanner, plane, &format!("cine {k} {p}"));
                let mut one = frame(*plane, values, Component::Magnitude, k, 120.0 + 14.0 * k as f64);
                one.phase = (p, self.rr_ms * p as f64 / phases as f64);
                frames.push(one);
            }
        }
        self.series(Role::CineSax, frames, Some(plan.spacing), phases)
    }

    /// The mid slice at rising inversion times: late-enhancement contrast, but one position and many times.
    #[must_use]
    pub fn inversion_scout(&self) -> Series {
        let plan = &self.phantom.plan;
        let side = self.phantom.spec.matrix;
        let scanner = Scanner::new(side, side);
        let mut frames = Vec::new();
        if let Some(plane) = plan.planes.get(plan.planes.len() / 2) {
            for k in 0..12 {
                let ti = 120.0 + 35.0 * f64::from(k);
                let contrast = late_enhancement_at(&self.phantom.spec.seed, self.phantom.field, ti);
                let ideal = render(&self.phantom.scene, plane, &contrast, [0.0; 3]);
                let rng = &mut self.phantom.spec.seed.stream(&format!("scout {k}"));
                let data = scanner.acquire(&ideal, plane, &self.phantom.degradation, rng);
                let values = data.iter().map(|v| v.norm()).collect();
                let mut one = frame(*plane, values, Component::Magnitude, 0, 840.0);
                one.inversion_ms = ti;
                one.phase = (k as usize, ti);
                frames.push(one);
            }
        }
        self.series(Role::TiScout, frames, None, 12)
    }

    /// Late enhancement of the short-axis plan: magnitude and PSIR frames, slice by slice, and the labels.
    #[must_use]
    pub fn late_short_axis(&self) -> (Series, Vec<Vec<u8>>) {
        let scanner = Scanner::new(self.phantom.spec.matrix, self.phantom.spec.matrix);
        let mut frames = Vec::new();
        let mut labels = Vec::new();
        for (k, plane) in self.phantom.plan.planes.iter().enumerate() {
            let slice = self.phantom.late_slice(&scanner, k, plane);
            let at = 900.0 + 16.0 * k as f64;
            frames.push(self.late(frame(*plane, slice.magnitude, Component::Magnitude, k, at)));
            frames.push(self.late(frame(*plane, slice.psir, Component::Psir, k, at)));
            labels.push(slice.labels);
        }
        (self.series(Role::LateSax, frames, Some(self.phantom.plan.spacing), 1), labels)
    }

    /// A second measurement of a short-axis slice, a minute later with new noise: magnitude and PSIR.
    #[must_use]
    pub fn late_repeat(&self, slice: usize) -> Vec<Frame> {
        let Some(plane) = self.phantom.plan.planes.get(slice) else { return Vec::new() };
        let scanner = Scanner::new(self.phantom.spec.matrix, self.phantom.spec.matrix);
        let ideal = render(&self.phantom.scene, plane, &self.phantom.late, self.phantom.breath(slice));
        let rng = &mut self.phantom.spec.seed.stream(&format!("repeat {slice}"));
        let data = scanner.acquire(&ideal, plane, &self.phantom.degradation, rng);
        let magnitude = data.iter().map(|v| v.norm()).collect();
        let real = data.iter().map(|v| v.re).collect();
        let at = 1200.0 + 16.0 * slice as f64;
        vec![
            self.late(frame(*plane, magnitude, Component::Magnitude, slice, at)),
            self.late(frame(*plane, real, Component::Psir, slice, at)),
        ]
    }

    fn late(&self, mut frame: Frame) -> Frame {
        frame.inversion_ms = (self.phantom.late.inversion_ms * 10.0).round() / 10.0;
        // Read out in diastole.
        frame.phase = (0, (0.62 * self.rr_ms).round());
        frame
    }

    /// Late enhancement of one long-axis view, a single slice.
    #[must_use]
    pub fn late_long_axis(&self, role: Role) -> Series {
        let pose = &self.phantom.scene.pose;
        let flip = |v: V3| v.map(|x| -x);
        let (row, column) = match role {
            Role::Late2Ch => (flip(pose.apex), flip(pose.anterior)),
            _ => (flip(pose.septum), flip(pose.apex)),
        };
        let side = self.phantom.spec.matrix;
        let centre = pose.to_patient([0.0, 0.0, 0.4 * self.phantom.scene.heart.shape().length]);
        let pixel = self.phantom.plan.planes.first().map_or(1.4, |p| p.pixel);
        let plane = Plane::centred(centre, row, column, (side, side), pixel, 8.0);
        let scanner = Scanner::new(side, side);
        let ideal = render(&self.phantom.scene, &plane, &self.phantom.late, [0.0; 3]);
        let rng = &mut self.phantom.spec.seed.stream(role.name());
        let data = scanner.acquire(&ideal, &plane, &self.phantom.degradation, rng);
        let at = if role == Role::Late2Ch { 1400.0 } else { 1430.0 };
        let magnitude = data.iter().map(|v| v.norm()).collect();
        let real = data.iter().map(|v| v.re).collect();
        let frames = vec![
            self.late(frame(plane, magnitude, Component::Magnitude, 0, at)),
            self.late(frame(plane, real, Component::Psir, 0, at)),
        ];
        self.series(role, frames, None, 1)
    }
}

fn frame(plane: Plane, values: Vec<f32>, component: Component, slice: usize, at_s: f64) -> Frame {
    Frame { plane, values, component, slice, phase: (0, 0.0), inversion_ms: 0.0, at_s, moved_patient: false }
}
