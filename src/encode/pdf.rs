//! The result on one page (PDF 1.7), for EHRs that show documents: numbers, pictures, what it may be used for.

use super::EncodeError;
use super::words;
use crate::domain::artefact::{Artefact, ArtefactKind};
use crate::domain::identity::StudyIdentity;
use crate::domain::measures::Measures;
use crate::domain::provenance::{ModelRef, use_notice};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::RgbImage;
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use std::io::Write;

/// A4, points.
const PAGE: (f32, f32) = (595.0, 842.0);
const MARGIN: f32 = 42.0;
const FONT_PT: f32 = 9.5;
const LEADING: f32 = 13.0;
/// Characters of a line of text; Helvetica is about half as wide as high.
const LINE_WIDTH: usize = 105;

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const ONLY_PAGE: Ref = Ref::new(3);
const CONTENT: Ref = Ref::new(4);
const REGULAR: Ref = Ref::new(5);
const BOLD: Ref = Ref::new(6);
const INFO: Ref = Ref::new(7);
const FIRST_IMAGE: i32 = 8;
/// Compression of pictures: the usual level 6 takes about twice the time for few bytes less.
const PACKING: Compression = Compression::new(3);
const TITLE: &str = "LGE quantification, left ventricle";

/// What the page shows besides its numbers.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Whose study it is: identifiers only, because the standard fonts of PDF cannot write every name.
    pub identity: &'a StudyIdentity,
    /// The numbers.
    pub measures: &'a Measures,
    /// Models that took part.
    pub models: &'a [ModelRef],
    /// Pictures from top to bottom, each as wide as the page allows.
    pub pictures: &'a [RgbImage],
}

/// Encodes the page.
///
/// # Errors
/// When a picture cannot be compressed.
pub fn encode(facts: &Facts<'_>) -> Result<Artefact, EncodeError> {
    let mut pdf = Pdf::new();
    pdf.catalog(CATALOG).pages(PAGES);
    pdf.pages(PAGES).kids([ONLY_PAGE]).count(1);
    pdf.document_info(INFO).title(TextStr(TITLE)).producer(TextStr("scargate"));
    let mut page = pdf.page(ONLY_PAGE);
    page.media_box(Rect::new(0.0, 0.0, PAGE.0, PAGE.1)).parent(PAGES).contents(CONTENT);
    let mut resources = page.resources();
    resources.fonts().pair(Name(b"F1"), REGULAR).pair(Name(b"F2"), BOLD);
    let mut images = resources.x_objects();
    for (number, _) in (0..).zip(facts.pictures) {
        images.pair(Name(image_name(number).as_bytes()), Ref::new(FIRST_IMAGE + number));
    }
    images.finish();
    resources.finish();
    page.finish();
    for (id, name) in [(REGULAR, &b"Helvetica"[..]), (BOLD, &b"Helvetica-Bold"[..])] {
        pdf.type1_font(id).base_font(Name(name)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for (number, picture) in (0..).zip(facts.pictures) {
        let packed = packed(picture.as_raw())?;
        let mut image = pdf.image_xobject(Ref::new(FIRST_IMAGE + number), &packed);
        image.filter(Filter::FlateDecode);
        image.width(pixels(picture.width())).height(pixels(picture.height()));
        image.color_space().device_rgb();
        image.bits_per_component(8);
    }
    pdf.stream(CONTENT, &content(facts).finish());
    let name = ArtefactKind::Report.name().to_owned();
    Ok(Artefact { kind: ArtefactKind::Report, name, dicom: None, bytes: pdf.finish() })
}

fn image_name(number: i32) -> String {
    format!("Im{number}")
}

fn pixels(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn packed(bytes: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = ZlibEncoder::new(Vec::new(), PACKING);
    let done = encoder.write_all(bytes).and_then(|()| encoder.finish());
    done.map_err(|error| EncodeError::Write(error.to_string()))
}

/// Text from the top down, then the pictures in what room is left.
fn content(facts: &Facts<'_>) -> Content {
    let mut content = Content::new();
    let mut y = PAGE.1 - MARGIN;
    let mut write = |content: &mut Content, font: &[u8], size: f32, text: &str| {
        y -= LEADING * size / FONT_PT;
        content.begin_text().set_font(Name(font), size).next_line(MARGIN, y).show(Str(&win_ansi(text))).end_text();
    };
    write(&mut content, b"F2", 15.0, TITLE);
    write(&mut content, b"F2", FONT_PT, use_notice(facts.models));
    for line in identity_lines(facts.identity) {
        write(&mut content, b"F1", FONT_PT, &line);
    }
    write(&mut content, b"F1", FONT_PT, "");
    for line in words::lines(facts.measures).iter().flat_map(|line| words::wrapped(line, LINE_WIDTH)) {
        write(&mut content, b"F1", FONT_PT, &line);
    }
    write(&mut content, b"F1", FONT_PT, "");
    let models = facts.models.iter().map(|m| format!("{} {} {}", m.role, m.name, m.version)).collect::<Vec<_>>();
    let made = format!("scargate {}; models: {}", env!("CARGO_PKG_VERSION"), models.join(", "));
    for line in words::wrapped(&made, LINE_WIDTH) {
        write(&mut content, b"F1", 7.5, &line);
    }
    place(&mut content, facts.pictures, y - LEADING);
    content
}

/// Puts the pictures below one another, made smaller where the page ends.
fn place(content: &mut Content, pictures: &[RgbImage], top: f32) {
    let count = pictures.len().max(1) as f32;
    let room = ((top - MARGIN) / count - LEADING).max(0.0);
    let mut top = top;
    for (number, picture) in (0..).zip(pictures) {
        let (width, height) = (picture.width().max(1) as f32, picture.height().max(1) as f32);
        let scale = ((PAGE.0 - 2.0 * MARGIN) / width).min(room / height);
        let (width, height) = (width * scale, height * scale);
        content.save_state().transform([width, 0.0, 0.0, height, MARGIN, top - height]);
        content.x_object(Name(image_name(number).as_bytes())).restore_state();
        top -= height + LEADING;
    }
}

fn identity_lines(who: &StudyIdentity) -> Vec<String> {
    let facts = [
        ("Patient ID", &who.patient_id),
        ("Born", &who.patient_birth_date),
        ("Accession number", &who.accession_number),
        ("Study date", &who.study_date),
    ];
    let stated: Vec<String> =
        facts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}: {value}")).collect();
    vec![stated.join("   ")]
}

/// Latin-1 is what `WinAnsiEncoding` and Unicode share; anything else becomes a question mark.
fn win_ansi(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok().filter(|byte| matches!(byte, 0x20..=0x7E | 0xA0..)).unwrap_or(b'?'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_what_the_encoding_has_and_marks_the_rest() {
        assert_eq!(win_ansi("Zo\u{eb} 5 \u{141}"), b"Zo\xEB 5 ?");
    }
}
