//! A whole study: which series, encoded as DICOM objects, with its truth.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use dicom_dictionary_std::uids;
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{FileDicomObject, InMemDicomObject};

use super::element::DataSet;
use super::header::PatientInfo;
use super::npy::NpyWriter;
use super::patient::{Phantom, Spec};
use super::series::{Component, Role, Series, Session};
use super::truth::{self, DENSITY_G_PER_ML, Truth};
use super::variant::Variant;
use super::vendor::Vendor;
use super::{classic, enhanced};

/// Implementation Class UID of objects that the phantom writes.
const IMPLEMENTATION: &str = "2.25.240236412870526401835672917437164802961";

/// Why a study cannot be made or written.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// The file meta group cannot be built.
    #[error("file meta information cannot be built")]
    Meta(#[from] Box<dicom_object::WithMetaError>),
    /// An object cannot be serialised.
    #[error("DICOM object cannot be written")]
    Write(#[from] Box<dicom_object::WriteError>),
    /// A file cannot be written.
    #[error("file cannot be written")]
    Io(#[from] io::Error),
    /// The truth cannot be serialised.
    #[error("truth cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// What study to make.
#[derive(Debug, Clone, PartialEq)]
pub struct StudySpec {
    /// The patient's anatomy.
    pub phantom: Spec,
    /// Whose habits the study follows.
    pub vendor: Vendor,
    /// Enhanced multi-frame objects instead of classic ones.
    pub enhanced: bool,
    /// Fault or special case.
    pub variant: Variant,
    /// Cine frames per beat.
    pub phases: usize,
    /// Made-up patient and order.
    pub patient: PatientInfo,
}

impl StudySpec {
    /// A whole classic study in Siemens style with eight cine phases.
    #[must_use]
    pub fn new(phantom: Spec) -> Self {
        let patient = PatientInfo::of(&phantom.seed);
        Self { phantom, vendor: Vendor::Siemens, enhanced: false, variant: Variant::Whole, phases: 8, patient }
    }

    /// Chooses the vendor style.
    #[must_use]
    pub fn vendor(mut self, vendor: Vendor) -> Self {
        self.vendor = vendor;
        self
    }

    /// Chooses the variant.
    #[must_use]
    pub fn variant(mut self, variant: Variant) -> Self {
        self.variant = variant;
        self
    }

    /// Chooses classic or Enhanced objects.
    #[must_use]
    pub fn enhanced(mut self, enhanced: bool) -> Self {
        self.enhanced = enhanced;
        self
    }

    /// Chooses the number of cine frames per beat.
    #[must_use]
    pub fn phases(mut self, phases: usize) -> Self {
        self.phases = phases;
        self
    }

    /// Chooses the patient.
    #[must_use]
    pub fn patient(mut self, patient: PatientInfo) -> Self {
        self.patient = patient;
        self
    }

    /// UID of a part of this study. Everything that changes content goes in, so that one UID never names two contents.
    #[must_use]
    pub fn uid(&self, role: &str) -> String {
        self.phantom.seed.uid(&format!("{role}|{self:?}"))
    }

    /// Study Instance UID.
    #[must_use]
    pub fn study_uid(&self) -> String {
        self.uid("study")
    }

    /// SOP Instance UID of an object.
    #[must_use]
    pub fn instance_uid(&self, series: &Series, number: u32) -> String {
        self.uid(&format!("instance {} {number}", series.number))
    }
}

/// One DICOM object of a study.
#[derive(Debug, Clone)]
pub struct Instance {
    /// What the series is, for example `lge-sax-psir`.
    pub series: String,
    /// SeriesNumber.
    pub series_number: u32,
    /// InstanceNumber.
    pub number: u32,
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// The object with its file meta group.
    pub object: FileDicomObject<InMemDicomObject>,
}

impl Instance {
    /// The object as the bytes of a Part 10 file.
    ///
    /// # Errors
    /// When the object cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StudyError> {
        let mut bytes = Vec::new();
        self.object.write_all(&mut bytes).map_err(Box::new)?;
        Ok(bytes)
    }

    /// File name inside a study folder.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:02}-{}/{:04}.dcm", self.series_number, self.series, self.number)
    }
}

/// A made study.
#[derive(Debug, Clone)]
pub struct Study {
    /// Study Instance UID.
    pub uid: String,
    /// All objects.
    pub instances: Vec<Instance>,
    /// What should be measured.
    pub truth: Truth,
    /// Exact masks of the planned short axis, base first: classes 0..4, row-major.
    pub labels: Vec<Vec<u8>>,
    /// The patient that was imaged.
    pub phantom: Phantom,
    /// What was asked for.
    pub spec: StudySpec,
}

impl Study {
    /// Draws, images and encodes a study; the same spec gives the same bytes.
    ///
    /// # Errors
    /// When an object cannot be assembled.
    pub fn build(spec: &StudySpec) -> Result<Self, StudyError> {
        let mut drawn = spec.phantom.clone();
        if let Some(scars) = spec.variant.scars() {
            drawn.scars = scars;
        }
        let phantom = Phantom::draw(&drawn);
        let (series, labels) = acquire(spec, &phantom);
        let mut truth = describe(spec, &phantom, &labels);
        let mut instances = Vec::new();
        for one in &series {
            encode_series(spec, &phantom, one, &mut instances, &mut truth)?;
        }
        Ok(Self { uid: spec.study_uid(), instances, truth, labels, phantom, spec: spec.clone() })
    }

    /// Writes the DICOM files below `dir` and the truth (`truth.json`, `truth-labels.npy`) into `truth_dir`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, dir: &Path, truth_dir: &Path) -> Result<(), StudyError> {
        for instance in &self.instances {
            let path = dir.join(instance.file_name());
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = BufWriter::new(fs::File::create(path)?);
            instance.object.write_all(&mut file).map_err(Box::new)?;
            file.flush()?;
        }
        fs::create_dir_all(truth_dir)?;
        fs::write(truth_dir.join("truth.json"), serde_json::to_string_pretty(&self.truth)?)?;
        let side = self.phantom.spec.matrix;
        let mut npy = NpyWriter::create(&truth_dir.join("truth-labels.npy"), "|u1", &[side, side])?;
        for mask in &self.labels {
            npy.append(1, mask)?;
        }
        npy.finish()?;
        Ok(())
    }
}

/// Measures the series that the variant asks for, in the order of a real examination, and numbers them.
fn acquire(spec: &StudySpec, phantom: &Phantom) -> (Vec<Series>, Vec<Vec<u8>>) {
    let session = Session::new(phantom);
    let mut out = Vec::new();
    let mut push = |series: Vec<Series>| {
        for mut one in series.into_iter().filter(|s| !s.frames.is_empty()) {
            one.number = out.len() as u32 + 1;
            out.push(one);
        }
    };
    if spec.variant.has(Role::Localiser) {
        push(vec![session.localiser()]);
    }
    if spec.variant.has(Role::CineSax) {
        push(vec![session.cine_short_axis(spec.phases)]);
    }
    if spec.variant.has(Role::TiScout) {
        push(vec![session.inversion_scout()]);
    }
    let (mut late, labels) = session.late_short_axis();
    if spec.variant.has(Role::LateSax) {
        spec.variant.alter(&mut late, phantom, &session);
        if spec.vendor == Vendor::Ge {
            late.frames.reverse();
        }
        push(split(spec, late));
    }
    for role in [Role::Late2Ch, Role::Late4Ch] {
        if spec.variant.has(role) {
            let mut series = session.late_long_axis(role);
            if spec.variant == Variant::MagnitudeOnly {
                series.frames.retain(|f| f.component == Component::Magnitude);
            }
            push(split(spec, series));
        }
    }
    (out, labels)
}

/// Magnitude and PSIR as two series, or as one where the vendor does so.
fn split(spec: &StudySpec, series: Series) -> Vec<Series> {
    if spec.vendor.mixes_components() && !spec.enhanced {
        return vec![series];
    }
    [Component::Magnitude, Component::Psir]
        .into_iter()
        .map(|component| {
            let frames = series.frames.iter().filter(|f| f.component == component).cloned().collect();
            Series { component, frames, ..series.clone() }
        })
        .collect()
}

fn encode_series(
    spec: &StudySpec,
    phantom: &Phantom,
    series: &Series,
    instances: &mut Vec<Instance>,
    truth: &mut Truth,
) -> Result<(), StudyError> {
    let mut add = |number: u32, set: DataSet, class: &str| -> Result<String, StudyError> {
        let uid = spec.instance_uid(series, number);
        let mut object = set.0;
        if series.role.is_late() {
            spec.variant.damage(&mut object, number == 1);
        }
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(uid.as_str())
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .implementation_class_uid(IMPLEMENTATION)
            .implementation_version_name("SCARGATE_PHANTOM");
        let object = object.with_meta(meta).map_err(Box::new)?;
        instances.push(Instance {
            series: series.name(),
            series_number: series.number,
            number,
            sop_instance_uid: uid.clone(),
            object,
        });
        Ok(uid)
    };
    if spec.enhanced {
        for moved in [false, true] {
            let frames: Vec<_> = series.frames.iter().filter(|f| f.moved_patient == moved).collect();
            if frames.is_empty() {
                continue;
            }
            let number = 1 + u32::from(moved);
            let uid =
                add(number, enhanced::encode(spec, phantom, series, &frames, number), uids::ENHANCED_MR_IMAGE_STORAGE)?;
            for (k, frame) in frames.iter().enumerate() {
                note(truth, series, frame.slice, frame.component, &uid, Some(k as u32 + 1));
            }
        }
        return Ok(());
    }
    for (k, frame) in series.frames.iter().enumerate() {
        let number = k as u32 + 1;
        let uid = add(number, classic::encode(spec, phantom, series, frame, number), uids::MR_IMAGE_STORAGE)?;
        note(truth, series, frame.slice, frame.component, &uid, None);
    }
    Ok(())
}

/// Writes into the truth which object shows a slice; of a repeated slice the later one.
fn note(truth: &mut Truth, series: &Series, slice: usize, component: Component, uid: &str, frame: Option<u32>) {
    if series.role != Role::LateSax {
        return;
    }
    if let Some(row) = truth.slices.get_mut(slice) {
        match component {
            Component::Magnitude => row.magnitude_sop_instance_uid = Some(uid.to_owned()),
            Component::Psir => {
                row.psir_sop_instance_uid = Some(uid.to_owned());
                row.psir_frame = frame;
            }
        }
    }
}

fn describe(spec: &StudySpec, phantom: &Phantom, labels: &[Vec<u8>]) -> Truth {
    let slices = truth::slices(phantom, labels);
    let segments = truth::segments(phantom, labels, &slices);
    let sum = |f: fn(&truth::SliceTruth) -> f64| slices.iter().map(f).sum::<f64>();
    let (wall, scar, core) = (sum(|s| s.myocardium_ml), sum(|s| s.scar_ml), sum(|s| s.no_reflow_ml));
    let seed = spec.phantom.seed;
    Truth {
        schema: 1,
        note: "synthetic phantom: checks the plumbing, not accuracy",
        study_instance_uid: spec.study_uid(),
        seed: (seed.space.name(), seed.seed, seed.index),
        variant: spec.variant.name(),
        vendor: format!("{:?}", spec.vendor).to_lowercase(),
        density_g_per_ml: DENSITY_G_PER_ML,
        spacing_mm: phantom.plan.spacing,
        pixel_mm: phantom.plan.planes.first().map_or(0.0, |p| p.pixel),
        lv_mass_g: wall * DENSITY_G_PER_ML,
        scar_mass_g: scar * DENSITY_G_PER_ML,
        burden_percent: (wall > 0.0).then(|| 100.0 * scar / wall),
        no_reflow_mass_g: core * DENSITY_G_PER_ML,
        cavity_ml: sum(|s| s.cavity_ml),
        base_to_apex: phantom.scene.pose.apex,
        septum: phantom.scene.pose.septum,
        slices,
        segments,
        lesions: phantom.scene.heart.shape().lesions.clone(),
    }
}
