//! Tests of the engine as a whole, on tiny ONNX models whose answers are known (tests/fixtures/infer, made by make.py
//! there): the models' folder and the drawn hearts that they share.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod adopt;
mod engine;
mod faults;
mod manifests;
mod parity;

use super::*;
use crate::config::{Infer, Provider};
use crate::domain::identity::StudyIdentity;
use crate::domain::labels::{Label, ScarSource, Segmentation};
use crate::domain::stack::{Contrast, Plane, Slice, SourceFrame, Stack};
use crate::domain::uid::Uid;
use crate::failure::Failure;
use ndarray::Array2;
use std::path::PathBuf;
use tempfile::TempDir;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn library() -> PathBuf {
    let named = std::env::var_os("SCARGATE_INFER__LIBRARY").map(PathBuf::from);
    named.unwrap_or_else(|| root().join(".scargate/onnxruntime/libonnxruntime.so"))
}

/// A models' folder put together from fixtures, changed at will.
struct Models(TempDir);

impl Models {
    fn of(detector: &str, decoder: &str) -> Self {
        let models = Self(tempfile::tempdir().unwrap());
        for (role, fixture) in [
            ("myocardium", "dense"),
            ("scar-detector", detector),
            ("scar-encoder", "encoder"),
            ("scar-decoder", decoder),
        ] {
            models.put(role, fixture);
        }
        models
    }

    fn put(&self, role: &str, fixture: &str) {
        let (from, to) = (root().join("tests/fixtures/infer").join(fixture), self.folder(role));
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    fn folder(&self, role: &str) -> PathBuf {
        self.0.path().join(role)
    }

    fn edit(&self, role: &str, from: &str, to: &str) {
        let path = self.folder(role).join("manifest.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{role} has no `{from}`");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }

    fn config(&self, scar_source: ScarSource) -> Infer {
        Infer {
            models: self.0.path().to_path_buf(),
            library: library(),
            providers: vec![Provider::Cpu],
            require: Provider::Cpu,
            threads: 1,
            batch: 8,
            scar_source,
            device: 0,
        }
    }

    fn engine(&self) -> Engine {
        Engine::load(&self.config(ScarSource::Sam)).unwrap()
    }

    fn refused(&self) -> Failure {
        match Engine::load(&self.config(ScarSource::Sam)) {
            Ok(_) => panic!("the models were accepted"),
            Err(failure) => failure,
        }
    }
}

/// Grey value of each label in the fixtures' pictures.
const GREY: [f32; 5] = [0.0, 140.0, 64.0, 240.0, 190.0];

const ROWS: usize = 48;
const COLUMNS: usize = 40;

/// A ring of 8..13 px about (22, 19); `scar` turns wall pixels into another label by their angle in turns.
fn heart(scar: impl Fn(f64) -> Option<Label>) -> Array2<u8> {
    Array2::from_shape_fn((ROWS, COLUMNS), |(r, c)| {
        let (y, x) = (r as f64 + 0.5 - 22.0, c as f64 + 0.5 - 19.0);
        let label = match x.hypot(y) {
            radius if radius < 8.0 => Label::Cavity,
            radius if radius >= 13.0 => Label::Background,
            _ => scar(y.atan2(x) / std::f64::consts::TAU + 0.5).unwrap_or(Label::Myocardium),
        };
        label as u8
    })
}

fn infarct(turn: f64) -> Option<Label> {
    (0.1..0.4).contains(&turn).then_some(Label::Scar)
}

fn stack(labels: &[Array2<u8>]) -> Stack {
    pictures(labels.iter().map(|slice| slice.mapv(|label| GREY[usize::from(label)])).collect())
}

fn pictures(pictures: Vec<Array2<f32>>) -> Stack {
    let text = String::new;
    Stack {
        identity: StudyIdentity {
            study: Uid::derive(&["study"]),
            patient_name: text(),
            patient_id: text(),
            issuer_of_patient_id: None,
            patient_birth_date: text(),
            patient_sex: text(),
            accession_number: text(),
            issuer_of_accession_number: None,
            referring_physician_name: text(),
            study_id: text(),
            study_date: text(),
            study_time: text(),
            timezone_offset: None,
            specific_character_set: None,
        },
        contrast: Contrast::Psir,
        frame_of_reference: Uid::derive(&["frame"]),
        position_reference_indicator: text(),
        lossy: false,
        manufacturer: text(),
        field_strength_t: None,
        slices: pictures.into_iter().enumerate().map(|(index, pixels)| slice(index, pixels)).collect(),
        flags: Vec::new(),
        decisions: Vec::new(),
    }
}

fn slice(index: usize, pixels: Array2<f32>) -> Slice {
    Slice {
        pixels,
        valid: None,
        plane: Plane {
            position_mm: [0.0, 0.0, 10.0 * index as f64],
            row: [1.0, 0.0, 0.0],
            column: [0.0, 1.0, 0.0],
            spacing_mm: [1.5, 1.5],
        },
        thickness_mm: 8.0,
        height_mm: 10.0,
        source: SourceFrame {
            sop_class: Uid::derive(&["class"]),
            sop_instance: Uid::derive(&["instance", &index.to_string()]),
            series: Uid::derive(&["series"]),
            frame: None,
        },
    }
}

/// Empty, healthy, infarcted, infarcted with no-reflow, empty.
fn truth() -> Vec<Array2<u8>> {
    let core = |turn: f64| match turn {
        t if (0.2..0.3).contains(&t) => Some(Label::NoReflow),
        t => infarct(t),
    };
    let empty = || Array2::zeros((ROWS, COLUMNS));
    vec![empty(), heart(|_| None), heart(infarct), heart(core), empty()]
}

fn dice_of(found: &Array2<u8>, truth: &Array2<u8>, labels: std::ops::RangeInclusive<u8>) -> f32 {
    let pick = |slice: &Array2<u8>| slice.mapv(|label| labels.contains(&label));
    super::mask::dice(&pick(found), &pick(truth))
}

fn segment(engine: &Engine, stack: &Stack) -> Segmentation {
    engine.segment(stack, &|_| {}).unwrap()
}
