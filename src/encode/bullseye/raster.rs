//! The scene as pixels, with the 8 x 8 bitmap font of the other pictures.

use super::scene::{Anchor, CENTRE, Colour, HEIGHT, INK, Line, PAPER, RADII, Scene, Text, WIDTH, segment_at};
use font8x8::UnicodeFonts;
use image::{Rgb, RgbImage};

/// Size of a letter of the font, pixels.
const GLYPH: u32 = 8;

/// The picture, WIDTH x HEIGHT.
pub fn draw(scene: &Scene) -> RgbImage {
    let mut canvas = RgbImage::from_pixel(WIDTH, HEIGHT, Rgb(PAPER));
    fields(&mut canvas, scene);
    for (x, y, width, height, fill) in &scene.boxes {
        rectangle(&mut canvas, (*x, *y), (*width, *height), INK);
        rectangle(&mut canvas, (*x + 1.0, *y + 1.0), (*width - 2.0, *height - 2.0), *fill);
    }
    scene.lines.iter().for_each(|line| stroke(&mut canvas, line));
    scene.texts.iter().for_each(|text| write(&mut canvas, text));
    canvas
}

fn fields(canvas: &mut RgbImage, scene: &Scene) {
    let outer = RADII[RADII.len() - 1];
    for (x, y, pixel) in canvas.enumerate_pixels_mut() {
        let (dx, dy) = (f64::from(x) + 0.5 - CENTRE.0, CENTRE.1 - f64::from(y) - 0.5);
        if dx * dx + dy * dy < outer * outer {
            let segment = segment_at(dx.hypot(dy), dy.atan2(dx).to_degrees());
            let field = scene.fields.iter().find(|field| Some(field.segment) == segment);
            *pixel = Rgb(field.map_or(PAPER, |field| field.fill));
        }
    }
}

fn rectangle(canvas: &mut RgbImage, (left, top): (f64, f64), (width, height): (f64, f64), fill: Colour) {
    for y in top as u32..(top + height) as u32 {
        for x in left as u32..(left + width) as u32 {
            if let Some(pixel) = canvas.get_pixel_mut_checked(x, y) {
                *pixel = Rgb(fill);
            }
        }
    }
}

/// A line with round ends; its edges are blended over one pixel.
fn stroke(canvas: &mut RgbImage, line: &Line) {
    let [(ax, ay), (bx, by)] = line.ends;
    let reach = 0.5 * line.width + 1.0;
    let span = |a: f64, b: f64| (a.min(b) - reach).max(0.0) as u32..=(a.max(b) + reach).max(0.0) as u32;
    let (dx, dy) = (bx - ax, by - ay);
    let squared = (dx * dx + dy * dy).max(1e-9);
    for y in span(ay, by) {
        for x in span(ax, bx) {
            let (px, py) = (f64::from(x) + 0.5 - ax, f64::from(y) + 0.5 - ay);
            let along = ((px * dx + py * dy) / squared).clamp(0.0, 1.0);
            let distance = (px - along * dx).hypot(py - along * dy);
            let cover = (0.5 * line.width + 0.5 - distance).clamp(0.0, 1.0);
            if let Some(Rgb(pixel)) = canvas.get_pixel_mut_checked(x, y) {
                let under = *pixel;
                *pixel = std::array::from_fn(|k| {
                    (f64::from(under[k]) * (1.0 - cover) + f64::from(INK[k]) * cover).round() as u8
                });
            }
        }
    }
}

fn write(canvas: &mut RgbImage, text: &Text) {
    let length = text.text.chars().count() as f64 * f64::from(GLYPH);
    let left = if text.anchor == Anchor::Middle { text.at.0 - 0.5 * length } else { text.at.0 };
    let (left, top) = (left.max(0.0) as u32, (text.at.1 - 0.5 * f64::from(GLYPH)).max(0.0) as u32);
    for (index, character) in (0u32..).zip(text.text.chars()) {
        let Some(glyph) = font8x8::BASIC_FONTS.get(character) else { continue };
        for (row, bits) in (0u32..).zip(glyph) {
            for bit in (0..GLYPH).filter(|bit| bits >> bit & 1 == 1) {
                if let Some(pixel) = canvas.get_pixel_mut_checked(left + index * GLYPH + bit, top + row) {
                    *pixel = Rgb(text.colour);
                }
            }
        }
    }
}
