//! Result images for viewers that do not show SEG: one RGB Secondary Capture with summary, bullseye and a frame per slice.
//!
//! Multi-frame True Color SC (PS3.3 A.8.5), so that a result is one object to send, to show and to retire. Nothing about the
//! patient is burned in; that nobody verified the result is.

use super::EncodeError;
use super::dicom::{Object, code, empty, sequence, text, texts, us};
use super::object::{self, Context, Series};
use super::overlay::{self, BANNER, SCAR, TEXT, Tile, write_text};
use super::words;
use crate::domain::artefact::{Artefact, ArtefactKind};
use crate::domain::codes;
use crate::domain::labels::Segmentation;
use crate::domain::measures::Measures;
use crate::domain::stack::Stack;
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::tags;
use image::RgbImage;
use image::imageops::{self, FilterType};

/// Multi-frame True Color Secondary Capture Image Storage.
pub const TRUE_COLOR_SC_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.7.4";

/// Rows and columns of a frame.
const SIDE: u32 = 384;
/// Room for the banner above a picture.
const HEAD: u32 = 20;
/// Distance of text lines.
const LINE: u32 = 16;

/// A frame and its label (at most 16 characters, SH).
pub struct Frame {
    /// FrameLabelVector (0018,2002).
    pub label: String,
    /// The picture, `SIDE` x `SIDE`.
    pub picture: RgbImage,
}

/// Encodes summary, bullseye and slices as one file; `shared` is what other pictures of the result need too: the view of the
/// slices, and the bullseye.
///
/// # Errors
/// When labels and stack differ in number, or the DICOM library refuses the object.
pub fn encode(
    stack: &Stack,
    labels: &Segmentation,
    measures: &Measures,
    shared: (&overlay::View, &RgbImage),
    context: &Context,
) -> Result<Artefact, EncodeError> {
    if stack.slices.len() != labels.slices.len() {
        return Err(EncodeError::Mismatch("number of slices"));
    }
    let (view, drawn) = shared;
    let mut frames = vec![summary(measures), bullseye(drawn)];
    frames.extend(slices(stack, labels, view));
    let who = &stack.identity;
    let identity = object::identity(&who.study, context, Series::Images, TRUE_COLOR_SC_STORAGE, "result-image");
    let mut object = object::common(who, context, Series::Images, &identity, 1);
    image(&mut object, &frames);
    references(&mut object, stack);
    let bytes = object::write(object, &identity)?;
    let name = ArtefactKind::ResultImage.name().to_owned();
    Ok(Artefact { kind: ArtefactKind::ResultImage, name, dicom: Some(identity), bytes })
}

fn image(object: &mut Object, frames: &[Frame]) {
    let side = u16::try_from(SIDE).unwrap_or(u16::MAX);
    texts(object, tags::IMAGE_TYPE, VR::CS, &["DERIVED".into(), "SECONDARY".into()]);
    text(object, tags::BODY_PART_EXAMINED, VR::CS, "HEART");
    // A page is not oriented in the patient: type 2C, there and empty.
    empty(object, tags::PATIENT_ORIENTATION, VR::CS);
    text(object, tags::CONVERSION_TYPE, VR::CS, "WSD");
    text(object, tags::DERIVATION_DESCRIPTION, VR::ST, BANNER);
    text(object, tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    text(object, tags::RECOGNIZABLE_VISUAL_FEATURES, VR::CS, "NO");
    text(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    us(object, tags::SAMPLES_PER_PIXEL, 3);
    text(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
    us(object, tags::PLANAR_CONFIGURATION, 0);
    us(object, tags::ROWS, side);
    us(object, tags::COLUMNS, side);
    us(object, tags::BITS_ALLOCATED, 8);
    us(object, tags::BITS_STORED, 8);
    us(object, tags::HIGH_BIT, 7);
    us(object, tags::PIXEL_REPRESENTATION, 0);
    text(object, tags::NUMBER_OF_FRAMES, VR::IS, frames.len().to_string());
    let labels: Vec<String> = frames.iter().map(|frame| frame.label.clone()).collect();
    texts(object, tags::FRAME_LABEL_VECTOR, VR::SH, &labels);
    let pointer = dicom_value!(Tags, [tags::FRAME_LABEL_VECTOR]);
    object.put(DataElement::new(tags::FRAME_INCREMENT_POINTER, VR::AT, pointer));
    let pixels: Vec<u8> = frames.iter().flat_map(|frame| frame.picture.as_raw()).copied().collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())));
}

/// The images that it was drawn on (General Image module, SourceImageSequence).
fn references(object: &mut Object, stack: &Stack) {
    let sources = object::sources_by_series(stack);
    let items = sources.into_iter().flat_map(|(_, sources)| sources).map(|source| {
        let mut item = object::instance_reference(&source.sop_class, &source.sop_instance);
        code(&mut item, tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, codes::SOURCE_IMAGE);
        item
    });
    sequence(object, tags::SOURCE_IMAGE_SEQUENCE, items.collect());
}

fn slices<'a>(stack: &'a Stack, labels: &'a Segmentation, view: &'a overlay::View) -> impl Iterator<Item = Frame> + 'a {
    let shown = stack.slices.iter().zip(&labels.slices).zip(&view.ranges);
    (1u32..).zip(shown).map(move |(number, ((slice, slice_labels), range))| {
        let mut picture = page();
        let tile = Tile { origin: (HEAD / 2, HEAD), side: SIDE - HEAD };
        overlay::draw_slice(&mut picture, tile, slice, slice_labels, view.window, *range);
        let label = format!("Slice {number}");
        write_text(&mut picture, tile.origin.0 + 4, HEAD + 4, &label, TEXT);
        Frame { label, picture }
    })
}

/// The bullseye, made smaller to fit below the banner.
fn bullseye(whole: &RgbImage) -> Frame {
    let (width, room) = (SIDE, SIDE - HEAD);
    let height = (whole.height() * width / whole.width().max(1)).clamp(1, room);
    let small = imageops::resize(whole, width, height, FilterType::Triangle);
    let mut picture = page();
    imageops::replace(&mut picture, &small, 0, i64::from(HEAD));
    Frame { label: "Bullseye".into(), picture }
}

/// The numbers in words.
fn summary(measures: &Measures) -> Frame {
    let mut picture = page();
    let width = ((SIDE - 16) / 8) as usize;
    let rows = words::lines(measures).iter().flat_map(|line| words::wrapped(line, width)).collect::<Vec<_>>();
    for (row, line) in (0u32..).zip(rows) {
        write_text(&mut picture, 8, HEAD + 8 + row * LINE, &line, TEXT);
    }
    Frame { label: "Summary".into(), picture }
}

fn page() -> RgbImage {
    let mut picture = RgbImage::new(SIDE, SIDE);
    write_text(&mut picture, 8, 6, BANNER, SCAR);
    picture
}
