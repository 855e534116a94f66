//! Time of the encoders on 12 slices of 256 x 256 with a third of the wall scar: `cargo bench --bench encode`. Targets: SEG,
//! SR and FHIR together 20 ms; a SEG of 20 slices 10 ms; pictures and PDF together 200 ms. No model and no server is needed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod shared;

use image::RgbImage;
use scargate::config;
use scargate::domain::artefact::Artefact;
use scargate::domain::labels::Segmentation;
use scargate::domain::measures::Measures;
use scargate::domain::provenance::PipelineVersion;
use scargate::domain::run::RunId;
use scargate::domain::stack::{SourceFrame, Stack};
use scargate::domain::submission::InputDigest;
use scargate::encode::object::Context;
use scargate::encode::{agree, bullseye, fhir, overlay, pdf, pictures, seg, sr};
use scargate::quantify;
use shared::{heart, time};
use time::{OffsetDateTime, UtcOffset};

/// A measured study.
struct Result {
    stack: Stack,
    labels: Segmentation,
    measures: Measures,
    context: Context,
}

impl Result {
    fn seg(&self) -> Artefact {
        seg::encode(&self.stack, &self.labels, &self.context).unwrap()
    }

    fn sr(&self, seg: &Artefact) -> Artefact {
        let Self { stack, labels, measures, context } = self;
        let seg = seg.dicom.as_ref().unwrap();
        sr::encode(&sr::Facts { stack, labels, measures, seg, context }).unwrap()
    }

    fn bundle(&self, seg: &Artefact, report: &Artefact, bullseye: &Artefact) -> Artefact {
        let sources: Vec<SourceFrame> = self.stack.slices.iter().map(|slice| slice.source.clone()).collect();
        let facts = fhir::Facts {
            identity: &self.stack.identity,
            measures: &self.measures,
            sources: &sources,
            input_digest: &InputDigest::of(sources.iter().map(|source| &source.sop_instance)),
            seg: Some(seg),
            report: Some(report),
            bullseye: Some(bullseye),
            models: &self.labels.models,
            provider: "cpu",
            pipeline: &PipelineVersion::of(&["bench"]),
            run: RunId::new(),
            revision: 1,
            device_serial: "bench",
            assumed_offset: UtcOffset::UTC,
            segments_in_one: false,
            code_system: true,
            issued: OffsetDateTime::UNIX_EPOCH,
        };
        fhir::bundle(&facts).unwrap()
    }

    fn pdf(&self, pictures: &[RgbImage]) -> Artefact {
        let (identity, measures, models) = (&self.stack.identity, &self.measures, &self.labels.models);
        pdf::encode(&pdf::Facts { identity, measures, models, pictures }).unwrap()
    }
}

fn main() {
    let settings = config::load(&[]).unwrap().quantify;
    let context = Context {
        revision: 1,
        act: String::new(),
        created: OffsetDateTime::UNIX_EPOCH,
        device_serial: "bench".into(),
        series_number: 1,
    };
    let (stack, drawn) = heart(12);
    let (labels, measures) = quantify::measure(&stack, drawn, &settings).unwrap();
    let result = Result { stack, labels, measures, context };
    let Result { stack, labels, measures, context } = &result;

    shared::head();
    let view = overlay::View::of(stack, labels);
    let draw =
        |view: &overlay::View| [overlay::canvas(stack, labels, measures, view).unwrap(), bullseye::canvas(measures)];
    let images = |view: &overlay::View, bullseye: &RgbImage| {
        pictures::encode(stack, labels, measures, (view, bullseye), context).unwrap()
    };
    let canvases = draw(&view);
    let bullseye = overlay::png("bullseye", &canvases[1]).unwrap();
    let report = result.pdf(&canvases);

    let seg = time("SEG", || result.seg());
    let sr = time("SR", || result.sr(&seg));
    let bundle = time("FHIR, with PDF and bullseye in it", || result.bundle(&seg, &report, &bullseye));
    time("check that all agree", || agree::check(measures, stack, &seg, Some(&sr), &bundle).unwrap());
    time("SEG, SR and FHIR", || {
        let seg = result.seg();
        (result.sr(&seg), result.bundle(&seg, &report, &bullseye))
    });
    let (many, drawn) = heart(20);
    time("SEG, 20 slices, 3 segments", || seg::encode(&many, &drawn, context).unwrap());

    println!();
    time("what is shown, and how bright", || overlay::View::of(stack, labels));
    time("result images, DICOM", || images(&view, &canvases[1]));
    time("overlay, pixels", || overlay::canvas(stack, labels, measures, &view).unwrap());
    time("overlay, PNG", || overlay::png("overlay", &canvases[0]).unwrap());
    time("bullseye, pixels", || bullseye::canvas(measures));
    time("bullseye, PNG", || overlay::png("bullseye", &canvases[1]).unwrap());
    time("PDF with both", || result.pdf(&canvases));
    time("all pictures and PDF", || {
        let view = overlay::View::of(stack, labels);
        let canvases = draw(&view);
        let dicom = images(&view, &canvases[1]);
        let pngs = canvases.each_ref().map(|canvas| overlay::png("picture", canvas).unwrap());
        (dicom, pngs, result.pdf(&canvases))
    });
}
