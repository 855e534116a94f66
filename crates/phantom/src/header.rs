//! What all images of a study have in common: patient, study, series, frame of reference, equipment.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::element::DataSet;
use super::seed::PhantomSeed;
use super::series::{Role, Series};
use super::study::StudySpec;

/// The synthetic patient and order that the study is for. All values are made up; an EHR that should receive the
/// results registers the same ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientInfo {
    /// PatientID.
    pub id: String,
    /// IssuerOfPatientID.
    pub issuer: String,
    /// PatientName in DICOM form, `Family^Given`.
    pub name: String,
    /// PatientBirthDate, `YYYYMMDD`.
    pub birth_date: String,
    /// PatientSex, `M`, `F` or `O`.
    pub sex: String,
    /// AccessionNumber, at most 16 characters.
    pub accession: String,
    /// StudyDate, `YYYYMMDD`.
    pub study_date: String,
}

impl PatientInfo {
    /// A made-up patient that follows from the seed, with a fixed study date.
    #[must_use]
    pub fn of(seed: &PhantomSeed) -> Self {
        let digest = seed.digest("patient");
        let [a, b, c, d, ..] = digest;
        let number = u32::from_be_bytes([0, a, b, c]) % 1_000_000;
        Self {
            id: format!("PH{number:06}"),
            issuer: "SCARGATE-PHANTOM".to_owned(),
            name: format!("Phantom^{}{}", if seed.index == 0 { "Seed" } else { "Series" }, seed.seed),
            birth_date: format!("{}{:02}{:02}", 1938 + u16::from(a % 48), 1 + b % 12, 1 + c % 28),
            sex: if d % 2 == 0 { "M" } else { "F" }.to_owned(),
            accession: format!("ACC{number:06}"),
            study_date: "20260105".to_owned(),
        }
    }
}

/// Time of day of a moment of the study, `HHMMSS.ffffff`; studies begin at nine.
#[must_use]
pub fn clock(at_s: f64) -> String {
    let micros = ((9.0 * 3600.0 + at_s) * 1e6).round() as u64;
    let (s, us) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}{:02}{:02}.{us:06}", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// Patient, General Study, General Series, Frame of Reference and General Equipment modules.
#[must_use]
pub fn common(spec: &StudySpec, series: &Series, frame_of_reference: &str) -> DataSet {
    let mut set = DataSet::new();
    patient_and_study(&mut set, spec);
    let (description, protocol) = spec.vendor.description(series.role, series.component);
    let started = series.frames.first().map_or(0.0, |f| f.at_s);
    set.cs(tags::MODALITY, "MR")
        .ui(tags::SERIES_INSTANCE_UID, spec.uid(&format!("series {}", series.number)))
        .is(tags::SERIES_NUMBER, i64::from(series.number))
        .text(tags::SERIES_DATE, VR::DA, &spec.patient.study_date)
        .text(tags::SERIES_TIME, VR::TM, clock(started))
        .lo(tags::SERIES_DESCRIPTION, description)
        .lo(tags::PROTOCOL_NAME, protocol)
        .cs(tags::BODY_PART_EXAMINED, "HEART")
        .cs(tags::PATIENT_POSITION, "HFS");
    set.ui(tags::FRAME_OF_REFERENCE_UID, frame_of_reference).lo(tags::POSITION_REFERENCE_INDICATOR, "");
    set.lo(tags::MANUFACTURER, spec.vendor.manufacturer())
        .lo(tags::MANUFACTURER_MODEL_NAME, spec.vendor.model())
        .lo(tags::INSTITUTION_NAME, "Phantom Hospital")
        .sh(tags::STATION_NAME, "PHANTOM1")
        .lo(tags::DEVICE_SERIAL_NUMBER, "000001")
        .lo(tags::SOFTWARE_VERSIONS, concat!("scargate phantom ", env!("CARGO_PKG_VERSION")));
    set
}

fn patient_and_study(set: &mut DataSet, spec: &StudySpec) {
    let patient = &spec.patient;
    set.cs(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192")
        .text(tags::PATIENT_NAME, VR::PN, &patient.name)
        .lo(tags::PATIENT_ID, &patient.id)
        .lo(tags::ISSUER_OF_PATIENT_ID, &patient.issuer)
        .text(tags::PATIENT_BIRTH_DATE, VR::DA, &patient.birth_date)
        .cs(tags::PATIENT_SEX, &patient.sex)
        .text(tags::PATIENT_COMMENTS, VR::LT, "Synthetic phantom, no patient")
        .ui(tags::STUDY_INSTANCE_UID, spec.study_uid())
        .text(tags::STUDY_DATE, VR::DA, &patient.study_date)
        .text(tags::STUDY_TIME, VR::TM, clock(0.0))
        .text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "")
        .sh(tags::STUDY_ID, "1")
        .sh(tags::ACCESSION_NUMBER, &patient.accession)
        .lo(tags::STUDY_DESCRIPTION, "Cardiac MR, viability (synthetic phantom)")
        .ds(tags::PATIENT_WEIGHT, &[78.0]);
}

/// Contrast agent, as given before every late-enhancement series.
pub fn contrast_agent(set: &mut DataSet, role: Role) {
    if role.is_late() || role == Role::TiScout {
        set.lo(tags::CONTRAST_BOLUS_AGENT, "Gadolinium-based contrast agent");
    }
}
