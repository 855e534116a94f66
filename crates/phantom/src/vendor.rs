//! How the three large manufacturers name, scale and arrange the same images.

use super::series::{Component, Role};

/// Manufacturer whose habits the study follows. The names are typical, not copied from any one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// Separate `_MAG` and `_PSIR` series, 12-bit unsigned pixels, PSIR with a negative intercept.
    Siemens,
    /// Separate series, signed 16-bit pixels, no rescale attributes.
    Ge,
    /// Magnitude and PSIR in one series told apart by ImageType, fractional rescale slope.
    Philips,
}

/// How pixel values are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    /// Rescale slope and intercept; none when the attributes are left out (values are stored as they are).
    pub rescale: Option<(f64, f64)>,
    /// Two's complement.
    pub signed: bool,
    /// BitsStored.
    pub bits: u16,
}

impl Storage {
    /// Value of a stored 16-bit word.
    #[must_use]
    pub fn decode(&self, word: u16) -> f32 {
        let (slope, intercept) = self.rescale.unwrap_or((1.0, 0.0));
        let stored = if self.signed { f64::from(word as i16) } else { f64::from(word) };
        (stored * slope + intercept) as f32
    }

    /// Stored 16-bit word of a value.
    #[must_use]
    pub fn encode(&self, value: f32) -> u16 {
        let (slope, intercept) = self.rescale.unwrap_or((1.0, 0.0));
        let stored = ((f64::from(value) - intercept) / slope).round();
        let top = f64::from((1u32 << self.bits) - 1);
        if self.signed {
            let half = (top + 1.0) / 2.0;
            stored.clamp(-half, half - 1.0) as i16 as u16
        } else {
            stored.clamp(0.0, top) as u16
        }
    }
}

impl Vendor {
    /// Manufacturer as the scanner writes it.
    #[must_use]
    pub const fn manufacturer(self) -> &'static str {
        match self {
            Self::Siemens => "SIEMENS",
            Self::Ge => "GE MEDICAL SYSTEMS",
            Self::Philips => "Philips Medical Systems",
        }
    }

    /// Model name; says what it is.
    #[must_use]
    pub const fn model(self) -> &'static str {
        match self {
            Self::Siemens => "scargate phantom (Siemens style)",
            Self::Ge => "scargate phantom (GE style)",
            Self::Philips => "scargate phantom (Philips style)",
        }
    }

    /// Whether magnitude and PSIR share one series.
    #[must_use]
    pub const fn mixes_components(self) -> bool {
        matches!(self, Self::Philips)
    }

    /// SeriesDescription and ProtocolName.
    #[must_use]
    pub fn description(self, role: Role, component: Component) -> (&'static str, &'static str) {
        let real = component == Component::Psir;
        match (self, role) {
            (Self::Siemens, Role::Localiser) => ("localizer_trufi", "localizer_trufi"),
            (Self::Siemens, Role::CineSax) => ("cine_retro_trufi_sax", "cine_retro_trufi_sax"),
            (Self::Siemens, Role::TiScout) => ("ti_scout", "ti_scout"),
            (Self::Siemens, Role::LateSax) if real => ("DE_tfi_psir_sax_PSIR", "DE_tfi_psir_sax"),
            (Self::Siemens, Role::LateSax) => ("DE_tfi_psir_sax_MAG", "DE_tfi_psir_sax"),
            (Self::Siemens, Role::Late2Ch) if real => ("DE_tfi_psir_2CH_PSIR", "DE_tfi_psir_2CH"),
            (Self::Siemens, Role::Late2Ch) => ("DE_tfi_psir_2CH_MAG", "DE_tfi_psir_2CH"),
            (Self::Siemens, Role::Late4Ch) if real => ("DE_tfi_psir_4CH_PSIR", "DE_tfi_psir_4CH"),
            (Self::Siemens, Role::Late4Ch) => ("DE_tfi_psir_4CH_MAG", "DE_tfi_psir_4CH"),
            (Self::Ge, Role::Localiser) => ("3-PLANE LOC SSFSE", "CARDIAC"),
            (Self::Ge, Role::CineSax) => ("SAX CINE FIESTA", "CARDIAC"),
            (Self::Ge, Role::TiScout) => ("CINE IR TI SCOUT", "CARDIAC"),
            (Self::Ge, Role::LateSax) if real => ("SAX PS MDE", "CARDIAC"),
            (Self::Ge, Role::LateSax) => ("SAX MDE", "CARDIAC"),
            (Self::Ge, Role::Late2Ch) if real => ("2CH PS MDE", "CARDIAC"),
            (Self::Ge, Role::Late2Ch) => ("2CH MDE", "CARDIAC"),
            (Self::Ge, Role::Late4Ch) if real => ("4CH PS MDE", "CARDIAC"),
            (Self::Ge, Role::Late4Ch) => ("4CH MDE", "CARDIAC"),
            (Self::Philips, Role::Localiser) => ("SURVEY", "SURVEY"),
            (Self::Philips, Role::CineSax) => ("sBTFE_BH_SA", "sBTFE_BH_SA"),
            (Self::Philips, Role::TiScout) => ("LookLocker", "LookLocker"),
            (Self::Philips, Role::LateSax) => ("LGE_PSIR_TFE_SA", "LGE_PSIR_TFE_SA"),
            (Self::Philips, Role::Late2Ch) => ("LGE_PSIR_TFE_2CH", "LGE_PSIR_TFE_2CH"),
            (Self::Philips, Role::Late4Ch) => ("LGE_PSIR_TFE_4CH", "LGE_PSIR_TFE_4CH"),
        }
    }

    /// ImageType of classic images that are not inversion recovery pairs.
    #[must_use]
    pub const fn plain_image_type(self) -> &'static str {
        match self {
            Self::Siemens => "ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D",
            Self::Ge => "ORIGINAL\\PRIMARY\\OTHER",
            Self::Philips => "ORIGINAL\\PRIMARY\\M_FFE\\M\\FFE",
        }
    }

    /// ImageType of classic images of late enhancement.
    #[must_use]
    pub const fn image_type(self, component: Component) -> &'static str {
        match (self, component) {
            (Self::Siemens, Component::Magnitude) => "ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D",
            (Self::Siemens, Component::Psir) => "ORIGINAL\\PRIMARY\\R\\PSIR\\NORM\\DIS2D",
            (Self::Ge, Component::Magnitude) => "ORIGINAL\\PRIMARY\\OTHER",
            (Self::Ge, Component::Psir) => "ORIGINAL\\PRIMARY\\OTHER\\PSIR",
            (Self::Philips, Component::Magnitude) => "ORIGINAL\\PRIMARY\\M_IR\\M\\IR",
            (Self::Philips, Component::Psir) => "ORIGINAL\\PRIMARY\\R_IR\\R\\IR",
        }
    }

    /// SequenceName (Siemens, GE) of a role.
    #[must_use]
    pub const fn sequence_name(self, role: Role) -> Option<&'static str> {
        match (self, role) {
            (Self::Siemens, Role::Localiser | Role::CineSax) => Some("*tfi2d1_12"),
            (Self::Siemens, Role::TiScout) => Some("*tfi2d1_18"),
            (Self::Siemens, _) => Some("*tfi2d1_25"),
            _ => None,
        }
    }

    /// Storage of a component.
    #[must_use]
    pub const fn storage(self, component: Component) -> Storage {
        match (self, component) {
            (Self::Siemens, Component::Magnitude) => Storage { rescale: None, signed: false, bits: 12 },
            (Self::Siemens, Component::Psir) => Storage { rescale: Some((2.0, -4096.0)), signed: false, bits: 12 },
            (Self::Ge, _) => Storage { rescale: None, signed: true, bits: 16 },
            (Self::Philips, Component::Magnitude) => {
                Storage { rescale: Some((1.283_760_683, 0.0)), signed: false, bits: 12 }
            }
            (Self::Philips, Component::Psir) => {
                Storage { rescale: Some((2.567_521_368, -5_257.0)), signed: false, bits: 12 }
            }
        }
    }
}
