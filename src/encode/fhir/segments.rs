//! Transmurality of the AHA segments: 16 Observations, or one with components.

use super::Facts;
use super::line::line_identifier;
use super::observation::{base, set_value};
use super::part::{self, Entry, concept, set};
use crate::domain::codes::{self, Code};
use crate::domain::measures::Measured;
use crate::domain::segments::{SegmentMeasures, Territory, Transmurality, TransmuralityClass};
use crate::encode::EncodeError;
use serde_json::{Value, json};

const NOTE: &str = "Mean over all chords of the segment, enhanced or not, in % of the wall; maximum is the largest mean of five \
neighbouring chords. Segments and territories are the nominal ones of the AHA, not the patient's own vessels.";

/// The Observations of the segments, in the order of their numbers.
///
/// # Errors
/// When a value is not finite.
pub fn entries(facts: &Facts<'_>) -> Result<Vec<Entry>, EncodeError> {
    if facts.segments_in_one {
        return Ok(vec![all_in_one(facts)?]);
    }
    let placed = facts.measures.segments.segments.iter().zip(codes::AHA_SEGMENTS);
    placed.map(|(segment, site)| one(facts, segment, site)).collect()
}

fn one(facts: &Facts<'_>, segment: &SegmentMeasures, site: Code) -> Result<Entry, EncodeError> {
    let line = line_identifier(&facts.identity.study, codes::TRANSMURALITY, Some(segment.segment));
    let note =
        format!("AHA segment {}, nominal territory {}. {NOTE}", segment.segment, Territory::of(segment.segment).text());
    let mut resource = base(facts, &[codes::TRANSMURALITY], line.clone(), Some(note));
    set(&mut resource, "bodySite", Some(concept(&[site])));
    let sent = facts.measures.segments.sendable(segment);
    set_value(&mut resource, sent.map(|t| t.mean.0), "%", codes::TRANSMURALITY.meaning)?;
    if let Measured::Value(t) = sent {
        set(&mut resource, "component", Some(components(&t)?));
    }
    Ok(Entry::replacing(facts, resource, line))
}

/// What is never read without the mean, nor the mean without it.
fn components(t: &Transmurality) -> Result<Value, EncodeError> {
    let mut parts = vec![
        percent(codes::TRANSMURALITY_MAX, Measured::Value(t.maximum.0))?,
        percent(codes::TRANSMURALITY_DEPTH, t.depth.map(|depth| depth.0))?,
        percent(codes::ENHANCED_SHARE, Measured::Value(t.enhanced.0))?,
    ];
    let class = TransmuralityClass::ALL.into_iter().zip(codes::TRANSMURALITY_CLASSES).find(|(c, _)| *c == t.class);
    if let Some((_, code)) = class {
        parts.push(json!({ "code": concept(&[codes::TRANSMURALITY_CLASS]), "valueCodeableConcept": concept(&[code]) }));
    }
    Ok(Value::Array(parts))
}

fn percent(code: Code, value: Measured<f64>) -> Result<Value, EncodeError> {
    let mut part = json!({ "code": concept(&[code]) });
    set_value(&mut part, value, "%", code.meaning)?;
    Ok(part)
}

fn all_in_one(facts: &Facts<'_>) -> Result<Entry, EncodeError> {
    let line = line_identifier(&facts.identity.study, codes::TRANSMURALITY_ALL, None);
    let mut resource = base(facts, &[codes::TRANSMURALITY_ALL], line.clone(), Some(NOTE.to_owned()));
    let mut parts = Vec::new();
    let names = codes::TRANSMURALITY_MEANS.into_iter().zip(codes::TRANSMURALITY_MAXIMA);
    for (segment, (mean, maximum)) in facts.measures.segments.segments.iter().zip(names) {
        let sent = facts.measures.segments.sendable(segment);
        parts.push(percent(mean, sent.map(|t| t.mean.0))?);
        parts.push(percent(maximum, sent.map(|t| t.maximum.0))?);
    }
    set(&mut resource, "component", Some(Value::Array(parts)));
    Ok(Entry::replacing(facts, resource, line))
}

/// The segments in words: those with scar, mean and maximum together.
pub fn sentence(facts: &Facts<'_>) -> String {
    let all = &facts.measures.segments;
    let mut absent = Vec::new();
    let mut told: Vec<String> = Vec::new();
    for segment in &all.segments {
        match all.sendable(segment) {
            Measured::Value(t) if t.class > TransmuralityClass::None => told.push(format!(
                "{} ({:.1} / {:.1} %)",
                segment.segment,
                part::round(t.mean.0),
                part::round(t.maximum.0)
            )),
            Measured::Value(_) => {}
            Measured::Absent(reason) if absent.contains(&reason.text()) => {}
            Measured::Absent(reason) => absent.push(reason.text()),
        }
    }
    let known = all.segments.iter().any(|segment| all.sendable(segment).value().is_some());
    let mut text = match (known, told.is_empty()) {
        (false, _) => "Transmurality by AHA segment: not given".to_owned(),
        (true, true) => "Transmurality by AHA segment: below 1 % in all assessed segments".to_owned(),
        (true, false) => {
            format!("Transmurality by AHA segment (mean / maximum), below 1 % elsewhere: {}", told.join(", "))
        }
    };
    if !absent.is_empty() {
        let some = if known { "; some not given" } else { "" };
        text.push_str(&format!("{some}, {}", absent.join("; ")));
    }
    text.push('.');
    text
}
