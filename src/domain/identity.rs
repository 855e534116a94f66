//! Who and what a study is about, copied from its source objects; never logged.

use super::uid::Uid;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Patient, order and study attributes as the source objects state them (raw text, no interpretation).
///
/// `Debug` is redacted, so that no log line or error can show a patient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyIdentity {
    /// StudyInstanceUID (0020,000D).
    pub study: Uid,
    /// PatientName (0010,0010), raw PN text; empty when absent.
    pub patient_name: String,
    /// PatientID (0010,0020).
    pub patient_id: String,
    /// IssuerOfPatientID (0010,0021).
    pub issuer_of_patient_id: Option<String>,
    /// PatientBirthDate (0010,0030), `YYYYMMDD` or empty.
    pub patient_birth_date: String,
    /// PatientSex (0010,0040).
    pub patient_sex: String,
    /// AccessionNumber (0008,0050).
    pub accession_number: String,
    /// IssuerOfAccessionNumberSequence (0008,0051) > UniversalEntityID or LocalNamespaceEntityID.
    pub issuer_of_accession_number: Option<String>,
    /// ReferringPhysicianName (0008,0090).
    pub referring_physician_name: String,
    /// StudyID (0020,0010).
    pub study_id: String,
    /// StudyDate (0008,0020), `YYYYMMDD` or empty.
    pub study_date: String,
    /// StudyTime (0008,0030), `HHMMSS[.ffffff]` or empty.
    pub study_time: String,
    /// TimezoneOffsetFromUTC (0008,0201), `&ZZXX`, when present.
    pub timezone_offset: Option<String>,
    /// SpecificCharacterSet (0008,0005) of the source; text above is already decoded to Unicode.
    pub specific_character_set: Option<String>,
}

impl StudyIdentity {
    /// The part that decides which patient and order a result belongs to; read again just before a delivery.
    pub fn patient_key(&self) -> PatientKey {
        PatientKey {
            patient_id: self.patient_id.clone(),
            issuer_of_patient_id: self.issuer_of_patient_id.clone(),
            accession_number: self.accession_number.clone(),
        }
    }
}

impl fmt::Debug for StudyIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StudyIdentity(redacted)")
    }
}

/// PatientID, its issuer and AccessionNumber: a change of any of them holds a delivery (`patient-changed`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientKey {
    /// PatientID (0010,0020).
    pub patient_id: String,
    /// IssuerOfPatientID (0010,0021).
    pub issuer_of_patient_id: Option<String>,
    /// AccessionNumber (0008,0050).
    pub accession_number: String,
}

impl fmt::Debug for PatientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientKey(redacted)")
    }
}
