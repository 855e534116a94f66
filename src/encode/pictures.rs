//! Result images for viewers that do not show SEG: one RGB Secondary Capture with a frame per slice and a summary.
//!
//! Multi-frame True Color SC (PS3.3 A.8.5), so that a result is one object to send, to show and to retire. Nothing about the
//! patient is burned in; that nobody verified the result is.

use super::EncodeError;
use super::dicom::{Object, code, empty, sequence, text, texts, us};
use super::object::{self, Context, Series};
use super::overlay::{self, BANNER, SCAR, TEXT, Tile, write_text};
use crate::domain::artefact::{Artefact, ArtefactKind};
use crate::domain::codes;
use crate::domain::labels::Segmentation;
use crate::domain::measures::{Measured, Measures, QualityGrade};
use crate::domain::stack::Stack;
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::tags;
use image::RgbImage;

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

/// Encodes summary and slices as one file.
///
/// # Errors
/// When labels and stack differ in number, or the DICOM library refuses the object.
pub fn encode(
    stack: &Stack,
    labels: &Segmentation,
    measures: &Measures,
    context: &Context,
) -> Result<Artefact, EncodeError> {
    if stack.slices.len() != labels.slices.len() {
        return Err(EncodeError::Mismatch("number of slices"));
    }
    let mut frames = vec![summary(measures)];
    frames.extend(slices(stack, labels));
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

fn slices<'a>(stack: &'a Stack, labels: &'a Segmentation) -> impl Iterator<Item = Frame> + 'a {
    let window = overlay::window(stack, labels);
    (1u32..).zip(stack.slices.iter().zip(&labels.slices)).map(move |(number, (slice, slice_labels))| {
        let mut picture = page();
        let tile = Tile { origin: (HEAD / 2, HEAD), side: SIDE - HEAD };
        overlay::draw_slice(&mut picture, tile, slice, slice_labels, window);
        let label = format!("Slice {number}");
        write_text(&mut picture, tile.origin.0 + 4, HEAD + 4, &label, TEXT);
        Frame { label, picture }
    })
}

/// The numbers in words.
fn summary(measures: &Measures) -> Frame {
    let mut picture = page();
    for (row, line) in (0u32..).zip(lines(measures)) {
        write_text(&mut picture, 8, HEAD + 8 + row * LINE, &line, TEXT);
    }
    Frame { label: "Summary".into(), picture }
}

fn lines(measures: &Measures) -> Vec<String> {
    fn shown<T: Copy + std::fmt::Display>(name: &str, value: Measured<T>) -> [String; 2] {
        match value {
            Measured::Value(value) => [format!("{name} {value:.1}"), String::new()],
            Measured::Absent(reason) => [format!("{name} no value:"), format!("  {}", reason.text())],
        }
    }
    let grade = match measures.quality.grade {
        QualityGrade::Good => "good",
        QualityGrade::Limited => "limited",
        QualityGrade::NotUsable => "not usable",
    };
    let mut lines = vec!["LGE QUANTIFICATION, LEFT VENTRICLE".to_owned(), format!("Image quality: {grade}")];
    lines.extend(measures.quality.reasons.iter().map(|reason| format!("  {reason}")));
    lines.extend(shown("LV mass (LGE short axis)", measures.lv_mass));
    lines.extend(shown("LGE mass incl. no-reflow", measures.scar_mass));
    lines.extend(shown("  of LV mass", measures.burden));
    lines.extend(shown("No-reflow mass", measures.no_reflow_mass));
    lines.retain(|line| !line.is_empty());
    lines.extend(measures.review_flags.iter().map(|flag| format!("For review: {}", flag.text())));
    lines.push("Preliminary. The age of an infarct is not known.".into());
    let width = ((SIDE - 16) / 8) as usize;
    lines.into_iter().flat_map(|line| wrapped(&line, width)).collect()
}

/// Breaks a line between words where it is longer than a page.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut rows: Vec<String> = vec![indent.clone()];
    for word in line.split_whitespace() {
        let fits = rows.last().is_some_and(|row| row.trim().is_empty() || row.len() + 1 + word.len() <= width);
        if !fits {
            rows.push(format!("{indent}  "));
        }
        if let Some(row) = rows.last_mut() {
            if !row.trim().is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
    }
    rows
}

fn page() -> RgbImage {
    let mut picture = RgbImage::new(SIDE, SIDE);
    write_text(&mut picture, 8, 6, BANNER, SCAR);
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_and_nothing_is_lost() {
        let line = "  For review: scar burden is above what the models were trained on";
        let rows = wrapped(line, 30);
        assert!(rows.len() > 1 && rows.iter().all(|row| row.len() <= 30 && row.starts_with("  ")), "{rows:?}");
        let words: Vec<&str> = rows.iter().flat_map(|row| row.split_whitespace()).collect();
        assert_eq!(words, line.split_whitespace().collect::<Vec<_>>());
    }
}
