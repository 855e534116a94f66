//! What a bullseye consists of, before it is drawn: fields, lines and texts in pixels, x to the right, y down.

use crate::domain::measures::{Measured, Measures, QualityGrade};
use crate::domain::segments::{SegmentMeasures, Territory, Transmurality, TransmuralityClass};
use crate::encode::overlay::BANNER;

/// Size of the picture.
pub const WIDTH: u32 = 900;
/// Size of the picture.
pub const HEIGHT: u32 = 720;
/// Middle of the rings.
pub const CENTRE: (f64, f64) = (330.0, 390.0);
/// Radii: apex, apical, mid, basal.
pub const RADII: [f64; 4] = [42.0, 124.0, 206.0, 288.0];

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Background.
pub const PAPER: Colour = [255, 255, 255];
/// Text and lines.
pub const INK: Colour = [20, 20, 20];
/// What was not assessed.
const ABSENT: Colour = [190, 190, 190];
/// Quieter text.
const QUIET: Colour = [90, 90, 90];
/// One hue from light to dark (ColorBrewer YlOrBr, which its authors call safe for colour-blind readers), by class.
const CLASSES: [Colour; 5] = [[255, 255, 255], [254, 227, 145], [254, 153, 41], [204, 76, 2], [110, 38, 5]];

/// A field between two radii and two angles (degrees, counter-clockwise from the right).
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// AHA number; 17 is the apex.
    pub segment: u8,
    /// Inner and outer radius.
    pub radii: (f64, f64),
    /// From and to.
    pub angles: (f64, f64),
    /// Fill.
    pub fill: Colour,
}

/// A straight line.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Ends.
    pub ends: [(f64, f64); 2],
    /// Width.
    pub width: f64,
}

/// Where a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its position.
    Start,
    /// Its middle is at its position.
    Middle,
}

/// A line of text; `at` is the middle of its height.
#[derive(Debug, Clone)]
pub struct Text {
    /// Position.
    pub at: (f64, f64),
    /// Height of the letters.
    pub size: f64,
    /// What it says.
    pub text: String,
    /// Colour.
    pub colour: Colour,
    /// Where it begins.
    pub anchor: Anchor,
}

/// Everything on the picture.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// Segments and apex.
    pub fields: Vec<Field>,
    /// Boxes of the legend: left, top, width, height, fill.
    pub boxes: Vec<(f64, f64, f64, f64, Colour)>,
    /// Borders of segments and, wider, of territories.
    pub lines: Vec<Line>,
    /// Words and numbers.
    pub texts: Vec<Text>,
}

impl Scene {
    /// The bullseye of a result.
    pub fn of(measures: &Measures) -> Self {
        let mut scene = Self::default();
        for segment in &measures.segments.segments {
            scene.add_segment(segment);
        }
        scene.fields.push(Field { segment: 17, radii: (0.0, RADII[0]), angles: (0.0, 360.0), fill: ABSENT });
        scene.write(CENTRE, 16.0, "17 n/a", INK, Anchor::Middle);
        scene.add_borders();
        scene.add_names();
        scene.add_head(measures);
        scene.add_legend(measures);
        scene
    }

    fn write(&mut self, at: (f64, f64), size: f64, text: impl Into<String>, colour: Colour, anchor: Anchor) {
        self.texts.push(Text { at, size, text: text.into(), colour, anchor });
    }

    fn add_segment(&mut self, measures: &SegmentMeasures) {
        let Some((radii, angles)) = place(measures.segment) else { return };
        let (fill, lines) = match measures.transmurality {
            Measured::Value(t) => (fill(t.class), numbers(&t)),
            Measured::Absent(_) => (ABSENT, ["n/a".to_owned(), String::new(), String::new()]),
        };
        self.fields.push(Field { segment: measures.segment, radii, angles, fill });
        let (x, y) = polar(0.5 * (radii.0 + radii.1), 0.5 * (angles.0 + angles.1));
        let ink = readable(fill);
        self.write((x, y - 30.0), 16.0, measures.segment.to_string(), ink, Anchor::Middle);
        for (index, line) in lines.into_iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            self.write((x, y - 12.0 + 18.0 * index as f64), 16.0, line, ink, Anchor::Middle);
        }
    }

    /// Thin borders of segments, thick ones where the nominal territory changes.
    fn add_borders(&mut self) {
        const STEP: f64 = 5.0;
        let width = |a: Option<u8>, b: Option<u8>| match (a, b) {
            (Some(a), Some(b)) if a == b => None,
            (Some(a), Some(b)) if a < 17 && b < 17 && Territory::of(a) == Territory::of(b) => Some(1.5),
            (Some(a), Some(b)) if a == 17 || b == 17 => Some(1.5),
            _ => Some(5.0),
        };
        let steps = (360.0 / STEP) as usize;
        for angle in (0..steps).map(|k| k as f64 * STEP) {
            for radius in RADII {
                let (inside, outside) =
                    (segment_at(radius - 1.0, angle + 0.5 * STEP), segment_at(radius + 1.0, angle + 0.5 * STEP));
                if let Some(width) = width(inside, outside) {
                    self.lines.push(Line { ends: [polar(radius, angle), polar(radius, angle + STEP)], width });
                }
            }
            for ring in RADII.windows(2) {
                let [low, high] = *ring else { continue };
                let middle = 0.5 * (low + high);
                if let Some(width) = width(segment_at(middle, angle - 1.0), segment_at(middle, angle + 1.0)) {
                    self.lines.push(Line { ends: [polar(low, angle), polar(high, angle)], width });
                }
            }
        }
    }

    fn add_names(&mut self) {
        for (text, angle) in [("anterior", 90.0), ("inferior", 270.0)] {
            let (x, y) = polar(RADII[3] + 16.0, angle);
            self.write((x, y), 16.0, text, QUIET, Anchor::Middle);
        }
        for (text, x) in [("septal", CENTRE.0 - RADII[3] - 8.0), ("lateral", CENTRE.0 + RADII[3] - 34.0)] {
            self.write((x.max(4.0), CENTRE.1 - RADII[3] + 30.0), 16.0, text, QUIET, Anchor::Start);
        }
        for (territory, angle) in [(Territory::Lad, 125.0), (Territory::Rca, 235.0), (Territory::Lcx, 325.0)] {
            let (x, y) = polar(RADII[3] + 26.0, angle);
            self.write((x, y), 16.0, territory.text(), INK, Anchor::Middle);
        }
    }

    fn add_head(&mut self, measures: &Measures) {
        let quality = match measures.quality.grade {
            QualityGrade::Good => "good",
            QualityGrade::Limited => "limited",
            QualityGrade::NotUsable => "not usable",
        };
        let directions = match measures.segments.directions {
            Measured::Value(directions) => directions.source.text(),
            Measured::Absent(reason) => reason.text(),
        };
        self.write((12.0, 18.0), 16.0, BANNER, [160, 40, 0], Anchor::Start);
        self.write((12.0, 40.0), 16.0, format!("image quality: {quality}"), INK, Anchor::Start);
        self.write((12.0, 60.0), 16.0, format!("directions: {directions}"), INK, Anchor::Start);
    }

    fn add_legend(&mut self, measures: &Measures) {
        let left = CENTRE.0 + RADII[3] + 70.0;
        self.write((left, 120.0), 16.0, "mean scar depth,", INK, Anchor::Start);
        self.write((left, 138.0), 16.0, "% of wall", INK, Anchor::Start);
        let mut top = 156.0;
        let classes = TransmuralityClass::ALL.map(|class| (class.text(), fill(class)));
        for (text, fill) in classes.into_iter().chain([("not assessed", ABSENT)]) {
            self.boxes.push((left, top, 26.0, 20.0, fill));
            self.write((left + 36.0, top + 10.0), 16.0, text, INK, Anchor::Start);
            top += 28.0;
        }
        top += 20.0;
        self.write((left, top), 16.0, "territories, nominal:", INK, Anchor::Start);
        for territory in &measures.segments.territories {
            top += 24.0;
            let text = match territory.transmurality {
                Measured::Value(t) => format!("{} {:.1}", territory.territory.text(), t.mean.0),
                Measured::Absent(_) => format!("{} n/a", territory.territory.text()),
            };
            self.write((left, top), 16.0, text, INK, Anchor::Start);
            if let Measured::Value(t) = territory.transmurality {
                self.write((left + 84.0, top), 16.0, format!("max {:.1}", t.maximum.0), INK, Anchor::Start);
            }
        }
        top += 44.0;
        for line in [
            "per segment: number,",
            "mean over all chords,",
            "largest mean of five",
            "neighbouring chords",
            "(max), [class of mean]",
        ] {
            self.write((left, top), 16.0, line, QUIET, Anchor::Start);
            top += 20.0;
        }
    }
}

fn numbers(t: &Transmurality) -> [String; 3] {
    [format!("{:.1}", t.mean.0), format!("max {:.1}", t.maximum.0), format!("[{}]", t.class.text())]
}

fn fill(class: TransmuralityClass) -> Colour {
    let [none, to25, to50, to75, to100] = CLASSES;
    match class {
        TransmuralityClass::None => none,
        TransmuralityClass::To25 => to25,
        TransmuralityClass::To50 => to50,
        TransmuralityClass::To75 => to75,
        TransmuralityClass::To100 => to100,
    }
}

/// Black or white, whichever stands out from a fill.
fn readable([r, g, b]: Colour) -> Colour {
    let light = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    if light > 120.0 { INK } else { PAPER }
}

/// A point at a radius and an angle (degrees, counter-clockwise from the right).
pub fn polar(radius: f64, degrees: f64) -> (f64, f64) {
    let (sin, cos) = degrees.to_radians().sin_cos();
    (CENTRE.0 + radius * cos, CENTRE.1 - radius * sin)
}

/// Radii and angles of a segment: anterior at the top, septum on the left, base outside (Cerqueira 2002).
fn place(segment: u8) -> Option<((f64, f64), (f64, f64))> {
    let [apex, apical, mid, basal] = RADII;
    let six = |first: u8| 60.0 + 60.0 * f64::from(segment - first);
    let (radii, from, width) = match segment {
        1..=6 => ((mid, basal), six(1), 60.0),
        7..=12 => ((apical, mid), six(7), 60.0),
        13..=16 => ((apex, apical), 45.0 + 90.0 * f64::from(segment - 13), 90.0),
        _ => return None,
    };
    Some((radii, (from, from + width)))
}

/// The segment at a radius and an angle; 17 at the apex.
pub fn segment_at(radius: f64, degrees: f64) -> Option<u8> {
    if radius < RADII[0] {
        return Some(17);
    }
    (1..=16).find(|segment| {
        place(*segment).is_some_and(|(radii, (from, to))| {
            (radii.0..radii.1).contains(&radius) && (degrees - from).rem_euclid(360.0) < to - from
        })
    })
}
