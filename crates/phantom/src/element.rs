//! A small vocabulary for filling DICOM data sets.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_object::InMemDicomObject;

/// A data set under construction. Every method replaces what the tag held.
#[derive(Debug, Clone)]
pub struct DataSet(pub InMemDicomObject);

impl Default for DataSet {
    fn default() -> Self {
        Self::new()
    }
}

impl DataSet {
    /// Without elements.
    #[must_use]
    pub fn new() -> Self {
        Self(InMemDicomObject::new_empty())
    }

    /// Text of any string VR; several values are separated by backslashes.
    pub fn text(&mut self, tag: Tag, vr: VR, value: impl AsRef<str>) -> &mut Self {
        let value = value.as_ref();
        let primitive = if value.is_empty() {
            PrimitiveValue::Empty
        } else {
            PrimitiveValue::Strs(value.split('\\').map(str::to_owned).collect())
        };
        self.0.put(DataElement::new(tag, vr, primitive));
        self
    }

    /// Code string.
    pub fn cs(&mut self, tag: Tag, value: impl AsRef<str>) -> &mut Self {
        self.text(tag, VR::CS, value)
    }

    /// Long string.
    pub fn lo(&mut self, tag: Tag, value: impl AsRef<str>) -> &mut Self {
        self.text(tag, VR::LO, value)
    }

    /// Short string.
    pub fn sh(&mut self, tag: Tag, value: impl AsRef<str>) -> &mut Self {
        self.text(tag, VR::SH, value)
    }

    /// Unique identifier.
    pub fn ui(&mut self, tag: Tag, value: impl AsRef<str>) -> &mut Self {
        self.text(tag, VR::UI, value)
    }

    /// Integer string.
    pub fn is(&mut self, tag: Tag, value: i64) -> &mut Self {
        self.text(tag, VR::IS, value.to_string())
    }

    /// Decimal strings.
    pub fn ds(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        let text: Vec<String> = values.iter().map(|v| decimal(*v)).collect();
        self.text(tag, VR::DS, text.join("\\"))
    }

    /// Unsigned short.
    pub fn us(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.0.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        self
    }

    /// Unsigned longs.
    pub fn ul(&mut self, tag: Tag, values: &[u32]) -> &mut Self {
        self.0.put(DataElement::new(tag, VR::UL, PrimitiveValue::U32(values.into())));
        self
    }

    /// Doubles.
    pub fn fd(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        self.0.put(DataElement::new(tag, VR::FD, PrimitiveValue::F64(values.into())));
        self
    }

    /// Attribute tag.
    pub fn at(&mut self, tag: Tag, value: Tag) -> &mut Self {
        self.0.put(DataElement::new(tag, VR::AT, PrimitiveValue::from(value)));
        self
    }

    /// Sequence.
    pub fn sq(&mut self, tag: Tag, items: Vec<Self>) -> &mut Self {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|i| i.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// Sequence of one item that a closure fills.
    pub fn one(&mut self, tag: Tag, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut item = Self::new();
        fill(&mut item);
        self.sq(tag, vec![item])
    }

    /// Coded concept.
    pub fn code(&mut self, tag: Tag, value: &str, scheme: &str, meaning: &str) -> &mut Self {
        use dicom_dictionary_std::tags;
        self.one(tag, |item| {
            item.sh(tags::CODE_VALUE, value).sh(tags::CODING_SCHEME_DESIGNATOR, scheme).lo(tags::CODE_MEANING, meaning);
        })
    }

    /// 16-bit pixels.
    pub fn pixels(&mut self, values: Vec<u16>) -> &mut Self {
        let tag = dicom_dictionary_std::tags::PIXEL_DATA;
        self.0.put(DataElement::new(tag, VR::OW, PrimitiveValue::U16(values.into())));
        self
    }
}

/// Decimal string of at most 16 characters with up to nine decimals (PS3.5 6.2, DS).
#[must_use]
pub fn decimal(value: f64) -> String {
    for digits in (0..=9).rev() {
        let mut text = format!("{value:.digits$}");
        if text.contains('.') {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        if text == "-0" {
            text = "0".to_owned();
        }
        if text.len() <= 16 {
            return text;
        }
    }
    format!("{value:.8e}")
}
