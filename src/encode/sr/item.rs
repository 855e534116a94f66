//! Content items of an SR tree (PS3.3 C.17.3), one constructor per value type.

use crate::domain::codes::Code;
use crate::domain::uid::Uid;
use crate::encode::dicom::{Object, code, code_item, decimals, sequence, text};
use crate::encode::object::instance_reference;
use dicom_core::{DataElement, VR, dicom_value};
use dicom_dictionary_std::tags;

/// How an item belongs to the one above it (RelationshipType, PS3.3 C.17.3.2.4).
#[derive(Debug, Clone, Copy)]
pub(in crate::encode) enum Relation {
    Contains,
    HasConceptModifier,
    HasObservationContext,
}

impl Relation {
    fn text(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::HasConceptModifier => "HAS CONCEPT MOD",
            Self::HasObservationContext => "HAS OBS CONTEXT",
        }
    }
}

fn item(relation: Relation, value_type: &str, name: Code) -> Object {
    let mut item = Object::new_empty();
    text(&mut item, tags::RELATIONSHIP_TYPE, VR::CS, relation.text());
    text(&mut item, tags::VALUE_TYPE, VR::CS, value_type);
    code(&mut item, tags::CONCEPT_NAME_CODE_SEQUENCE, name);
    item
}

/// A container with its content.
pub(in crate::encode) fn container(name: Code, content: Vec<Object>) -> Object {
    let mut item = item(Relation::Contains, "CONTAINER", name);
    text(&mut item, tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
    sequence(&mut item, tags::CONTENT_SEQUENCE, content);
    item
}

/// Names the template that a container follows (PS3.3 table C.18.8-1).
pub(in crate::encode) fn template(container: &mut Object, identifier: &str) {
    let mut item = Object::new_empty();
    text(&mut item, tags::MAPPING_RESOURCE, VR::CS, "DCMR");
    text(&mut item, tags::TEMPLATE_IDENTIFIER, VR::CS, identifier);
    sequence(container, tags::CONTENT_TEMPLATE_SEQUENCE, vec![item]);
}

/// A coded value.
pub(in crate::encode) fn coded(relation: Relation, name: Code, value: Code) -> Object {
    let mut item = item(relation, "CODE", name);
    code(&mut item, tags::CONCEPT_CODE_SEQUENCE, value);
    item
}

/// A text.
pub(in crate::encode) fn words(relation: Relation, name: Code, value: &str) -> Object {
    let mut item = item(relation, "TEXT", name);
    text(&mut item, tags::TEXT_VALUE, VR::UT, value);
    item
}

/// A UID.
pub(in crate::encode) fn uid(relation: Relation, name: Code, value: &Uid) -> Object {
    let mut item = item(relation, "UIDREF", name);
    text(&mut item, tags::UID, VR::UI, value.as_str());
    item
}

/// A number with its unit.
pub(in crate::encode) fn number(name: Code, value: f64, unit: Code) -> Object {
    let mut measured = Object::new_empty();
    code(&mut measured, tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit);
    decimals(&mut measured, tags::NUMERIC_VALUE, &[value]);
    let mut item = item(Relation::Contains, "NUM", name);
    sequence(&mut item, tags::MEASURED_VALUE_SEQUENCE, vec![measured]);
    item
}

/// An image, without a name of its own.
pub(in crate::encode) fn library_image(class: &Uid, instance: &Uid) -> Object {
    let mut item = Object::new_empty();
    text(&mut item, tags::RELATIONSHIP_TYPE, VR::CS, Relation::Contains.text());
    text(&mut item, tags::VALUE_TYPE, VR::CS, "IMAGE");
    sequence(&mut item, tags::REFERENCED_SOP_SEQUENCE, vec![instance_reference(class, instance)]);
    item
}

/// A whole segment of a SEG.
pub(in crate::encode) fn segment(name: Code, class: &Uid, instance: &Uid, number: u16) -> Object {
    let mut reference = instance_reference(class, instance);
    reference.put(DataElement::new(tags::REFERENCED_SEGMENT_NUMBER, VR::US, dicom_value!(U16, [number])));
    let mut item = item(Relation::Contains, "IMAGE", name);
    sequence(&mut item, tags::REFERENCED_SOP_SEQUENCE, vec![reference]);
    item
}

/// The root of a document: a container without a relation.
pub(in crate::encode) fn root(object: &mut Object, title: Code, template_identifier: &str, content: Vec<Object>) {
    text(object, tags::VALUE_TYPE, VR::CS, "CONTAINER");
    sequence(object, tags::CONCEPT_NAME_CODE_SEQUENCE, vec![code_item(title)]);
    text(object, tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
    template(object, template_identifier);
    sequence(object, tags::CONTENT_SEQUENCE, content);
}

/// A source image with a name.
pub(in crate::encode) fn source_image(name: Code, class: &Uid, instance: &Uid) -> Object {
    let mut item = item(Relation::Contains, "IMAGE", name);
    sequence(&mut item, tags::REFERENCED_SOP_SEQUENCE, vec![instance_reference(class, instance)]);
    item
}
