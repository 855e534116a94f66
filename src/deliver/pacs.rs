//! Delivery to the PACS: stored bytes by STOW-RS, believed only when the PACS confirms each object or shows it.

use crate::dicomweb::{Client, StoreItem, StoreOutcome};
use crate::domain::artefact::{Artefact, DicomIdentity};
use crate::domain::identity::PatientKey;
use crate::domain::source::SourceObject;
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use bytes::Bytes;
use dicom_dictionary_std::tags;
use serde_json::{Value, json};
use std::io::Read;
use std::sync::Arc;

/// Bytes read back of an object at most, beyond the size of ours: a PACS may add attributes, not megabytes.
const SLACK: u64 = 1 << 20;

/// One PACS.
pub struct Pacs {
    client: Arc<Client>,
}

impl Pacs {
    /// Delivers through this client.
    pub fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// Compares patient and order with what the PACS says now.
    ///
    /// # Errors
    /// Held with `patient-changed`; failures of the exchange.
    pub async fn check_patient(&self, study: &Uid, expected: &PatientKey) -> Result<(), Failure> {
        let now = self.client.patient_key(study).await?;
        if same_patient(&now, expected) { Ok(()) } else { Err(Failure::held(Code::PatientChanged, "")) }
    }

    /// Stores an object. Returns what the PACS said. `again` is true when an earlier attempt may have stored it already.
    ///
    /// # Errors
    /// `pacs-refused` when it is refused or another object stands under its UID; transient when nothing is confirmed.
    pub async fn deliver(&self, study: &Uid, artefact: &Artefact, again: bool) -> Result<Value, Failure> {
        let Some(dicom) = &artefact.dicom else {
            return Err(Failure::permanent(Code::Internal, "an artefact for the PACS is no DICOM object"));
        };
        if again && self.client.holds_instance(study, &dicom.sop_instance).await? {
            self.compare(study, dicom, &artefact.bytes).await?;
            return Ok(json!({ "outcome": "already-there" }));
        }
        let item =
            StoreItem { sop_instance: dicom.sop_instance.clone(), bytes: Bytes::copy_from_slice(&artefact.bytes) };
        let outcomes = self.client.store(study, &[item]).await?;
        let outcome = outcomes.first().copied().unwrap_or(StoreOutcome::Unconfirmed);
        self.conclude(study, dicom, &artefact.bytes, outcome).await
    }

    async fn conclude(
        &self,
        study: &Uid,
        dicom: &DicomIdentity,
        sent: &[u8],
        outcome: StoreOutcome,
    ) -> Result<Value, Failure> {
        let reason = |reason: Option<u16>| reason.map_or("no reason".to_owned(), |r| format!("reason {r:#06x}"));
        match outcome {
            StoreOutcome::Stored { warning: None } => Ok(json!({ "outcome": "stored" })),
            // The PACS says that it changed something: what it holds must still be the result.
            StoreOutcome::Stored { warning } => {
                self.compare(study, dicom, sent).await?;
                Ok(json!({ "outcome": "stored", "warning": warning }))
            }
            StoreOutcome::Duplicate { reason } => {
                self.compare(study, dicom, sent).await?;
                Ok(json!({ "outcome": "duplicate", "reason": reason }))
            }
            StoreOutcome::TryAgain { reason: code } => {
                Err(Failure::transient(Code::PacsUnavailable, reason(Some(code))))
            }
            StoreOutcome::Refused { reason: code } => Err(Failure::permanent(Code::PacsRefused, reason(code))),
            StoreOutcome::Unconfirmed => {
                if !self.client.holds_instance(study, &dicom.sop_instance).await? {
                    return Err(Failure::transient(Code::PacsUnavailable, "the PACS does not confirm the object"));
                }
                self.compare(study, dicom, sent).await?;
                Ok(json!({ "outcome": "found" }))
            }
        }
    }

    /// Reads the object back and compares.
    async fn compare(&self, study: &Uid, dicom: &DicomIdentity, sent: &[u8]) -> Result<(), Failure> {
        let stored = self.client.retrieve_instance(study, &dicom.series, &dicom.sop_instance).await?;
        let limit = sent.len() as u64 + SLACK;
        let sent = sent.to_vec();
        let same = tokio::task::spawn_blocking(move || same_object(&sent, &read(&stored, limit)?))
            .await
            .map_err(|_| Failure::permanent(Code::Internal, "the comparison ended unexpectedly"))?;
        match same {
            Some(true) => Ok(()),
            Some(false) => {
                Err(Failure::permanent(Code::PacsRefused, "the PACS holds another object under the same UID"))
            }
            None => Err(Failure::permanent(Code::PacsProtocol, "what the PACS holds under our UID cannot be read")),
        }
    }
}

/// Padding and an absent issuer do not make another patient.
fn same_patient(a: &PatientKey, b: &PatientKey) -> bool {
    let issuer = |key: &PatientKey| key.issuer_of_patient_id.as_deref().unwrap_or_default().trim().to_owned();
    a.patient_id.trim() == b.patient_id.trim()
        && a.accession_number.trim() == b.accession_number.trim()
        && issuer(a) == issuer(b)
}

fn read(object: &SourceObject, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    object.open().ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// Whether two Part 10 files hold the same result: equal bytes, or equal in everything that makes the result (identity,
/// geometry, segments, functional groups, pixels). Attributes of patient and study are left out, since a PACS may
/// rewrite them for good reasons. `None` when either is not DICOM.
fn same_object(sent: &[u8], stored: &[u8]) -> Option<bool> {
    if sent == stored {
        return Some(true);
    }
    Some(essence(sent)? == essence(stored)?)
}

/// The elements that make the result, as DICOM JSON: blind to how lengths are encoded.
fn essence(bytes: &[u8]) -> Option<Value> {
    let object = dicom_object::from_reader(std::io::Cursor::new(bytes)).ok()?.into_inner();
    let identity =
        [tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::FRAME_OF_REFERENCE_UID];
    let is_essential = |tag: dicom_core::Tag| {
        identity.contains(&tag) || matches!(tag.group(), 0x0028 | 0x0040 | 0x0062 | 0x3006 | 0x5200 | 0x7FE0)
    };
    let kept = object.into_iter().filter(|element| is_essential(element.header().tag));
    dicom_json::to_value(dicom_object::InMemDicomObject::from_element_iter(kept)).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

    fn object(pixels: Vec<u8>, patient: &str) -> Vec<u8> {
        let mut object = InMemDicomObject::new_empty();
        object.put(DataElement::new(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.66.4"));
        object.put(DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3"));
        object.put(DataElement::new(tags::PATIENT_NAME, VR::PN, patient));
        object.put(DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(2_u16)));
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())));
        let meta = FileMetaTableBuilder::new().transfer_syntax("1.2.840.10008.1.2.1");
        let mut bytes = Vec::new();
        object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_same_result_may_name_the_patient_otherwise_and_nothing_else() {
        let sent = object(vec![1, 2, 3, 4], "Doe^J");
        assert_eq!(same_object(&sent, &sent), Some(true));
        assert_eq!(same_object(&sent, &object(vec![1, 2, 3, 4], "Doe^John")), Some(true));
        assert_eq!(same_object(&sent, &object(vec![1, 2, 3, 5], "Doe^J")), Some(false));
        assert_eq!(same_object(&sent, b"not DICOM"), None);
    }

    #[test]
    fn a_patient_key_is_compared_without_padding() {
        let key = |id: &str, issuer: Option<&str>, accession: &str| PatientKey {
            patient_id: id.into(),
            issuer_of_patient_id: issuer.map(str::to_owned),
            accession_number: accession.into(),
        };
        assert!(same_patient(&key("1 ", None, "A"), &key("1", Some(""), "A ")));
        assert!(!same_patient(&key("1", None, "A"), &key("2", None, "A")));
        assert!(!same_patient(&key("1", None, "A"), &key("1", None, "B")));
        assert!(!same_patient(&key("1", Some("H"), "A"), &key("1", None, "A")));
    }
}
