//! The steps from source objects to artefacts, in order and without any server: what a worker runs between retrieval and
//! outbox, and all that `scargate analyze` does.

use crate::config::{Config, SegmentForm};
use crate::domain::artefact::{Artefact, ArtefactKind, DicomIdentity};
use crate::domain::labels::Segmentation;
use crate::domain::measures::Measures;
use crate::domain::provenance::PipelineVersion;
use crate::domain::run::RunId;
use crate::domain::source::SourceObject;
use crate::domain::stack::{SourceFrame, Stack};
use crate::domain::submission::InputDigest;
use crate::encode;
use crate::encode::object::Context;
use crate::failure::{Code, Failure};
use crate::infer::{Engine, Progress};
use crate::quantify;
use crate::study;
use time::OffsetDateTime;

/// Which run of which revision the artefacts belong to; all of it is stored, so that encoding twice gives the same bytes.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// The run.
    pub run: RunId,
    /// Its number on the study, from 1.
    pub revision: u32,
    /// When the run was recorded.
    pub created: OffsetDateTime,
    /// Digest of the inputs that the PACS listed.
    pub input_digest: InputDigest,
    /// Objects of earlier revisions in the PACS, which this result replaces.
    pub outdated: Vec<DicomIdentity>,
}

/// Chosen images, before any model ran.
pub struct Selection {
    /// The stack.
    pub stack: Stack,
    /// Digest of the selected instances.
    pub digest: InputDigest,
}

/// Why earlier objects are retired, for people.
const SUPERSEDED: &str = "Superseded: a newer revision of this result is in the study.";

/// Everything that a run puts out.
pub struct Analysis {
    /// The images.
    pub stack: Stack,
    /// What was drawn on them.
    pub labels: Segmentation,
    /// What was measured.
    pub measures: Measures,
    /// Encoded outputs: SEG, FHIR Bundle, measures, overlay.
    pub artefacts: Vec<Artefact>,
}

/// Chooses the stack.
///
/// # Errors
/// Coded rejections of [`study::select`].
pub fn select(objects: &[SourceObject], engine: &Engine, config: &Config) -> Result<Selection, study::Error> {
    let stack = study::select(objects, &config.study, &config.limits, &engine.accepted_contrasts())?;
    let digest = InputDigest::of(stack.slices.iter().map(|slice| &slice.source.sop_instance));
    Ok(Selection { stack, digest })
}

/// Runs the models, measures and encodes. Blocking, for minutes on a slow CPU: call it outside async code.
///
/// # Errors
/// Of the models, of the measures, of the encoders.
pub fn analyse(
    stack: Stack,
    engine: &Engine,
    config: &Config,
    facts: &RunFacts,
    progress: &dyn Fn(Progress),
) -> Result<Analysis, Failure> {
    let drawn = tracing::info_span!("segment").in_scope(|| engine.segment(&stack, progress))?;
    finish(stack, drawn, engine, config, facts)
}

/// Measures what was drawn, and encodes.
///
/// # Errors
/// Of the measures, of the encoders.
pub fn finish(
    stack: Stack,
    drawn: Segmentation,
    engine: &Engine,
    config: &Config,
    facts: &RunFacts,
) -> Result<Analysis, Failure> {
    let measure = || quantify::measure(&stack, drawn, &config.quantify);
    let (labels, measures) = tracing::info_span!("quantify").in_scope(measure)?;
    let encode = || encode_all(&stack, &labels, &measures, engine, config, facts);
    let artefacts = tracing::info_span!("encode").in_scope(encode)?;
    if artefacts.iter().any(|artefact| artefact.bytes.len() as u64 > config.limits.artefact_bytes) {
        return Err(Failure::permanent(Code::StudyTooLarge, "an artefact is above limits.artefact_bytes"));
    }
    Ok(Analysis { stack, labels, measures, artefacts })
}

/// Digest of everything that can change a result.
pub fn pipeline_version(engine: &Engine, config: &Config) -> PipelineVersion {
    let settings = format!("{:?}|{:?}|{:?}", config.study, config.quantify, config.encode);
    let scar_source = format!("{:?}", config.infer.scar_source);
    let models = engine.version_parts();
    let mut parts = vec![env!("CARGO_PKG_VERSION"), settings.as_str(), scar_source.as_str()];
    parts.extend(models.iter().map(String::as_str));
    PipelineVersion::of(&parts)
}

fn encode_all(
    stack: &Stack,
    labels: &Segmentation,
    measures: &Measures,
    engine: &Engine,
    config: &Config,
    facts: &RunFacts,
) -> Result<Vec<Artefact>, Failure> {
    let context = Context {
        revision: facts.revision,
        act: String::new(),
        created: facts.created,
        device_serial: config.encode.device_serial.clone(),
        series_number: config.encode.seg_series_number,
    };
    let seg = encode::seg::encode(stack, labels, &context)?;
    let view = encode::overlay::View::of(stack, labels);
    let pictures = [encode::overlay::canvas(stack, labels, measures, &view)?, encode::bullseye::canvas(measures)];
    let [overlay, bullseye] = &pictures;
    let mut artefacts = beside(&seg, stack, labels, measures, (&view, bullseye), config, &context)?;
    if config.pacs.rejection_notes {
        artefacts.extend(encode::rejection::encode(&stack.identity, &facts.outdated, SUPERSEDED, &context)?);
    }
    let sources: Vec<SourceFrame> = stack.slices.iter().map(|slice| slice.source.clone()).collect();
    let bullseye = encode::overlay::png("bullseye", bullseye)?;
    let report = encode::pdf::encode(&encode::pdf::Facts {
        identity: &stack.identity,
        measures,
        models: &labels.models,
        pictures: &pictures,
    })?;
    let bundle = encode::fhir::bundle(&encode::fhir::Facts {
        identity: &stack.identity,
        measures,
        sources: &sources,
        input_digest: &facts.input_digest,
        seg: Some(&seg),
        report: config.ehr.pdf.then_some(&report),
        bullseye: config.ehr.bullseye.then_some(&bullseye),
        code_system: config.ehr.code_system,
        models: &labels.models,
        provider: &labels.provider,
        pipeline: &pipeline_version(engine, config),
        run: facts.run,
        revision: facts.revision,
        device_serial: &config.encode.device_serial,
        assumed_offset: config.encode.assumed_offset().unwrap_or(time::UtcOffset::UTC),
        segments_in_one: config.encode.transmurality == SegmentForm::Components,
        issued: facts.created,
    })?;
    let json = serde_json::to_vec_pretty(measures)
        .map_err(|error| Failure::permanent(Code::Internal, format!("measures: {error}")))?;
    let measures_json = Artefact { kind: ArtefactKind::Measures, name: "measures".into(), dicom: None, bytes: json };
    let sr = artefacts.iter().find(|artefact| artefact.kind == ArtefactKind::Sr);
    encode::agree::check(measures, stack, &seg, sr, &bundle)?;
    artefacts.insert(0, seg);
    artefacts.extend([bundle, report, measures_json, encode::overlay::png("overlay", overlay)?, bullseye]);
    Ok(artefacts)
}

/// The new DICOM objects beside the SEG that the site wants, in the order in which they are sent. The note that retires what
/// is old comes after them.
fn beside(
    seg: &Artefact,
    stack: &Stack,
    labels: &Segmentation,
    measures: &Measures,
    shared: (&encode::overlay::View, &image::RgbImage),
    config: &Config,
    context: &Context,
) -> Result<Vec<Artefact>, Failure> {
    let mut artefacts = Vec::new();
    if let (true, Some(seg)) = (config.pacs.sr, &seg.dicom) {
        let facts = encode::sr::Facts { stack, measures, seg, labels, context };
        artefacts.push(encode::sr::encode(&facts)?);
    }
    if config.pacs.result_images {
        artefacts.push(encode::pictures::encode(stack, labels, measures, shared, context)?);
    }
    Ok(artefacts)
}
