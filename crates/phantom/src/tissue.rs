//! The tissues that a phantom is made of and the training class of each.

/// What fills a point of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tissue {
    /// Outside the body, and airways.
    Air,
    /// Lung parenchyma.
    Lung,
    /// Subcutaneous, epicardial and mediastinal fat.
    Fat,
    /// Skeletal muscle.
    Muscle,
    /// Liver, also spleen.
    Liver,
    /// Bone marrow.
    Bone,
    /// Stomach content.
    Stomach,
    /// Blood outside the left ventricle.
    Blood,
    /// Wall of the right ventricle, atria and vessels: signal of myocardium, not part of the LV.
    ThinWall,
    /// Blood in the left ventricle.
    Cavity,
    /// Papillary muscle: signal of myocardium, counted as cavity (contours run outside it).
    Papillary,
    /// Left ventricular wall without scar.
    Myocardium,
    /// Enhanced scar.
    Scar,
    /// Core of a scar that contrast agent does not reach.
    NoReflow,
}

/// Number of tissues.
pub const TISSUES: usize = 14;

/// Training classes, the values of a label array.
pub const CLASS_NAMES: [&str; 5] = ["background", "cavity", "myocardium", "scar", "no-reflow"];

impl Tissue {
    /// Training class: 0 background, 1 cavity, 2 myocardium, 3 scar, 4 no-reflow.
    #[must_use]
    pub const fn class(self) -> u8 {
        match self {
            Self::Cavity | Self::Papillary => 1,
            Self::Myocardium => 2,
            Self::Scar => 3,
            Self::NoReflow => 4,
            _ => 0,
        }
    }
}

/// Class of a pixel from how many of its sub-samples fall into each class: the wall wins with half of the samples, scar
/// with half of the wall, no-reflow with half of the scar, as an expert draws a border where the signal is halfway.
#[must_use]
pub fn pixel_class(counts: &[u16; 5]) -> u8 {
    let [background, cavity, healthy, enhanced, core] = *counts;
    let scar = enhanced + core;
    let wall = healthy + scar;
    let all = background + cavity + wall;
    if wall * 2 >= all && wall > 0 {
        return match (scar * 2 >= wall && scar > 0, core * 2 >= scar && core > 0) {
            (true, true) => 4,
            (true, false) => 3,
            _ => 2,
        };
    }
    u8::from(cavity > background)
}
