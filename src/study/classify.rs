//! What a series shows: its contrast, its view, and whether it is late enhancement. Attributes and geometry decide; names
//! add to a score and never decide alone, because sites edit them.

use super::header::{Frame, Image, Kind};
use crate::config;
use crate::domain::stack::{Contrast, Vector3, cross, dot};
use regex_lite::Regex;
use std::collections::BTreeSet;

/// Direction from base to apex of an average heart, LPS: to the left, forward and down. A heuristic: hearts differ by up
/// to 40 degrees from it, long-axis planes by about 90.
const LONG_AXIS: Vector3 = [0.62, -0.52, -0.58];
/// |normal . LONG_AXIS| above which a plane counts as short axis.
const SHORT_AXIS_MIN: f64 = 0.75;
/// Images at one position from which on a series is a movie of some kind.
const MOVIE_FRAMES: usize = 4;
/// Score from which on a series counts as late enhancement.
const SCORE_MIN: i32 = 3;

/// What a frame's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Component {
    Psir,
    Magnitude,
    Phase,
}

/// The site's patterns and ours.
pub(super) struct Names {
    include: Regex,
    exclude: Regex,
    psir: Regex,
    magnitude: Regex,
    early: Regex,
    dark_blood: Regex,
}

impl Names {
    /// Compiles the patterns; the error names the key that is not a regular expression.
    pub(super) fn new(config: &config::Study) -> Result<Self, &'static str> {
        let compile = |pattern: &str, key: &'static str| Regex::new(&format!("(?i){pattern}")).map_err(|_| key);
        Ok(Self {
            include: compile(&config.include, "study.include")?,
            exclude: compile(&config.exclude, "study.exclude")?,
            psir: compile(r"PSIR|(^|[_ ])PS[_ ]", "study")?,
            magnitude: compile(r"(^|[_ ])MAG", "study")?,
            early: compile(r"EARLY|(^|[_ ])EGE([_ ]|$)", "study")?,
            dark_blood: compile(r"DARK.?BLOOD|BLACK.?BLOOD|(^|[_ ])DB([_ ]|$)", "study")?,
        })
    }
}

/// What is known of a series once all its headers were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    /// Cannot be the stack, for this reason.
    Excluded(&'static str),
    /// Late enhancement: score, and the peculiarity that no shipped model accepts, if any.
    Late {
        /// How well it fits.
        score: i32,
        /// `early-enhancement` or `three-dimensional`.
        unusual: Option<&'static str>,
        /// By name.
        dark_blood: bool,
    },
}

/// Sorts a series by everything but the directions of its planes.
pub(super) fn view(images: &[Image], names: &Names) -> View {
    if images.iter().all(|image| image.kind == Kind::OtherModality) {
        return View::Excluded("not-mr");
    }
    let Some(first) = images.iter().find(|image| image.kind == Kind::MrImage) else {
        return View::Excluded("not-an-image");
    };
    let frames: Vec<&Frame> = images.iter().flat_map(|image| &image.frames).collect();
    let flagged = |word: &str| frames.iter().any(|frame| frame.image_type.iter().any(|text| text == word));
    if flagged("LOCALIZER") || is_three_plane(&frames) {
        return View::Excluded("localizer");
    }
    if ["MPR", "MAP", "MOSAIC", "SCREEN SAVE", "PROJECTION IMAGE"].iter().any(|word| flagged(word)) {
        return View::Excluded("derived");
    }
    if let Some(reason) = movie(&frames) {
        return View::Excluded(reason);
    }
    late(first, &frames, names)
}

/// Whether a series is inversion-recovery gradient echo, and how much speaks for late enhancement.
fn late(first: &Image, frames: &[&Frame], names: &Names) -> View {
    let sequence = &first.scanning_sequence;
    if sequence.iter().any(|text| text == "SE") && !sequence.iter().any(|text| text == "GR") {
        return View::Excluded("spin-echo");
    }
    let psir = frames.iter().any(|frame| is_psir_by_attributes(frame));
    let inversion = frames.iter().any(|frame| frame.inversion_recovery || frame.inversion_ms.is_some());
    if !psir && !inversion {
        return View::Excluded("no-inversion-recovery");
    }
    let in_range = frames.iter().any(|frame| frame.inversion_ms.is_some_and(|ms| (150.0..=600.0).contains(&ms)));
    let included = names.include.is_match(&first.name);
    let excluded = names.exclude.is_match(&first.name);
    let points = [(inversion, 2), (in_range, 1), (psir, 2), (included, 2), (excluded, -3), (first.contrast_agent, 1)];
    let score = points.iter().filter(|(holds, _)| *holds).map(|(_, points)| points).sum();
    if score < SCORE_MIN {
        return View::Excluded(if excluded { "name-excluded" } else { "not-late-enhancement" });
    }
    let unusual = if names.early.is_match(&first.name) {
        Some("early-enhancement")
    } else {
        first.three_dimensional.then_some("three-dimensional")
    };
    View::Late { score, unusual, dark_blood: names.dark_blood.is_match(&first.name) }
}

/// Why a series with many images per position is not a stack of single images.
fn movie(frames: &[&Frame]) -> Option<&'static str> {
    let mut groups: Vec<Vec<&Frame>> = Vec::new();
    for frame in frames {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| same_place(first, frame))) {
            Some(group) => group.push(frame),
            None => groups.push(vec![frame]),
        }
    }
    let distinct = |group: &[&Frame], value: fn(&Frame) -> Option<f64>| {
        let values = group.iter().filter_map(|frame| value(frame)).map(|value| (value * 2.0).round() as i64);
        values.collect::<BTreeSet<_>>().len()
    };
    let crowded: Vec<_> = groups.iter().filter(|group| group.len() >= MOVIE_FRAMES).collect();
    if crowded.len() * 2 < groups.len() || crowded.is_empty() {
        return None;
    }
    if crowded.iter().any(|group| distinct(group, |frame| frame.inversion_ms) >= 3) {
        return Some("ti-scout");
    }
    if crowded.iter().any(|group| distinct(group, |frame| frame.trigger_ms) >= MOVIE_FRAMES) {
        return Some("cine");
    }
    Some("dynamic")
}

/// Same kind of image in the same plane within half a millimetre; frames without geometry share no place.
fn same_place(a: &Frame, b: &Frame) -> bool {
    let (Some(p), Some(q), Some(u), Some(v)) = (a.position, b.position, a.orientation, b.orientation) else {
        return false;
    };
    let near = p.iter().zip(q).all(|(p, q)| (p - q).abs() < 0.5);
    near && angle_between(u, v) <= 1.0 && a.image_type == b.image_type && a.complex_component == b.complex_component
}

/// Largest angle between the normals and between the row directions of two planes, degrees.
pub(super) fn angle_between(a: (Vector3, Vector3), b: (Vector3, Vector3)) -> f64 {
    let degrees = |u: Vector3, v: Vector3| dot(u, v).clamp(-1.0, 1.0).acos().to_degrees();
    degrees(cross(a.0, a.1), cross(b.0, b.1)).max(degrees(a.0, b.0))
}

/// Planes in three directions, each far from the others.
fn is_three_plane(frames: &[&Frame]) -> bool {
    let mut normals: Vec<Vector3> = Vec::new();
    for (row, column) in frames.iter().filter_map(|frame| frame.orientation) {
        let normal = cross(row, column);
        if normals.iter().all(|other| dot(*other, normal).abs() < 0.5) {
            normals.push(normal);
        }
    }
    normals.len() >= 3
}

/// Whether a plane cuts the heart across its long axis.
pub(super) fn is_short_axis(frame: &Frame) -> Option<bool> {
    let (row, column) = frame.orientation?;
    Some(dot(cross(row, column), LONG_AXIS).abs() > SHORT_AXIS_MIN)
}

/// Words of ImageType from the third on, also those joined by an underscore (`R_IR`).
fn words(frame: &Frame) -> impl Iterator<Item = &str> {
    frame.image_type.iter().skip(2).flat_map(|text| text.split('_'))
}

fn is_psir_by_attributes(frame: &Frame) -> bool {
    frame.complex_component == "REAL" || words(frame).any(|word| matches!(word, "PSIR" | "R" | "REAL"))
}

/// What the values of a frame are. ImageType and ComplexImageComponent come first; where they say nothing, the name and a
/// range that reaches below zero do; what remains unproven counts as magnitude.
pub(super) fn component(frame: &Frame, name: &str, names: &Names) -> Component {
    if is_psir_by_attributes(frame) {
        return Component::Psir;
    }
    let named_psir = names.psir.is_match(name) && !names.magnitude.is_match(name);
    if words(frame).any(|word| matches!(word, "M" | "MAG" | "MAGNITUDE")) || frame.complex_component == "MAGNITUDE" {
        return Component::Magnitude;
    }
    if words(frame).any(|word| matches!(word, "P" | "PHASE" | "I" | "IMAGINARY")) || frame.complex_component == "PHASE"
    {
        // Some scanners mark the phase-corrected real image as phase; then the name tells.
        return if named_psir { Component::Psir } else { Component::Phase };
    }
    if named_psir || (frame.intercept < 0.0 && !names.magnitude.is_match(name)) {
        return Component::Psir;
    }
    Component::Magnitude
}

/// The contrast that a model must accept to be given these values.
pub(super) fn contrast(component: Component, dark_blood: bool) -> Option<Contrast> {
    match (component, dark_blood) {
        (Component::Phase, _) => None,
        (_, true) => Some(Contrast::DarkBlood),
        (Component::Psir, false) => Some(Contrast::Psir),
        (Component::Magnitude, false) => Some(Contrast::Magnitude),
    }
}
