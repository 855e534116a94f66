//! DICOM Segmentation (PS3.3 A.51): BINARY, one segment per region, sparse frames.

mod frames;
pub(in crate::encode) mod header;

pub use frames::{count_bits, pack_bits, unpack_bits};

use super::EncodeError;
use super::object::{self, Context, Series};
use crate::domain::artefact::{Artefact, ArtefactKind, DicomIdentity};
use crate::domain::labels::Segmentation;
use crate::domain::stack::Stack;
use crate::domain::uid::Uid;

/// Segmentation Storage.
pub const SEGMENTATION_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.66.4";

/// UIDs of the SEG of a revision, known before it is encoded.
pub fn identity(study: &Uid, context: &Context) -> DicomIdentity {
    object::identity(study, context, Series::Seg, SEGMENTATION_STORAGE, "seg")
}

/// TrackingUID (0062,0021) of a segment; the SR names the same one.
pub fn tracking(study: &Uid, context: &Context, number: u16) -> Uid {
    Uid::derive_output(study, context.revision, &format!("track-{number}"), &context.act)
}

/// Encodes the labels of a stack as one SEG file (with preamble and meta group).
///
/// Frames without a set pixel are omitted; a segment without any frame says "looked for, none found". Segments overlap:
/// myocardium holds scar, scar holds no-reflow.
///
/// # Errors
/// When labels and stack differ in shape or number, or nothing at all was segmented.
pub fn encode(stack: &Stack, labels: &Segmentation, context: &Context) -> Result<Artefact, EncodeError> {
    if stack.slices.len() != labels.slices.len() {
        return Err(EncodeError::Mismatch("number of slices"));
    }
    if labels.slices.iter().any(|slice| slice.labels.dim() != stack.dim()) {
        return Err(EncodeError::Mismatch("rows or columns"));
    }
    let identity = identity(&stack.identity.study, context);
    let frames = frames::collect(labels);
    if frames.is_empty() {
        return Err(EncodeError::Empty);
    }
    let mut object = header::common(stack, labels, context, &identity);
    frames::put(&mut object, stack, &frames, context);
    let bytes = object::write(object, &identity)?;
    Ok(Artefact { kind: ArtefactKind::Seg, name: "seg".into(), dicom: Some(identity), bytes })
}
