//! A phantom study as the domain types that the gateway's steps exchange, with the exact masks as its segmentation.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use ndarray::Array2;
use sha2::{Digest, Sha256};

use crate::domain::identity::StudyIdentity;
use crate::domain::labels::{ScarSource, Segmentation, SliceLabels};
use crate::domain::provenance::{IntendedUse, ModelRef};
use crate::domain::stack::{Contrast, Plane, Slice, SourceFrame, Stack};
use crate::domain::uid::Uid;
use crate::phantom::header::clock;
use crate::phantom::series::Component;
use crate::phantom::truth::SliceTruth;
use crate::phantom::{Instance, Study};

/// The PSIR short axis as it was sent, base first, and its exact masks. None when it was not sent whole and sound:
/// a slice missing, or one of the faults that leave no usable stack.
#[must_use]
pub fn exact(study: &Study) -> Option<(Stack, Segmentation)> {
    let rows: Vec<_> = study.truth.slices.iter().map(|row| slice(study, row)).collect::<Option<_>>()?;
    let (slices, labels): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let patient = &study.spec.patient;
    let identity = StudyIdentity {
        study: Uid::parse(&study.uid).ok()?,
        patient_name: patient.name.clone(),
        patient_id: patient.id.clone(),
        issuer_of_patient_id: (!patient.issuer.is_empty()).then(|| patient.issuer.clone()),
        patient_birth_date: patient.birth_date.clone(),
        patient_sex: patient.sex.clone(),
        accession_number: patient.accession.clone(),
        issuer_of_accession_number: None,
        referring_physician_name: String::new(),
        study_id: "1".to_owned(),
        study_date: patient.study_date.clone(),
        study_time: clock(0.0),
        timezone_offset: None,
        specific_character_set: Some("ISO_IR 192".to_owned()),
    };
    let stack = Stack {
        identity,
        contrast: Contrast::Psir,
        frame_of_reference: Uid::parse(&study.spec.uid("frame of reference")).ok()?,
        position_reference_indicator: String::new(),
        lossy: false,
        manufacturer: study.spec.vendor.manufacturer().to_owned(),
        field_strength_t: Some(study.phantom.field.tesla()),
        slices,
        flags: Vec::new(),
        decisions: Vec::new(),
    };
    let segmentation = Segmentation {
        slices: labels,
        no_reflow: true,
        scar_source: ScarSource::Dense,
        models: vec![origin(study)],
        provider: "none".to_owned(),
        timings: Vec::new(),
    };
    Some((stack, segmentation))
}

/// What stands where a model would be named: the masks were drawn, not predicted.
fn origin(study: &Study) -> ModelRef {
    let mut hash = Sha256::new();
    study.labels.iter().for_each(|mask| hash.update(mask));
    ModelRef {
        role: "truth".to_owned(),
        name: "scargate phantom, exact masks".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sha256: hex::encode(hash.finalize()),
        licence: "Apache-2.0".to_owned(),
        intended_use: IntendedUse::Demonstration,
    }
}

fn slice(study: &Study, truth: &SliceTruth) -> Option<(Slice, SliceLabels)> {
    let uid = truth.psir_sop_instance_uid.as_deref()?;
    let instance = study.instances.iter().find(|i| i.sop_instance_uid == uid)?;
    let plane = study.phantom.plan.planes.get(truth.index)?;
    let shape = (plane.rows, plane.columns);
    let slice = Slice {
        pixels: Array2::from_shape_vec(shape, values(study, instance, truth.psir_frame, shape)?).ok()?,
        valid: None,
        plane: Plane {
            position_mm: plane.origin,
            row: plane.along_row,
            column: plane.along_column,
            spacing_mm: [plane.pixel, plane.pixel],
        },
        thickness_mm: plane.thickness,
        height_mm: study.phantom.plan.spacing,
        source: SourceFrame {
            sop_class: uid_of(&instance.object, tags::SOP_CLASS_UID)?,
            sop_instance: Uid::parse(uid).ok()?,
            series: uid_of(&instance.object, tags::SERIES_INSTANCE_UID)?,
            frame: truth.psir_frame,
        },
    };
    let labels = Array2::from_shape_vec(shape, study.labels.get(truth.index)?.clone()).ok()?;
    let scar = labels.mapv(|label| label >= 3);
    let drawn = SliceLabels {
        labels,
        scar_inner: scar.clone(),
        scar_outer: scar,
        boxes: Vec::new(),
        entropy: None,
        agreement: 1.0,
    };
    Some((slice, drawn))
}

/// Rescaled pixels of an image, read back from what was encoded.
fn values(study: &Study, instance: &Instance, frame: Option<u32>, (rows, columns): (usize, usize)) -> Option<Vec<f32>> {
    let words = instance.object.element(tags::PIXEL_DATA).ok()?.to_multi_int::<u16>().ok()?;
    let first = frame.map_or(0, |f| f as usize - 1) * rows * columns;
    let storage = study.spec.vendor.storage(Component::Psir);
    let image = words.get(first..first + rows * columns)?;
    Some(image.iter().map(|word| storage.decode(*word)).collect())
}

fn uid_of(object: &InMemDicomObject, tag: dicom_core::Tag) -> Option<Uid> {
    Uid::parse(&object.element(tag).ok()?.to_str().ok()?).ok()
}
