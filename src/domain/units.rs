//! Physical units as types: a mass cannot be handed over as a volume.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $ucum:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub f64);

        impl $name {
            /// UCUM code of the unit.
            pub const UCUM: &'static str = $ucum;
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match f.precision() {
                    Some(digits) => write!(f, "{:.*} {}", digits, self.0, $ucum),
                    None => write!(f, "{:.1} {}", self.0, $ucum),
                }
            }
        }
        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self(0.0), |a, b| a + b)
            }
        }
    };
}

unit!(
    /// Grams.
    Grams, "g"
);
unit!(
    /// Millilitres.
    Millilitres, "mL"
);
unit!(
    /// Millimetres.
    Millimetres, "mm"
);
unit!(
    /// Percent, 0 to 100.
    Percent, "%"
);

/// Density of myocardium, g/mL, as used by SCMR post-processing recommendations (Schulz-Menger 2020).
pub const MYOCARDIAL_DENSITY_G_PER_ML: f64 = 1.05;

impl Millilitres {
    /// Mass of this volume of myocardium.
    pub fn myocardial_mass(self) -> Grams {
        Grams(self.0 * MYOCARDIAL_DENSITY_G_PER_ML)
    }
}
