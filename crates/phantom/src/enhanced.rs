//! Enhanced MR Image Storage: one multi-frame object per series (PS3.3 A.36.2).

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::classic::window;
use super::element::DataSet;
use super::header::{clock, common};
use super::patient::Phantom;
use super::series::{Component, Frame, Role, Series};
use super::study::StudySpec;

/// Encodes frames of one series; `number` is the InstanceNumber.
#[must_use]
pub fn encode(spec: &StudySpec, phantom: &Phantom, series: &Series, frames: &[&Frame], number: u32) -> DataSet {
    let moved = frames.first().is_some_and(|f| f.moved_patient);
    let mut set = common(spec, series, &spec.uid(if moved { "frame of reference 2" } else { "frame of reference" }));
    set.ui(tags::SOP_CLASS_UID, uids::ENHANCED_MR_IMAGE_STORAGE)
        .ui(tags::SOP_INSTANCE_UID, spec.instance_uid(series, number))
        .is(tags::INSTANCE_NUMBER, i64::from(number));
    image(&mut set, spec, phantom, series, frames);
    pulse_sequence(&mut set, series);
    if series.role != Role::Localiser {
        synchronisation(&mut set, series);
    }
    dimensions(&mut set, spec, series);
    set.one(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, |shared| shared_groups(shared, spec, phantom, series, frames));
    let per_frame = frames.iter().map(|frame| frame_groups(spec, series, frame)).collect();
    set.sq(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, per_frame);
    pixels(&mut set, spec, frames);
    set
}

fn component_name(component: Component) -> &'static str {
    match component {
        Component::Magnitude => "MAGNITUDE",
        Component::Psir => "REAL",
    }
}

fn frame_type(role: Role) -> &'static str {
    match role {
        Role::Localiser => "ORIGINAL\\PRIMARY\\LOCALIZER\\NONE",
        Role::CineSax => "ORIGINAL\\PRIMARY\\CINE\\NONE",
        _ => "ORIGINAL\\PRIMARY\\CARDIAC\\NONE",
    }
}

/// What the image type macro says, at the top and per frame.
fn description(set: &mut DataSet, series: &Series) {
    set.cs(tags::PIXEL_PRESENTATION, "MONOCHROME")
        .cs(tags::VOLUMETRIC_PROPERTIES, "VOLUME")
        .cs(tags::VOLUME_BASED_CALCULATION_TECHNIQUE, "NONE")
        .cs(tags::COMPLEX_IMAGE_COMPONENT, component_name(series.component))
        .cs(tags::ACQUISITION_CONTRAST, if series.role.is_late() { "T1" } else { "T2_STAR" });
}

fn image(set: &mut DataSet, spec: &StudySpec, phantom: &Phantom, series: &Series, frames: &[&Frame]) {
    let at = frames.first().map_or(0.0, |f| f.at_s);
    let last = frames.last().map_or(0.0, |f| f.at_s);
    set.cs(tags::IMAGE_TYPE, frame_type(series.role))
        .text(tags::CONTENT_DATE, VR::DA, &spec.patient.study_date)
        .text(tags::CONTENT_TIME, VR::TM, clock(at + 1.0))
        .text(tags::ACQUISITION_DATE_TIME, VR::DT, moment(spec, at))
        .fd(tags::ACQUISITION_DURATION, &[(last - at).abs() + 10.0])
        .cs(tags::CONTENT_QUALIFICATION, "RESEARCH")
        .cs(tags::RESONANT_NUCLEUS, "1H")
        .cs(tags::K_SPACE_FILTERING, "NONE")
        .ds(tags::MAGNETIC_FIELD_STRENGTH, &[phantom.field.tesla()])
        .cs(tags::APPLICABLE_SAFETY_STANDARD_AGENCY, "IEC")
        .cs(tags::BURNED_IN_ANNOTATION, "NO")
        .cs(tags::LOSSY_IMAGE_COMPRESSION, "00")
        .cs(tags::PRESENTATION_LUT_SHAPE, "IDENTITY")
        .sq(tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
    description(set, series);
}

fn pulse_sequence(set: &mut DataSet, series: &Series) {
    let steady = !series.role.is_late();
    set.sh(tags::PULSE_SEQUENCE_NAME, if steady { "bSSFP" } else { "IR-TFE" })
        .cs(tags::MR_ACQUISITION_TYPE, "2D")
        .cs(tags::ECHO_PULSE_SEQUENCE, "GRADIENT")
        .cs(tags::MULTI_PLANAR_EXCITATION, "NO")
        .cs(tags::PHASE_CONTRAST, "NO")
        .cs(tags::TIME_OF_FLIGHT_CONTRAST, "NO")
        .cs(tags::STEADY_STATE_PULSE_SEQUENCE, if steady { "FREE_PRECESSION" } else { "NONE" })
        .cs(tags::ECHO_PLANAR_PULSE_SEQUENCE, "NO")
        .cs(tags::SATURATION_RECOVERY, "NO")
        .cs(tags::SPECTRALLY_SELECTED_SUPPRESSION, "NONE")
        .cs(tags::OVERSAMPLING_PHASE, "NONE")
        .cs(tags::GEOMETRY_OF_K_SPACE_TRAVERSAL, "RECTILINEAR")
        .cs(tags::RECTILINEAR_PHASE_ENCODE_REORDERING, "LINEAR")
        .cs(tags::SEGMENTED_K_SPACE_TRAVERSAL, "PARTIAL")
        .us(tags::NUMBER_OF_K_SPACE_TRAJECTORIES, 1);
}

fn synchronisation(set: &mut DataSet, series: &Series) {
    let technique = if series.role == Role::CineSax { "RETROSPECTIVE" } else { "PROSPECTIVE" };
    set.cs(tags::CARDIAC_SYNCHRONIZATION_TECHNIQUE, technique)
        .cs(tags::CARDIAC_SIGNAL_SOURCE, "ECG")
        .fd(tags::CARDIAC_RR_INTERVAL_SPECIFIED, &[series.rr_ms])
        .cs(tags::CARDIAC_BEAT_REJECTION_TECHNIQUE, "NONE")
        .is(tags::LOW_RR_VALUE, (series.rr_ms * 0.9) as i64)
        .is(tags::HIGH_RR_VALUE, (series.rr_ms * 1.1) as i64)
        .is(tags::INTERVALS_ACQUIRED, 12)
        .is(tags::INTERVALS_REJECTED, 0);
}

fn dimensions(set: &mut DataSet, spec: &StudySpec, series: &Series) {
    let organisation = spec.uid(&format!("dimension {}", series.number));
    set.one(tags::DIMENSION_ORGANIZATION_SEQUENCE, |item| {
        item.ui(tags::DIMENSION_ORGANIZATION_UID, &organisation);
    });
    let pointers = [tags::STACK_ID, tags::IN_STACK_POSITION_NUMBER, tags::TEMPORAL_POSITION_INDEX];
    let items = pointers
        .iter()
        .map(|pointer| {
            let mut item = DataSet::new();
            item.ui(tags::DIMENSION_ORGANIZATION_UID, &organisation)
                .at(tags::DIMENSION_INDEX_POINTER, *pointer)
                .at(tags::FUNCTIONAL_GROUP_POINTER, tags::FRAME_CONTENT_SEQUENCE);
            item
        })
        .collect();
    set.sq(tags::DIMENSION_INDEX_SEQUENCE, items);
}

fn shared_groups(set: &mut DataSet, spec: &StudySpec, phantom: &Phantom, series: &Series, frames: &[&Frame]) {
    let Some(first) = frames.first() else { return };
    set.one(tags::PIXEL_MEASURES_SEQUENCE, |item| {
        item.ds(tags::PIXEL_SPACING, &[first.plane.pixel, first.plane.pixel])
            .ds(tags::SLICE_THICKNESS, &[first.plane.thickness]);
        if let Some(spacing) = series.spacing {
            item.ds(tags::SPACING_BETWEEN_SLICES, &[spacing]);
        }
    })
    .one(tags::FRAME_ANATOMY_SEQUENCE, |item| {
        item.cs(tags::FRAME_LATERALITY, "U").code(tags::ANATOMIC_REGION_SEQUENCE, "80891009", "SCT", "Heart");
    })
    .one(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE, |item| {
        item.cs(tags::FRAME_TYPE, frame_type(series.role));
        description(item, series);
    })
    .one(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, |item| {
        let (slope, intercept) = spec.vendor.storage(series.component).rescale.unwrap_or((1.0, 0.0));
        item.ds(tags::RESCALE_INTERCEPT, &[intercept]).ds(tags::RESCALE_SLOPE, &[slope]).lo(tags::RESCALE_TYPE, "US");
    })
    .one(tags::FRAME_VOILUT_SEQUENCE, |item| {
        let (low, high) = window(&first.values);
        item.ds(tags::WINDOW_CENTER, &[((low + high) / 2.0).round()])
            .ds(tags::WINDOW_WIDTH, &[(high - low).round().max(1.0)]);
    });
    timing(set, series);
    hardware(set, phantom, first);
}

fn timing(set: &mut DataSet, series: &Series) {
    set.one(tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE, |item| {
        item.ds(tags::REPETITION_TIME, &[(series.repetition_ms * 100.0).round() / 100.0])
            .ds(tags::FLIP_ANGLE, &[if series.role.is_late() { 25.0 } else { 60.0 }])
            .is(tags::ECHO_TRAIN_LENGTH, 1)
            .us(tags::RF_ECHO_TRAIN_LENGTH, 0)
            .us(tags::GRADIENT_ECHO_TRAIN_LENGTH, 1)
            .one(tags::SPECIFIC_ABSORPTION_RATE_SEQUENCE, |rate| {
                rate.cs(tags::SPECIFIC_ABSORPTION_RATE_DEFINITION, "IEC_WHOLE_BODY")
                    .fd(tags::SPECIFIC_ABSORPTION_RATE_VALUE, &[0.4]);
            })
            .cs(tags::GRADIENT_OUTPUT_TYPE, "DB_DT")
            .fd(tags::GRADIENT_OUTPUT, &[20.0])
            .one(tags::OPERATING_MODE_SEQUENCE, |mode| {
                mode.cs(tags::OPERATING_MODE_TYPE, "GRADIENT").cs(tags::OPERATING_MODE, "IEC_NORMAL");
            });
    })
    .one(tags::MR_ECHO_SEQUENCE, |item| {
        item.fd(tags::EFFECTIVE_ECHO_TIME, &[if series.role.is_late() { 1.97 } else { 1.4 }]);
    })
    .one(tags::MR_AVERAGES_SEQUENCE, |item| {
        item.ds(tags::NUMBER_OF_AVERAGES, &[1.0]);
    });
}

fn hardware(set: &mut DataSet, phantom: &Phantom, first: &Frame) {
    let steps = (first.plane.rows as f64 * 0.75).round() as u16;
    set.one(tags::MRFOV_GEOMETRY_SEQUENCE, |item| {
        item.cs(tags::IN_PLANE_PHASE_ENCODING_DIRECTION, "COLUMN")
            .us(tags::MR_ACQUISITION_FREQUENCY_ENCODING_STEPS, first.plane.columns as u16)
            .us(tags::MR_ACQUISITION_PHASE_ENCODING_STEPS_IN_PLANE, steps)
            .ds(tags::PERCENT_SAMPLING, &[75.0])
            .ds(tags::PERCENT_PHASE_FIELD_OF_VIEW, &[100.0]);
    })
    .one(tags::MR_IMAGING_MODIFIER_SEQUENCE, |item| {
        item.cs(tags::MAGNETIZATION_TRANSFER, "NONE")
            .cs(tags::BLOOD_SIGNAL_NULLING, "NO")
            .cs(tags::TAGGING, "NONE")
            .fd(tags::TRANSMITTER_FREQUENCY, &[phantom.field.tesla() * 42.577_478_5])
            .ds(tags::PIXEL_BANDWIDTH, &[500.0]);
    })
    .one(tags::MR_RECEIVE_COIL_SEQUENCE, |item| {
        item.sh(tags::RECEIVE_COIL_NAME, "BODY_ARRAY")
            .lo(tags::RECEIVE_COIL_MANUFACTURER_NAME, "")
            .cs(tags::RECEIVE_COIL_TYPE, "SURFACE")
            .cs(tags::QUADRATURE_RECEIVE_COIL, "NO");
    })
    .one(tags::MR_TRANSMIT_COIL_SEQUENCE, |item| {
        item.sh(tags::TRANSMIT_COIL_NAME, "BODY")
            .lo(tags::TRANSMIT_COIL_MANUFACTURER_NAME, "")
            .cs(tags::TRANSMIT_COIL_TYPE, "BODY");
    });
}

fn frame_groups(spec: &StudySpec, series: &Series, frame: &Frame) -> DataSet {
    let mut set = DataSet::new();
    let place = [1, frame.slice as u32 + 1, frame.phase.0 as u32 + 1];
    set.one(tags::FRAME_CONTENT_SEQUENCE, |item| {
        item.text(tags::FRAME_REFERENCE_DATE_TIME, VR::DT, moment(spec, frame.at_s))
            .text(tags::FRAME_ACQUISITION_DATE_TIME, VR::DT, moment(spec, frame.at_s))
            .fd(tags::FRAME_ACQUISITION_DURATION, &[150.0])
            .sh(tags::STACK_ID, "1")
            .ul(tags::IN_STACK_POSITION_NUMBER, &[place[1]])
            .ul(tags::TEMPORAL_POSITION_INDEX, &[place[2]])
            .ul(tags::DIMENSION_INDEX_VALUES, &place);
    })
    .one(tags::PLANE_POSITION_SEQUENCE, |item| {
        item.ds(tags::IMAGE_POSITION_PATIENT, &frame.plane.origin);
    })
    .one(tags::PLANE_ORIENTATION_SEQUENCE, |item| {
        let ([a, b, c], [d, e, f]) = (frame.plane.along_row, frame.plane.along_column);
        item.ds(tags::IMAGE_ORIENTATION_PATIENT, &[a, b, c, d, e, f]);
    })
    .one(tags::MR_MODIFIER_SEQUENCE, |item| modifier(item, frame));
    if series.role != Role::Localiser {
        set.one(tags::CARDIAC_SYNCHRONIZATION_SEQUENCE, |item| {
            item.fd(tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME, &[frame.phase.1])
                .fd(tags::RR_INTERVAL_TIME_NOMINAL, &[series.rr_ms]);
        });
    }
    set
}

fn modifier(item: &mut DataSet, frame: &Frame) {
    let inversion = frame.inversion_ms > 0.0;
    item.cs(tags::INVERSION_RECOVERY, if inversion { "YES" } else { "NO" })
        .cs(tags::FLOW_COMPENSATION, "NONE")
        .cs(tags::SPOILING, if inversion { "RF" } else { "NONE" })
        .cs(tags::T2_PREPARATION, "NO")
        .cs(tags::SPECTRALLY_SELECTED_EXCITATION, "NONE")
        .cs(tags::SPATIAL_PRESATURATION, "NONE")
        .cs(tags::PARTIAL_FOURIER, "NO")
        .cs(tags::PARALLEL_ACQUISITION, "NO");
    if inversion {
        item.fd(tags::INVERSION_TIMES, &[frame.inversion_ms]);
    }
}

fn pixels(set: &mut DataSet, spec: &StudySpec, frames: &[&Frame]) {
    let Some(first) = frames.first() else { return };
    let storage = spec.vendor.storage(first.component);
    set.is(tags::NUMBER_OF_FRAMES, frames.len() as i64)
        .us(tags::SAMPLES_PER_PIXEL, 1)
        .cs(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .us(tags::ROWS, first.plane.rows as u16)
        .us(tags::COLUMNS, first.plane.columns as u16)
        .us(tags::BITS_ALLOCATED, 16)
        .us(tags::BITS_STORED, storage.bits)
        .us(tags::HIGH_BIT, storage.bits - 1)
        .us(tags::PIXEL_REPRESENTATION, u16::from(storage.signed));
    set.pixels(frames.iter().flat_map(|f| f.values.iter().map(|v| storage.encode(*v))).collect());
}

fn moment(spec: &StudySpec, at_s: f64) -> String {
    format!("{}{}", spec.patient.study_date, clock(at_s))
}
