//! The DiagnosticReport: what the panel means, in words, quality first.

use super::line::{RUN_SYSTEM, identifier, line_identifier};
use super::observation::zone_note;
use super::part::{self, Entry, hl7, imaging_study, set, subject, unsigned_meta};
use super::{Facts, segments, when};
use crate::domain::artefact::Artefact;
use crate::domain::codes::{self, Code};
use crate::domain::measures::{Measured, QualityGrade};
use crate::domain::units::{Grams, Percent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::fmt::Write;

/// Line of the report: beside the measures' codes, so that it has an identifier of its own.
const REPORT: Code = Code { value: "LGE-REPORT", ..codes::LGE_QUANTIFICATION };

/// The report, with page and picture where there are any.
pub fn entry(facts: &Facts<'_>, panel: &Entry, members: &[Entry], picture: Option<&Entry>) -> Entry {
    let line = line_identifier(&facts.identity.study, REPORT, None);
    let own = codes::LGE_QUANTIFICATION;
    let results: Vec<Value> = std::iter::once(panel).chain(members).map(Entry::reference).collect();
    let mut resource = json!({
        "resourceType": "DiagnosticReport",
        "meta": unsigned_meta(),
        "identifier": [identifier(line.0, &line.1), identifier(RUN_SYSTEM, &facts.run.to_string())],
        "status": "preliminary",
        "category": [hl7("v2-0074", "RAD", "Radiology")],
        "code": {
            "coding": [
                { "system": own.fhir_system(), "code": own.value, "display": own.meaning },
                { "system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study" },
            ],
            "text": own.meaning,
        },
        "subject": subject(facts),
        "issued": when::instant(facts.issued),
        "result": results,
        "imagingStudy": [imaging_study(facts)],
        "conclusion": conclusion(facts),
    });
    let media = |picture: &Entry| json!([{ "comment": "Transmurality by AHA segment", "link": picture.reference() }]);
    set(&mut resource, "media", picture.map(media));
    set(&mut resource, "presentedForm", facts.report.map(presented_form));
    set(&mut resource, "basedOn", part::based_on(facts));
    let effective = when::effective(facts.identity, facts.assumed_offset);
    set(&mut resource, "effectiveDateTime", effective.map(|e| json!(e.text)));
    Entry::replacing(facts, resource, line)
}

/// Without `hash`: R4 wants a SHA-1 there, and the digest of the page stands in the audit trail.
fn presented_form(page: &Artefact) -> Value {
    json!([{
        "contentType": page.kind.media_type(),
        "language": "en",
        "title": "LGE quantification, AI result, not verified",
        "size": page.bytes.len(),
        "data": BASE64.encode(&page.bytes),
    }])
}

/// The result in plain language.
fn conclusion(facts: &Facts<'_>) -> String {
    let m = facts.measures;
    let mut text = format!("Image quality: {}", quality_word(m.quality.grade));
    if !m.quality.reasons.is_empty() {
        let _ = write!(text, " ({})", m.quality.reasons.join(", "));
    }
    let _ = writeln!(text, ".");
    sentence(&mut text, "LV mass from LGE short axis", &grams(m.lv_mass), None);
    let of_lv = percent(m.burden).ok().map(|burden| format!("{burden} of the LV mass"));
    sentence(&mut text, "LGE mass incl. no-reflow (infarct/scar)", &grams(m.scar_mass), of_lv);
    if m.detection_limit.0 > 0.0 {
        let _ = writeln!(text, "LGE below {:.1} % of the LV mass in all counts as none.", m.detection_limit.0);
    }
    let of_lv = percent(m.no_reflow_of_myocardium).ok().map(|share| format!("{share} of the LV mass"));
    sentence(&mut text, "No-reflow mass", &grams(m.no_reflow_mass), of_lv);
    let _ = writeln!(text, "{}", segments::sentence(facts));
    for flag in &m.review_flags {
        let _ = writeln!(text, "For review: {}.", flag.text());
    }
    let assumed = when::effective(facts.identity, facts.assumed_offset).is_some_and(|e| e.assumed_offset);
    if assumed {
        let _ = writeln!(text, "{}", zone_note(facts));
    }
    let _ = write!(text, "The age of an infarct is not known to the software. Preliminary. {}", facts.use_notice());
    text
}

fn quality_word(grade: QualityGrade) -> &'static str {
    match grade {
        QualityGrade::Good => "good",
        QualityGrade::Limited => "limited",
        QualityGrade::NotUsable => "not usable",
    }
}

fn sentence(text: &mut String, name: &str, value: &Result<String, &'static str>, share: Option<String>) {
    let _ = match (value, share) {
        (Ok(value), Some(share)) => writeln!(text, "{name}: {value}, {share}."),
        (Ok(value), None) => writeln!(text, "{name}: {value}."),
        (Err(reason), _) => writeln!(text, "{name}: not given, {reason}."),
    };
}

fn grams(value: Measured<Grams>) -> Result<String, &'static str> {
    match value {
        Measured::Value(value) => Ok(format!("{:.1} {}", part::round(value.0), Grams::UCUM)),
        Measured::Absent(reason) => Err(reason.text()),
    }
}

fn percent(value: Measured<Percent>) -> Result<String, &'static str> {
    match value {
        Measured::Value(value) => Ok(format!("{:.1} {}", part::round(value.0), Percent::UCUM)),
        Measured::Absent(reason) => Err(reason.text()),
    }
}
