//! Signal of each tissue: inversion recovery after contrast agent, and balanced steady state for cine.

use rand::Rng;

use super::ranges::{NULLING, Ranges, span};
use super::seed::PhantomSeed;
use super::tissue::{TISSUES, Tissue};

/// Signal per tissue (indexed by `Tissue as usize`), blood at about 1000 in size, and relative texture.
#[derive(Debug, Clone)]
pub struct Contrast {
    /// Signed signal.
    pub signal: [f32; TISSUES],
    /// SD of the smooth texture, in the unit of the signal.
    pub texture: [f32; TISSUES],
    /// Signal difference that noise is scaled with.
    pub reference: f32,
    /// Inversion time in ms; 0 when there is no inversion.
    pub inversion_ms: f64,
    /// Repetition of the inversion (two heart beats), ms; or the pulse repetition for cine.
    pub repetition_ms: f64,
}

/// Magnetic field of the scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldStrength {
    /// 1.5 T.
    T15,
    /// 3 T.
    T30,
}

impl FieldStrength {
    /// In tesla.
    #[must_use]
    pub const fn tesla(self) -> f64 {
        match self {
            Self::T15 => 1.5,
            Self::T30 => 3.0,
        }
    }
}

/// T1 of every tissue some ten minutes after contrast agent, ms.
fn t1_after_contrast(field: FieldStrength, ranges: &Ranges, rng: &mut impl Rng) -> [f64; TISSUES] {
    let myocardium = match field {
        FieldStrength::T15 => span(330.0, 480.0),
        FieldStrength::T30 => span(380.0, 560.0),
    }
    .draw(rng);
    let fat = span(230.0, 320.0).draw(rng);
    let blood = myocardium * ranges.blood_t1.draw(rng);
    let mut t1 = [fat; TISSUES];
    let mut set = |tissue: Tissue, value: f64| t1[tissue as usize] = value;
    set(Tissue::Myocardium, myocardium);
    set(Tissue::ThinWall, myocardium * span(0.95, 1.05).draw(rng));
    set(Tissue::Papillary, myocardium);
    set(Tissue::Scar, myocardium * ranges.scar_t1.draw(rng));
    set(Tissue::NoReflow, myocardium * span(0.95, 1.6).draw(rng));
    set(Tissue::Cavity, blood);
    set(Tissue::Blood, blood * span(0.97, 1.03).draw(rng));
    set(Tissue::Muscle, myocardium * span(0.9, 1.3).draw(rng));
    set(Tissue::Liver, myocardium * span(0.75, 1.1).draw(rng));
    set(Tissue::Bone, myocardium * span(0.7, 1.0).draw(rng));
    set(Tissue::Stomach, myocardium * span(0.8, 1.4).draw(rng));
    t1
}

/// Inversion-recovery contrast of a study: Mz = 1 - 2 exp(-TI/T1) + exp(-TR/T1), times proton density.
#[must_use]
pub fn late_enhancement(seed: &PhantomSeed, field: FieldStrength) -> Contrast {
    inversion_recovery(seed, field, None)
}

/// The same tissues at another inversion time, as a scout measures them.
#[must_use]
pub fn late_enhancement_at(seed: &PhantomSeed, field: FieldStrength, inversion_ms: f64) -> Contrast {
    inversion_recovery(seed, field, Some(inversion_ms))
}

fn inversion_recovery(seed: &PhantomSeed, field: FieldStrength, chosen: Option<f64>) -> Contrast {
    let rng = &mut seed.stream("contrast");
    let t1 = t1_after_contrast(field, &Ranges::of(seed.space), rng);
    let tr = 2.0 * span(750.0, 1050.0).draw(rng);
    let healthy = t1[Tissue::Myocardium as usize];
    // Zero of the steady-state formula, which is a little earlier than ln 2 * T1.
    let null = -healthy * (0.5 * (1.0 + (-tr / healthy).exp())).ln();
    let best = null * NULLING.draw(seed.space, rng);
    let density = density(rng);
    let at = |ti: f64| {
        let mut signal = [0.0f32; TISSUES];
        for ((s, t1), pd) in signal.iter_mut().zip(t1).zip(density) {
            *s = (pd * (1.0 - 2.0 * (-ti / t1).exp() + (-tr / t1).exp())) as f32;
        }
        signal
    };
    let scale = 1000.0 / at(best)[Tissue::Cavity as usize].abs().max(0.05);
    let ti = chosen.unwrap_or(best);
    let mut signal = at(ti);
    if chosen.is_none() && rng.random_bool(Ranges::of(seed.space).random_contrast) {
        randomise(&mut signal, rng);
    }
    for s in &mut signal {
        *s *= scale;
    }
    let scar = signal[Tissue::Scar as usize];
    let reference = (scar - signal[Tissue::Myocardium as usize]).abs().max(250.0);
    Contrast { texture: texture(&signal), signal, reference, inversion_ms: ti, repetition_ms: tr }
}

fn density(rng: &mut impl Rng) -> [f64; TISSUES] {
    let mut pd = [1.0; TISSUES];
    let mut set = |tissue: Tissue, value: f64| pd[tissue as usize] = value;
    set(Tissue::Air, 0.0);
    set(Tissue::Lung, span(0.0, 0.2).draw(rng));
    set(Tissue::Fat, span(0.45, 0.9).draw(rng));
    set(Tissue::Bone, span(0.3, 0.7).draw(rng));
    set(Tissue::Muscle, span(0.75, 1.0).draw(rng));
    set(Tissue::Liver, span(0.7, 1.0).draw(rng));
    pd
}

/// New means for what surrounds the heart, and a shift of the heart's own contrast, so that a network does not learn one scanner.
fn randomise(signal: &mut [f32; TISSUES], rng: &mut impl Rng) {
    let blood = signal[Tissue::Cavity as usize].abs().max(0.05);
    for tissue in [Tissue::Lung, Tissue::Fat, Tissue::Muscle, Tissue::Liver, Tissue::Bone, Tissue::Stomach] {
        signal[tissue as usize] = blood * span(-0.7, 2.0).draw(rng) as f32;
    }
    let healthy = blood * span(-0.35, 0.3).draw(rng) as f32;
    for tissue in [Tissue::Myocardium, Tissue::Papillary, Tissue::ThinWall] {
        signal[tissue as usize] = healthy;
    }
    signal[Tissue::Scar as usize] = healthy + blood * span(0.55, 1.9).draw(rng) as f32;
    signal[Tissue::NoReflow as usize] = healthy + blood * span(-0.3, 0.15).draw(rng) as f32;
}

fn texture(signal: &[f32; TISSUES]) -> [f32; TISSUES] {
    let mut sd = signal.map(|s| 0.05 * s.abs());
    for (tissue, floor) in [
        (Tissue::Air, 0.0),
        (Tissue::Lung, 40.0),
        (Tissue::Fat, 60.0),
        (Tissue::Muscle, 60.0),
        (Tissue::Liver, 45.0),
        (Tissue::Bone, 70.0),
        (Tissue::Stomach, 80.0),
        (Tissue::Myocardium, 30.0),
        (Tissue::Scar, 90.0),
        (Tissue::NoReflow, 30.0),
    ] {
        sd[tissue as usize] = f32::max(sd[tissue as usize], floor);
    }
    sd
}

/// Balanced steady-state contrast (bright blood, grey wall, dark lung) for cine and localisers.
#[must_use]
pub fn steady_state(seed: &PhantomSeed) -> Contrast {
    let rng = &mut seed.stream("steady state contrast");
    let mut signal = [0.0f32; TISSUES];
    for (tissue, low, high) in [
        (Tissue::Lung, 20.0, 90.0),
        (Tissue::Fat, 850.0, 1200.0),
        (Tissue::Muscle, 200.0, 330.0),
        (Tissue::Liver, 280.0, 430.0),
        (Tissue::Bone, 300.0, 500.0),
        (Tissue::Stomach, 250.0, 700.0),
        (Tissue::Myocardium, 290.0, 380.0),
    ] {
        signal[tissue as usize] = span(low, high).draw(rng) as f32;
    }
    let wall = signal[Tissue::Myocardium as usize];
    for tissue in [Tissue::ThinWall, Tissue::Papillary, Tissue::Scar, Tissue::NoReflow] {
        signal[tissue as usize] = wall;
    }
    signal[Tissue::Cavity as usize] = 1000.0;
    signal[Tissue::Blood as usize] = 970.0;
    let mut texture = texture(&signal);
    texture[Tissue::Scar as usize] = texture[Tissue::Myocardium as usize];
    Contrast { signal, texture, reference: 650.0, inversion_ms: 0.0, repetition_ms: span(2.7, 3.4).draw(rng) }
}
