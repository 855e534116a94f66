//! Numbers read back from the SR.

use super::{disagree, equal, values};
use crate::domain::artefact::Artefact;
use crate::domain::codes::{self, Code as Concept};
use crate::domain::measures::Measures;
use crate::failure::Failure;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

pub(super) fn check(measures: &Measures, sr: &Artefact) -> Result<(), Failure> {
    let read = || dicom_object::from_reader(std::io::Cursor::new(&sr.bytes)).ok();
    let object = read().ok_or_else(|| disagree("the SR cannot be read back"))?;
    let groups = groups_with(&object, codes::REFERENCED_SEGMENT);
    for (finding, name, _, value) in values(measures) {
        let group = groups.iter().find(|group| is_about(group, finding));
        if !equal(value, group.and_then(|group| number_in(group, name))) {
            return Err(disagree("a value read from the SR"));
        }
    }
    check_places(measures, &object)
}

/// Every segment that may be told has a group with its mean and its maximum, and no other has.
fn check_places(measures: &Measures, object: &InMemDicomObject) -> Result<(), Failure> {
    let groups = groups_with(object, codes::TRANSMURALITY);
    for (segment, site) in measures.segments.segments.iter().zip(codes::AHA_SEGMENTS) {
        let sent = measures.segments.sendable(segment).value();
        let group = groups.iter().find(|group| has_site(group, site));
        let number = |name| group.and_then(|group| number_in(group, name));
        let (mean, maximum) = (number(codes::TRANSMURALITY), number(codes::TRANSMURALITY_MAX));
        if !equal(sent.map(|t| t.mean.0), mean) || !equal(sent.map(|t| t.maximum.0), maximum) {
            return Err(disagree("transmurality of a segment in the SR"));
        }
    }
    Ok(())
}

/// Measurement groups that hold an item of this name, wherever they stand in the tree.
fn groups_with(item: &InMemDicomObject, name: Concept) -> Vec<&InMemDicomObject> {
    let is_group = |item: &InMemDicomObject| {
        is_named(item, codes::MEASUREMENT_GROUP) && children(item).iter().any(|child| is_named(child, name))
    };
    children(item)
        .iter()
        .flat_map(|child| if is_group(child) { vec![child] } else { groups_with(child, name) })
        .collect()
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

fn has_site(group: &InMemDicomObject, site: Concept) -> bool {
    let sites = children(group).iter().filter(|child| is_named(child, codes::FINDING_SITE));
    sites.into_iter().any(|child| has_code(child, tags::CONCEPT_CODE_SEQUENCE, site))
}

fn number_in(group: &InMemDicomObject, name: Concept) -> Option<f64> {
    let item = children(group).iter().find(|child| is_named(child, name))?;
    let measured = item.element(tags::MEASURED_VALUE_SEQUENCE).ok()?.items()?.first()?;
    measured.element(tags::NUMERIC_VALUE).ok()?.to_float64().ok()
}
