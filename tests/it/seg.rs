//! The SEG that we write, judged by dciodvfy and read back by highdicom to the pixel.

use std::path::Path;

use ndarray::Array2;
use scargate::domain::identity::StudyIdentity;
use scargate::domain::labels::{Label, Region, ScarSource, Segmentation, SliceLabels};
use scargate::domain::provenance::{IntendedUse, ModelRef};
use scargate::domain::stack::{Contrast, Plane, Slice, SourceFrame, Stack};
use scargate::domain::uid::Uid;
use scargate::encode::object::Context;
use scargate::encode::seg::encode;
use scargate::phantom::npy::NpyWriter;
use time::macros::datetime;

use crate::support::python::check_seg;
use crate::support::servers::Servers;

struct Case {
    rows: usize,
    columns: usize,
    slices: usize,
    row: [f64; 3],
    column: [f64; 3],
    enhanced: bool,
    scar: bool,
    /// Twice the distance after this slice.
    gap_after: Option<usize>,
    no_reflow: bool,
}

const OBLIQUE: Case = Case {
    rows: 32,
    columns: 32,
    slices: 6,
    row: [0.6, 0.64, -0.48],
    column: [0.0, 0.6, 0.8],
    enhanced: false,
    scar: true,
    gap_after: None,
    no_reflow: true,
};

impl Case {
    fn stack(&self) -> Stack {
        let normal = scargate::domain::stack::cross(self.row, self.column);
        let series = Uid::derive(&["test-series"]);
        let place = |index: usize| index + usize::from(self.gap_after.is_some_and(|gap| index > gap));
        let slices = (0..self.slices).map(|index| Slice {
            pixels: Array2::zeros((self.rows, self.columns)),
            valid: None,
            plane: Plane {
                position_mm: std::array::from_fn(|i| {
                    [-80.123456789, 12.5, 33.0][i] + 9.6 * place(index) as f64 * normal[i]
                }),
                row: self.row,
                column: self.column,
                spacing_mm: [1.3333333333, 1.25],
            },
            thickness_mm: 8.0,
            height_mm: 9.6,
            source: SourceFrame {
                sop_class: Uid::well_known(if self.enhanced {
                    "1.2.840.10008.5.1.4.1.1.4.1"
                } else {
                    "1.2.840.10008.5.1.4.1.1.4"
                }),
                sop_instance: Uid::derive(&[
                    "test",
                    if self.enhanced { "all".into() } else { index.to_string() }.as_str(),
                ]),
                series: series.clone(),
                frame: self.enhanced.then(|| u32::try_from(index).unwrap() + 1),
            },
        });
        Stack {
            identity: identity(),
            contrast: Contrast::Psir,
            frame_of_reference: Uid::derive(&["test-frame-of-reference"]),
            position_reference_indicator: String::new(),
            lossy: false,
            manufacturer: "phantom".into(),
            field_strength_t: Some(1.5),
            slices: slices.collect(),
            flags: vec![],
            decisions: vec![],
        }
    }

    /// A ring in all but the first slice; scar and no-reflow in some, at places that differ per slice.
    fn labels(&self) -> Segmentation {
        let slices = (0..self.slices).map(|index| {
            let labels = Array2::from_shape_fn((self.rows, self.columns), |(r, c)| {
                let (y, x) = (r as f64 - self.rows as f64 / 2.0, c as f64 - self.columns as f64 / 2.0);
                let radius = x.hypot(y);
                let label = match radius {
                    _ if index == 0 => Label::Background,
                    radius if radius < 5.0 => Label::Cavity,
                    radius if radius > 9.0 => Label::Background,
                    _ if self.no_reflow && self.scar && index == 2 && x > 6.0 && y > 0.0 => Label::NoReflow,
                    _ if self.scar && index % 2 == 0 && x > 2.0 => Label::Scar,
                    _ => Label::Myocardium,
                };
                label as u8
            });
            let scar = labels.mapv(|l| Region::Scar.contains(l));
            SliceLabels {
                labels,
                scar_inner: scar.clone(),
                scar_outer: scar,
                boxes: vec![],
                entropy: None,
                agreement: 1.0,
            }
        });
        let model = ModelRef {
            role: "myocardium".into(),
            name: "test".into(),
            version: "1".into(),
            sha256: "0".repeat(64),
            licence: "Apache-2.0".into(),
            intended_use: IntendedUse::Research,
        };
        Segmentation {
            slices: slices.collect(),
            no_reflow: self.no_reflow,
            scar_source: ScarSource::Dense,
            models: vec![model],
            provider: "cpu".into(),
            timings: vec![],
        }
    }
}

fn identity() -> StudyIdentity {
    StudyIdentity {
        study: Uid::derive(&["test-study"]),
        patient_name: "Łazarz^Zoë".into(),
        patient_id: "P-1".into(),
        issuer_of_patient_id: Some("HOSPITAL".into()),
        patient_birth_date: "19600102".into(),
        patient_sex: "F".into(),
        accession_number: "A1".into(),
        issuer_of_accession_number: None,
        referring_physician_name: String::new(),
        study_id: "1".into(),
        study_date: "20260102".into(),
        study_time: "101112".into(),
        timezone_offset: None,
        specific_character_set: None,
    }
}

fn context() -> Context {
    Context {
        revision: 1,
        act: String::new(),
        created: datetime!(2026-01-02 03:04:05 UTC),
        device_serial: "test".into(),
        series_number: 9901,
    }
}

fn write_masks(path: &Path, case: &Case, labels: &Segmentation) {
    let mut file = NpyWriter::create(path, "|u1", &[case.slices, case.rows, case.columns]).unwrap();
    for region in labels.regions() {
        let bytes: Vec<u8> = labels
            .slices
            .iter()
            .flat_map(|slice| slice.region(*region).into_iter().map(u8::from).collect::<Vec<_>>())
            .collect();
        file.append(1, &bytes).unwrap();
    }
    file.finish().unwrap();
}

fn judge(case: &Case) {
    let servers = Servers::shared();
    let folder = tempfile::tempdir().unwrap();
    let (stack, labels) = (case.stack(), case.labels());
    let artefact = encode(&stack, &labels, &context()).unwrap();
    assert_eq!(artefact.sha256(), encode(&stack, &labels, &context()).unwrap().sha256(), "same input, same bytes");
    let (seg, masks, uids) =
        (folder.path().join("seg.dcm"), folder.path().join("masks.npy"), folder.path().join("uids"));
    std::fs::write(&seg, &artefact.bytes).unwrap();
    write_masks(&masks, case, &labels);
    let mut lines: Vec<&str> = stack.slices.iter().map(|slice| slice.source.sop_instance.as_str()).collect();
    lines.dedup();
    std::fs::write(&uids, lines.join("\n")).unwrap();
    let slices = case.slices.to_string();
    let mut more = vec!["--masks", masks.to_str().unwrap(), "--instances", uids.to_str().unwrap()];
    if case.enhanced {
        more.extend(["--frames", &slices]);
    }
    check_seg(&servers, &seg, &more);
}

#[test]
fn oblique_stack_with_odd_pixel_counts() {
    judge(&Case { rows: 37, columns: 29, ..OBLIQUE });
}

#[test]
fn flipped_and_permuted_axes() {
    judge(&Case { rows: 30, columns: 33, slices: 5, row: [0.0, -1.0, 0.0], column: [-1.0, 0.0, 0.0], ..OBLIQUE });
}

#[test]
fn stack_with_a_gap() {
    judge(&Case { gap_after: Some(2), ..OBLIQUE });
}

#[test]
fn enhanced_source_with_frame_numbers() {
    judge(&Case { enhanced: true, ..OBLIQUE });
}

#[test]
fn scar_free_heart_keeps_its_empty_segments() {
    judge(&Case { rows: 31, columns: 31, slices: 4, scar: false, ..OBLIQUE });
}

#[test]
fn no_reflow_that_is_withheld_has_no_segment() {
    judge(&Case { no_reflow: false, ..OBLIQUE });
}
