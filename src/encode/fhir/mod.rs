//! FHIR R4 transaction Bundle of a result: Device, CodeSystem, Media, Observations, DiagnosticReport, Provenance.
//!
//! The Bundle is encoded once per run and stored; what is stored is what is delivered. Two things are not known here:
//! which Patient of the EHR the study belongs to, and which ServiceRequest ordered it. Both stand as logical references
//! (`subject`, `basedOn` with an identifier and no `reference`); `deliver` binds them to the resources it matched and
//! changes nothing else, so the same stored bytes and the same match always give the same request.

mod device;
mod media;
use crate::domain::lines as line;
mod observation;
mod part;
mod provenance;
mod report;
mod scheme;
mod segments;
mod when;

use crate::domain::artefact::{Artefact, ArtefactKind};
use crate::domain::identity::StudyIdentity;
use crate::domain::measures::Measures;
use crate::domain::provenance::{ModelRef, PipelineVersion, use_notice};
use crate::domain::run::RunId;
use crate::domain::stack::SourceFrame;
use crate::domain::submission::InputDigest;
use crate::encode::EncodeError;
use serde_json::{Value, json};
use time::{OffsetDateTime, UtcOffset};

pub use crate::domain::lines::line_identifier;
pub use part::round;
pub use scheme::code_system;

/// All that a Bundle is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Whose study it is.
    pub identity: &'a StudyIdentity,
    /// The numbers; copied, never computed again.
    pub measures: &'a Measures,
    /// Frames that were analysed.
    pub sources: &'a [SourceFrame],
    /// Digest of the run's inputs.
    pub input_digest: &'a InputDigest,
    /// The segmentation, when one was written.
    pub seg: Option<&'a Artefact>,
    /// The page that goes with the report, when the EHR is to get one.
    pub report: Option<&'a Artefact>,
    /// The bullseye as PNG, when the EHR is to get it.
    pub bullseye: Option<&'a Artefact>,
    /// Whether the EHR is to get the CodeSystem of the private codes.
    pub code_system: bool,
    /// Models that took part.
    pub models: &'a [ModelRef],
    /// Execution provider proven in use: `cpu`, `cuda`, `tensorrt`.
    pub provider: &'a str,
    /// Pipeline version.
    pub pipeline: &'a PipelineVersion,
    /// The run.
    pub run: RunId,
    /// Number of the run on the study, from 1.
    pub revision: u32,
    /// Names this installation.
    pub device_serial: &'a str,
    /// Offset of the study's clock when its images do not state one; the result says that it was assumed.
    pub assumed_offset: UtcOffset,
    /// Transmurality as one Observation with components instead of one Observation per segment.
    pub segments_in_one: bool,
    /// When the result was made.
    pub issued: OffsetDateTime,
}

impl Facts<'_> {
    /// The sentence on use that stands in every resource a person may read alone.
    fn use_notice(&self) -> &'static str {
        use_notice(self.models)
    }
}

/// Encodes the result as a transaction Bundle, in dependency order: Device, CodeSystem, Media, members, panel, report, Provenance.
///
/// # Errors
/// When a value is not finite, or the outcome is not FHIR R4.
pub fn bundle(facts: &Facts<'_>) -> Result<Artefact, EncodeError> {
    let device = device::entry(facts);
    let members = observation::members(facts)?;
    let panel = observation::panel(facts, &members);
    let picture = media::entry(facts);
    let report = report::entry(facts, &panel, &members, picture.as_ref());
    let targets: Vec<&part::Entry> = members.iter().chain([&panel, &report]).collect();
    let provenance = provenance::entry(facts, &targets);

    let mut entries = vec![device.json()];
    entries.extend(scheme::entry(facts).iter().chain(&picture).map(part::Entry::json));
    entries.extend(targets.iter().map(|entry| entry.json()));
    entries.push(provenance.json());
    let bundle: Value = json!({
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": entries,
    });
    let failed = |text: String| EncodeError::Fhir(text);
    let bytes = serde_json::to_vec_pretty(&bundle).map_err(|e| failed(e.to_string()))?;
    fhir_wire::check_bundle(&bytes).map_err(|e| failed(e.to_string()))?;
    Ok(Artefact { kind: ArtefactKind::FhirBundle, name: "bundle".into(), dicom: None, bytes })
}

#[cfg(test)]
mod tests;
