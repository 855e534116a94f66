//! DICOM Segmentation (PS3.3 A.51): BINARY, one segment per region, sparse frames.

mod frames;
mod header;

pub use frames::{pack_bits, unpack_bits};

use super::EncodeError;
use crate::domain::artefact::{Artefact, ArtefactKind, DicomIdentity};
use crate::domain::labels::Segmentation;
use crate::domain::stack::Stack;
use crate::domain::uid::Uid;
use dicom_object::FileMetaTableBuilder;
use time::OffsetDateTime;

/// Segmentation Storage.
pub const SEGMENTATION_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.66.4";
const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// What an object's bytes depend on besides the pixels; all of it comes from the stored run, so that encoding twice
/// gives the same bytes.
#[derive(Debug, Clone)]
pub struct SegContext {
    /// Revision of the study.
    pub revision: u32,
    /// Review act that made this object; empty before any.
    pub act: String,
    /// When the run was created: ContentDate and ContentTime.
    pub created: OffsetDateTime,
    /// DeviceSerialNumber (0018,1000).
    pub device_serial: String,
    /// SeriesNumber (0020,0011).
    pub series_number: u32,
}

/// UIDs of the SEG of a revision, known before it is encoded.
pub fn identity(study: &Uid, revision: u32, act: &str) -> DicomIdentity {
    DicomIdentity {
        sop_class: Uid::well_known(SEGMENTATION_STORAGE),
        sop_instance: Uid::derive_output(study, revision, "seg", act),
        series: Uid::derive_output(study, revision, "seg-series", act),
    }
}

/// Encodes the labels of a stack as one SEG file (with preamble and meta group).
///
/// Frames without a set pixel are omitted; a segment without any frame says "looked for, none found". Segments overlap:
/// myocardium holds scar, scar holds no-reflow.
///
/// # Errors
/// When labels and stack differ in shape or number, or nothing at all was segmented.
pub fn encode(stack: &Stack, labels: &Segmentation, context: &SegContext) -> Result<Artefact, EncodeError> {
    if stack.slices.len() != labels.slices.len() {
        return Err(EncodeError::Mismatch("number of slices"));
    }
    if labels.slices.iter().any(|slice| slice.labels.dim() != stack.dim()) {
        return Err(EncodeError::Mismatch("rows or columns"));
    }
    let identity = identity(&stack.identity.study, context.revision, &context.act);
    let frames = frames::collect(labels);
    if frames.is_empty() {
        return Err(EncodeError::Empty);
    }
    let mut object = header::common(stack, labels, context, &identity);
    frames::put(&mut object, stack, &frames, context);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(SEGMENTATION_STORAGE)
        .media_storage_sop_instance_uid(identity.sop_instance.as_str())
        .transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
        .implementation_class_uid(Uid::derive(&["implementation"]).as_str())
        .implementation_version_name(concat!("SCARGATE_", env!("CARGO_PKG_VERSION")));
    let file = object.with_meta(meta).map_err(|error| EncodeError::Write(error.to_string()))?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| EncodeError::Write(error.to_string()))?;
    Ok(Artefact { kind: ArtefactKind::Seg, name: "seg".into(), dicom: Some(identity), bytes })
}
