//! Scored as shipped: image stacks without DICOM are wrapped as studies, go through the same analysis as `scargate analyze`,
//! and the masks that are scored are decoded from the SEG that came out. Image in, and nothing else.

use crate::analysis::{self, RunFacts};
use crate::config::Config;
use crate::domain::artefact::ArtefactKind;
use crate::domain::labels::{ScarSource, Segmentation};
use crate::domain::run::RunId;
use crate::domain::stack::Stack;
use crate::evaluate::Method;
use crate::evaluate::case::Prediction;
use crate::evaluate::read::{ImageStack, read_seg};
use crate::evaluate::volume::{LabelSlice, Volume};
use crate::evaluate::wrap::{Wrapped, wrap};
use crate::failure::{Class, Code, Failure};
use crate::infer::Engine;
use crate::quantify::threshold::{self, Threshold};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array2;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Name of a scar source in tables.
fn name(source: ScarSource) -> &'static str {
    match source {
        ScarSource::Dense => "dense",
        ScarSource::Sam => "boxes",
    }
}

/// One way of reading a case: whose labels, which rule on top, with or without the detection limit.
struct Way {
    name: String,
    note: Option<String>,
    source: ScarSource,
    rule: Option<Threshold>,
    limit: bool,
}

/// Runs the pipeline on all stacks. The first method is what ships; `baselines` adds it without its detection limit, the
/// other scar source, and the threshold methods inside the wall that our dense model drew.
pub(super) fn methods(
    images: &BTreeMap<String, ImageStack>,
    config: &Config,
    baselines: bool,
) -> Result<Vec<Method>, Failure> {
    let engines = engines(config, baselines)?;
    let ways = ways(config, &engines, baselines);
    let mut methods: Vec<Method> = ways
        .iter()
        .map(|way| Method { name: way.name.clone(), note: way.note.clone(), cases: BTreeMap::new() })
        .collect();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} cases, {eta} left");
    let bar = ProgressBar::new(images.len() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for (case, stack) in images {
        let found = read_case(case, stack, &engines, &ways, config)?;
        for (method, prediction) in methods.iter_mut().zip(found) {
            method.cases.insert(case.clone(), prediction);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(methods)
}

/// The configured engine, then the one with the other scar source when it is asked for and its models are there.
fn engines(config: &Config, both: bool) -> Result<Vec<(ScarSource, Engine)>, Failure> {
    let shipped = config.infer.scar_source;
    let mut engines = vec![(shipped, Engine::load(&config.infer)?)];
    if both {
        let other = if shipped == ScarSource::Dense { ScarSource::Sam } else { ScarSource::Dense };
        let mut infer = config.infer.clone();
        infer.scar_source = other;
        match Engine::load(&infer) {
            Ok(engine) => engines.push((other, engine)),
            Err(failure) => eprintln!("{} is left out: {failure}", name(other)),
        }
    }
    Ok(engines)
}

fn ways(config: &Config, engines: &[(ScarSource, Engine)], baselines: bool) -> Vec<Way> {
    let percent = config.quantify.min_burden_percent;
    let mut ways = Vec::new();
    for (index, (source, _)) in engines.iter().enumerate() {
        let shipped = if index == 0 { "shipped: " } else { "" };
        let limited = Way {
            name: format!("{shipped}{}", name(*source)),
            note: Some(format!("scar below {percent} % of the wall counts as none")),
            source: *source,
            rule: None,
            limit: true,
        };
        ways.push(limited);
        if baselines {
            let name = format!("{}, no limit", name(*source));
            ways.push(Way { name, note: None, source: *source, rule: None, limit: false });
        }
    }
    if baselines {
        let source =
            engines.iter().map(|(source, _)| *source).find(|s| *s == ScarSource::Dense).unwrap_or(ScarSource::Sam);
        for (name, rule) in [("FWHM", Threshold::Fwhm), ("5-SD", Threshold::Sd(5.0)), ("Otsu", Threshold::Otsu)] {
            let note = Some("threshold inside our own wall, no detection limit".to_owned());
            ways.push(Way { name: name.to_owned(), note, source, rule: Some(rule), limit: false });
        }
    }
    ways
}

/// Images and labels of a case, or the code of its rejection.
type Drawn = Result<(Stack, Segmentation), String>;

/// One prediction per way.
fn read_case(
    case: &str,
    images: &ImageStack,
    engines: &[(ScarSource, Engine)],
    ways: &[Way],
    config: &Config,
) -> Result<Vec<Prediction>, Failure> {
    let wrapped = wrap(case, images)?;
    let mut drawn: Vec<(ScarSource, &Engine, Drawn)> = Vec::new();
    for (source, engine) in engines {
        let selected = analysis::select(&wrapped.objects, engine, config).map_err(Failure::from);
        let result = selected.and_then(|selection| {
            let labels = engine.segment(&selection.stack, &|_| {})?;
            Ok((selection.stack, labels))
        });
        drawn.push((*source, engine, refused(result)?));
    }
    let mut found = Vec::with_capacity(ways.len());
    for way in ways {
        let Some((_, engine, result)) = drawn.iter().find(|(source, ..)| *source == way.source) else { continue };
        found.push(match result {
            Err(code) => Prediction::Missing(code.clone()),
            Ok((stack, labels)) => match refused(masks(stack, labels, engine, way, config))? {
                Err(code) => Prediction::Missing(code),
                Ok(bytes) => Prediction::Labels(unwrap(&bytes, &wrapped, images)?),
            },
        });
    }
    Ok(found)
}

/// A coded rejection is an answer (no masks); anything else ends the evaluation.
fn refused<T>(result: Result<T, Failure>) -> Result<Result<T, String>, Failure> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(failure) if failure.class == Class::Rejected => Ok(Err(failure.code.as_str().to_owned())),
        Err(failure) => Err(failure),
    }
}

/// The SEG of a way.
fn masks(
    stack: &Stack,
    labels: &Segmentation,
    engine: &Engine,
    way: &Way,
    config: &Config,
) -> Result<Vec<u8>, Failure> {
    let mut config = config.clone();
    if !way.limit {
        config.quantify.min_burden_percent = 0.0;
    }
    let labels = match way.rule {
        None => labels.clone(),
        Some(rule) => match threshold::Wall::of(stack, labels).and_then(|wall| wall.scar(rule)) {
            Some(found) => threshold::with_scar(labels, &found.masks),
            // No second class of intensities: no scar.
            None => threshold::with_scar(labels, &none(labels)),
        },
    };
    let digest = crate::domain::submission::InputDigest::of(stack.slices.iter().map(|s| &s.source.sop_instance));
    let facts = RunFacts {
        run: RunId::new(),
        revision: 1,
        created: OffsetDateTime::UNIX_EPOCH,
        input_digest: digest,
        outdated: Vec::new(),
    };
    let result = analysis::finish(stack.clone(), labels, engine, &config, &facts)?;
    let seg = result.artefacts.into_iter().find(|artefact| artefact.kind == ArtefactKind::Seg);
    seg.map(|artefact| artefact.bytes).ok_or_else(|| Failure::permanent(Code::Internal, "the analysis gave no SEG"))
}

fn none(labels: &Segmentation) -> Vec<Array2<bool>> {
    labels.slices.iter().map(|slice| Array2::from_elem(slice.labels.dim(), false)).collect()
}

/// Masks of a SEG on the slices that were wrapped; slices without a frame are empty.
fn unwrap(bytes: &[u8], wrapped: &Wrapped, images: &ImageStack) -> Result<Volume, Failure> {
    let seg = read_seg(bytes).map_err(|why| Failure::permanent(Code::Internal, format!("our own SEG: {why}")))?;
    let drawn_on = |slice: &LabelSlice| slice.source.as_ref().and_then(|(uid, _)| wrapped.numbers.get(uid)).copied();
    let slices = images.slices.iter().map(|(number, pixels)| {
        let found = seg.slices.iter().find(|slice| drawn_on(slice) == Some(*number));
        let labels = found.map_or_else(|| Array2::zeros(pixels.dim()), |slice| slice.labels.clone());
        LabelSlice { number: *number, plane: None, source: None, labels }
    });
    Ok(Volume { slices: slices.collect(), spacing: images.spacing, sparse: false })
}
