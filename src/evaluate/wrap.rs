//! An image stack without DICOM as a study of classic MR objects, so that the whole pipeline can read it as if a scanner had
//! sent it: image in, nothing else. Pixel values are stored as they are (or scaled to 16 bits and scaled back on reading).
//!
//! What plain images do not say is nominal, and no figure that is scored depends on it being anatomical: the planes are cut
//! across an average heart's long axis, slices follow one another in the order of their numbers; where the files state no
//! spacing, pixels are 1 mm and slices 10 mm apart.

use super::error::Error;
use super::read::ImageStack;
use super::volume::Spacing;
use crate::domain::source::SourceObject;
use crate::domain::stack::{Vector3, cross, dot};
use crate::domain::uid::Uid;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use ndarray::Array2;
use std::collections::BTreeMap;

/// Spacing of stacks that state none.
pub const NOMINAL: Spacing = Spacing { row_mm: 1.0, column_mm: 1.0, slice_mm: 10.0 };
/// Direction from base to apex of an average heart, LPS.
const LONG_AXIS: Vector3 = [0.62, -0.52, -0.58];

/// A wrapped stack.
pub struct Wrapped {
    /// One DICOM file per slice, in memory.
    pub objects: Vec<SourceObject>,
    /// Slice number by SOPInstanceUID.
    pub numbers: BTreeMap<String, usize>,
}

/// Wraps a stack. The same stack and name give the same bytes.
///
/// # Errors
/// When slices differ in size or are too large.
pub fn wrap(case: &str, stack: &ImageStack) -> Result<Wrapped, Error> {
    let fault = |why: &str| Error::Unmatched { case: case.to_owned(), why: why.to_owned() };
    let dim = stack.slices.first().map(|(_, pixels)| pixels.dim()).ok_or_else(|| fault("no slices"))?;
    if stack.slices.iter().any(|(_, pixels)| pixels.dim() != dim) {
        return Err(fault("slices differ in size"));
    }
    let (Ok(rows), Ok(columns)) = (u16::try_from(dim.0), u16::try_from(dim.1)) else {
        return Err(fault("slices have more than 65535 rows or columns"));
    };
    let scale = Scale::of(stack);
    let mut wrapped = Wrapped { objects: Vec::new(), numbers: BTreeMap::new() };
    for (index, (number, pixels)) in stack.slices.iter().enumerate() {
        let uid = Uid::derive(&["evaluate", case, "image", &number.to_string()]);
        let mut object = common(case);
        place(&mut object, stack.spacing.unwrap_or(NOMINAL), index);
        text(&mut object, tags::SOP_INSTANCE_UID, VR::UI, uid.as_str());
        text(&mut object, tags::INSTANCE_NUMBER, VR::IS, &(index + 1).to_string());
        for (tag, value) in [(tags::ROWS, rows), (tags::COLUMNS, columns)] {
            object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        }
        image(&mut object, pixels, &scale);
        let bytes = encode(object, &uid).map_err(|why| fault(&why))?;
        wrapped.objects.push(SourceObject::Memory(bytes.into()));
        wrapped.numbers.insert(uid.as_str().to_owned(), *number);
    }
    Ok(wrapped)
}

/// Stored value = (value - intercept) / slope.
struct Scale {
    slope: f64,
    intercept: f64,
}

impl Scale {
    /// One for the whole stack; whole numbers that fit 16 bits are stored as they are.
    fn of(stack: &ImageStack) -> Self {
        let values = || stack.slices.iter().flat_map(|(_, pixels)| pixels.iter()).map(|v| f64::from(*v));
        let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let whole = values().all(|v| v.fract() == 0.0);
        if whole && low >= 0.0 && high <= 65535.0 {
            return Self { slope: 1.0, intercept: 0.0 };
        }
        if whole && high - low <= 65535.0 {
            return Self { slope: 1.0, intercept: low };
        }
        let slope = (high - low) / 65535.0;
        Self { slope: if slope > 0.0 { slope } else { 1.0 }, intercept: low }
    }

    fn stored(&self, value: f32) -> u16 {
        ((f64::from(value) - self.intercept) / self.slope).round().clamp(0.0, 65535.0) as u16
    }
}

fn text(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: &str) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
}

/// Patient, study, series and acquisition of a PSIR late-enhancement stack.
fn common(case: &str) -> InMemDicomObject {
    let uid = |what: &str| Uid::derive(&["evaluate", case, what]);
    let mut object = InMemDicomObject::new_empty();
    for (tag, vr, value) in [
        (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        (tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE),
        (tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\R\\PSIR"),
        (tags::MODALITY, VR::CS, "MR"),
        (tags::MANUFACTURER, VR::LO, "unknown"),
        (tags::SERIES_DESCRIPTION, VR::LO, "LGE SAX PSIR, wrapped image, nominal geometry"),
        (tags::SERIES_NUMBER, VR::IS, "1"),
        (tags::PATIENT_ID, VR::LO, "EVALUATE"),
        (tags::PATIENT_NAME, VR::PN, "Evaluate"),
        (tags::PATIENT_BIRTH_DATE, VR::DA, ""),
        (tags::PATIENT_SEX, VR::CS, ""),
        (tags::STUDY_ID, VR::SH, "1"),
        (tags::STUDY_DATE, VR::DA, "20000101"),
        (tags::STUDY_TIME, VR::TM, "000000"),
        (tags::ACCESSION_NUMBER, VR::SH, ""),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN, ""),
        (tags::SCANNING_SEQUENCE, VR::CS, "GR\\IR"),
        (tags::MR_ACQUISITION_TYPE, VR::CS, "2D"),
        (tags::INVERSION_TIME, VR::DS, "300"),
    ] {
        text(&mut object, tag, vr, value);
    }
    text(&mut object, tags::STUDY_INSTANCE_UID, VR::UI, uid("study").as_str());
    text(&mut object, tags::SERIES_INSTANCE_UID, VR::UI, uid("series").as_str());
    text(&mut object, tags::FRAME_OF_REFERENCE_UID, VR::UI, uid("frame of reference").as_str());
    object
}

fn place(object: &mut InMemDicomObject, spacing: Spacing, index: usize) {
    let unit = |v: Vector3| v.map(|x| x / dot(v, v).sqrt());
    let normal = unit(LONG_AXIS);
    let row = unit(cross([0.0, 0.0, 1.0], normal));
    let column = cross(normal, row);
    let join = |values: &[f64]| values.iter().map(|v| format!("{v:.9}")).collect::<Vec<_>>().join("\\");
    let position = normal.map(|n| n * index as f64 * spacing.slice_mm);
    text(object, tags::IMAGE_POSITION_PATIENT, VR::DS, &join(&position));
    text(object, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &join(&[row, column].concat()));
    text(object, tags::PIXEL_SPACING, VR::DS, &join(&[spacing.row_mm, spacing.column_mm]));
    text(object, tags::SLICE_THICKNESS, VR::DS, &join(&[spacing.slice_mm]));
    text(object, tags::SPACING_BETWEEN_SLICES, VR::DS, &join(&[spacing.slice_mm]));
}

fn image(object: &mut InMemDicomObject, pixels: &Array2<f32>, scale: &Scale) {
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1u16),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 16),
        (tags::HIGH_BIT, 15),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    text(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    text(object, tags::RESCALE_SLOPE, VR::DS, &decimal(scale.slope));
    text(object, tags::RESCALE_INTERCEPT, VR::DS, &decimal(scale.intercept));
    let words: Vec<u16> = pixels.iter().map(|value| scale.stored(*value)).collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into())));
}

/// At most 16 characters (PS3.5 section 6.2).
fn decimal(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value}") } else { format!("{value:.8e}") }
}

fn encode(object: InMemDicomObject, uid: &Uid) -> Result<Vec<u8>, String> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::MR_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(uid.as_str())
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let file = object.with_meta(meta).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::stack::Contrast;
    use crate::study;

    fn stack(values: impl Fn(usize, usize, usize) -> f32, spacing: Option<Spacing>) -> ImageStack {
        let slice = |k: usize| (k + 3, Array2::from_shape_fn((6, 5), |(r, c)| values(k, r, c)));
        ImageStack { slices: (0..4).map(slice).collect(), spacing }
    }

    fn read_back(stack: &ImageStack) -> crate::domain::stack::Stack {
        let wrapped = wrap("a", stack).unwrap();
        let config = crate::config::tests::defaults();
        study::select(&wrapped.objects, &config.study, &config.limits, &[Contrast::Psir]).unwrap()
    }

    #[test]
    fn a_wrapped_stack_is_selected_and_its_pixels_come_back_unchanged() {
        let original = stack(|k, r, c| (k * 40 + r * 5 + c) as f32, None);
        let found = read_back(&original);
        assert_eq!((found.slices.len(), found.contrast), (4, Contrast::Psir));
        assert!(found.flags.is_empty(), "{:?}", found.flags);
        let wrapped = wrap("a", &original).unwrap();
        for slice in &found.slices {
            let number = wrapped.numbers[slice.source.sop_instance.as_str()];
            let (_, pixels) = original.slices.iter().find(|(k, _)| *k == number).unwrap();
            assert_eq!(slice.pixels, *pixels);
            assert_eq!(slice.plane.spacing_mm, [1.0, 1.0]);
            assert!((slice.height_mm - 10.0).abs() < 1e-6);
        }
    }

    #[test]
    fn fractions_and_negative_values_survive_to_a_65000th_of_the_range() {
        let spacing = Spacing { row_mm: 1.5, column_mm: 1.25, slice_mm: 8.0 };
        let original = stack(|k, r, c| (k as f32 - 1.7) * 100.3 + r as f32 * 0.37 + c as f32, Some(spacing));
        let found = read_back(&original);
        let mut largest: f32 = 0.0;
        for slice in &found.slices {
            let nearest = original
                .slices
                .iter()
                .map(|(_, pixels)| (&slice.pixels - pixels).iter().fold(0.0f32, |a, d| a.max(d.abs())));
            largest = largest.max(nearest.fold(f32::INFINITY, f32::min));
            assert_eq!(slice.plane.spacing_mm, [1.5, 1.25]);
        }
        assert!(largest < 0.006, "{largest}");
    }
}
