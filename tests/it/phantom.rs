//! The phantom against independent judges: dciodvfy for its objects, and the gateway's own measurements for its truth.

use std::process::Command;

use scargate::cli::handover;
use scargate::config::{self, NoReflow};
use scargate::domain::stack::StackFlag;
use scargate::phantom::{Lesion, Scars, SeedSpace, Spec, Study, StudySpec, Territory, Vendor};
use scargate::quantify;

fn spec(seed: u64) -> StudySpec {
    let lesion = Lesion { no_reflow: Some(0.7), extent: 0.9, ..Lesion::of(Territory::Rca) };
    let phantom = Spec::new(SeedSpace::Evaluation, seed).matrix(128).scars(Scars::Given(vec![lesion]));
    StudySpec::new(phantom).phases(1)
}

/// Errors that dciodvfy finds in the first object of every series.
fn faults(study: &Study) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    study.write(&dir.path().join("dicom"), &dir.path().join("truth")).unwrap();
    let mut found = Vec::new();
    for instance in study.instances.iter().filter(|i| i.number == 1) {
        let output =
            Command::new("dciodvfy").arg(dir.path().join("dicom").join(instance.file_name())).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("MRImage"), "dciodvfy knew the IOD: {text}");
        found.extend(text.lines().filter(|l| l.contains("Error")).map(|l| format!("{}: {l}", instance.series)));
    }
    found
}

#[test]
fn objects_of_every_style_pass_dciodvfy() {
    for vendor in [Vendor::Siemens, Vendor::Ge, Vendor::Philips] {
        for enhanced in [false, true] {
            let study = Study::build(&spec(2).vendor(vendor).enhanced(enhanced)).unwrap();
            assert_eq!(faults(&study), Vec::<String>::new(), "{vendor:?}, enhanced {enhanced}");
        }
    }
}

#[test]
fn the_gateway_measures_the_exact_masks_as_the_truth_says() {
    let mut settings = config::load(&[]).unwrap().quantify;
    settings.min_burden_percent = 0.0;
    settings.no_reflow = NoReflow::Show;
    for seed in 1..6 {
        let study = Study::build(&spec(seed)).unwrap();
        let (stack, masks) = handover::exact(&study).unwrap();
        assert!(!stack.flags.iter().any(|f| matches!(f, StackFlag::MissingSlice { .. })));
        let (_, measures) = quantify::measure(&stack, masks, &settings).unwrap();
        let close = |name: &str, measured: Option<f64>, truth: f64, slack: f64| {
            let measured = measured.unwrap_or_else(|| panic!("{name} is absent for seed {seed}"));
            assert!((measured - truth).abs() <= slack, "{name} of seed {seed}: {measured} for {truth}");
        };
        let truth = &study.truth;
        // The clean-up drops parts below a tenth of a gram.
        close("LV mass", measures.lv_mass.value().map(|m| m.0), truth.lv_mass_g, 0.3);
        close("scar mass", measures.scar_mass.value().map(|m| m.0), truth.scar_mass_g, 0.3);
        close("burden", measures.burden.value().map(|p| p.0), truth.burden_percent.unwrap(), 0.4);
        close("no-reflow mass", measures.no_reflow_mass.value().map(|m| m.0), truth.no_reflow_mass_g, 0.3);
    }
}
