//! The scene as SVG text.

use super::scene::{Anchor, CENTRE, Colour, Field, HEIGHT, INK, PAPER, Scene, WIDTH, polar};
use std::fmt::Write;

/// The SVG document.
pub fn draw(scene: &Scene) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"Helvetica, Arial, sans-serif\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"{}\"/>\n",
        hex(PAPER)
    );
    for field in &scene.fields {
        let _ = writeln!(out, "{}", sector(field));
    }
    for (x, y, width, height, fill) in &scene.boxes {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{}\" stroke=\"{}\"/>",
            hex(*fill),
            hex(INK)
        );
    }
    for line in &scene.lines {
        let [(x1, y1), (x2, y2)] = line.ends;
        let _ = writeln!(
            out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{}\" stroke-width=\"{}\" \
             stroke-linecap=\"round\"/>",
            hex(INK),
            line.width
        );
    }
    for text in &scene.texts {
        let anchor = if text.anchor == Anchor::Middle { "middle" } else { "start" };
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{anchor}\" \
             dominant-baseline=\"central\">{}</text>",
            text.at.0,
            text.at.1,
            text.size,
            hex(text.colour),
            escaped(&text.text)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn sector(field: &Field) -> String {
    let (inner, outer) = field.radii;
    let (from, to) = field.angles;
    let fill = hex(field.fill);
    if inner == 0.0 {
        let (x, y) = CENTRE;
        return format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{outer}\" fill=\"{fill}\"/>");
    }
    let p = |radius, angle| {
        let (x, y) = polar(radius, angle);
        format!("{x:.1} {y:.1}")
    };
    // Counter-clockwise outside (sweep 0: y points down), clockwise back inside.
    format!(
        "<path id=\"segment-{}\" fill=\"{fill}\" d=\"M{} A{outer} {outer} 0 0 0 {} L{} A{inner} {inner} 0 0 1 {} Z\"/>",
        field.segment,
        p(outer, from),
        p(outer, to),
        p(inner, to),
        p(inner, from)
    )
}

fn hex([r, g, b]: Colour) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
