//! The Observations: one per measure, and the panel that names them in order.

use super::line::{RUN_SYSTEM, identifier, line_identifier};
use super::part::{self, Entry, concept, hl7, imaging_study, segmentation, set, subject, unsigned_meta};
use super::{Facts, device, segments, when};
use crate::domain::codes::{self, Code};
use crate::domain::measures::{AbsentReason, Measured, QualityGrade};
use crate::encode::EncodeError;
use serde_json::{Value, json};

/// One numeric line: code with its further codings, value, unit.
struct Line {
    codes: Vec<Code>,
    value: Measured<f64>,
    unit: &'static str,
    note: Option<String>,
}

/// The members of the panel: image quality first, then the numbers.
///
/// # Errors
/// When a value is not finite.
pub fn members(facts: &Facts<'_>) -> Result<Vec<Entry>, EncodeError> {
    let mut entries = vec![quality(facts)];
    for line in lines(facts) {
        entries.push(numeric(facts, line)?);
    }
    entries.extend(segments::entries(facts)?);
    Ok(entries)
}

/// The numbers of the whole ventricle in the order in which they are read.
fn lines(facts: &Facts<'_>) -> Vec<Line> {
    let m = facts.measures;
    let grams = |value: Measured<crate::domain::units::Grams>| value.map(|v| v.0);
    let percent = |value: Measured<crate::domain::units::Percent>| value.map(|v| v.0);
    let line = |codes: &[Code], value, unit, note| Line { codes: codes.to_vec(), value, unit, note };
    vec![
        line(&[codes::LV_MASS, codes::MASS], grams(m.lv_mass), "g", Some(LV_MASS_NOTE.to_owned())),
        line(&[codes::SCAR_MASS, codes::MASS], grams(m.scar_mass), "g", Some(scar_note(facts))),
        line(&[codes::SCAR_BURDEN], percent(m.burden), "%", None),
        line(&[codes::NO_REFLOW_MASS, codes::MASS], grams(m.no_reflow_mass), "g", None),
        line(&[codes::NO_REFLOW_OF_LV], percent(m.no_reflow_of_myocardium), "%", None),
        line(&[codes::NO_REFLOW_OF_SCAR], percent(m.no_reflow_of_scar), "%", None),
    ]
}

const LV_MASS_NOTE: &str = "Whole wall incl. scar and no-reflow on the LGE short-axis slices; not comparable with LV mass \
from cine or echocardiography.";

fn scar_note(facts: &Facts<'_>) -> String {
    let age = "The age of an infarct is not known to the software.";
    match facts.measures.scar_mass_sensitivity.value() {
        Some(range) => format!(
            "{age} Moving the scar contour by half a pixel either way gives {:.1} to {:.1} g; this is not a confidence interval.",
            part::round(range.low.0),
            part::round(range.high.0)
        ),
        None => age.to_owned(),
    }
}

fn numeric(facts: &Facts<'_>, line: Line) -> Result<Entry, EncodeError> {
    let Some(code) = line.codes.first().copied() else {
        return Err(EncodeError::Fhir("a line without a code".into()));
    };
    let mut resource = base(facts, &line.codes, line_identifier(&facts.identity.study, code, None), line.note);
    set_value(&mut resource, line.value, line.unit, code.meaning)?;
    Ok(Entry::replacing(facts, resource, line_identifier(&facts.identity.study, code, None)))
}

/// Puts a quantity, or the reason why there is none, into an Observation or a component.
///
/// # Errors
/// When the value is not finite.
pub fn set_value(target: &mut Value, value: Measured<f64>, unit: &str, what: &'static str) -> Result<(), EncodeError> {
    match value {
        Measured::Value(value) => {
            let quantity = json!({
                "value": rounded(value, what)?,
                "unit": unit,
                "system": "http://unitsofmeasure.org",
                "code": unit,
            });
            set(target, "valueQuantity", Some(quantity));
        }
        Measured::Absent(reason) => set(target, "dataAbsentReason", Some(absent(reason))),
    }
    Ok(())
}

fn rounded(value: f64, what: &'static str) -> Result<f64, EncodeError> {
    let value = part::round(value);
    value.is_finite().then_some(value).ok_or_else(|| EncodeError::Fhir(format!("{what} is not a finite number")))
}

fn absent(reason: AbsentReason) -> Value {
    let (code, display) = match reason {
        AbsentReason::MissingSlice
        | AbsentReason::NoMyocardium
        | AbsentReason::ImageQuality
        | AbsentReason::NoOrientation
        | AbsentReason::NoRing
        | AbsentReason::RingIncomplete
        | AbsentReason::VentricleIncomplete => ("not-performed", "Not Performed"),
        AbsentReason::NotApplicable => ("not-applicable", "Not Applicable"),
        AbsentReason::WithheldForAccuracy | AbsentReason::DirectionsEstimated => ("unsupported", "Unsupported"),
    };
    let mut concept = hl7("data-absent-reason", code, display);
    set(&mut concept, "text", Some(json!(reason.text())));
    concept
}

fn quality(facts: &Facts<'_>) -> Entry {
    let quality = &facts.measures.quality;
    let code = match quality.grade {
        QualityGrade::Good => codes::QUALITY_GOOD,
        QualityGrade::Limited => codes::QUALITY_LIMITED,
        QualityGrade::NotUsable => codes::QUALITY_NOT_USABLE,
    };
    let reasons = (!quality.reasons.is_empty()).then(|| format!("Reasons: {}.", quality.reasons.join(", ")));
    let line = line_identifier(&facts.identity.study, codes::IMAGE_QUALITY, None);
    let mut resource = base(facts, &[codes::IMAGE_QUALITY], line.clone(), reasons);
    set(&mut resource, "valueCodeableConcept", Some(concept(&[code])));
    Entry::replacing(facts, resource, line)
}

/// The panel: no value of its own, the members in order.
pub fn panel(facts: &Facts<'_>, members: &[Entry]) -> Entry {
    let line = line_identifier(&facts.identity.study, codes::LGE_QUANTIFICATION, None);
    let flags: Vec<&str> = facts.measures.review_flags.iter().map(|flag| flag.text()).collect();
    let note = (!flags.is_empty()).then(|| format!("For review: {}.", flags.join("; ")));
    let mut resource = base(facts, &[codes::LGE_QUANTIFICATION], line.clone(), note);
    set(&mut resource, "hasMember", Some(members.iter().map(Entry::reference).collect()));
    Entry::replacing(facts, resource, line)
}

/// What all Observations share.
pub fn base(facts: &Facts<'_>, codes: &[Code], (system, value): (&str, String), note: Option<String>) -> Value {
    let effective = when::effective(facts.identity, facts.assumed_offset);
    let assumed = effective.as_ref().filter(|e| e.assumed_offset).map(|_| zone_note(facts));
    let notes: Vec<Value> = note
        .into_iter()
        .chain(assumed)
        .chain([facts.use_notice().to_owned()])
        .map(|text| json!({ "text": text }))
        .collect();
    let mut derived_from = vec![imaging_study(facts)];
    derived_from.extend(segmentation(facts));
    let mut resource = json!({
        "resourceType": "Observation",
        "meta": unsigned_meta(),
        "identifier": [identifier(system, &value), identifier(RUN_SYSTEM, &facts.run.to_string())],
        "partOf": [imaging_study(facts)],
        "status": "preliminary",
        "category": [hl7("observation-category", "imaging", "Imaging")],
        "code": concept(codes),
        "subject": subject(facts),
        "issued": when::instant(facts.issued),
        "note": notes,
        "bodySite": concept(&[codes::LV_MYOCARDIUM]),
        "method": concept(&[codes::ARTIFICIAL_INTELLIGENCE]),
        "device": device::reference(facts),
        "derivedFrom": derived_from,
    });
    set(&mut resource, "basedOn", part::based_on(facts));
    set(&mut resource, "effectiveDateTime", effective.map(|e| json!(e.text)));
    resource
}

/// Says that the time zone is not from the images.
pub fn zone_note(facts: &Facts<'_>) -> String {
    format!("The images state no time zone; {} was assumed.", when::offset_text(facts.assumed_offset))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rounding_moves_a_value_by_at_most_half_a_digit(value in -1e6_f64..1e6) {
            let rounded = rounded(value, "x").unwrap();
            prop_assert!((rounded - value).abs() <= 0.05 + 1e-9);
            let text = serde_json::to_string(&rounded).unwrap();
            prop_assert!(text.split('.').nth(1).is_none_or(|digits| digits.len() == 1), "{}", text);
            prop_assert!(!text.starts_with("-0.0"));
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        assert!(rounded(f64::NAN, "x").is_err());
        assert!(rounded(f64::INFINITY, "x").is_err());
    }
}
