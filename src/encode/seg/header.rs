//! Patient, study, series, equipment and segment attributes of a SEG.

use super::SegContext;
use crate::domain::artefact::DicomIdentity;
use crate::domain::codes::{self, Code};
use crate::domain::labels::{Region, Segmentation};
use crate::domain::stack::{SourceFrame, Stack};
use crate::domain::uid::Uid;
use crate::encode::dicom::{Object, code, code_item, empty, sequence, text, texts, us};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use time::OffsetDateTime;
use time::macros::format_description;

/// Manufacturer of what we write.
const MANUFACTURER: &str = "scargate";

/// Everything of the object that does not depend on frames.
pub(super) fn common(stack: &Stack, labels: &Segmentation, context: &SegContext, identity: &DicomIdentity) -> Object {
    let mut object = Object::new_empty();
    sop(&mut object, context, identity);
    patient_and_study(&mut object, stack);
    series(&mut object, stack, context, identity);
    equipment(&mut object, context);
    image(&mut object, stack);
    let segments =
        Region::ALL.iter().zip(1u16..).map(|(region, number)| segment(*region, number, stack, labels, context));
    sequence(&mut object, tags::SEGMENT_SEQUENCE, segments.collect());
    references(&mut object, stack);
    object
}

fn sop(object: &mut Object, context: &SegContext, identity: &DicomIdentity) {
    text(object, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    text(object, tags::SOP_CLASS_UID, VR::UI, identity.sop_class.as_str());
    text(object, tags::SOP_INSTANCE_UID, VR::UI, identity.sop_instance.as_str());
    text(object, tags::INSTANCE_NUMBER, VR::IS, "1");
    let (date, time) = date_and_time(context.created);
    text(object, tags::CONTENT_DATE, VR::DA, &date);
    text(object, tags::CONTENT_TIME, VR::TM, &time);
    text(object, tags::SERIES_DATE, VR::DA, date);
    text(object, tags::SERIES_TIME, VR::TM, time);
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

fn patient_and_study(object: &mut Object, stack: &Stack) {
    let who = &stack.identity;
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

fn series(object: &mut Object, stack: &Stack, context: &SegContext, identity: &DicomIdentity) {
    text(object, tags::MODALITY, VR::CS, "SEG");
    text(object, tags::SERIES_INSTANCE_UID, VR::UI, identity.series.as_str());
    text(object, tags::SERIES_NUMBER, VR::IS, context.series_number.to_string());
    text(object, tags::SERIES_DESCRIPTION, VR::LO, "LGE scar segmentation, AI, research use");
    text(object, tags::FRAME_OF_REFERENCE_UID, VR::UI, stack.frame_of_reference.as_str());
    text(object, tags::POSITION_REFERENCE_INDICATOR, VR::LO, &stack.position_reference_indicator);
}

fn equipment(object: &mut Object, context: &SegContext) {
    text(object, tags::MANUFACTURER, VR::LO, MANUFACTURER);
    text(object, tags::MANUFACTURER_MODEL_NAME, VR::LO, "scargate LGE gateway");
    text(object, tags::DEVICE_SERIAL_NUMBER, VR::LO, &context.device_serial);
    text(object, tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"));
}

fn image(object: &mut Object, stack: &Stack) {
    let (rows, columns) = stack.dim();
    texts(object, tags::IMAGE_TYPE, VR::CS, &["DERIVED".into(), "PRIMARY".into()]);
    text(object, tags::CONTENT_LABEL, VR::CS, "LGE_SCAR");
    text(object, tags::CONTENT_DESCRIPTION, VR::LO, "LV blood pool, myocardium, scar, no-reflow; not verified");
    empty(object, tags::CONTENT_CREATOR_NAME, VR::PN);
    us(object, tags::SAMPLES_PER_PIXEL, 1);
    text(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    us(object, tags::PIXEL_REPRESENTATION, 0);
    us(object, tags::ROWS, u16::try_from(rows).unwrap_or(u16::MAX));
    us(object, tags::COLUMNS, u16::try_from(columns).unwrap_or(u16::MAX));
    us(object, tags::BITS_ALLOCATED, 1);
    us(object, tags::BITS_STORED, 1);
    us(object, tags::HIGH_BIT, 0);
    text(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, if stack.lossy { "01" } else { "00" });
    text(object, tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
    text(object, tags::SEGMENTS_OVERLAP, VR::CS, "YES");
}

/// Codes and display colour of a region (reference: PS3.16 CID 7150/7151, colours as CIELab PS3.3 C.10.7.1.1).
struct Look {
    label: &'static str,
    category: Code,
    kind: Code,
    anatomy: Option<Code>,
    cielab: [u16; 3],
}

fn look(region: Region) -> Look {
    match region {
        Region::BloodPool => Look {
            label: "LV blood pool",
            category: codes::TISSUE,
            kind: codes::BLOOD,
            anatomy: Some(codes::LEFT_VENTRICLE),
            cielab: [32219, 49383, 43621],
        },
        Region::Myocardium => Look {
            label: "LV myocardium incl. scar",
            category: codes::ANATOMICAL_STRUCTURE,
            kind: codes::LV_MYOCARDIUM,
            anatomy: None,
            cielab: [40023, 18209, 42121],
        },
        Region::Scar => Look {
            label: "LGE incl. no-reflow (infarct/scar)",
            category: codes::TISSUE,
            kind: codes::SCAR_TISSUE,
            anatomy: Some(codes::LV_MYOCARDIUM),
            cielab: [56969, 32401, 55290],
        },
        Region::NoReflow => Look {
            label: "No-reflow",
            category: codes::MORPHOLOGICALLY_ABNORMAL,
            kind: codes::NO_REFLOW_REGION,
            anatomy: Some(codes::LV_MYOCARDIUM),
            cielab: [31168, 53925, 19874],
        },
    }
}

fn segment(region: Region, number: u16, stack: &Stack, labels: &Segmentation, context: &SegContext) -> Object {
    let look = look(region);
    let mut item = Object::new_empty();
    us(&mut item, tags::SEGMENT_NUMBER, number);
    text(&mut item, tags::SEGMENT_LABEL, VR::LO, look.label);
    text(&mut item, tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC");
    text(&mut item, tags::SEGMENT_ALGORITHM_NAME, VR::LO, "scargate");
    sequence(&mut item, tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![algorithm(labels)]);
    code(&mut item, tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, look.category);
    code(&mut item, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, look.kind);
    if let Some(anatomy) = look.anatomy {
        sequence(&mut item, tags::ANATOMIC_REGION_SEQUENCE, vec![code_item(anatomy)]);
    }
    let role = format!("track-{number}");
    let tracking = Uid::derive_output(&stack.identity.study, context.revision, &role, &context.act);
    text(&mut item, tags::TRACKING_ID, VR::UT, look.label);
    text(&mut item, tags::TRACKING_UID, VR::UI, tracking.as_str());
    item.put(DataElement::new(
        tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE,
        VR::US,
        PrimitiveValue::U16(look.cielab[..].into()),
    ));
    item
}

/// Segmentation Algorithm Identification (PS3.3 10.16): the software, and every model with its digest as parameters.
fn algorithm(labels: &Segmentation) -> Object {
    let mut item = Object::new_empty();
    code(&mut item, tags::ALGORITHM_FAMILY_CODE_SEQUENCE, codes::ARTIFICIAL_INTELLIGENCE);
    text(&mut item, tags::ALGORITHM_NAME, VR::LO, "scargate");
    text(&mut item, tags::ALGORITHM_VERSION, VR::LO, env!("CARGO_PKG_VERSION"));
    let models: Vec<String> = labels
        .models
        .iter()
        .map(|m| {
            let digest = m.sha256.get(..16).unwrap_or(&m.sha256);
            let intended = match m.intended_use {
                crate::domain::provenance::IntendedUse::Research => "research use",
                crate::domain::provenance::IntendedUse::Demonstration => "demonstration",
                crate::domain::provenance::IntendedUse::Clinical => "clinical use",
            };
            format!("{} {} {} sha256:{} ({})", m.role, m.name, m.version, digest, intended)
        })
        .collect();
    text(&mut item, tags::ALGORITHM_PARAMETERS, VR::LT, models.join("; "));
    text(&mut item, tags::ALGORITHM_SOURCE, VR::LO, MANUFACTURER);
    item
}

/// Common Instance Reference: every slice that was analysed, with or without a frame in this object.
fn references(object: &mut Object, stack: &Stack) {
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
    let items = by_series.into_iter().map(|(series, sources)| {
        let mut item = Object::new_empty();
        text(&mut item, tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        sequence(&mut item, tags::REFERENCED_INSTANCE_SEQUENCE, sources.into_iter().map(instance_reference).collect());
        item
    });
    sequence(object, tags::REFERENCED_SERIES_SEQUENCE, items.collect());
}

/// ReferencedSOPClassUID and ReferencedSOPInstanceUID of a source.
pub(super) fn instance_reference(source: &SourceFrame) -> Object {
    let mut item = Object::new_empty();
    text(&mut item, tags::REFERENCED_SOP_CLASS_UID, VR::UI, source.sop_class.as_str());
    text(&mut item, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, source.sop_instance.as_str());
    item
}
