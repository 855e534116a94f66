//! Patient, study and equipment attributes of a source object.

use super::header::Lenient;
use crate::domain::identity::StudyIdentity;
use crate::domain::uid::Uid;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// What all objects of a stack have in common.
pub(super) struct Common {
    pub identity: StudyIdentity,
    pub frame_of_reference: Uid,
    pub position_reference_indicator: String,
    pub manufacturer: String,
    pub field_strength_t: Option<f64>,
}

impl Common {
    /// Reads it from a data set; `None` when StudyInstanceUID or FrameOfReferenceUID is missing.
    pub(super) fn of(set: &InMemDicomObject) -> Option<Self> {
        let text = |tag| set.text(tag).unwrap_or_default();
        Some(Self {
            identity: identity(set)?,
            frame_of_reference: set.uid(tags::FRAME_OF_REFERENCE_UID)?,
            position_reference_indicator: text(tags::POSITION_REFERENCE_INDICATOR),
            manufacturer: text(tags::MANUFACTURER),
            field_strength_t: set.number(tags::MAGNETIC_FIELD_STRENGTH).filter(|tesla| *tesla > 0.0),
        })
    }
}

fn identity(set: &InMemDicomObject) -> Option<StudyIdentity> {
    let text = |tag| set.text(tag).unwrap_or_default();
    let issuer = set.first_item(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE);
    Some(StudyIdentity {
        study: set.uid(tags::STUDY_INSTANCE_UID)?,
        patient_name: text(tags::PATIENT_NAME),
        patient_id: text(tags::PATIENT_ID),
        issuer_of_patient_id: set.text(tags::ISSUER_OF_PATIENT_ID),
        patient_birth_date: text(tags::PATIENT_BIRTH_DATE),
        patient_sex: text(tags::PATIENT_SEX),
        accession_number: text(tags::ACCESSION_NUMBER),
        issuer_of_accession_number: issuer.and_then(|item| {
            item.text(tags::UNIVERSAL_ENTITY_ID).or_else(|| item.text(tags::LOCAL_NAMESPACE_ENTITY_ID))
        }),
        referring_physician_name: text(tags::REFERRING_PHYSICIAN_NAME),
        study_id: text(tags::STUDY_ID),
        study_date: text(tags::STUDY_DATE),
        study_time: text(tags::STUDY_TIME),
        timezone_offset: set.text(tags::TIMEZONE_OFFSET_FROM_UTC),
        specific_character_set: set.text(tags::SPECIFIC_CHARACTER_SET),
    })
}
