//! The DICOM JSON model (PS3.18 annex F) as servers write it: read leniently, bounded, bulk data by reference.

use super::error::Error;
use crate::domain::uid::Uid;
use dicom_core::Tag;
use dicom_object::InMemDicomObject;
use serde_json::{Map, Value};

/// A data set in the DICOM JSON model. `Debug` is redacted: it may name a patient.
#[derive(Clone, Default, PartialEq)]
pub struct Attributes(Map<String, Value>);

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attributes({} elements)", self.0.len())
    }
}

fn key(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

impl Attributes {
    /// True when the element is there, even without a value.
    pub fn has(&self, tag: Tag) -> bool {
        self.0.contains_key(&key(tag))
    }

    fn values(&self, tag: Tag) -> &[Value] {
        let values = self.0.get(&key(tag)).and_then(|element| element.get("Value")).and_then(Value::as_array);
        values.map_or(&[], Vec::as_slice)
    }

    /// All values as text; numbers are written out, person names give their alphabetic group, empty values are skipped.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        self.values(tag).iter().filter_map(text).filter(|text| !text.is_empty()).collect()
    }

    /// The first value as text.
    pub fn text(&self, tag: Tag) -> Option<String> {
        self.values(tag).first().and_then(text).map(|text| text.trim_end_matches(['\0', ' ']).to_owned())
    }

    /// The first value as a number; servers write IS, DS and US as numbers or as strings.
    pub fn number(&self, tag: Tag) -> Option<f64> {
        self.values(tag).first().and_then(number)
    }

    /// All values as numbers; `None` when one of them is none.
    pub fn numbers(&self, tag: Tag) -> Option<Vec<f64>> {
        self.values(tag).iter().map(number).collect()
    }

    /// The first value as a non-negative integer.
    pub fn unsigned(&self, tag: Tag) -> Option<u64> {
        self.number(tag).filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 9e15).map(|n| n as u64)
    }

    /// The first value as a UID.
    pub fn uid(&self, tag: Tag) -> Option<Uid> {
        self.text(tag).and_then(|text| Uid::parse(&text).ok())
    }

    /// The items of a sequence.
    pub fn items(&self, tag: Tag) -> Vec<Attributes> {
        self.values(tag).iter().filter_map(Value::as_object).map(|item| Self(item.clone())).collect()
    }

    /// `BulkDataURI` of an element whose value the server keeps apart: taken verbatim, absolute or relative.
    pub fn bulk_data_uri(&self, tag: Tag) -> Option<&str> {
        self.0.get(&key(tag))?.get("BulkDataURI")?.as_str()
    }

    /// The same as a data set, less bulk data and values that do not fit their VR's form.
    ///
    /// # Errors
    /// When it is not the DICOM JSON model.
    pub(super) fn into_object(self) -> Result<InMemDicomObject, Error> {
        let mut value = self.into_value();
        drop_bulk(&mut value);
        dicom_json::from_value(value).map_err(|_| Error::Protocol("metadata is not the DICOM JSON model"))
    }

    #[cfg(test)]
    pub(super) fn of(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            _ => Self::default(),
        }
    }

    pub(super) fn insert(&mut self, tag: &str, element: Value) {
        self.0.insert(tag.to_ascii_uppercase(), element);
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Removes elements whose value stands elsewhere or in place as bytes: pixels, private blobs.
fn drop_bulk(set: &mut Value) {
    let Some(elements) = set.as_object_mut() else { return };
    elements.retain(|_, element| element.get("BulkDataURI").is_none() && element.get("InlineBinary").is_none());
    for element in elements.values_mut() {
        if element.get("vr").and_then(Value::as_str) == Some("SQ") {
            element.get_mut("Value").and_then(Value::as_array_mut).into_iter().flatten().for_each(drop_bulk);
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(name) => name.get("Alphabetic").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// Reads an array of data sets (or one data set) from JSON of at most `depth` levels.
///
/// # Errors
/// When it is not JSON, nested deeper, or not the DICOM JSON model.
pub(super) fn parse(bytes: &[u8], depth: usize) -> Result<Vec<Attributes>, Error> {
    if nesting(bytes) > depth {
        return Err(Error::TooLarge("nesting of JSON"));
    }
    let value = serde_json::from_slice(bytes).map_err(|_| Error::Protocol("a body is not JSON"))?;
    let sets = match value {
        Value::Array(sets) => sets,
        set @ Value::Object(_) => vec![set],
        _ => return Err(Error::Protocol("JSON is not a list of data sets")),
    };
    sets.into_iter()
        .map(|set| match set {
            Value::Object(map) => {
                Ok(Attributes(map.into_iter().map(|(tag, element)| (tag.to_ascii_uppercase(), element)).collect()))
            }
            _ => Err(Error::Protocol("a data set is not a JSON object")),
        })
        .collect()
}

/// Deepest nesting of arrays and objects, found without building anything.
fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn values_are_read_in_every_form_that_servers_use() {
        let json = br#"[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^Jo"}]},"00201208":{"vr":"IS","Value":["12"]},
            "00080061":{"vr":"CS","Value":["MR",null,"SEG"]},"00080050":{"vr":"SH"},"00280030":{"vr":"DS","Value":[1.5,"2"]},
            "7fe00010":{"vr":"OW","BulkDataURI":"../bulk/1"}}]"#;
        let sets = parse(json, 64).unwrap();
        let set = &sets[0];
        assert_eq!(set.text(tags::PATIENT_NAME).as_deref(), Some("Doe^Jo"));
        assert_eq!(set.unsigned(tags::NUMBER_OF_STUDY_RELATED_INSTANCES), Some(12));
        assert_eq!(set.texts(tags::MODALITIES_IN_STUDY), ["MR", "SEG"]);
        assert!(set.has(tags::ACCESSION_NUMBER) && set.text(tags::ACCESSION_NUMBER).is_none());
        assert_eq!(set.numbers(tags::PIXEL_SPACING), Some(vec![1.5, 2.0]));
        assert_eq!(set.bulk_data_uri(tags::PIXEL_DATA), Some("../bulk/1"));
        assert!(!format!("{set:?}").contains("Doe"), "patients are never shown");
    }

    #[test]
    fn what_is_not_a_list_of_data_sets_is_refused() {
        for bad in ["", "<html>", "3", "[3]", "[[]]", "{\"a\":"] {
            assert!(parse(bad.as_bytes(), 64).is_err(), "{bad}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_built() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(parse(deep.as_bytes(), 64), Err(Error::TooLarge(_))));
        assert_eq!(nesting(br#"[{"a":"[[[\"["}]"#), 2);
    }
}
