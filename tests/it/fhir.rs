//! The Bundle that we write, judged by two independent R4 validators.

use scargate::domain::identity::StudyIdentity;
use scargate::domain::measures::{AbsentReason, Measured, Measures, Quality, QualityGrade, ReviewFlag};
use scargate::domain::provenance::PipelineVersion;
use scargate::domain::run::RunId;
use scargate::domain::segments::Segments;
use scargate::domain::submission::InputDigest;
use scargate::domain::uid::Uid;
use scargate::encode::fhir::{Facts, bundle};
use time::UtcOffset;

use crate::deliver::fixture::measures;
use crate::support::python::check_fhir;
use crate::support::servers::Servers;

fn identity(full: bool) -> StudyIdentity {
    let some = |text: &str| if full { text.to_owned() } else { String::new() };
    StudyIdentity {
        study: Uid::derive(&["fhir-test"]),
        patient_name: some("Zoë^Łazarz"),
        patient_id: some("P 1"),
        issuer_of_patient_id: full.then(|| "HOSPITAL".into()),
        patient_birth_date: some("19600214"),
        patient_sex: some("F"),
        accession_number: some("A/1"),
        issuer_of_accession_number: full.then(|| "1.2.3".into()),
        referring_physician_name: String::new(),
        study_id: some("1"),
        study_date: some("20260203"),
        study_time: some("101112.345"),
        timezone_offset: None,
        specific_character_set: None,
    }
}

fn nothing_usable() -> Measures {
    let mut measures = measures(0.0);
    let absent = AbsentReason::ImageQuality;
    measures.quality = Quality { grade: QualityGrade::NotUsable, reasons: vec!["motion".into()] };
    measures.lv_mass = Measured::Absent(absent);
    measures.scar_mass = Measured::Absent(absent);
    measures.burden = Measured::Absent(AbsentReason::MissingSlice);
    measures.no_reflow_mass = Measured::Absent(AbsentReason::WithheldForAccuracy);
    measures.no_reflow_of_myocardium = Measured::Absent(AbsentReason::NoMyocardium);
    measures.segments = Segments::absent(absent);
    measures.review_flags = vec![ReviewFlag::ImageQuality, ReviewFlag::MissingSlice];
    measures
}

#[test]
fn bundles_pass_the_independent_validators() {
    let servers = Servers::shared();
    let folder = tempfile::tempdir().unwrap();
    for (name, full, measures) in [
        ("full", true, measures(20.0)),
        ("scar-free", true, measures(0.0)),
        ("bare", false, measures(20.0)),
        ("unusable", true, nothing_usable()),
    ] {
        let (identity, run) = (identity(full), RunId::new());
        let artefact = bundle(&Facts {
            identity: &identity,
            measures: &measures,
            sources: &[],
            input_digest: &InputDigest::of([]),
            seg: None,
            report: None,
            bullseye: None,
            code_system: true,
            models: &[],
            provider: "cpu",
            pipeline: &PipelineVersion::of(&["test"]),
            run,
            revision: 1,
            device_serial: "scargate-test",
            assumed_offset: UtcOffset::UTC,
            segments_in_one: false,
            issued: time::macros::datetime!(2026-03-04 05:06:07 UTC),
        })
        .unwrap();
        let file = folder.path().join(format!("{name}.json"));
        std::fs::write(&file, &artefact.bytes).unwrap();
        check_fhir(&servers, &file);
    }
}
