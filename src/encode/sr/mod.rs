//! The structured report: Comprehensive 3D SR, Imaging Measurement Report (PS3.16 TID 1500), unverified until signed.

mod groups;
pub(in crate::encode) mod item;

use super::EncodeError;
use super::dicom::{Object, empty, sequence, text};
use super::object::{self, Context, MANUFACTURER, MODEL_NAME, Series};
use crate::domain::artefact::{Artefact, ArtefactKind, DicomIdentity};
use crate::domain::codes::{self, Code};
use crate::domain::labels::Segmentation;
use crate::domain::measures::{Measured, Measures, QualityGrade};
use crate::domain::provenance::use_notice;
use crate::domain::stack::Stack;
use crate::domain::uid::Uid;
use dicom_core::VR;
use dicom_dictionary_std::tags;
use item::{Relation, coded, container, uid, words};

/// Comprehensive 3D SR Storage.
pub const COMPREHENSIVE_3D_SR_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.88.34";

/// All that a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The images.
    pub stack: &'a Stack,
    /// The numbers; copied, never computed again.
    pub measures: &'a Measures,
    /// The segmentation that the numbers are of.
    pub seg: &'a DicomIdentity,
    /// What was drawn, and by which models.
    pub labels: &'a Segmentation,
    /// What else the bytes depend on.
    pub context: &'a Context,
}

/// Encodes the report as one file.
///
/// # Errors
/// When the DICOM library refuses the object.
pub fn encode(facts: &Facts<'_>) -> Result<Artefact, EncodeError> {
    let study = &facts.stack.identity.study;
    let identity = object::identity(study, facts.context, Series::Sr, COMPREHENSIVE_3D_SR_STORAGE, "sr");
    let mut object = object::common(&facts.stack.identity, facts.context, Series::Sr, &identity, 1);
    object::private_scheme(&mut object);
    document(&mut object, facts);
    item::root(&mut object, codes::IMAGING_MEASUREMENT_REPORT, "1500", content(facts));
    let bytes = object::write(object, &identity)?;
    Ok(Artefact { kind: ArtefactKind::Sr, name: "sr".into(), dicom: Some(identity), bytes })
}

/// SR Document General (PS3.3 C.17.2): complete, and verified by nobody.
fn document(object: &mut Object, facts: &Facts<'_>) {
    sequence(object, tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, vec![]);
    sequence(object, tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, vec![]);
    text(object, tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
    text(object, tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    text(object, tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY");
    let who = &facts.stack.identity;
    if !who.accession_number.is_empty() {
        sequence(object, tags::REFERENCED_REQUEST_SEQUENCE, vec![request(&who.study, &who.accession_number)]);
    }
    let images = object::sources_by_series(facts.stack).into_iter().map(|(series, sources)| {
        let references = sources.into_iter().map(|s| object::instance_reference(&s.sop_class, &s.sop_instance));
        (series.clone(), references.collect())
    });
    let seg = object::instance_reference(&facts.seg.sop_class, &facts.seg.sop_instance);
    let all = images.chain([(facts.seg.series.clone(), vec![seg])]);
    let evidence = object::evidence(&who.study, all);
    sequence(object, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![evidence]);
}

/// The order, as far as the images name it; attributes of type 2 stay empty.
fn request(study: &Uid, accession_number: &str) -> Object {
    let mut item = Object::new_empty();
    text(&mut item, tags::ACCESSION_NUMBER, VR::SH, accession_number);
    sequence(&mut item, tags::REFERENCED_STUDY_SEQUENCE, vec![]);
    text(&mut item, tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
    empty(&mut item, tags::REQUESTED_PROCEDURE_DESCRIPTION, VR::LO);
    sequence(&mut item, tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, vec![]);
    empty(&mut item, tags::REQUESTED_PROCEDURE_ID, VR::SH);
    empty(&mut item, tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, VR::LO);
    empty(&mut item, tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, VR::LO);
    item
}

fn content(facts: &Facts<'_>) -> Vec<Object> {
    let mut content = vec![coded(Relation::HasConceptModifier, codes::LANGUAGE, codes::ENGLISH)];
    content.extend(observer(facts.context));
    content.push(coded(Relation::HasConceptModifier, codes::PROCEDURE_REPORTED, codes::CARDIAC_MRI));
    content.push(library(facts.stack));
    content.push(container(codes::IMAGING_MEASUREMENTS, groups::all(facts)));
    content.push(container(codes::QUALITATIVE_EVALUATIONS, evaluations(facts)));
    content
}

/// TID 1004: a device observed, not a person.
fn observer(context: &Context) -> Vec<Object> {
    let fact = |name, value: &str| words(Relation::HasObservationContext, name, value);
    let device = Uid::derive(&["device", &context.device_serial]);
    vec![
        coded(Relation::HasObservationContext, codes::OBSERVER_TYPE, codes::DEVICE),
        uid(Relation::HasObservationContext, codes::DEVICE_OBSERVER_UID, &device),
        fact(codes::DEVICE_OBSERVER_NAME, MANUFACTURER),
        fact(codes::DEVICE_OBSERVER_MANUFACTURER, MANUFACTURER),
        fact(codes::DEVICE_OBSERVER_MODEL_NAME, MODEL_NAME),
        fact(codes::DEVICE_OBSERVER_SERIAL_NUMBER, &context.device_serial),
    ]
}

/// TID 1600: every image that was analysed.
fn library(stack: &Stack) -> Object {
    let series = object::sources_by_series(stack);
    let images = series.iter().flat_map(|(_, sources)| sources);
    let images = images.map(|source| item::library_image(&source.sop_class, &source.sop_instance)).collect();
    container(codes::IMAGE_LIBRARY, vec![container(codes::IMAGE_LIBRARY_GROUP, images)])
}

/// Image quality first, then what a person should look at, then what the result may be used for.
fn evaluations(facts: &Facts<'_>) -> Vec<Object> {
    let comment = |text: &str| words(Relation::Contains, codes::COMMENT, text);
    let quality = &facts.measures.quality;
    let mut items = vec![coded(Relation::Contains, codes::IMAGE_QUALITY, grade(quality.grade))];
    items.extend(quality.reasons.iter().map(|reason| comment(&format!("Image quality: {reason}"))));
    items.extend(facts.measures.review_flags.iter().map(|flag| comment(&format!("For review: {}", flag.text()))));
    items.extend(places(facts.measures).map(|text| comment(&text)));
    items.push(comment(use_notice(&facts.labels.models)));
    items
}

/// How the segments came to be named, or why there are none.
fn places(measures: &Measures) -> impl Iterator<Item = String> {
    let segments = &measures.segments;
    let directions = match segments.directions {
        Measured::Value(directions) => format!("Anatomical directions: {}", directions.source.text()),
        Measured::Absent(reason) => format!("Transmurality by AHA segment: no values, {}", reason.text()),
    };
    let missing = segments.segments.iter().filter_map(|segment| {
        let reason = segments.sendable(segment).reason()?;
        Some(format!("AHA segment {}: no transmurality, {}", segment.segment, reason.text()))
    });
    std::iter::once(directions).chain(missing.collect::<Vec<_>>())
}

fn grade(grade: QualityGrade) -> Code {
    match grade {
        QualityGrade::Good => codes::QUALITY_GOOD,
        QualityGrade::Limited => codes::QUALITY_LIMITED,
        QualityGrade::NotUsable => codes::QUALITY_NOT_USABLE,
    }
}
