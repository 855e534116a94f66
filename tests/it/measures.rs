//! Our measures of synthetic hearts, worked out once more by a Python computation that shares no code with ours.

use scargate::cli::handover;
use scargate::config;
use scargate::encode::object::Context;
use scargate::encode::seg::encode;
use scargate::phantom::study::{Study, StudySpec};
use scargate::phantom::{Lesion, Scars, SeedSpace, Spec, Territory};
use scargate::quantify;

use crate::support::python::check;
use crate::support::servers::Servers;

#[test]
fn an_independent_computation_gives_the_same_measures() {
    let servers = Servers::shared();
    let settings = config::load(&[]).unwrap().quantify;
    for (seed, territory) in [(4, Territory::Lad), (8, Territory::Rca), (11, Territory::Lcx)] {
        let spec = Spec::new(SeedSpace::Evaluation, seed).matrix(160).scars(Scars::Given(vec![Lesion::of(territory)]));
        let study = Study::build(&StudySpec::new(spec).phases(1)).unwrap();
        let (stack, labels) = handover::exact(&study).unwrap();
        let (labels, measures) = quantify::measure(&stack, labels, &settings).unwrap();
        let context = Context {
            revision: 1,
            act: String::new(),
            created: time::OffsetDateTime::UNIX_EPOCH,
            device_serial: "test".into(),
            series_number: 1,
        };
        let folder = tempfile::tempdir().unwrap();
        let (seg, json) = (folder.path().join("seg.dcm"), folder.path().join("measures.json"));
        std::fs::write(&seg, encode(&stack, &labels, &context).unwrap().bytes).unwrap();
        std::fs::write(&json, serde_json::to_vec(&measures).unwrap()).unwrap();
        let arguments = [seg.to_str().unwrap(), json.to_str().unwrap()];
        check(&servers, "check_measures.py", &arguments).unwrap_or_else(|said| panic!("seed {seed}: {said}"));

        let mut wrong = measures.clone();
        wrong.scar_mass = wrong.scar_mass.map(|mass| scargate::domain::units::Grams(1.03 * mass.0));
        std::fs::write(&json, serde_json::to_vec(&wrong).unwrap()).unwrap();
        assert!(check(&servers, "check_measures.py", &arguments).is_err(), "3 % more scar is noticed");
    }
}
