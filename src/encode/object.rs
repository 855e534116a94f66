//! What all DICOM objects that we write have in common: patient, study, series, equipment, private scheme, the file around them.

use super::EncodeError;
use super::dicom::{Object, sequence, text};
use crate::domain::artefact::DicomIdentity;
use crate::domain::codes;
use crate::domain::identity::StudyIdentity;
use crate::domain::provenance::{IntendedUse, ModelRef};
use crate::domain::stack::{SourceFrame, Stack};
use crate::domain::uid::Uid;
use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::FileMetaTableBuilder;
use time::OffsetDateTime;
use time::macros::format_description;

/// Manufacturer of what we write.
pub const MANUFACTURER: &str = "scargate";
/// ManufacturerModelName (0008,1090).
pub const MODEL_NAME: &str = "scargate LGE gateway";
const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// What an object's bytes depend on besides the result; all of it comes from the stored run, so that encoding twice
/// gives the same bytes.
#[derive(Debug, Clone)]
pub struct Context {
    /// Revision of the study.
    pub revision: u32,
    /// Review act that made this object; empty before any.
    pub act: String,
    /// When the run was created: ContentDate and ContentTime.
    pub created: OffsetDateTime,
    /// DeviceSerialNumber (0018,1000).
    pub device_serial: String,
    /// SeriesNumber (0020,0011) of the SEG; the other series count on from it.
    pub series_number: u32,
}

/// A series of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Segmentation.
    Seg,
    /// Structured report.
    Sr,
    /// Result images.
    Images,
    /// Rejection notes.
    Notes,
}

impl Series {
    /// Part of the UIDs of the series, its modality, its place after the SEG's SeriesNumber, its description.
    fn facts(self) -> (&'static str, &'static str, u32, &'static str) {
        match self {
            Self::Seg => ("seg-series", "SEG", 0, "LGE scar segmentation, AI, research use"),
            Self::Sr => ("sr-series", "SR", 1, "LGE scar measurements, AI, research use"),
            Self::Images => ("image-series", "OT", 2, "LGE scar result images, AI, research use"),
            Self::Notes => ("note-series", "KO", 3, "Earlier LGE scar results, retired"),
        }
    }
}

/// UIDs of an object of a revision, known before it is encoded; `role` tells objects of one series apart.
pub fn identity(study: &Uid, context: &Context, series: Series, class: &'static str, role: &str) -> DicomIdentity {
    DicomIdentity {
        sop_class: Uid::well_known(class),
        sop_instance: Uid::derive_output(study, context.revision, role, &context.act),
        series: Uid::derive_output(study, context.revision, series.facts().0, &context.act),
    }
}

/// SOP common, patient, study, series and equipment (PS3.3 C.12.1, C.7.1 to C.7.5).
pub fn common(
    who: &StudyIdentity,
    context: &Context,
    series: Series,
    identity: &DicomIdentity,
    instance: u32,
) -> Object {
    let mut object = Object::new_empty();
    sop(&mut object, context, identity, instance);
    patient_and_study(&mut object, who);
    let (_, modality, number, description) = series.facts();
    text(&mut object, tags::MODALITY, VR::CS, modality);
    text(&mut object, tags::SERIES_INSTANCE_UID, VR::UI, identity.series.as_str());
    text(&mut object, tags::SERIES_NUMBER, VR::IS, context.series_number.saturating_add(number).to_string());
    text(&mut object, tags::SERIES_DESCRIPTION, VR::LO, description);
    text(&mut object, tags::MANUFACTURER, VR::LO, MANUFACTURER);
    text(&mut object, tags::MANUFACTURER_MODEL_NAME, VR::LO, MODEL_NAME);
    text(&mut object, tags::DEVICE_SERIAL_NUMBER, VR::LO, &context.device_serial);
    text(&mut object, tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"));
    object
}

fn sop(object: &mut Object, context: &Context, identity: &DicomIdentity, instance: u32) {
    text(object, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    text(object, tags::SOP_CLASS_UID, VR::UI, identity.sop_class.as_str());
    text(object, tags::SOP_INSTANCE_UID, VR::UI, identity.sop_instance.as_str());
    text(object, tags::INSTANCE_NUMBER, VR::IS, instance.to_string());
    let (date, time) = date_and_time(context.created);
    text(object, tags::CONTENT_DATE, VR::DA, &date);
    text(object, tags::CONTENT_TIME, VR::TM, &time);
    text(object, tags::SERIES_DATE, VR::DA, date);
    text(object, tags::SERIES_TIME, VR::TM, time);
}

/// Declares the private coding scheme (PS3.3 C.12.1, CodingSchemeIdentificationSequence).
pub fn private_scheme(object: &mut Object) {
    let mut scheme = Object::new_empty();
    text(&mut scheme, tags::CODING_SCHEME_DESIGNATOR, VR::SH, codes::PRIVATE_SCHEME);
    text(&mut scheme, tags::CODING_SCHEME_NAME, VR::ST, codes::PRIVATE_SCHEME_NAME);
    text(&mut scheme, tags::CODING_SCHEME_VERSION, VR::SH, "1");
    text(&mut scheme, tags::CODING_SCHEME_RESPONSIBLE_ORGANIZATION, VR::ST, MANUFACTURER);
    sequence(object, tags::CODING_SCHEME_IDENTIFICATION_SEQUENCE, vec![scheme]);
}

/// DA and TM texts of an instant, in UTC.
fn date_and_time(at: OffsetDateTime) -> (String, String) {
    let at = at.to_offset(time::UtcOffset::UTC);
    let date = at.format(format_description!("[year][month][day]")).unwrap_or_default();
    let time = at.format(format_description!("[hour][minute][second]")).unwrap_or_default();
    (date, time)
}

fn patient_and_study(object: &mut Object, who: &StudyIdentity) {
    text(object, tags::PATIENT_NAME, VR::PN, &who.patient_name);
    text(object, tags::PATIENT_ID, VR::LO, &who.patient_id);
    if let Some(issuer) = &who.issuer_of_patient_id {
        text(object, tags::ISSUER_OF_PATIENT_ID, VR::LO, issuer);
    }
    text(object, tags::PATIENT_BIRTH_DATE, VR::DA, &who.patient_birth_date);
    text(object, tags::PATIENT_SEX, VR::CS, &who.patient_sex);
    text(object, tags::STUDY_INSTANCE_UID, VR::UI, who.study.as_str());
    text(object, tags::STUDY_DATE, VR::DA, &who.study_date);
    text(object, tags::STUDY_TIME, VR::TM, &who.study_time);
    text(object, tags::REFERRING_PHYSICIAN_NAME, VR::PN, &who.referring_physician_name);
    text(object, tags::STUDY_ID, VR::SH, &who.study_id);
    text(object, tags::ACCESSION_NUMBER, VR::SH, &who.accession_number);
}

/// (SeriesInstanceUID, its source frames of distinct instances) of a stack, in order.
pub fn sources_by_series(stack: &Stack) -> Vec<(&Uid, Vec<&SourceFrame>)> {
    let mut by_series: Vec<(&Uid, Vec<&SourceFrame>)> = Vec::new();
    for source in stack.slices.iter().map(|slice| &slice.source) {
        let position = by_series.iter().position(|(series, _)| *series == &source.series);
        let index = position.unwrap_or_else(|| {
            by_series.push((&source.series, Vec::new()));
            by_series.len() - 1
        });
        if let Some((_, sources)) = by_series.get_mut(index)
            && !sources.iter().any(|known| known.sop_instance == source.sop_instance)
        {
            sources.push(source);
        }
    }
    by_series
}

/// ReferencedSOPClassUID and ReferencedSOPInstanceUID.
pub fn instance_reference(class: &Uid, instance: &Uid) -> Object {
    let mut item = Object::new_empty();
    text(&mut item, tags::REFERENCED_SOP_CLASS_UID, VR::UI, class.as_str());
    text(&mut item, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance.as_str());
    item
}

/// What took part, one text per model: role, name, version, digest, intended use.
pub fn model_texts(models: &[ModelRef]) -> Vec<String> {
    let text = |m: &ModelRef| {
        let digest = m.sha256.get(..16).unwrap_or(&m.sha256);
        let intended = match m.intended_use {
            IntendedUse::Research => "research use",
            IntendedUse::Demonstration => "demonstration",
            IntendedUse::Clinical => "clinical use",
        };
        format!("{} {} {} sha256:{} ({})", m.role, m.name, m.version, digest, intended)
    };
    models.iter().map(text).collect()
}

/// One item of an evidence sequence (PS3.3 table 10-4b): study > series > instances.
pub fn evidence(study: &Uid, series: impl IntoIterator<Item = (Uid, Vec<Object>)>) -> Object {
    let mut item = Object::new_empty();
    let series = series.into_iter().map(|(uid, instances)| {
        let mut item = Object::new_empty();
        sequence(&mut item, tags::REFERENCED_SOP_SEQUENCE, instances);
        text(&mut item, tags::SERIES_INSTANCE_UID, VR::UI, uid.as_str());
        item
    });
    sequence(&mut item, tags::REFERENCED_SERIES_SEQUENCE, series.collect());
    text(&mut item, tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
    item
}

/// The file: preamble, meta group, the object in Explicit VR Little Endian.
///
/// # Errors
/// When the DICOM library refuses the object.
pub fn write(object: Object, identity: &DicomIdentity) -> Result<Vec<u8>, EncodeError> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(identity.sop_class.as_str())
        .media_storage_sop_instance_uid(identity.sop_instance.as_str())
        .transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
        .implementation_class_uid(Uid::derive(&["implementation"]).as_str())
        .implementation_version_name(concat!("SCARGATE_", env!("CARGO_PKG_VERSION")));
    let file = object.with_meta(meta).map_err(|error| EncodeError::Write(error.to_string()))?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| EncodeError::Write(error.to_string()))?;
    Ok(bytes)
}
