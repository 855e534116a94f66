//! `scargate evaluate`: masks against masks in every format, against figures from SciPy; and the pipeline itself on pictures.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::Array3;
use nifti::NiftiHeader;
use nifti::writer::WriterOptions;
use scargate::phantom::{Phantom, SeedSpace, Spec};
use serde_json::Value;

use crate::support::gateway::BINARY;
use crate::support::servers::{Servers, root};

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures/evaluate").join(name)
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("golden.json")).unwrap()).unwrap()
}

fn evaluate(arguments: &[&str]) -> Output {
    Command::new(BINARY).arg("evaluate").args(arguments).output().unwrap()
}

/// The report of a run that must succeed.
fn report(arguments: &[&str]) -> Value {
    let done = evaluate(&[arguments, &["--json"]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn close(found: &Value, wanted: &Value, what: &str) {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => assert!((found - wanted).abs() < 1e-9, "{what}: {found} for {wanted}"),
        _ => assert_eq!(found, wanted, "{what}"),
    }
}

fn measure<'a>(report: &'a Value, cohort: &str, method: &str, key: &str) -> &'a Value {
    let summaries = report["summaries"].as_array().unwrap();
    let found = summaries.iter().find(|s| s["cohort"] == cohort && s["method"] == method).unwrap();
    found["measures"].as_array().unwrap().iter().find(|m| m["key"] == key).unwrap()
}

fn case<'a>(report: &'a Value, method: usize, name: &str) -> &'a Value {
    report["scores"][method]["cases"].as_array().unwrap().iter().find(|c| c["case"] == name).unwrap()
}

#[test]
fn label_pictures_score_as_scipy_says_and_a_missing_case_scores_zero() {
    let out = tempfile::tempdir().unwrap();
    let (references, predictions) = (fixture("references"), fixture("predictions"));
    let folders = ["--references", references.to_str().unwrap(), "--predictions", predictions.to_str().unwrap()];
    let found = report(
        &[&folders[..], &["--cohort", "sick=_P", "--cohort", "well=_N", "--out", out.path().to_str().unwrap()]]
            .concat(),
    );
    let golden = &golden()["pictures"];
    for (name, wanted) in golden["cases"].as_object().unwrap() {
        let case = case(&found, 0, name);
        for region in ["scar", "myocardium", "cavity", "no_reflow"] {
            close(&case[region]["dice"], &wanted[region], &format!("{name} {region}"));
        }
        for fraction in ["fraction_reference", "fraction_predicted"] {
            close(&case[fraction], &wanted[fraction], &format!("{name} {fraction}"));
        }
    }
    for key in ["slice_dsc", "slice_hd", "slice_as", "slice_ps", "fraction_error"] {
        close(&measure(&found, "all", "predictions", key)["value"], &golden[key], key);
        close(&measure(&found, "sick", "predictions", key)["value"], &golden[key], key);
    }
    assert_eq!(measure(&found, "all", "predictions", "slice_hd")["unit"], "px");
    assert_eq!(case(&found, 0, "Case_P2")["missing"], "no file of this case");
    assert_eq!(measure(&found, "all", "predictions", "sensitivity")["note"], "1 of 2");
    assert_eq!(measure(&found, "well", "predictions", "specificity")["note"], "0 of 1");

    let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
    let slices = read("slices.csv");
    let wanted = &golden["cases"]["Case_P1"]["slices"][1];
    let line = slices.lines().find(|line| line.starts_with("predictions,Case_P1,1,")).unwrap();
    let fields: Vec<f64> = line.split(',').skip(5).map(|field| field.parse().unwrap_or(f64::NAN)).collect();
    for (field, key) in [(0, "dsc"), (1, "hd_px"), (3, "as"), (4, "ps")] {
        assert!((fields[field] - wanted[key].as_f64().unwrap()).abs() < 1e-9, "{key}: {line}");
    }
    assert_eq!(read("cases.csv").lines().count(), 4);
    assert!(read("summary.csv").contains("\nsick,predictions,scar_dice,"));
    assert!(serde_json::from_str::<Value>(&read("evaluation.json")).is_ok());
}

#[test]
fn the_terminal_shows_a_table_per_cohort_and_names_the_misses() {
    let (references, predictions) = (fixture("references"), fixture("predictions"));
    let references = references.to_str().unwrap();
    let new = format!("new={}", predictions.display());
    let exact = format!("exact={references}");
    let done =
        evaluate(&["--references", references, "--predictions", &new, "--predictions", &exact, "--cohort", "sick=_P"]);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for wanted in
        ["all: 3 cases, 2 with scar", "sick: 2 cases", "signed-rank", "rank-sum", "Case_P2 (no file of this case)"]
    {
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
    }
}

#[test]
fn masks_in_one_place_agree_whatever_their_grids_are() {
    let (references, turned) = (fixture("volumes"), fixture("turned"));
    let found = report(&["--references", references.to_str().unwrap(), "--predictions", turned.to_str().unwrap()]);
    let golden = &golden()["volumes"];
    let heart = case(&found, 0, "heart");
    close(&heart["scar"]["dice"], &golden["scar"], "scar");
    close(&heart["myocardium"]["dice"], &golden["myocardium"], "myocardium");
    let near = |found: &Value, wanted: &Value| (found.as_f64().unwrap() - wanted.as_f64().unwrap()).abs() < 1e-4;
    assert!(near(&heart["scar"]["reference_ml"], &golden["scar_reference_ml"]), "{}", heart["scar"]);
    assert!(near(&heart["myocardium_hd_mm"], &golden["myocardium_hd_mm"]), "{}", heart["myocardium_hd_mm"]);
    let distance = measure(&found, "all", "turned", "slice_hd");
    assert_eq!(distance["unit"], "mm");
    assert!(near(&distance["value"], &golden["slice_hd_mm"][0]), "{distance}");
}

#[test]
fn folders_that_cannot_be_scored_are_refused_in_words() {
    let (references, volumes) = (fixture("references"), fixture("volumes"));
    let empty = tempfile::tempdir().unwrap();
    let refused = |a: &Path, b: &Path, more: &[&str], words: &str| {
        let done = evaluate(
            &[&["--references", a.to_str().unwrap(), "--predictions", b.to_str().unwrap()][..], more].concat(),
        );
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(words), "{said}");
    };
    refused(&references, empty.path(), &[], "no label PNG");
    refused(&references, &volumes, &[], "no case has the name of a reference");
    refused(&references, &references, &["--cohort", "none=XYZ"], "no case name matches");
    refused(&references, &references, &["--only", "XYZ"], "--only leaves no reference");
    refused(&references, &references, &["--cohort", "bad"], "NAME=REGEX");
}

/// The exact masks of a phantom against themselves, as SEG.
#[test]
fn exact_masks_of_phantoms_score_one() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = Command::new(BINARY)
        .args(["phantom", "--out", folder.path().to_str().unwrap(), "--seed", "6", "--scar", "lad:0.8:50:mvo"])
        .output()
        .unwrap();
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let dir = folder.path().to_str().unwrap();
    let found = report(&["--references", dir, "--predictions", &format!("same={dir}")]);
    for key in [
        "scar_dice",
        "myocardium_dice",
        "cavity_dice",
        "no_reflow_dice",
        "slice_dsc",
        "slice_as",
        "slice_ps",
        "sensitivity",
    ] {
        assert_eq!(measure(&found, "all", "same", key)["value"], 1.0, "{key}");
    }
    for key in ["slice_hd", "scar_error_ml", "fraction_error", "myocardium_hd_mm", "transmurality_error"] {
        assert_eq!(measure(&found, "all", "same", key)["value"], 0.0, "{key}");
    }
    // The volume in the SEG is the one that the phantom states as mass.
    let truth: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("6-0/truth/truth.json")).unwrap()).unwrap();
    let volume = case(&found, 0, "6-0")["scar"]["reference_ml"].as_f64().unwrap();
    let mass = truth["scar_mass_g"].as_f64().unwrap();
    assert!((volume * 1.05 / mass - 1.0).abs() < 0.01, "{volume} mL for {mass} g");
}

/// Images and exact masks of a phantom as NIfTI.
fn write_nifti(folder: &Path, phantom: &Phantom) {
    let slices = phantom.late_stack();
    let plane = &slices[0].plane;
    let (rows, columns) = (plane.rows, plane.columns);
    let header = NiftiHeader {
        pixdim: [1.0, plane.pixel as f32, plane.pixel as f32, phantom.plan.spacing as f32, 1.0, 1.0, 1.0, 1.0],
        ..NiftiHeader::default()
    };
    let cube = |value: &dyn Fn(usize, usize) -> f32| {
        Array3::from_shape_fn((columns, rows, slices.len()), |(c, r, k)| value(k, r * columns + c))
    };
    for (name, values) in
        [("images", cube(&|k, i| slices[k].psir[i])), ("labels", cube(&|k, i| f32::from(slices[k].labels[i])))]
    {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        let path = folder.join(name).join("heart.nii.gz");
        WriterOptions::new(&path).reference_header(&header).write_nifti(&values).unwrap();
    }
}

#[test]
fn pictures_go_through_the_same_pipeline_as_dicom() {
    let folder = tempfile::tempdir().unwrap();
    let library = Servers::shared().ort_library();
    let with_models = |arguments: &[&str]| {
        let done = Command::new(BINARY)
            .args(arguments)
            .env("SCARGATE_INFER__MODELS", root().join("models"))
            .env("SCARGATE_INFER__LIBRARY", &library)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    with_models(&["phantom", "--out", &at("study"), "--seed", "6", "--matrix", "160"]);
    with_models(&["analyze", &at("study/6-0/dicom"), "--out", &at("result/6-0")]);
    let as_dicom = report(&["--references", &at("study"), "--predictions", &at("result")]);

    let mut spec = Spec::new(SeedSpace::Evaluation, 6);
    spec.matrix = 160;
    spec.scars = scargate::phantom::Scars::Random { healthy_fraction: 0.25 };
    write_nifti(folder.path(), &Phantom::draw(&spec));
    let bytes =
        with_models(&["evaluate", "--images", &at("images"), "--references", &at("labels"), "--baselines", "--json"]);
    let as_pictures: Value = serde_json::from_slice(&bytes).unwrap();

    // Same heart, same pixels but for rounding to 12 bits: the figures may differ by few border pixels.
    for key in ["scar_dice", "myocardium_dice", "cavity_dice", "slice_dsc"] {
        let value = |report: &Value, method: &str| measure(report, "all", method, key)["value"].as_f64().unwrap();
        let (a, b) = (value(&as_dicom, "result"), value(&as_pictures, "shipped: dense"));
        assert!((a - b).abs() < 0.02 && a > 0.3, "{key}: {a} as DICOM, {b} as pictures");
    }
    let methods: Vec<&str> =
        as_pictures["scores"].as_array().unwrap().iter().map(|s| s["method"].as_str().unwrap()).collect();
    for wanted in ["shipped: dense", "dense, no limit", "boxes", "boxes, no limit", "FWHM", "5-SD", "Otsu", "constant"]
    {
        assert!(methods.contains(&wanted), "{wanted} is not among {methods:?}");
    }
    let fwhm = measure(&as_pictures, "all", "FWHM", "scar_dice")["value"].as_f64().unwrap();
    assert!(fwhm > 0.3, "FWHM finds a phantom's scar inside our wall: {fwhm}");
    // The wall that thresholds work in is ours.
    assert_eq!(
        measure(&as_pictures, "all", "FWHM", "myocardium_dice")["value"],
        measure(&as_pictures, "all", "shipped: dense", "myocardium_dice")["value"]
    );
}
