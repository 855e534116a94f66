//! `scargate analyze` on synthetic studies as files: the whole pipeline with no server, against exact truth.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::gateway::BINARY;
use crate::support::python;
use crate::support::servers::{Servers, root};

fn scargate(arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .env("SCARGATE_INFER__MODELS", root().join("models"))
        .env("SCARGATE_INFER__LIBRARY", Servers::shared().ort_library())
        .output()
        .unwrap()
}

/// Draws a study below `folder` and analyses it: truth, measures, and where the outputs are.
fn analyse(folder: &Path, phantom: &[&str]) -> (Value, Value) {
    let (studies, out) = (folder.join("studies"), folder.join("out"));
    let mut draw = vec!["phantom", "--out", studies.to_str().unwrap()];
    draw.extend(phantom);
    let drawn = scargate(&draw);
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let study = std::fs::read_dir(&studies).unwrap().next().unwrap().unwrap().path();
    let truth = std::fs::read(study.join("truth/truth.json")).unwrap();
    let dicom = study.join("dicom");
    let done = scargate(&["analyze", dicom.to_str().unwrap(), "--out", out.to_str().unwrap(), "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    (serde_json::from_slice(&truth).unwrap(), serde_json::from_slice(&done.stdout).unwrap())
}

fn value(measures: &Value, name: &str) -> f64 {
    measures[name]["value"].as_f64().unwrap_or_else(|| panic!("{name} is absent: {}", measures[name]))
}

/// The shipped weights must come within 30 % of the synthetic truth; this checks the plumbing, not accuracy.
const TOLERANCE: f64 = 0.30;

#[test]
fn an_infarct_is_measured_and_every_output_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, measures) = analyse(folder.path(), &["--seed", "6"]);
    for (measured, exact) in [("lv_mass", "lv_mass_g"), ("scar_mass", "scar_mass_g"), ("burden", "burden_percent")] {
        let (measured, exact) = (value(&measures, measured), truth[exact].as_f64().unwrap());
        assert!((measured / exact - 1.0).abs() <= TOLERANCE, "{measured} for {exact}");
    }
    for name in ["seg.dcm", "bundle.json", "measures.json", "overlay.png"] {
        assert!(folder.path().join("out").join(name).metadata().unwrap().len() > 0, "{name}");
    }
    reports_are_accepted(folder.path());
}

/// SR and result images before readers that are not ours: the same numbers, the same segments.
fn reports_are_accepted(folder: &Path) {
    let out = folder.join("out");
    let (seg, measures) = (out.join("seg.dcm"), out.join("measures.json"));
    let more = ["--seg", seg.to_str().unwrap(), "--measures", measures.to_str().unwrap()];
    let files = [out.join("sr.dcm"), out.join("result-image.dcm")];
    python::check_report(&Servers::shared(), &files.each_ref().map(|file| file.as_path()), &more);
}

#[test]
fn this_healthy_heart_reads_exactly_no_scar() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, measures) = analyse(folder.path(), &["--seed", "12", "--variant", "scar-free"]);
    assert_eq!(truth["scar_mass_g"], 0.0);
    assert_eq!((value(&measures, "scar_mass"), value(&measures, "burden")), (0.0, 0.0));
    reports_are_accepted(folder.path());
}

#[test]
fn a_folder_without_a_late_enhancement_stack_ends_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let studies = folder.path().join("studies");
    let drawn = scargate(&["phantom", "--out", studies.to_str().unwrap(), "--variant", "cine-only"]);
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let done = scargate(&["analyze", studies.to_str().unwrap(), "--out", folder.path().join("out").to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&done.stderr).contains("no-lge-series"));
}
