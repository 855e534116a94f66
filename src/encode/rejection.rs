//! The rejection note: a Key Object Selection "Rejected for Quality Reasons" (IHE IOCM) that retires objects of ours.

use super::EncodeError;
use super::dicom::{Object, sequence, text};
use super::object::{self, Context, Series};
use super::sr::item::{self, Relation, coded, library_image, words};
use crate::domain::artefact::{Artefact, ArtefactKind, DicomIdentity};
use crate::domain::codes;
use crate::domain::identity::StudyIdentity;
use crate::domain::uid::Uid;
use dicom_core::VR;
use dicom_dictionary_std::tags;

/// Key Object Selection Document Storage.
pub const KEY_OBJECT_SELECTION_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.88.59";
/// Objects that are no images are named as documents (value type COMPOSITE, PS3.3 C.17.3).
const NOT_IMAGES: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.59"];

/// Encodes the note for `retired`; `why` is a sentence for people. `None` when nothing is retired.
///
/// # Errors
/// When the DICOM library refuses the object.
pub fn encode(
    who: &StudyIdentity,
    retired: &[DicomIdentity],
    why: &str,
    context: &Context,
) -> Result<Option<Artefact>, EncodeError> {
    if retired.is_empty() {
        return Ok(None);
    }
    let identity = object::identity(&who.study, context, Series::Notes, KEY_OBJECT_SELECTION_STORAGE, "rejection-note");
    let mut object = object::common(who, context, Series::Notes, &identity, 1);
    sequence(&mut object, tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, vec![]);
    sequence(
        &mut object,
        tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
        vec![object::evidence(&who.study, by_series(retired))],
    );
    // TID 2010: the title wants a reason (CID 7011); a newer result is none of those listed but "other".
    let mut content = vec![
        coded(Relation::HasConceptModifier, codes::DOCUMENT_TITLE_MODIFIER, codes::OTHER_FAILURE),
        words(Relation::Contains, codes::KEY_OBJECT_DESCRIPTION, why),
    ];
    content.extend(retired.iter().map(reference));
    item::root(&mut object, codes::REJECTED_FOR_QUALITY, "2010", content);
    let bytes = object::write(object, &identity)?;
    let name = ArtefactKind::RejectionNote.name().to_owned();
    Ok(Some(Artefact { kind: ArtefactKind::RejectionNote, name, dicom: Some(identity), bytes }))
}

fn by_series(retired: &[DicomIdentity]) -> Vec<(Uid, Vec<Object>)> {
    let mut found: Vec<(Uid, Vec<Object>)> = Vec::new();
    for one in retired {
        let reference = object::instance_reference(&one.sop_class, &one.sop_instance);
        match found.iter_mut().find(|(series, _)| *series == one.series) {
            Some((_, references)) => references.push(reference),
            None => found.push((one.series.clone(), vec![reference])),
        }
    }
    found
}

/// IMAGE or COMPOSITE item.
fn reference(one: &DicomIdentity) -> Object {
    let mut item = library_image(&one.sop_class, &one.sop_instance);
    if NOT_IMAGES.contains(&one.sop_class.as_str()) {
        text(&mut item, tags::VALUE_TYPE, VR::CS, "COMPOSITE");
    }
    item
}
