//! Parameter ranges of the two seed spaces, and how they are kept apart.

use rand::Rng;

use super::seed::SeedSpace;

/// A closed interval that is drawn from uniformly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

/// Shorthand for a [`Span`].
#[must_use]
pub const fn span(lo: f64, hi: f64) -> Span {
    Span { lo, hi }
}

impl Span {
    /// One uniform draw.
    pub fn draw(&self, rng: &mut impl Rng) -> f64 {
        self.lo + (self.hi - self.lo) * rng.random::<f64>()
    }

    /// Whether a value lies inside.
    #[must_use]
    pub fn contains(&self, v: f64) -> bool {
        (self.lo..=self.hi).contains(&v)
    }
}

/// A range with a band cut out: training draws outside the band, evaluation only inside it. One such parameter is
/// enough to make every evaluation phantom a combination that no training phantom can have.
#[derive(Debug, Clone, Copy)]
pub struct HeldOut {
    /// Whole plausible range.
    pub range: Span,
    /// The part that training never sees.
    pub band: Span,
}

impl HeldOut {
    /// One draw for the space.
    pub fn draw(&self, space: SeedSpace, rng: &mut impl Rng) -> f64 {
        let (below, gap) = (self.band.lo - self.range.lo, self.band.hi - self.band.lo);
        match space {
            SeedSpace::Evaluation => self.band.draw(rng),
            SeedSpace::Training => {
                let total = below + (self.range.hi - self.band.hi);
                let v = rng.random::<f64>() * total * (1.0 - 1e-9);
                self.range.lo + if v < below { v } else { v + gap + 1e-9 }
            }
        }
    }
}

/// In-plane pixel size, mm.
pub const PIXEL_MM: HeldOut = HeldOut { range: span(1.0, 2.0), band: span(1.36, 1.46) };
/// Mitral plane to cavity end, mm.
pub const CAVITY_LENGTH_MM: HeldOut = HeldOut { range: span(66.0, 98.0), band: span(80.0, 84.0) };
/// Inversion time over the one that nulls healthy myocardium.
pub const NULLING: HeldOut = HeldOut { range: span(0.93, 1.18), band: span(1.02, 1.06) };

/// Ranges that differ in width between the spaces; evaluation stays in what a good scan gives.
#[derive(Debug, Clone, Copy)]
pub struct Ranges {
    /// Endocardial radius at the widest level, mm.
    pub endo_mm: Span,
    /// Healthy wall, mm.
    pub wall_mm: Span,
    /// Ratio of the two in-plane diameters.
    pub eccentricity: Span,
    /// Total amplitude of the Fourier wobble of the contours, fraction of the radius.
    pub wobble: Span,
    /// Angle between the planned short axis and the true one, degrees.
    pub tilt_deg: Span,
    /// Slice thickness, mm.
    pub thickness_mm: Span,
    /// Gap between slices, mm.
    pub gap_mm: Span,
    /// T1 of blood over T1 of healthy myocardium.
    pub blood_t1: Span,
    /// T1 of scar over T1 of healthy myocardium.
    pub scar_t1: Span,
    /// Noise SD over the scar-to-myocardium signal difference.
    pub noise: Span,
    /// Strength of the receive field, log units.
    pub bias: Span,
    /// Fraction of k-space kept in each direction.
    pub kspace: Span,
    /// Gaussian point spread, SD in pixels.
    pub psf_px: Span,
    /// SD of the breath-hold position between slices, mm.
    pub breath_mm: Span,
    /// Chance of a motion ghost in a slice.
    pub ghost_chance: f64,
    /// Chance that tissue signals are redrawn at random.
    pub random_contrast: f64,
}

impl Ranges {
    /// The ranges of a space.
    #[must_use]
    pub const fn of(space: SeedSpace) -> Self {
        match space {
            SeedSpace::Training => Self {
                endo_mm: span(18.0, 32.0),
                wall_mm: span(6.0, 13.0),
                eccentricity: span(0.86, 1.14),
                wobble: span(0.02, 0.07),
                tilt_deg: span(0.0, 14.0),
                thickness_mm: span(6.0, 10.0),
                gap_mm: span(0.0, 4.0),
                blood_t1: span(0.6, 0.86),
                scar_t1: span(0.48, 0.78),
                noise: span(0.02, 0.16),
                bias: span(0.05, 0.35),
                kspace: span(0.55, 0.95),
                psf_px: span(0.35, 0.9),
                breath_mm: span(0.0, 3.0),
                ghost_chance: 0.15,
                random_contrast: 0.25,
            },
            SeedSpace::Evaluation => Self {
                endo_mm: span(21.0, 28.0),
                wall_mm: span(8.0, 11.0),
                eccentricity: span(0.92, 1.08),
                wobble: span(0.015, 0.04),
                tilt_deg: span(0.0, 6.0),
                thickness_mm: span(8.0, 8.0),
                gap_mm: span(1.5, 2.5),
                blood_t1: span(0.62, 0.78),
                scar_t1: span(0.48, 0.62),
                noise: span(0.03, 0.07),
                bias: span(0.05, 0.2),
                kspace: span(0.7, 0.9),
                psf_px: span(0.4, 0.6),
                breath_mm: span(0.0, 1.5),
                ghost_chance: 0.0,
                random_contrast: 0.0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::seed::PhantomSeed;

    #[test]
    fn training_never_draws_what_evaluation_uses() {
        let mut rng = PhantomSeed { space: SeedSpace::Training, seed: 1, index: 0 }.stream("test");
        for held in [PIXEL_MM, CAVITY_LENGTH_MM, NULLING] {
            let (mut below, mut above) = (0, 0);
            for _ in 0..20_000 {
                let v = held.draw(SeedSpace::Training, &mut rng);
                assert!(held.range.contains(v) && !held.band.contains(v), "{v} in {held:?}");
                if v < held.band.lo {
                    below += 1
                } else {
                    above += 1
                }
                assert!(held.band.contains(held.draw(SeedSpace::Evaluation, &mut rng)));
            }
            assert!(below > 1000 && above > 1000, "both sides of the band are trained on");
        }
    }
}
