//! One number, one source: values recomputed from the encoded SEG and read from the SR and the FHIR Bundle must equal the
//! measures before anything is sent.

mod bundle;
mod seg;
mod sr;

use crate::domain::artefact::Artefact;
use crate::domain::codes::{self, Code as Concept};
use crate::domain::measures::{Measured, Measures};
use crate::domain::segments::SegmentMeasures;
use crate::domain::stack::Stack;
use crate::domain::units::{Grams, Percent};
use crate::failure::{Code, Failure};

/// Values of SR and Bundle are rounded to 0.1.
const ROUNDING: f64 = 0.051;
/// The SEG holds the same pixels, and places are parts of the whole: only floating point may differ.
const SEG_TOLERANCE_G: f64 = 1e-6;
/// Checks that SEG, SR, Bundle and measures say the same.
///
/// # Errors
/// `outputs-disagree`, permanent: nothing may be sent.
pub fn check(
    measures: &Measures,
    stack: &Stack,
    seg: &Artefact,
    sr: Option<&Artefact>,
    bundle: &Artefact,
) -> Result<(), Failure> {
    check_segment_masses(measures)?;
    seg::check(measures, stack, seg)?;
    if let Some(sr) = sr {
        sr::check(measures, sr)?;
    }
    bundle::check(measures, bundle)
}

/// The values of the whole ventricle as (finding of the SR's group, name in the SR, name in the Bundle, value).
fn values(measures: &Measures) -> [(Concept, Concept, Concept, Option<f64>); 6] {
    let grams = |mass: Measured<Grams>| mass.value().map(|v| v.0);
    let percent = |share: Measured<Percent>| share.value().map(|v| v.0);
    let (wall, scar, core) = (codes::LV_MYOCARDIUM, codes::SCAR_TISSUE, codes::NO_REFLOW_REGION);
    let of_lv = percent(measures.no_reflow_of_myocardium);
    let of_scar = percent(measures.no_reflow_of_scar);
    [
        (wall, codes::MASS, codes::LV_MASS, grams(measures.lv_mass)),
        (scar, codes::MASS, codes::SCAR_MASS, grams(measures.scar_mass)),
        (scar, codes::SCAR_BURDEN, codes::SCAR_BURDEN, percent(measures.burden)),
        (core, codes::MASS, codes::NO_REFLOW_MASS, grams(measures.no_reflow_mass)),
        (core, codes::NO_REFLOW_OF_LV, codes::NO_REFLOW_OF_LV, of_lv),
        (core, codes::NO_REFLOW_OF_SCAR, codes::NO_REFLOW_OF_SCAR, of_scar),
    ]
}

fn equal(wanted: Option<f64>, found: Option<f64>) -> bool {
    match (wanted, found) {
        (Some(wanted), Some(found)) => (wanted - found).abs() <= ROUNDING,
        (None, None) => true,
        _ => false,
    }
}

/// Segments, apical cap and the wall outside of both add up to the ventricle and to its scar.
fn check_segment_masses(measures: &Measures) -> Result<(), Failure> {
    let places = &measures.segments;
    let sum = |of_segment: fn(&SegmentMeasures) -> Measured<Grams>, rest: [Measured<Grams>; 2]| -> Option<f64> {
        let all = places.segments.iter().map(of_segment).chain(rest);
        all.map(|mass| mass.value().map(|grams| grams.0)).sum()
    };
    let wall = sum(|s| s.wall, [places.apical_cap.wall, places.outside.wall]);
    let scar = sum(|s| s.scar, [places.apical_cap.scar, places.outside.scar]);
    for (sum, whole) in [(wall, measures.lv_mass), (scar, measures.scar_mass)] {
        if sum.zip(whole.value()).is_some_and(|(sum, whole)| (sum - whole.0).abs() > SEG_TOLERANCE_G) {
            return Err(disagree("the masses of the segments"));
        }
    }
    Ok(())
}

fn disagree(what: &str) -> Failure {
    Failure::permanent(Code::OutputsDisagree, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::measures::{AbsentReason, Quality, QualityGrade};
    use crate::domain::segments::Segments;

    fn nothing() -> Measures {
        let quality = Quality { grade: QualityGrade::Good, reasons: vec![] };
        Measures::absent(quality, AbsentReason::NoOrientation)
    }

    #[test]
    fn masses_that_do_not_add_up_are_found() {
        let mut measures = nothing();
        let grams = |mass| Measured::Value(Grams(mass));
        let mut places = Segments::absent(AbsentReason::NoOrientation);
        for segment in &mut places.segments {
            (segment.wall, segment.scar) = (grams(5.0), grams(1.0));
        }
        (places.apical_cap.wall, places.apical_cap.scar) = (grams(2.0), grams(0.0));
        (places.outside.wall, places.outside.scar) = (grams(3.0), grams(0.0));
        (measures.lv_mass, measures.scar_mass, measures.segments) = (grams(85.0), grams(16.0), places);
        assert!(check_segment_masses(&measures).is_ok());
        measures.scar_mass = grams(16.1);
        assert!(check_segment_masses(&measures).is_err());
    }
}
