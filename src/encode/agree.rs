//! One number, one source: values recomputed from the encoded SEG and read from the FHIR Bundle must equal the measures
//! before anything is sent.

use super::seg::unpack_bits;
use crate::domain::artefact::Artefact;
use crate::domain::codes::{self, Code as Concept};
use crate::domain::measures::Measures;
use crate::domain::stack::Stack;
use crate::domain::units::Millilitres;
use crate::failure::{Code, Failure};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde_json::Value;

/// Decimals of the Bundle are rounded to 0.1.
const BUNDLE_TOLERANCE: f64 = 0.051;
/// The SEG holds the same pixels: only floating point may differ.
const SEG_TOLERANCE_G: f64 = 1e-6;
/// SegmentNumbers of the masses that are recomputed.
const MYOCARDIUM: u16 = 2;
const SCAR: u16 = 3;
const NO_REFLOW: u16 = 4;

/// Checks that SEG, Bundle and measures say the same.
///
/// # Errors
/// `outputs-disagree`, permanent: nothing may be sent.
pub fn check(measures: &Measures, stack: &Stack, seg: &Artefact, bundle: &Artefact) -> Result<(), Failure> {
    let masses = seg_masses_g(stack, seg).ok_or_else(|| disagree("the SEG cannot be read back"))?;
    let wanted = [(MYOCARDIUM, measures.lv_mass), (SCAR, measures.scar_mass), (NO_REFLOW, measures.no_reflow_mass)];
    for (segment, mass) in wanted {
        let found = masses.iter().filter(|(number, _)| *number == segment).map(|(_, grams)| grams).sum::<f64>();
        if mass.value().is_some_and(|mass| (mass.0 - found).abs() > SEG_TOLERANCE_G) {
            return Err(disagree("a mass recomputed from the SEG"));
        }
    }
    let bundle: Value =
        serde_json::from_slice(&bundle.bytes).map_err(|_| disagree("the Bundle cannot be read back"))?;
    let values = [
        (codes::LV_MASS, measures.lv_mass.value().map(|v| v.0)),
        (codes::SCAR_MASS, measures.scar_mass.value().map(|v| v.0)),
        (codes::SCAR_BURDEN, measures.burden.value().map(|v| v.0)),
        (codes::NO_REFLOW_MASS, measures.no_reflow_mass.value().map(|v| v.0)),
        (codes::NO_REFLOW_OF_LV, measures.no_reflow_of_myocardium.value().map(|v| v.0)),
        (codes::NO_REFLOW_OF_SCAR, measures.no_reflow_of_scar.value().map(|v| v.0)),
    ];
    for (concept, value) in values {
        let equal = match (value, bundle_value(&bundle, concept)) {
            (Some(value), Some(found)) => (value - found).abs() <= BUNDLE_TOLERANCE,
            (None, None) => true,
            _ => false,
        };
        if !equal {
            return Err(disagree(concept.meaning));
        }
    }
    Ok(())
}

fn disagree(what: &str) -> Failure {
    Failure::permanent(Code::OutputsDisagree, what)
}

/// (SegmentNumber, mass of the frame) of every frame, with heights from the stack's slices at the same position.
fn seg_masses_g(stack: &Stack, seg: &Artefact) -> Option<Vec<(u16, f64)>> {
    let object = dicom_object::from_reader(std::io::Cursor::new(&seg.bytes)).ok()?;
    let pixels = object.element(tags::PIXEL_DATA).ok()?.to_bytes().ok()?;
    let (rows, columns) = stack.dim();
    let frames = object.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).ok()?.items()?;
    let bits = unpack_bits(&pixels, frames.len() * rows * columns)?;
    let mut frame_bits = bits.chunks_exact((rows * columns).max(1));
    frames
        .iter()
        .map(|frame| {
            let count = frame_bits.next()?.iter().filter(|set| **set).count();
            let (segment, position) = (segment_of(frame)?, position_of(frame)?);
            let slice = stack.slices.iter().find(|slice| same_place(slice.plane.position_mm, &position))?;
            Some((segment, Millilitres(count as f64 * slice.voxel_ml()).myocardial_mass().0))
        })
        .collect()
}

fn segment_of(frame: &InMemDicomObject) -> Option<u16> {
    let item = frame.element(tags::SEGMENT_IDENTIFICATION_SEQUENCE).ok()?.items()?.first()?;
    item.element(tags::REFERENCED_SEGMENT_NUMBER).ok()?.to_int().ok()
}

fn position_of(frame: &InMemDicomObject) -> Option<Vec<f64>> {
    let item = frame.element(tags::PLANE_POSITION_SEQUENCE).ok()?.items()?.first()?;
    item.element(tags::IMAGE_POSITION_PATIENT).ok()?.to_multi_float64().ok()
}

fn same_place(a: [f64; 3], b: &[f64]) -> bool {
    b.len() == 3 && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
}

/// valueQuantity of the Observation with this code.
fn bundle_value(bundle: &Value, concept: Concept) -> Option<f64> {
    let entries = bundle["entry"].as_array()?;
    let observation = entries.iter().map(|entry| &entry["resource"]).find(|resource| {
        resource["resourceType"] == "Observation"
            && resource["code"]["coding"].as_array().is_some_and(|codings| {
                codings.iter().any(|c| c["system"] == concept.fhir_system() && c["code"] == concept.value)
            })
    })?;
    observation.pointer("/valueQuantity/value").and_then(Value::as_f64)
}
