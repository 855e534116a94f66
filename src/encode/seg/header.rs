//! The attributes of a SEG that do not depend on frames: frame of reference, image, segments, references.

use crate::domain::artefact::DicomIdentity;
use crate::domain::codes::{self, Code};
use crate::domain::labels::{Region, Segmentation};
use crate::domain::stack::Stack;
use crate::encode::dicom::{Object, code, code_item, empty, sequence, text, texts, us};
use crate::encode::object::{self, Context, Series};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;

/// Everything of the object that does not depend on frames.
pub(super) fn common(stack: &Stack, labels: &Segmentation, context: &Context, identity: &DicomIdentity) -> Object {
    let mut object = object::common(&stack.identity, context, Series::Seg, identity, 1);
    object::private_scheme(&mut object);
    text(&mut object, tags::FRAME_OF_REFERENCE_UID, VR::UI, stack.frame_of_reference.as_str());
    text(&mut object, tags::POSITION_REFERENCE_INDICATOR, VR::LO, &stack.position_reference_indicator);
    image(&mut object, stack, labels);
    let segments =
        labels.regions().iter().zip(1u16..).map(|(region, number)| segment(*region, number, stack, labels, context));
    sequence(&mut object, tags::SEGMENT_SEQUENCE, segments.collect());
    references(&mut object, stack);
    object
}

fn image(object: &mut Object, stack: &Stack, labels: &Segmentation) {
    let (rows, columns) = stack.dim();
    texts(object, tags::IMAGE_TYPE, VR::CS, &["DERIVED".into(), "PRIMARY".into()]);
    text(object, tags::CONTENT_LABEL, VR::CS, "LGE_SCAR");
    let no_reflow = if labels.no_reflow { ", no-reflow" } else { "" };
    let description = format!("LV blood pool, myocardium, scar{no_reflow}; not verified");
    text(object, tags::CONTENT_DESCRIPTION, VR::LO, description);
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
pub(in crate::encode) struct Look {
    pub label: &'static str,
    pub category: Code,
    pub kind: Code,
    pub anatomy: Option<Code>,
    cielab: [u16; 3],
}

pub(in crate::encode) fn look(region: Region) -> Look {
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

fn segment(region: Region, number: u16, stack: &Stack, labels: &Segmentation, context: &Context) -> Object {
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
    let tracking = super::tracking(&stack.identity.study, context, number);
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
    text(&mut item, tags::ALGORITHM_PARAMETERS, VR::LT, object::model_texts(&labels.models).join("; "));
    text(&mut item, tags::ALGORITHM_SOURCE, VR::LO, object::MANUFACTURER);
    item
}

/// Common Instance Reference: every slice that was analysed, with or without a frame in this object.
fn references(object: &mut Object, stack: &Stack) {
    let items = object::sources_by_series(stack).into_iter().map(|(series, sources)| {
        let mut item = Object::new_empty();
        text(&mut item, tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        let instances = sources.into_iter().map(|s| object::instance_reference(&s.sop_class, &s.sop_instance));
        sequence(&mut item, tags::REFERENCED_INSTANCE_SEQUENCE, instances.collect());
        item
    });
    sequence(object, tags::REFERENCED_SERIES_SEQUENCE, items.collect());
}
