//! Classic MR Image Storage: one object per frame (PS3.3 A.4).

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::element::DataSet;
use super::header::{clock, common, contrast_agent};
use super::patient::Phantom;
use super::scene::Plane;
use super::series::{Component, Frame, Role, Series};
use super::study::StudySpec;
use super::vec3::dot;

/// Encodes a frame; `number` is its InstanceNumber.
#[must_use]
pub fn encode(spec: &StudySpec, phantom: &Phantom, series: &Series, frame: &Frame, number: u32) -> DataSet {
    let reference = spec.uid(if frame.moved_patient { "frame of reference 2" } else { "frame of reference" });
    let mut set = common(spec, series, &reference);
    set.ui(tags::SOP_CLASS_UID, uids::MR_IMAGE_STORAGE)
        .ui(tags::SOP_INSTANCE_UID, spec.instance_uid(series, number))
        .cs(tags::IMAGE_TYPE, image_type(spec, series, frame))
        .is(tags::INSTANCE_NUMBER, i64::from(number))
        .is(tags::ACQUISITION_NUMBER, frame.slice as i64 + 1)
        .text(tags::ACQUISITION_DATE, VR::DA, &spec.patient.study_date)
        .text(tags::ACQUISITION_TIME, VR::TM, clock(frame.at_s))
        .text(tags::CONTENT_DATE, VR::DA, &spec.patient.study_date)
        .text(tags::CONTENT_TIME, VR::TM, clock(frame.at_s + 1.0));
    plane(&mut set, series, &frame.plane);
    acquisition(&mut set, spec, phantom, series, frame);
    contrast_agent(&mut set, series.role);
    pixels(&mut set, spec, frame);
    set
}

fn image_type(spec: &StudySpec, series: &Series, frame: &Frame) -> &'static str {
    match series.role {
        Role::Localiser | Role::CineSax | Role::TiScout if frame.component == Component::Magnitude => {
            spec.vendor.plain_image_type()
        }
        _ => spec.vendor.image_type(frame.component),
    }
}

fn plane(set: &mut DataSet, series: &Series, plane: &Plane) {
    let [rx, ry, rz] = plane.along_row;
    let [cx, cy, cz] = plane.along_column;
    set.ds(tags::IMAGE_POSITION_PATIENT, &plane.origin)
        .ds(tags::IMAGE_ORIENTATION_PATIENT, &[rx, ry, rz, cx, cy, cz])
        .ds(tags::PIXEL_SPACING, &[plane.pixel, plane.pixel])
        .ds(tags::SLICE_THICKNESS, &[plane.thickness])
        .ds(tags::SLICE_LOCATION, &[(dot(plane.origin, plane.normal()) * 1000.0).round() / 1000.0]);
    if let Some(spacing) = series.spacing {
        set.ds(tags::SPACING_BETWEEN_SLICES, &[spacing]);
    }
}

fn acquisition(set: &mut DataSet, spec: &StudySpec, phantom: &Phantom, series: &Series, frame: &Frame) {
    let late = frame.inversion_ms > 0.0;
    set.text(tags::SCANNING_SEQUENCE, VR::CS, if late { "GR\\IR" } else { "GR" })
        .text(tags::SEQUENCE_VARIANT, VR::CS, if late { "SK\\SP\\MP" } else { "SK\\SS" })
        .cs(tags::SCAN_OPTIONS, if series.role == Role::Localiser { "PFP" } else { "CG" })
        .cs(tags::MR_ACQUISITION_TYPE, "2D")
        .ds(tags::REPETITION_TIME, &[(series.repetition_ms * 100.0).round() / 100.0])
        .ds(tags::ECHO_TIME, &[if late { 1.97 } else { 1.4 }])
        .is(tags::ECHO_TRAIN_LENGTH, 1)
        .ds(tags::NUMBER_OF_AVERAGES, &[1.0])
        .ds(tags::MAGNETIC_FIELD_STRENGTH, &[phantom.field.tesla()])
        .ds(tags::IMAGING_FREQUENCY, &[(phantom.field.tesla() * 42.577_478_5 * 1e4).round() / 1e4])
        .sh(tags::IMAGED_NUCLEUS, "1H")
        .ds(tags::FLIP_ANGLE, &[if late { 25.0 } else { 60.0 }])
        .cs(tags::IN_PLANE_PHASE_ENCODING_DIRECTION, "COL")
        .is(tags::NUMBER_OF_PHASE_ENCODING_STEPS, (frame.plane.rows as f64 * 0.75).round() as i64);
    if let Some(name) = spec.vendor.sequence_name(series.role) {
        set.sh(tags::SEQUENCE_NAME, name);
    }
    if late {
        set.ds(tags::INVERSION_TIME, &[frame.inversion_ms]);
    }
    if series.role != Role::Localiser {
        set.ds(tags::TRIGGER_TIME, &[(frame.phase.1 * 10.0).round() / 10.0])
            .is(tags::NOMINAL_INTERVAL, series.rr_ms.round() as i64)
            .is(tags::HEART_RATE, (60_000.0 / series.rr_ms).round() as i64)
            .is(tags::CARDIAC_NUMBER_OF_IMAGES, series.phases as i64);
    }
}

fn pixels(set: &mut DataSet, spec: &StudySpec, frame: &Frame) {
    let storage = spec.vendor.storage(frame.component);
    let (low, high) = window(&frame.values);
    set.us(tags::SAMPLES_PER_PIXEL, 1)
        .cs(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .us(tags::ROWS, frame.plane.rows as u16)
        .us(tags::COLUMNS, frame.plane.columns as u16)
        .us(tags::BITS_ALLOCATED, 16)
        .us(tags::BITS_STORED, storage.bits)
        .us(tags::HIGH_BIT, storage.bits - 1)
        .us(tags::PIXEL_REPRESENTATION, u16::from(storage.signed))
        .ds(tags::WINDOW_CENTER, &[((low + high) / 2.0).round()])
        .ds(tags::WINDOW_WIDTH, &[(high - low).round().max(1.0)]);
    if let Some((slope, intercept)) = storage.rescale {
        set.ds(tags::RESCALE_INTERCEPT, &[intercept]).ds(tags::RESCALE_SLOPE, &[slope]).lo(tags::RESCALE_TYPE, "US");
    }
    set.pixels(frame.values.iter().map(|v| storage.encode(*v)).collect());
}

/// Display window: 1st to 99th percentile.
#[must_use]
pub fn window(values: &[f32]) -> (f64, f64) {
    let mut sorted: Vec<f32> = values.iter().step_by(7).copied().collect();
    sorted.sort_by(f32::total_cmp);
    let at = |q: f64| sorted.get((q * sorted.len().saturating_sub(1) as f64) as usize).copied().unwrap_or(0.0);
    (f64::from(at(0.01)), f64::from(at(0.99)))
}
