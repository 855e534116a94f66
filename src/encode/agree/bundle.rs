//! Numbers read back from the FHIR Bundle.

use super::{disagree, equal, values};
use crate::domain::artefact::Artefact;
use crate::domain::codes::{self, Code as Concept};
use crate::domain::measures::Measures;
use crate::failure::Failure;
use serde_json::Value;

pub(super) fn check(measures: &Measures, bundle: &Artefact) -> Result<(), Failure> {
    let bundle: Value =
        serde_json::from_slice(&bundle.bytes).map_err(|_| disagree("the Bundle cannot be read back"))?;
    for (_, _, concept, value) in values(measures) {
        if !equal(value, bundle_value(&bundle, concept)) {
            return Err(disagree(concept.meaning));
        }
    }
    check_segments(measures, &bundle)
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
}
