//! DICOM Segmentation objects: binary, one per case. The case is the file's name, or the first folder below the one given.

use super::{Cases, DEPTH_MAX, Wanted, check_classes, walk};
use crate::domain::codes;
use crate::domain::labels::Label;
use crate::domain::stack::{Plane, Vector3, dot};
use crate::evaluate::error::Error;
use crate::evaluate::volume::{LabelSlice, Spacing, Volume};
use dicom_core::Tag;
use dicom_core::value::Value;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTable, InMemDicomObject};
use ndarray::Array2;
use std::collections::BTreeMap;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Planes nearer than this are one slice, mm.
const SAME_PLANE_MM: f64 = 0.1;
/// Rows or columns at most.
const SIDE_MAX: usize = 4096;

/// SEG files below a folder, with the names of their cases.
pub(super) fn files(dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut paths = Vec::new();
    walk(dir, DEPTH_MAX, &mut paths)?;
    let named = |path: PathBuf| {
        let below = path.strip_prefix(dir).ok()?;
        let first = Path::new(below.components().next()?.as_os_str());
        let case = if below.components().count() == 1 { first.file_stem()? } else { first.as_os_str() };
        Some((case.to_str()?.to_owned(), path))
    };
    Ok(paths.into_iter().filter(|path| is_seg(path)).filter_map(named).collect())
}

/// The SOP class in the file meta group, without reading further.
fn is_seg(path: &Path) -> bool {
    let Ok(mut file) = std::fs::File::open(path) else { return false };
    let mut preamble = [0; 128];
    if file.read_exact(&mut preamble).is_err() {
        return false;
    }
    let meta = catch_unwind(AssertUnwindSafe(|| FileMetaTable::from_reader(file.take(1 << 20)).ok()));
    meta.ok().flatten().is_some_and(|meta| {
        meta.media_storage_sop_class_uid().trim_end_matches(['\0', ' ']) == uids::SEGMENTATION_STORAGE
    })
}

pub(super) fn labels(dir: &Path, wanted: Wanted<'_>) -> Result<Cases, Error> {
    let mut cases = Cases::new();
    for (case, path) in files(dir)?.into_iter().filter(|(case, _)| wanted(case)) {
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        let volume = read_bytes(&bytes).map_err(|why| Error::file(&path, why))?;
        if let Some(slice) = volume.slices.first() {
            check_classes(&path, &slice.labels)?;
        }
        if cases.insert(case, volume).is_some() {
            return Err(Error::file(&path, "is the second SEG of its case; one is wanted"));
        }
    }
    Ok(cases)
}

/// Decodes a SEG file.
///
/// # Errors
/// In words, when it is not a binary SEG with places, or no segment is one of ours.
pub fn read_bytes(bytes: &[u8]) -> Result<Volume, String> {
    let parsed = catch_unwind(AssertUnwindSafe(|| dicom_object::from_reader(bytes)));
    let object = parsed.map_err(|_| "not readable as DICOM".to_owned())?.map_err(|error| error.to_string())?;
    let text = |tag| object.get(tag).and_then(|e| e.to_str().ok()).map(|t| t.trim().to_owned());
    if text(tags::SEGMENTATION_TYPE).as_deref() != Some("BINARY") {
        return Err("only SegmentationType BINARY is read".to_owned());
    }
    let size = |tag| number(&object, tag).map(|n| n as usize).filter(|n| (1..=SIDE_MAX).contains(n));
    let (Some(rows), Some(columns)) = (size(tags::ROWS), size(tags::COLUMNS)) else {
        return Err("Rows or Columns is missing or absurd".to_owned());
    };
    let segments = segments(&object)?;
    let groups = items(&object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let shared = items(&object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
    let data = object.get(tags::PIXEL_DATA).ok_or("PixelData is missing")?;
    let Value::Primitive(data) = data.value() else { return Err("compressed pixel data is not read".to_owned()) };
    let data = data.to_bytes();
    if data.len() < (groups.len() * rows * columns).div_ceil(8) {
        return Err("PixelData is shorter than its frames".to_owned());
    }
    let mut drawn: Vec<(u8, LabelSlice)> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let frame = Frame { group, shared };
        let Some(label) = frame.segment().and_then(|number| segments.get(&number)) else { continue };
        let first = index * rows * columns;
        let bit = |at: usize| data.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        let labels =
            Array2::from_shape_fn(
                (rows, columns),
                |(r, c)| {
                    if bit(first + r * columns + c) { *label as u8 } else { 0 }
                },
            );
        let plane = frame.plane().ok_or("a frame has no position, orientation or pixel spacing")?;
        drawn.push((*label as u8, LabelSlice { number: 0, plane: Some(plane), source: frame.source(), labels }));
    }
    let spacing = shared.and_then(|set| number_in(set, tags::SPACING_BETWEEN_SLICES));
    Ok(merged(drawn, spacing))
}

/// Frames of one plane become one label image: scar over myocardium, no-reflow over scar.
fn merged(mut drawn: Vec<(u8, LabelSlice)>, between_mm: Option<f64>) -> Volume {
    let normal = drawn.first().and_then(|(_, slice)| slice.plane).map(|plane| plane.normal()).unwrap_or_default();
    let z = |slice: &LabelSlice| slice.plane.map_or(0.0, |plane| plane.distance_mm(normal));
    drawn.sort_by_key(|(label, _)| *label);
    let mut slices: Vec<LabelSlice> = Vec::new();
    for (_, frame) in drawn {
        match slices.iter_mut().find(|slice| (z(slice) - z(&frame)).abs() < SAME_PLANE_MM) {
            Some(slice) => slice.labels.zip_mut_with(&frame.labels, |old, new| *old = (*old).max(*new)),
            None => slices.push(frame),
        }
    }
    slices.sort_by(|a, b| z(a).total_cmp(&z(b)));
    slices.iter_mut().enumerate().for_each(|(number, slice)| slice.number = number);
    let steps = slices.iter().zip(slices.iter().skip(1)).map(|(a, b)| z(b) - z(a));
    let between = between_mm.filter(|mm| *mm > 0.0).unwrap_or_else(|| steps.fold(f64::INFINITY, f64::min));
    let spacing = slices.first().and_then(|slice| slice.plane).filter(|_| between.is_finite()).map(|plane| Spacing {
        row_mm: plane.spacing_mm[0],
        column_mm: plane.spacing_mm[1],
        slice_mm: between,
    });
    Volume { slices, spacing, sparse: true }
}

/// What each segment number stands for; segments of other things are left out.
fn segments(object: &InMemDicomObject) -> Result<BTreeMap<u16, Label>, String> {
    let mut found = BTreeMap::new();
    let mut names = Vec::new();
    for item in items(object, tags::SEGMENT_SEQUENCE) {
        let name = item.get(tags::SEGMENT_LABEL).and_then(|e| e.to_str().ok()).unwrap_or_default().trim().to_owned();
        let code = items(item, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE).first();
        let code = code.and_then(|code| code.get(tags::CODE_VALUE)).and_then(|e| e.to_str().ok()).unwrap_or_default();
        if let (Some(label), Some(number)) = (meaning(code.trim(), &name), number(item, tags::SEGMENT_NUMBER)) {
            found.insert(number as u16, label);
        }
        names.push(name);
    }
    if found.is_empty() {
        let names = names.join(", ");
        return Err(format!(
            "no segment is LV cavity, myocardium, scar or no-reflow by code or label; there are: {names}"
        ));
    }
    Ok(found)
}

/// Codes that we write first, then words that other tools' labels hold.
fn meaning(code: &str, label: &str) -> Option<Label> {
    let by_code = [
        (codes::BLOOD.value, Label::Cavity),
        (codes::LV_MYOCARDIUM.value, Label::Myocardium),
        (codes::SCAR_TISSUE.value, Label::Scar),
        (codes::NO_REFLOW_REGION.value, Label::NoReflow),
    ];
    if let Some((_, label)) = by_code.iter().find(|(value, _)| *value == code) {
        return Some(*label);
    }
    let label = label.to_ascii_lowercase();
    let words = [
        (Label::NoReflow, &["no-reflow", "no reflow", "noreflow", "mvo", "microvascular"][..]),
        (Label::Myocardium, &["myocard"][..]),
        (Label::Scar, &["scar", "infarct", "lge", "enhanc", "fibrosis"][..]),
        (Label::Cavity, &["cavity", "blood"][..]),
    ];
    words.iter().find(|(_, words)| words.iter().any(|word| label.contains(word))).map(|(label, _)| *label)
}

/// Functional groups of a frame, then the shared ones.
struct Frame<'a> {
    group: &'a InMemDicomObject,
    shared: Option<&'a InMemDicomObject>,
}

impl Frame<'_> {
    fn values<const N: usize>(&self, group: Tag, tag: Tag) -> Option<[f64; N]> {
        let sets = [Some(self.group), self.shared].into_iter().flatten();
        sets.filter_map(|set| items(set, group).first()?.get(tag)?.to_multi_float64().ok()?.try_into().ok()).next()
    }

    fn plane(&self) -> Option<Plane> {
        let position_mm = self.values(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT)?;
        let [a, b, c, d, e, f] = self.values(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT)?;
        let spacing_mm: [f64; 2] = self.values(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING)?;
        let unit = |v: Vector3| (dot(v, v) - 1.0).abs() < 0.02;
        let (row, column) = ([a, b, c], [d, e, f]);
        let good = unit(row) && unit(column) && spacing_mm.iter().all(|mm| *mm > 0.0);
        good.then_some(Plane { position_mm, row, column, spacing_mm })
    }

    fn segment(&self) -> Option<u16> {
        let sets = [Some(self.group), self.shared].into_iter().flatten();
        let mut found = sets.filter_map(|set| {
            number(items(set, tags::SEGMENT_IDENTIFICATION_SEQUENCE).first()?, tags::REFERENCED_SEGMENT_NUMBER)
        });
        found.next().map(|number| number as u16)
    }

    /// SOPInstanceUID and frame (1 when not multi-frame) of the first source image.
    fn source(&self) -> Option<(String, u32)> {
        let item =
            items(items(self.group, tags::DERIVATION_IMAGE_SEQUENCE).first()?, tags::SOURCE_IMAGE_SEQUENCE).first()?;
        let uid = item.get(tags::REFERENCED_SOP_INSTANCE_UID)?.to_str().ok()?;
        let frame = number(item, tags::REFERENCED_FRAME_NUMBER).map_or(1, |n| n as u32);
        Some((uid.trim_end_matches(['\0', ' ']).to_owned(), frame))
    }
}

fn items(set: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    set.get(tag).and_then(|element| element.items()).unwrap_or_default()
}

fn number(set: &InMemDicomObject, tag: Tag) -> Option<f64> {
    set.get(tag)?.to_float64().ok()
}

/// A number in the pixel measures of functional groups.
fn number_in(groups: &InMemDicomObject, tag: Tag) -> Option<f64> {
    number(items(groups, tags::PIXEL_MEASURES_SEQUENCE).first()?, tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_known_by_code_and_by_other_tools_words() {
        assert_eq!(meaning("49848007", "anything"), Some(Label::Myocardium));
        assert_eq!(meaning("", "LV myocardium incl. scar"), Some(Label::Myocardium));
        assert_eq!(meaning("", "Infarct"), Some(Label::Scar));
        assert_eq!(meaning("", "MVO"), Some(Label::NoReflow));
        assert_eq!(meaning("", "LV blood pool"), Some(Label::Cavity));
        assert_eq!(meaning("", "Liver"), None);
    }

    #[test]
    fn what_is_not_a_seg_is_refused_in_words() {
        assert!(read_bytes(b"nothing").is_err());
    }
}
