//! Frames of a SEG: which (segment, slice) pairs hold pixels, their functional groups, and the packed bits.

use crate::domain::codes;
use crate::domain::labels::Segmentation;
use crate::domain::stack::{Slice, Stack};
use crate::domain::uid::Uid;
use crate::encode::dicom::{Object, code, decimals, sequence, text, us};
use crate::encode::object::{Context, instance_reference};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::tags;
use ndarray::Array2;

/// One frame: segment number (from 1), index of the slice in the stack, mask [rows, columns].
pub(super) struct Frame {
    segment: u16,
    slice: usize,
    mask: Array2<bool>,
}

/// Every (segment, slice) with at least one set pixel, by segment, then slice.
pub(super) fn collect(labels: &Segmentation) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (region, segment) in labels.regions().iter().zip(1u16..) {
        for (slice, slice_labels) in labels.slices.iter().enumerate() {
            let mask = slice_labels.region(*region);
            if mask.iter().any(|set| *set) {
                frames.push(Frame { segment, slice, mask });
            }
        }
    }
    frames
}

/// Writes dimensions, functional groups and pixels.
pub(super) fn put(object: &mut Object, stack: &Stack, frames: &[Frame], context: &Context) {
    text(object, tags::NUMBER_OF_FRAMES, VR::IS, frames.len().to_string());
    let organization = Uid::derive_output(&stack.identity.study, context.revision, "frame-dim", &context.act);
    dimensions(object, &organization);
    sequence(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared_groups(stack)]);
    let segments = ordinals(frames.iter().map(|frame| usize::from(frame.segment)));
    let slices = ordinals(frames.iter().map(|frame| frame.slice));
    let per_frame = frames.iter().zip(segments.into_iter().zip(slices)).filter_map(|(frame, (segment, slice))| {
        Some(frame_groups(stack.slices.get(frame.slice)?, frame.segment, [segment, slice]))
    });
    let per_frame: Vec<Object> = per_frame.collect();
    sequence(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, per_frame);
    let mut bits: Vec<bool> = Vec::new();
    frames.iter().for_each(|frame| bits.extend(&frame.mask));
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pack_bits(&bits).into())));
}

/// 1-based ordinals in the sorted list of distinct values (PS3.3 C.7.6.17: not segment or slice numbers).
fn ordinals(values: impl Iterator<Item = usize>) -> Vec<u32> {
    let values: Vec<usize> = values.collect();
    let mut distinct = values.clone();
    distinct.sort_unstable();
    distinct.dedup();
    values
        .iter()
        .map(|value| distinct.binary_search(value).map_or(0, |index| u32::try_from(index + 1).unwrap_or(u32::MAX)))
        .collect()
}

fn dimensions(object: &mut Object, organization: &Uid) {
    let mut item = Object::new_empty();
    text(&mut item, tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization.as_str());
    sequence(object, tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![item]);
    let index = |pointer: Tag, group: Tag, label: &str| {
        let mut item = Object::new_empty();
        text(&mut item, tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization.as_str());
        item.put(DataElement::new(tags::DIMENSION_INDEX_POINTER, VR::AT, dicom_value!(Tags, [pointer])));
        item.put(DataElement::new(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, dicom_value!(Tags, [group])));
        text(&mut item, tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label);
        item
    };
    let items = vec![
        index(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, "Referenced Segment Number"),
        index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Image Position Patient"),
    ];
    sequence(object, tags::DIMENSION_INDEX_SEQUENCE, items);
}

/// Orientation and pixel measures: the same for all frames, since a stack is parallel.
fn shared_groups(stack: &Stack) -> Object {
    let mut groups = Object::new_empty();
    let Some(first) = stack.slices.first() else {
        return groups;
    };
    let plane = first.plane;
    let mut orientation = Object::new_empty();
    let [a, b, c] = plane.row;
    let [d, e, f] = plane.column;
    decimals(&mut orientation, tags::IMAGE_ORIENTATION_PATIENT, &[a, b, c, d, e, f]);
    sequence(&mut groups, tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation]);
    let mut measures = Object::new_empty();
    decimals(&mut measures, tags::SLICE_THICKNESS, &[first.thickness_mm]);
    decimals(&mut measures, tags::SPACING_BETWEEN_SLICES, &[median_height_mm(stack)]);
    decimals(&mut measures, tags::PIXEL_SPACING, &plane.spacing_mm);
    sequence(&mut groups, tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
    groups
}

fn median_height_mm(stack: &Stack) -> f64 {
    let mut heights: Vec<f64> = stack.slices.iter().map(|slice| slice.height_mm).collect();
    heights.sort_by(f64::total_cmp);
    heights.get(heights.len() / 2).copied().unwrap_or(0.0)
}

fn frame_groups(slice: &Slice, segment: u16, index: [u32; 2]) -> Object {
    let mut groups = Object::new_empty();
    let mut content = Object::new_empty();
    content.put(DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, PrimitiveValue::U32(index[..].into())));
    sequence(&mut groups, tags::FRAME_CONTENT_SEQUENCE, vec![content]);
    let mut position = Object::new_empty();
    decimals(&mut position, tags::IMAGE_POSITION_PATIENT, &slice.plane.position_mm);
    sequence(&mut groups, tags::PLANE_POSITION_SEQUENCE, vec![position]);
    let mut identification = Object::new_empty();
    us(&mut identification, tags::REFERENCED_SEGMENT_NUMBER, segment);
    sequence(&mut groups, tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![identification]);
    sequence(&mut groups, tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation(slice)]);
    groups
}

fn derivation(slice: &Slice) -> Object {
    let mut source = instance_reference(&slice.source.sop_class, &slice.source.sop_instance);
    if let Some(frame) = slice.source.frame {
        text(&mut source, tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string());
    }
    code(&mut source, tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, codes::SOURCE_IMAGE);
    text(&mut source, tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES");
    let mut item = Object::new_empty();
    sequence(&mut item, tags::SOURCE_IMAGE_SEQUENCE, vec![source]);
    code(&mut item, tags::DERIVATION_CODE_SEQUENCE, codes::SEGMENTATION);
    item
}

/// Packs bits least significant first into one continuous string, frames not byte-aligned, padded to even length
/// (PS3.5 section 8.2 and 8.1.1).
pub fn pack_bits(bits: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    let mut bytes: Vec<u8> = bits.chunks(8).map(byte).collect();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

/// The first `count` bits of a packed string, or `None` when it is too short.
pub fn unpack_bits(bytes: &[u8], count: usize) -> Option<Vec<bool>> {
    (count <= bytes.len() * 8)
        .then(|| bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).take(count).collect())
}

/// How many of `count` bits from bit `first` on are set, least significant bit first; `None` when there are not so many.
pub fn count_bits(bytes: &[u8], first: usize, count: usize) -> Option<usize> {
    let end = first.checked_add(count)?;
    let touched = bytes.get(first / 8..end.div_ceil(8))?;
    let mut set: usize = touched.iter().map(|byte| byte.count_ones() as usize).sum();
    let stray = |byte: Option<&u8>, mask: u8| byte.map_or(0, |byte| (byte & mask).count_ones() as usize);
    set -= stray(touched.first(), !(0xFFu8 << (first % 8)));
    if end % 8 != 0 {
        set -= stray(touched.last(), 0xFFu8 << (end % 8));
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_round_trip(bits in proptest::collection::vec(any::<bool>(), 0..3000)) {
            let bytes = pack_bits(&bits);
            prop_assert_eq!(bytes.len() % 2, 0);
            prop_assert_eq!(unpack_bits(&bytes, bits.len()), Some(bits));
        }
    }

    proptest! {
        #[test]
        fn counting_is_unpacking_and_counting(bits in proptest::collection::vec(any::<bool>(), 1..300), first in 0usize..300, count in 0usize..300) {
            let wanted = bits.get(first..first + count).map(|bits| bits.iter().filter(|bit| **bit).count());
            let packed = pack_bits(&bits);
            if let Some(wanted) = wanted {
                prop_assert_eq!(count_bits(&packed, first, count), Some(wanted));
            }
            prop_assert_eq!(count_bits(&packed, packed.len() * 8, 1), None);
        }
    }

    #[test]
    fn packing_matches_a_vector_made_with_highdicom() {
        // 7 frames of 10 x 10; frame 0 is a square, rows and columns 2..=7, with a hole at rows and columns 4..=5.
        let frame0 = (0..100).map(|i| {
            let (row, column) = (i / 10, i % 10);
            let inside = |v: usize, range: std::ops::RangeInclusive<usize>| range.contains(&v);
            inside(row, 2..=7) && inside(column, 2..=7) && !(inside(row, 4..=5) && inside(column, 4..=5))
        });
        let bits: Vec<bool> = frame0.chain(std::iter::repeat_n(false, 600)).collect();
        let bytes = pack_bits(&bits);
        assert_eq!(bytes.len(), 88);
        let expected = [0x00, 0x00, 0xc0, 0x0f, 0x3f, 0xcc, 0x30, 0xc3, 0x0f, 0x3f, 0, 0, 0, 0];
        assert_eq!(bytes.get(..14), Some(&expected[..]));
    }

    #[test]
    fn ordinals_are_positions_not_numbers() {
        assert_eq!(ordinals([2, 2, 4, 7].into_iter()), [1, 1, 2, 3]);
    }
}
