//! Small constructors of DICOM elements, so that the encoders read like the tables of the standard.

use crate::domain::codes::Code;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// A data set.
pub type Object = InMemDicomObject;

/// Puts a text element.
pub fn text(object: &mut Object, tag: Tag, vr: VR, value: impl Into<String>) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::from(value.into())));
}

/// Puts a multi-valued text element.
pub fn texts(object: &mut Object, tag: Tag, vr: VR, values: &[String]) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values.into())));
}

/// Puts an element without a value (type 2).
pub fn empty(object: &mut Object, tag: Tag, vr: VR) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::Empty));
}

/// Puts a US element.
pub fn us(object: &mut Object, tag: Tag, value: u16) {
    object.put(DataElement::new(tag, VR::US, dicom_value!(U16, [value])));
}

/// Puts a sequence.
pub fn sequence(object: &mut Object, tag: Tag, items: Vec<Object>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

/// Puts decimal strings of at most 16 characters (PS3.5 DS).
pub fn decimals(object: &mut Object, tag: Tag, values: &[f64]) {
    let values: Vec<String> = values.iter().map(|value| decimal(*value)).collect();
    texts(object, tag, VR::DS, &values);
}

/// A number as DS: the most digits that fit into 16 characters.
pub fn decimal(value: f64) -> String {
    let value = if value == 0.0 { 0.0 } else { value };
    let plain = format!("{value}");
    if plain.len() <= 16 {
        return plain;
    }
    (0..=14)
        .rev()
        .map(|digits| format!("{value:.digits$}"))
        .find(|text| text.len() <= 16)
        .unwrap_or_else(|| format!("{value:.8e}"))
}

/// A code sequence item (PS3.3 8.8).
pub fn code_item(code: Code) -> Object {
    let mut item = Object::new_empty();
    text(&mut item, tags::CODE_VALUE, VR::SH, code.value);
    text(&mut item, tags::CODING_SCHEME_DESIGNATOR, VR::SH, code.scheme);
    text(&mut item, tags::CODE_MEANING, VR::LO, code.meaning);
    item
}

/// Puts a code sequence with one item.
pub fn code(object: &mut Object, tag: Tag, value: Code) {
    sequence(object, tag, vec![code_item(value)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decimals_fit_and_keep_their_value(value in -1e6f64..1e6) {
            let text = decimal(value);
            prop_assert!(text.len() <= 16, "{text}");
            let back: f64 = text.parse().unwrap_or(f64::NAN);
            prop_assert!((back - value).abs() <= 1e-6 * value.abs().max(1e-3), "{text} {value}");
        }
    }

    #[test]
    fn negative_zero_is_written_as_zero() {
        assert_eq!(decimal(-0.0), "0");
    }
}
