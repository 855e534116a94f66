//! From the objects of a study to the LGE short-axis stack: series selection with a recorded reason, geometry, pixels.
//!
//! Blocking and pure: no network, no database. Nothing that a header claims is believed before it was checked against the
//! limits and the bytes that are there; panics of parsers and codecs stay inside.
//!
//! What this room does not do is prove the polarity of a PSIR (cavity and scar brighter than remote myocardium): that
//! needs the masks, so `quantify` does it. What is done here is to take as PSIR only what ImageType,
//! ComplexImageComponent, the name or a range below zero says, and to invert MONOCHROME1.

mod choose;
mod classify;
mod folder;
mod geometry;
mod header;
mod identity;
mod leave;
mod pixels;
mod read;

#[cfg(test)]
mod tests;

pub use folder::{Folder, read_folder};
pub use leave::leave;

use crate::config;
use crate::domain::source::SourceObject;
use crate::domain::stack::{Contrast, SeriesDecision, Slice, SourceFrame, Stack, StackFlag};
use crate::domain::uid::Uid;
use crate::failure::{Class, Code, Failure};
use choose::Choice;
use classify::Names;
use geometry::Placed;
use header::{Image, Kind};
use pixels::{Decoder, PixelError};
use read::{Extent, ReadError};
use std::collections::BTreeSet;

/// Why a study gave no stack.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Images are in a transfer syntax that is not decoded here: retrieve the study again as Explicit VR Little Endian, so
    /// that the PACS decodes. As a [`Failure`] it is `transfer-syntax-not-supported`.
    #[error("the images are in a transfer syntax that is not decoded here")]
    NeedsTranscoding,
    /// The study cannot be processed as it is.
    #[error("{detail}")]
    Rejected {
        /// Public code.
        code: Code,
        /// Further words, free of patient data.
        detail: String,
        /// Why each series was left, as far as it came to that.
        decisions: Vec<SeriesDecision>,
    },
    /// The site's patterns are not usable.
    #[error("{0} is not a regular expression")]
    Config(&'static str),
}

impl Error {
    fn rejected(code: Code, detail: impl Into<String>) -> Self {
        Self::Rejected { code, detail: detail.into(), decisions: Vec::new() }
    }

    /// Adds decisions that were made before, from headers alone.
    pub fn add_decisions(&mut self, more: Vec<SeriesDecision>) {
        if let Self::Rejected { decisions, .. } = self {
            decisions.extend(more);
        }
    }

    /// The decisions on the series, where there are any.
    pub fn decisions(&self) -> &[SeriesDecision] {
        match self {
            Self::Rejected { decisions, .. } => decisions,
            _ => &[],
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (class, code) = match &error {
            Error::NeedsTranscoding => (Class::Rejected, Code::TransferSyntaxNotSupported),
            Error::Rejected { code, .. } => (Class::Rejected, *code),
            Error::Config(_) => (Class::Permanent, Code::ConfigInvalid),
        };
        Self { class, code, detail: error.to_string(), source: None }
    }
}

/// Chooses the LGE short-axis stack among the objects of one study and reads its pixels.
///
/// `accepted` are the contrasts that the models' manifests list, best first; PSIR alone when they list none.
///
/// # Errors
/// [`Error::NeedsTranscoding`] when the chosen images (or MR images that cannot be opened at all) are in a transfer syntax
/// that is not decoded here; otherwise a coded rejection with the decisions on all series.
pub fn select(
    objects: &[SourceObject],
    config: &config::Study,
    limits: &config::Limits,
    accepted: &[Contrast],
) -> Result<Stack, Error> {
    let accepted = if accepted.is_empty() { &[Contrast::Psir] } else { accepted };
    let names = Names::new(config).map_err(Error::Config)?;
    if objects.len() > limits.study_instances {
        return Err(Error::rejected(Code::StudyTooLarge, "more objects than [limits] study_instances"));
    }
    let images = read_headers(objects, limits)?;
    one_study(&images)?;
    let choice = choose::choose(&images, &names, accepted, config.min_slices.max(1))?;
    let decisions = choice.decisions.clone();
    assemble(objects, choice, limits).map_err(|error| match error {
        Error::Rejected { code, detail, .. } => Error::Rejected { code, detail, decisions },
        other => other,
    })
}

/// The SOP Instance UIDs that a stack was made from, each once, in rising order: what `InputDigest::of` digests.
pub fn selected_instances(stack: &Stack) -> Vec<Uid> {
    let all: BTreeSet<&Uid> = stack.slices.iter().map(|slice| &slice.source.sop_instance).collect();
    all.into_iter().cloned().collect()
}

/// Reads the headers of all objects.
fn read_headers(objects: &[SourceObject], limits: &config::Limits) -> Result<Vec<Image>, Error> {
    let mut images = Vec::new();
    let mut unreadable = 0usize;
    for (index, object) in objects.iter().enumerate() {
        match read::read(object, Extent::Header, limits.instance_bytes) {
            Ok(set) => match Image::of(index, &set, limits) {
                Some(image) => images.push(image),
                None => unreadable += 1,
            },
            // An object of another kind cannot hold a slice of the stack: reports and videos may be what they like.
            Err(ReadError::UnknownSyntax { sop_class }) if !header::is_mr_image(&sop_class) => {}
            Err(ReadError::UnknownSyntax { .. }) => return Err(Error::NeedsTranscoding),
            Err(ReadError::NotDicom { sop_class: Some(sop_class) }) if !header::is_mr_image(&sop_class) => {}
            Err(ReadError::NotDicom { .. }) => unreadable += 1,
            Err(ReadError::TooLarge) => {
                return Err(Error::rejected(Code::StudyTooLarge, "an object is above [limits] instance_bytes"));
            }
        }
    }
    // It may be the slice that matters most; a mass without it would be wrong and look right.
    if unreadable > 0 {
        return Err(Error::rejected(
            Code::NotDicom,
            format!("{unreadable} of {} objects are not readable", objects.len()),
        ));
    }
    Ok(images)
}

/// Refuses objects of several studies: a measure belongs to one.
fn one_study(images: &[Image]) -> Result<(), Error> {
    let studies: BTreeSet<&Uid> =
        images.iter().filter(|image| image.kind == Kind::MrImage).filter_map(|image| image.study.as_ref()).collect();
    if studies.len() > 1 {
        return Err(Error::rejected(Code::BadRequest, "the MR images belong to more than one study"));
    }
    Ok(())
}

/// Orders the chosen frames and decodes them, one object at a time.
fn assemble(objects: &[SourceObject], choice: Choice, limits: &config::Limits) -> Result<Stack, Error> {
    let (placed, flags) = geometry::arrange(&choice.frames);
    if placed.iter().any(|placed| placed.height_mm <= 0.0) {
        return Err(Error::rejected(Code::GeometryInvalid, "neither positions nor SliceThickness tell the spacing"));
    }
    let mut slices: Vec<Option<Slice>> = placed.iter().map(|_| None).collect();
    let mut lossy = false;
    let mut commons: Vec<identity::Common> = Vec::new();
    let sources: BTreeSet<usize> = placed.iter().map(|placed| placed.frame.object).collect();
    for source in sources {
        let of_source = || placed.iter().enumerate().filter(move |(_, placed)| placed.frame.object == source);
        let (Some(object), Some((_, first))) = (objects.get(source), of_source().next()) else { continue };
        let decoder = Decoder::open(object, &first.frame, limits).map_err(pixel_error)?;
        commons.push(identity::Common::of(decoder.object()).ok_or_else(|| {
            Error::rejected(Code::GeometryInvalid, "StudyInstanceUID or FrameOfReferenceUID is missing")
        })?);
        for (index, placed) in of_source() {
            let pixels = decoder.frame(&placed.frame).map_err(pixel_error)?;
            lossy |= pixels.lossy;
            if let Some(slot) = slices.get_mut(index) {
                *slot = Some(slice(placed, pixels));
            }
        }
    }
    stack(choice, slices.into_iter().flatten().collect(), flags, lossy, commons)
}

fn slice(placed: &Placed, pixels: pixels::Pixels) -> Slice {
    let frame = &placed.frame;
    Slice {
        pixels: pixels.values,
        valid: pixels.valid,
        plane: placed.plane,
        thickness_mm: placed.thickness_mm,
        height_mm: placed.height_mm,
        source: SourceFrame {
            sop_class: frame.sop_class.clone(),
            sop_instance: frame.sop_instance.clone(),
            series: frame.series.clone(),
            frame: frame.number,
        },
    }
}

fn stack(
    choice: Choice,
    slices: Vec<Slice>,
    flags: Vec<StackFlag>,
    lossy: bool,
    commons: Vec<identity::Common>,
) -> Result<Stack, Error> {
    let mut commons = commons.into_iter();
    let Some(common) = commons.next() else {
        return Err(Error::rejected(Code::NoLgeSeries, "the chosen series holds no images"));
    };
    if commons.any(|other| other.identity.patient_key() != common.identity.patient_key()) {
        return Err(Error::rejected(Code::PatientChanged, "slices name different patients or accession numbers"));
    }
    Ok(Stack {
        identity: common.identity,
        contrast: choice.contrast,
        frame_of_reference: common.frame_of_reference,
        position_reference_indicator: common.position_reference_indicator,
        lossy,
        manufacturer: common.manufacturer,
        field_strength_t: common.field_strength_t,
        slices,
        flags,
        decisions: choice.decisions,
    })
}

fn pixel_error(error: PixelError) -> Error {
    match error {
        PixelError::NeedsTranscoding => Error::NeedsTranscoding,
        PixelError::Invalid(code, detail) => Error::rejected(code, detail),
    }
}
