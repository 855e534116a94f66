//! One number, one source: values recomputed from the encoded SEG and read from the SR and the FHIR Bundle must equal the
//! measures before anything is sent.

use super::seg::unpack_bits;
use crate::domain::artefact::Artefact;
use crate::domain::codes::{self, Code as Concept};
use crate::domain::measures::{Measured, Measures};
use crate::domain::segments::SegmentMeasures;
use crate::domain::stack::Stack;
use crate::domain::units::{Grams, Millilitres, Percent};
use crate::failure::{Code, Failure};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde_json::Value;

/// Values of SR and Bundle are rounded to 0.1.
const ROUNDING: f64 = 0.051;
/// The SEG holds the same pixels: only floating point may differ.
const SEG_TOLERANCE_G: f64 = 1e-6;
/// SegmentNumbers of the masses that are recomputed.
const MYOCARDIUM: u16 = 2;
const SCAR: u16 = 3;
const NO_REFLOW: u16 = 4;

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
    check_seg(measures, stack, seg)?;
    if let Some(sr) = sr {
        check_sr(measures, sr)?;
    }
    check_bundle(measures, bundle)
}

fn check_seg(measures: &Measures, stack: &Stack, seg: &Artefact) -> Result<(), Failure> {
    let masses = seg_masses_g(stack, seg).ok_or_else(|| disagree("the SEG cannot be read back"))?;
    let wanted = [(MYOCARDIUM, measures.lv_mass), (SCAR, measures.scar_mass), (NO_REFLOW, measures.no_reflow_mass)];
    for (segment, mass) in wanted {
        let found = masses.iter().filter(|(number, _)| *number == segment).map(|(_, grams)| grams).sum::<f64>();
        if mass.value().is_some_and(|mass| (mass.0 - found).abs() > SEG_TOLERANCE_G) {
            return Err(disagree("a mass recomputed from the SEG"));
        }
    }
    Ok(())
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

fn check_sr(measures: &Measures, sr: &Artefact) -> Result<(), Failure> {
    let read = || dicom_object::from_reader(std::io::Cursor::new(&sr.bytes)).ok();
    let object = read().ok_or_else(|| disagree("the SR cannot be read back"))?;
    let groups = measurement_groups(&object);
    for (finding, name, _, value) in values(measures) {
        let group = groups.iter().find(|group| is_about(group, finding));
        let found = group.ok_or_else(|| disagree("a measurement group is missing in the SR"))?;
        if !equal(value, number_in(found, name)) {
            return Err(disagree("a value read from the SR"));
        }
    }
    Ok(())
}

/// Groups on a whole segment of the SEG, wherever they stand in the tree.
fn measurement_groups(item: &InMemDicomObject) -> Vec<&InMemDicomObject> {
    let Some(content) = item.element(tags::CONTENT_SEQUENCE).ok().and_then(|element| element.items()) else {
        return Vec::new();
    };
    let is_group = |item: &InMemDicomObject| {
        is_named(item, codes::MEASUREMENT_GROUP)
            && children(item).iter().any(|child| is_named(child, codes::REFERENCED_SEGMENT))
    };
    content.iter().flat_map(|child| if is_group(child) { vec![child] } else { measurement_groups(child) }).collect()
}

fn children(item: &InMemDicomObject) -> &[InMemDicomObject] {
    item.element(tags::CONTENT_SEQUENCE).ok().and_then(|element| element.items()).unwrap_or_default()
}

fn has_code(item: &InMemDicomObject, tag: dicom_core::Tag, concept: Concept) -> bool {
    let text = |item: &InMemDicomObject, tag| item.element(tag).ok()?.to_str().ok().map(|v| v.trim().to_owned());
    let first = item.element(tag).ok().and_then(|element| element.items()?.first());
    first.is_some_and(|code| {
        text(code, tags::CODE_VALUE).as_deref() == Some(concept.value)
            && text(code, tags::CODING_SCHEME_DESIGNATOR).as_deref() == Some(concept.scheme)
    })
}

fn is_named(item: &InMemDicomObject, concept: Concept) -> bool {
    has_code(item, tags::CONCEPT_NAME_CODE_SEQUENCE, concept)
}

fn is_about(group: &InMemDicomObject, finding: Concept) -> bool {
    let findings = children(group).iter().filter(|child| is_named(child, codes::FINDING));
    findings.into_iter().any(|child| has_code(child, tags::CONCEPT_CODE_SEQUENCE, finding))
}

fn number_in(group: &InMemDicomObject, name: Concept) -> Option<f64> {
    let item = children(group).iter().find(|child| is_named(child, name))?;
    let measured = item.element(tags::MEASURED_VALUE_SEQUENCE).ok()?.items()?.first()?;
    measured.element(tags::NUMERIC_VALUE).ok()?.to_float64().ok()
}

fn check_bundle(measures: &Measures, bundle: &Artefact) -> Result<(), Failure> {
    let bundle: Value =
        serde_json::from_slice(&bundle.bytes).map_err(|_| disagree("the Bundle cannot be read back"))?;
    for (_, _, concept, value) in values(measures) {
        if !equal(value, bundle_value(&bundle, concept)) {
            return Err(disagree(concept.meaning));
        }
    }
    check_segments(measures, &bundle)?;
    check_segment_masses(measures)
}

/// Every segment is in the Bundle with its mean and its maximum, or is absent there.
fn check_segments(measures: &Measures, bundle: &Value) -> Result<(), Failure> {
    let names = codes::TRANSMURALITY_MEANS.into_iter().zip(codes::TRANSMURALITY_MAXIMA);
    let places = measures.segments.segments.iter().zip(codes::AHA_SEGMENTS).zip(names);
    for ((segment, site), (mean, maximum)) in places {
        let sent = measures.segments.sendable(segment).value();
        let found = match observation(bundle, codes::TRANSMURALITY_ALL, None) {
            Some(all) => (component(all, mean), component(all, maximum)),
            None => {
                let one = observation(bundle, codes::TRANSMURALITY, Some(site))
                    .ok_or_else(|| disagree("a segment is missing in the Bundle"))?;
                (quantity(one), component(one, codes::TRANSMURALITY_MAX))
            }
        };
        if !equal(sent.map(|t| t.mean.0), found.0) || !equal(sent.map(|t| t.maximum.0), found.1) {
            return Err(disagree("transmurality of a segment"));
        }
    }
    Ok(())
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
    quantity(observation(bundle, concept, None)?)
}

/// The Observation with this code and, if given, this body site.
fn observation(bundle: &Value, concept: Concept, site: Option<Concept>) -> Option<&Value> {
    let mut resources = bundle["entry"].as_array()?.iter().map(|entry| &entry["resource"]);
    resources.find(|resource| {
        resource["resourceType"] == "Observation"
            && is_coded(&resource["code"], concept)
            && site.is_none_or(|site| is_coded(&resource["bodySite"], site))
    })
}

fn component(observation: &Value, concept: Concept) -> Option<f64> {
    quantity(observation["component"].as_array()?.iter().find(|part| is_coded(&part["code"], concept))?)
}

fn quantity(element: &Value) -> Option<f64> {
    element.pointer("/valueQuantity/value").and_then(Value::as_f64)
}

fn is_coded(concept: &Value, code: Concept) -> bool {
    let is = |coding: &Value| coding["system"] == code.fhir_system() && coding["code"] == code.value;
    concept["coding"].as_array().is_some_and(|codings| codings.iter().any(is))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::measures::{AbsentReason, Quality, QualityGrade};
    use crate::domain::segments::Segments;
    use serde_json::json;

    fn nothing() -> Measures {
        let quality = Quality { grade: QualityGrade::Good, reasons: vec![] };
        Measures::absent(quality, AbsentReason::NoOrientation)
    }

    fn one(site: Concept, value: Option<f64>) -> Value {
        let mut resource = json!({
            "resourceType": "Observation",
            "code": { "coding": [{ "system": codes::TRANSMURALITY.fhir_system(), "code": codes::TRANSMURALITY.value }] },
            "bodySite": { "coding": [{ "system": site.fhir_system(), "code": site.value }] },
        });
        if let Some(value) = value {
            resource["valueQuantity"] = json!({ "value": value });
        }
        json!({ "resource": resource })
    }

    #[test]
    fn a_segment_that_differs_or_is_missing_is_found() {
        let entries: Vec<Value> = codes::AHA_SEGMENTS.iter().map(|site| one(*site, None)).collect();
        assert!(check_segments(&nothing(), &json!({ "entry": entries })).is_ok());
        assert!(check_segments(&nothing(), &json!({ "entry": &entries[1..] })).is_err());
        let mut wrong = entries;
        wrong[4] = one(codes::AHA_SEGMENTS[4], Some(12.0));
        assert!(check_segments(&nothing(), &json!({ "entry": wrong })).is_err());
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
