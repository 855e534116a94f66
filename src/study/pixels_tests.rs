#![allow(clippy::unwrap_used)]

use super::*;
use crate::domain::uid::Uid;
use dicom_core::{DataElement, VR, dicom_value};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

fn frame(slope: f64, intercept: f64) -> Frame {
    let uid = || Uid::parse("1.2").unwrap();
    Frame {
        object: 0,
        number: None,
        sop_class: uid(),
        sop_instance: uid(),
        series: uid(),
        rows: 1,
        columns: 4,
        position: None,
        orientation: None,
        spacing: None,
        thickness_mm: None,
        between_mm: None,
        frame_of_reference: None,
        slope,
        intercept,
        trigger_ms: None,
        inversion_ms: None,
        acquired: String::new(),
        instance_number: 1,
        image_type: Vec::new(),
        complex_component: String::new(),
        inversion_recovery: false,
    }
}

/// An object of one row of four words.
fn decoder(words: [u16; 4], stored: u16, high: u16, signed: u16, more: &[(dicom_core::Tag, VR, &str)]) -> Decoder {
    let us = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    let mut set = InMemDicomObject::from_element_iter([
        us(tags::BITS_ALLOCATED, 16),
        us(tags::BITS_STORED, stored),
        us(tags::HIGH_BIT, high),
        us(tags::PIXEL_REPRESENTATION, signed),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into_iter().collect())),
    ]);
    for (tag, vr, text) in more {
        set.put(match vr {
            VR::US => us(*tag, text.parse().unwrap()),
            _ => DataElement::new(*tag, *vr, PrimitiveValue::from(*text)),
        });
    }
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid("1.2")
        .media_storage_sop_instance_uid("1.3")
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .build()
        .unwrap();
    let object = set.with_exact_meta(meta);
    let format = Format::of(&object).unwrap();
    Decoder { object, format, rows: 1, columns: 4, frames: 1 }
}

fn values(decoder: &Decoder, slope: f64, intercept: f64) -> Vec<f32> {
    decoder.frame(&frame(slope, intercept)).unwrap().values.iter().copied().collect()
}

#[test]
fn bits_outside_the_stored_ones_are_dropped_and_the_sign_is_extended() {
    // 12 bits stored at bit 11: the upper four hold an overlay.
    let unsigned = decoder([0xF001, 0x0FFF, 0x8800, 0], 12, 11, 0, &[]);
    assert_eq!(values(&unsigned, 1.0, 0.0), [1.0, 4095.0, 2048.0, 0.0]);
    let signed = decoder([0xF001, 0x0FFF, 0x8800, 0x07FF], 12, 11, 1, &[]);
    assert_eq!(values(&signed, 1.0, 0.0), [1.0, -1.0, -2048.0, 2047.0]);
    // 12 bits stored at bit 15: shifted up by four.
    let high = decoder([0x001F, 0xFFF0, 0x8000, 0], 12, 15, 0, &[]);
    assert_eq!(values(&high, 1.0, 0.0), [1.0, 4095.0, 2048.0, 0.0]);
    let full = decoder([0xFFFF, 0x8000, 0x7FFF, 1], 16, 15, 1, &[]);
    assert_eq!(values(&full, 1.0, 0.0), [-1.0, -32768.0, 32767.0, 1.0]);
}

#[test]
fn slope_and_intercept_are_those_of_the_frame() {
    let decoder = decoder([0, 2048, 4095, 100], 12, 11, 0, &[]);
    assert_eq!(values(&decoder, 2.0, -4096.0), [-4096.0, 0.0, 4094.0, -3896.0]);
}

#[test]
fn monochrome1_is_turned_so_that_bright_is_high() {
    let inverted = decoder([0, 1, 2, 3], 12, 11, 0, &[(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1")]);
    assert_eq!(values(&inverted, 1.0, 0.0), [0.0, -1.0, -2.0, -3.0]);
}

#[test]
fn padding_is_marked_and_takes_the_lowest_valid_value() {
    let padded = decoder([5, 9, 7, 8], 12, 11, 0, &[(tags::PIXEL_PADDING_VALUE, VR::US, "5")]);
    let pixels = padded.frame(&frame(1.0, -10.0)).unwrap();
    assert_eq!(pixels.values.as_slice().unwrap(), [-3.0, -1.0, -3.0, -2.0]);
    assert_eq!(pixels.valid.unwrap().as_slice().unwrap(), [false, true, true, true]);
    let range = [(tags::PIXEL_PADDING_VALUE, VR::US, "8"), (tags::PIXEL_PADDING_RANGE_LIMIT, VR::US, "7")];
    let pixels = decoder([5, 9, 7, 8], 12, 11, 0, &range).frame(&frame(1.0, 0.0)).unwrap();
    assert_eq!(pixels.valid.unwrap().as_slice().unwrap(), [true, true, false, false]);
    // A signed padding value written as US: the same 16 bits.
    let signed = decoder([0x8000, 1, 2, 3], 16, 15, 1, &[(tags::PIXEL_PADDING_VALUE, VR::US, "32768")]);
    assert_eq!(signed.frame(&frame(1.0, 0.0)).unwrap().values.as_slice().unwrap(), [1.0, 1.0, 2.0, 3.0]);
    assert!(decoder([5, 9, 7, 8], 12, 11, 0, &[]).frame(&frame(1.0, 0.0)).unwrap().valid.is_none());
}

#[test]
fn contradicting_bits_are_refused() {
    for (stored, high) in [(0, 0), (17, 16), (12, 16), (12, 10)] {
        let good = decoder([0; 4], 12, 11, 0, &[]);
        let mut object = good.object;
        object.put(DataElement::new(tags::BITS_STORED, VR::US, dicom_value!(U16, [stored])));
        object.put(DataElement::new(tags::HIGH_BIT, VR::US, dicom_value!(U16, [high])));
        assert!(Format::of(&object).is_err(), "{stored} {high}");
    }
}

#[test]
fn sizes_inside_streams_are_read() {
    // SOI, APP0 of 4 bytes, SOF3 (lossless) 12 bits, 300 rows, 200 columns, 1 component.
    let jpeg = [0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xC3, 0, 11, 12, 1, 44, 0, 200, 1, 1, 0x11, 0];
    assert_eq!(codestream_size(&jpeg), Some((300, 200)));
    // SOC, SIZ: length 41, capabilities 0, 210 x 310, offset 10 x 10.
    let mut j2k = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for number in [210u32, 310, 10, 10] {
        j2k.extend(number.to_be_bytes());
    }
    assert_eq!(codestream_size(&j2k), Some((300, 200)));
    for bad in [&[][..], &[0xFF, 0xD8], &[0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0], &j2k[..20], b"RLE"] {
        assert_eq!(codestream_size(bad), None);
    }
}
