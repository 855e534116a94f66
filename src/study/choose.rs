//! Which series is the LGE short-axis stack, and why each series was taken or left.

use super::Error;
use super::classify::{self, Component, Names, View};
use super::geometry::{distinct_positions, plane, stackable};
use super::header::{Fault, Frame, Image};
use crate::domain::stack::{Contrast, SeriesDecision};
use crate::domain::uid::Uid;
use crate::failure::Code;
use std::collections::BTreeSet;

/// The frames of the stack and the record of the choice.
#[derive(Debug)]
pub(super) struct Choice {
    pub contrast: Contrast,
    pub frames: Vec<Frame>,
    pub decisions: Vec<SeriesDecision>,
}

/// The images of one contrast of one series (or, merged, of several).
#[derive(Debug, Clone)]
struct Part {
    series: Vec<Uid>,
    contrast: Option<Contrast>,
    score: i32,
    /// Short-axis frames.
    frames: Vec<Frame>,
    /// Distinct positions.
    slices: usize,
    fault: Option<Fault>,
    /// Why it is left, as far as known without the others.
    reason: &'static str,
    usable: Usable,
}

/// Whether a part can be the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usable {
    Yes,
    /// Late enhancement in the short axis, but not in a contrast the models accept.
    OtherContrast,
    No,
}

/// All images of one series.
pub(super) struct Series<'a> {
    pub uid: Uid,
    pub number: Option<i32>,
    pub images: Vec<&'a Image>,
}

/// Groups images by series, in the order of their first appearance.
pub(super) fn by_series(images: &[Image]) -> Vec<Series<'_>> {
    let mut all: Vec<Series<'_>> = Vec::new();
    for image in images {
        match all.iter_mut().find(|series| series.uid == image.series) {
            Some(series) => series.images.push(image),
            None => all.push(Series { uid: image.series.clone(), number: image.series_number, images: vec![image] }),
        }
    }
    all
}

/// Chooses the stack.
///
/// # Errors
/// A coded rejection with the decisions on all series.
pub(super) fn choose(
    images: &[Image],
    names: &Names,
    accepted: &[Contrast],
    min_slices: usize,
) -> Result<Choice, Error> {
    let series = by_series(images);
    let parts: Vec<Vec<Part>> = series.iter().map(|series| parts(series, names, accepted)).collect();
    let all: Vec<&Part> = parts.iter().flatten().collect();
    let usable = all.iter().filter(|part| part.usable == Usable::Yes && part.fault.is_none());
    let mut whole: Vec<Part> =
        usable.clone().filter(|part| part.slices >= min_slices).map(|part| (*part).clone()).collect();
    if whole.is_empty() {
        // Scanners may put each breath-hold, so each slice, into a series of its own.
        whole = merge(usable.map(|part| (*part).clone()).collect(), min_slices);
    }
    whole.sort_by_key(|part| rank(part, accepted));
    match whole.pop() {
        Some(taken) => Ok(Choice {
            contrast: taken.contrast.unwrap_or(Contrast::Psir),
            decisions: decisions(&series, &parts, Some(&taken), min_slices),
            frames: taken.frames,
        }),
        None => {
            let (code, detail) = rejection(&all, min_slices);
            let decisions = decisions(&series, &parts, None, min_slices);
            Err(Error::Rejected { code, detail: detail.to_owned(), decisions })
        }
    }
}

/// Better parts rank higher: accepted contrasts in their order, evidence, slices, the newest.
fn rank(part: &Part, accepted: &[Contrast]) -> (std::cmp::Reverse<usize>, i32, usize, String) {
    let preference = accepted.iter().position(|contrast| Some(*contrast) == part.contrast).unwrap_or(usize::MAX);
    let newest = part.frames.iter().map(|frame| frame.acquired.clone()).max().unwrap_or_default();
    (std::cmp::Reverse(preference), part.score, part.slices, newest)
}

/// The parts of a series, one per contrast; one without frames when the series is excluded as a whole.
fn parts(series: &Series<'_>, names: &Names, accepted: &[Contrast]) -> Vec<Part> {
    let images: Vec<Image> = series.images.iter().map(|image| (*image).clone()).collect();
    let left = |reason: &'static str| Part {
        series: vec![series.uid.clone()],
        contrast: None,
        score: 0,
        frames: Vec::new(),
        slices: 0,
        fault: None,
        reason,
        usable: Usable::No,
    };
    let (score, unusual, dark_blood) = match classify::view(&images, names) {
        View::Excluded(reason) => return vec![left(reason)],
        View::Late { score, unusual, dark_blood } => (score, unusual, dark_blood),
    };
    let mut parts = Vec::new();
    for component in [Component::Psir, Component::Magnitude, Component::Phase] {
        let of_component = |image: &Image, frame: &Frame| classify::component(frame, &image.name, names) == component;
        let frames: Vec<Frame> = images
            .iter()
            .flat_map(|image| image.frames.iter().filter(|frame| of_component(image, frame)))
            .cloned()
            .collect();
        if frames.is_empty() {
            continue;
        }
        let fault = images
            .iter()
            .find(|image| image.fault.is_some() && image.frames.iter().all(|frame| of_component(image, frame)))
            .and_then(|image| image.fault);
        let contrast = classify::contrast(component, dark_blood);
        let mut part = Part { contrast, score, ..short_axis(left("long-axis"), &frames, fault) };
        if part.usable == Usable::Yes {
            let other = match (contrast, unusual) {
                (None, _) => Some("phase"),
                (_, Some(unusual)) => Some(unusual),
                (Some(contrast), None) if !accepted.contains(&contrast) => Some("contrast-not-supported"),
                _ => None,
            };
            if let Some(reason) = other {
                part.usable = if contrast.is_none() { Usable::No } else { Usable::OtherContrast };
                part.reason = reason;
            }
        }
        parts.push(part);
    }
    if parts.is_empty() { vec![left("not-late-enhancement")] } else { parts }
}

/// Fills in the short-axis frames of a part and what is wrong with them.
fn short_axis(mut part: Part, frames: &[Frame], fault: Option<Fault>) -> Part {
    let directed = |frame: &&Frame| classify::is_short_axis(frame).is_some();
    let without_geometry = frames.iter().any(|frame| plane(frame).is_none());
    part.frames = frames.iter().filter(|frame| classify::is_short_axis(frame) == Some(true)).cloned().collect();
    let none_directed = !frames.iter().any(|frame| directed(&frame));
    if part.frames.is_empty() && !none_directed {
        return part;
    }
    part.usable = Usable::Yes;
    part.slices = distinct_positions(&part.frames);
    part.reason = "another-stack-preferred";
    part.fault = fault.or_else(|| geometry_fault(&part.frames, without_geometry));
    if let Some((code, _)) = part.fault {
        part.reason = code.as_str();
    }
    part
}

fn geometry_fault(frames: &[Frame], without_geometry: bool) -> Option<Fault> {
    if without_geometry {
        return Some((
            Code::GeometryInvalid,
            "ImagePositionPatient, ImageOrientationPatient or PixelSpacing is missing",
        ));
    }
    let references: BTreeSet<Option<&Uid>> = frames.iter().map(|frame| frame.frame_of_reference.as_ref()).collect();
    if references.len() > 1 {
        return Some((Code::MixedFrameOfReference, "slices of one series have different frames of reference"));
    }
    if references.contains(&None) {
        return Some((Code::GeometryInvalid, "FrameOfReferenceUID is missing"));
    }
    let first = frames.first()?;
    if frames.iter().all(|frame| stackable(first, frame)) {
        return None;
    }
    Some((Code::GeometryInvalid, "slices differ in matrix, pixel spacing or by more than 10 degrees"))
}

/// Parts of several series that fit together, when they have enough slices.
fn merge(parts: Vec<Part>, min_slices: usize) -> Vec<Part> {
    let mut merged: Vec<Part> = Vec::new();
    for part in parts {
        let fits = |other: &Part| {
            other.contrast == part.contrast
                && other
                    .frames
                    .first()
                    .zip(part.frames.first())
                    .is_some_and(|(a, b)| stackable(a, b) && a.frame_of_reference == b.frame_of_reference)
        };
        match merged.iter_mut().find(|other| fits(other)) {
            Some(other) => {
                other.series.extend(part.series);
                other.frames.extend(part.frames);
                other.score = other.score.max(part.score);
            }
            None => merged.push(part),
        }
    }
    merged.iter_mut().for_each(|part| part.slices = distinct_positions(&part.frames));
    merged.retain(|part| part.slices >= min_slices);
    merged
}

/// Why no series could be taken: the most specific reason wins.
fn rejection(parts: &[&Part], min_slices: usize) -> (Code, &'static str) {
    let usable = || parts.iter().filter(|part| part.usable == Usable::Yes);
    if let Some(fault) = usable().filter(|part| part.slices >= min_slices).find_map(|part| part.fault) {
        return fault;
    }
    if let Some(fault) = usable().find_map(|part| part.fault) {
        return fault;
    }
    if usable().next().is_some() {
        return (Code::TooFewSlices, "the late-enhancement short-axis stack has too few slices");
    }
    if parts.iter().any(|part| part.usable == Usable::OtherContrast) {
        return (Code::ContrastNotSupported, "late enhancement is there, but not in a contrast the models accept");
    }
    (Code::NoLgeSeries, "no series is late enhancement in the short axis")
}

fn decisions(
    series: &[Series<'_>],
    parts: &[Vec<Part>],
    taken: Option<&Part>,
    min_slices: usize,
) -> Vec<SeriesDecision> {
    let decide = |(series, parts): (&Series<'_>, &Vec<Part>)| {
        let is_taken = taken.is_some_and(|taken| taken.series.contains(&series.uid));
        let reason = match taken {
            Some(part) if is_taken => format!("{}-short-axis", part.contrast.unwrap_or(Contrast::Psir).name()),
            _ => parts.first().map_or("not-an-image", |part| left_reason(part, taken, min_slices)).to_owned(),
        };
        SeriesDecision { series: series.uid.clone(), series_number: series.number, taken: is_taken, reason }
    };
    series.iter().zip(parts).map(decide).collect()
}

fn left_reason(part: &Part, taken: Option<&Part>, min_slices: usize) -> &'static str {
    let psir_taken = taken.is_some_and(|taken| taken.contrast == Some(Contrast::Psir));
    match part.usable {
        Usable::OtherContrast if part.contrast == Some(Contrast::Magnitude) && psir_taken => "magnitude-has-psir-twin",
        Usable::Yes if part.fault.is_none() && part.slices < min_slices => "too-few-slices",
        _ => part.reason,
    }
}
