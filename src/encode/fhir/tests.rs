#![allow(clippy::unwrap_used)]

use super::*;
use crate::domain::artefact::DicomIdentity;
use crate::domain::measures::{AbsentReason, ContourSensitivity, Measured, Quality, QualityGrade, ReviewFlag};
use crate::domain::provenance::IntendedUse;
use crate::domain::segments::{DirectionSource, Directions, Segments, Transmurality, TransmuralityClass};
use crate::domain::uid::Uid;
use crate::domain::units::{Grams, Percent};
use std::collections::BTreeSet;
use time::macros::{datetime, offset};

struct Case {
    identity: StudyIdentity,
    measures: Measures,
    sources: Vec<SourceFrame>,
    digest: InputDigest,
    seg: Artefact,
    models: Vec<ModelRef>,
    pipeline: PipelineVersion,
}

impl Case {
    fn new() -> Self {
        let sources: Vec<SourceFrame> = (0..3).map(frame).collect();
        let seg = DicomIdentity {
            sop_class: Uid::parse("1.2.840.10008.5.1.4.1.1.66.4").unwrap(),
            sop_instance: Uid::derive(&["seg"]),
            series: Uid::derive(&["seg-series"]),
        };
        Self {
            identity: identity(),
            measures: measures(),
            digest: InputDigest::of(sources.iter().map(|s| &s.sop_instance)),
            sources,
            seg: Artefact { kind: ArtefactKind::Seg, name: "seg".into(), dicom: Some(seg), bytes: vec![1, 2, 3] },
            models: vec![model("myocardium"), model("scar-detector")],
            pipeline: PipelineVersion::of(&["test"]),
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            identity: &self.identity,
            measures: &self.measures,
            sources: &self.sources,
            input_digest: &self.digest,
            seg: Some(&self.seg),
            report: None,
            bullseye: None,
            code_system: true,
            models: &self.models,
            provider: "cpu",
            pipeline: &self.pipeline,
            run: RunId(uuid::Uuid::from_u128(7)),
            revision: 1,
            device_serial: "scargate-1",
            assumed_offset: offset!(+2),
            segments_in_one: false,
            issued: datetime!(2026-03-04 05:06:07 UTC),
        }
    }

    fn bundle(&self) -> Value {
        serde_json::from_slice(&bundle(&self.facts()).unwrap().bytes).unwrap()
    }
}

fn frame(index: u32) -> SourceFrame {
    SourceFrame {
        sop_class: Uid::parse("1.2.840.10008.5.1.4.1.1.4").unwrap(),
        sop_instance: Uid::derive(&["image", &index.to_string()]),
        series: Uid::derive(&["series"]),
        frame: None,
    }
}

fn identity() -> StudyIdentity {
    StudyIdentity {
        study: Uid::derive(&["study"]),
        patient_name: "Phantom^One".into(),
        patient_id: "P1".into(),
        issuer_of_patient_id: None,
        patient_birth_date: "19600101".into(),
        patient_sex: "O".into(),
        accession_number: "A1".into(),
        issuer_of_accession_number: None,
        referring_physician_name: String::new(),
        study_id: "1".into(),
        study_date: "20260203".into(),
        study_time: "101112.5".into(),
        timezone_offset: Some("-0330".into()),
        specific_character_set: None,
    }
}

fn measures() -> Measures {
    let quality = Quality { grade: QualityGrade::Limited, reasons: vec!["low-contrast".into()] };
    Measures {
        lv_mass: Measured::Value(Grams(123.449)),
        scar_mass: Measured::Value(Grams(21.25)),
        burden: Measured::Value(Percent(17.21)),
        no_reflow_mass: Measured::Value(Grams(0.0)),
        no_reflow_of_myocardium: Measured::Value(Percent(0.0)),
        detection_limit: Percent(2.5),
        scar_mass_sensitivity: Measured::Value(ContourSensitivity { low: Grams(18.0), high: Grams(24.0) }),
        slices_in_stack: 3,
        review_flags: vec![ReviewFlag::ImageQuality],
        ..Measures::absent(quality, AbsentReason::NotApplicable)
    }
}

/// Segment 4 with scar, segment 2 absent, the others free of it.
fn segments(source: DirectionSource) -> Segments {
    let mut made = Segments::absent(AbsentReason::RingIncomplete);
    made.directions = Measured::Value(Directions {
        source,
        base_to_apex: [0.0, 0.0, -1.0],
        septum: [-1.0, 0.0, 0.0],
        anterior_insertion_deg: 60.0,
        slices_found: 5,
        ends_disagree: false,
    });
    for segment in made.segments.iter_mut().filter(|s| s.segment != 2) {
        let mean = Percent(if segment.segment == 4 { 50.04 } else { 0.0 });
        let depth =
            if mean.0 > 0.0 { Measured::Value(Percent(71.0)) } else { Measured::Absent(AbsentReason::NotApplicable) };
        let (maximum, enhanced) = (Percent(1.8 * mean.0), Percent(mean.0));
        let class = TransmuralityClass::of(mean);
        segment.transmurality = Measured::Value(Transmurality { mean, maximum, depth, enhanced, class });
    }
    made
}

fn at_site<'a>(bundle: &'a Value, code: &str) -> &'a Value {
    let site = |r: &&Value| r["bodySite"]["coding"][0]["code"] == code;
    resources(bundle, "Observation").into_iter().find(site).unwrap()
}

#[test]
fn every_segment_is_a_member_with_its_site_and_its_maximum() {
    let mut case = Case::new();
    case.measures.segments = segments(DirectionSource::Found);
    let bundle = case.bundle();
    let inferior = at_site(&bundle, "264846001");
    assert_eq!(inferior["code"]["coding"][0]["code"], "LGE-TRANSM");
    assert_eq!(inferior["valueQuantity"]["value"], 50.0);
    let parts = inferior["component"].as_array().unwrap();
    let value = |code: &str| parts.iter().find(|p| p["code"]["coding"][0]["code"] == code).unwrap();
    assert_eq!(value("LGE-TRANSM-MAX")["valueQuantity"]["value"], 90.1);
    assert_eq!(value("LGE-TRANSM-DEPTH")["valueQuantity"]["value"], 71.0);
    let class = &value("LGE-TRANSM-CLASS")["valueCodeableConcept"]["coding"][0]["code"];
    assert_eq!(class, "LGE-TC-75", "the class is of the unrounded mean");
    let anteroseptal = at_site(&bundle, "396482007");
    assert!(anteroseptal.get("valueQuantity").is_none() && anteroseptal.get("component").is_none());
    assert_eq!(anteroseptal["dataAbsentReason"]["coding"][0]["code"], "not-performed");
    let free = at_site(&bundle, "264850008");
    assert_eq!(free["valueQuantity"]["value"], 0.0);
    assert_eq!(free["component"][1]["dataAbsentReason"]["coding"][0]["code"], "not-applicable");
    let text = resources(&bundle, "DiagnosticReport")[0]["conclusion"].as_str().unwrap();
    assert!(text.contains("below 1 % elsewhere: 4 (50.0 / 90.1 %); some not given, less than half"), "{text}");
}

#[test]
fn estimated_directions_keep_segments_here() {
    let mut case = Case::new();
    case.measures.segments = segments(DirectionSource::Estimated);
    let bundle = case.bundle();
    let inferior = at_site(&bundle, "264846001");
    assert!(inferior.get("valueQuantity").is_none() && inferior.get("component").is_none());
    assert_eq!(inferior["dataAbsentReason"]["text"], "anatomical directions are only estimated");
    let text = resources(&bundle, "DiagnosticReport")[0]["conclusion"].as_str().unwrap();
    assert!(text.contains("Transmurality by AHA segment: not given"), "{text}");
}

#[test]
fn segments_fit_into_one_observation() {
    let mut case = Case::new();
    case.measures.segments = segments(DirectionSource::Given);
    let facts = Facts { segments_in_one: true, ..case.facts() };
    let bundle: Value = serde_json::from_slice(&bundle(&facts).unwrap().bytes).unwrap();
    let all = observation(&bundle, "LGE-TRANSM-ALL");
    let parts = all["component"].as_array().unwrap();
    assert_eq!(parts.len(), 32);
    assert_eq!(parts[6]["code"]["coding"][0]["code"], "LGE-TM-04");
    assert_eq!(parts[6]["valueQuantity"]["value"], 50.0);
    assert_eq!(parts[7]["valueQuantity"]["value"], 90.1);
    assert!(parts[2]["dataAbsentReason"].is_object());
    assert_eq!(observation(&bundle, "LGE-QUANT")["hasMember"].as_array().unwrap().len(), 8);
}

fn model(role: &str) -> ModelRef {
    ModelRef {
        role: role.into(),
        name: format!("scargate-{role}"),
        version: "0.1.0".into(),
        sha256: "ab".repeat(32),
        licence: "CC-BY-NC-SA-4.0".into(),
        intended_use: IntendedUse::Research,
    }
}

fn resources<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = bundle["entry"].as_array().unwrap().iter().map(|e| &e["resource"]);
    all.filter(|r| r["resourceType"] == kind).collect()
}

fn observation<'a>(bundle: &'a Value, code: &str) -> &'a Value {
    resources(bundle, "Observation").into_iter().find(|r| r["code"]["coding"][0]["code"] == code).unwrap()
}

#[test]
fn values_are_copied_and_rounded_once() {
    let bundle = Case::new().bundle();
    let value = |code| observation(&bundle, code)["valueQuantity"]["value"].as_f64().unwrap();
    assert_eq!(value("LGE-LV-MASS"), 123.4);
    assert_eq!(value("LGE-SCAR-MASS"), 21.3);
    assert_eq!(value("LGE-BURDEN"), 17.2);
    assert_eq!(value("LGE-MVO-MASS"), 0.0);
    let text = resources(&bundle, "DiagnosticReport")[0]["conclusion"].as_str().unwrap();
    assert!(text.starts_with("Image quality: limited (low-contrast)."), "{text}");
    assert!(text.contains("21.3 g, 17.2 % of the LV mass"), "the text rounds as the value does: {text}");
    assert!(text.contains("research"), "{text}");
}

#[test]
fn an_absent_value_has_a_reason_and_no_number() {
    let mut case = Case::new();
    case.measures.scar_mass = Measured::Absent(AbsentReason::MissingSlice);
    let bundle = case.bundle();
    for code in ["LGE-MVO-SCAR", "LGE-SCAR-MASS"] {
        let line = observation(&bundle, code);
        assert!(line.get("valueQuantity").is_none());
        assert!(line["dataAbsentReason"]["text"].as_str().unwrap().len() > 10);
    }
    let text = resources(&bundle, "DiagnosticReport")[0]["conclusion"].as_str().unwrap();
    assert!(text.contains("not given, a slice is missing inside the left ventricle"), "{text}");
}

#[test]
fn lines_keep_their_identifiers_over_revisions() {
    let case = Case::new();
    let lines = |revision, run| {
        let facts = Facts { revision, run: RunId(uuid::Uuid::from_u128(run)), ..case.facts() };
        let bundle: Value = serde_json::from_slice(&bundle(&facts).unwrap().bytes).unwrap();
        let urls = bundle["entry"].as_array().unwrap().iter().map(|e| e["request"]["url"].as_str().unwrap().to_owned());
        urls.collect::<Vec<_>>()
    };
    let first = lines(1, 1);
    assert_eq!(first, lines(2, 2));
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len(), "no two entries share a line");
    assert!(!first.concat().contains(case.identity.study.as_str()), "the study's UID stands in no URL");
}

#[test]
fn every_reference_inside_the_bundle_has_its_entry() {
    let bundle = Case::new().bundle();
    let urls: BTreeSet<&str> =
        bundle["entry"].as_array().unwrap().iter().map(|e| e["fullUrl"].as_str().unwrap()).collect();
    let mut seen = 0;
    let mut stack = vec![&bundle];
    while let Some(value) = stack.pop() {
        if let Some(reference) = value.get("reference").and_then(Value::as_str) {
            assert!(urls.contains(reference), "{reference}");
            seen += 1;
        }
        match value {
            Value::Array(items) => stack.extend(items),
            Value::Object(map) => stack.extend(map.values()),
            _ => {}
        }
    }
    assert!(seen > 20, "{seen}");
    let panel = observation(&bundle, "LGE-QUANT");
    assert_eq!(panel["hasMember"].as_array().unwrap().len(), 23);
    let is_quality = |entry: &&Value| entry["resource"]["code"]["coding"][0]["code"] == "LGE-QUALITY";
    let quality = bundle["entry"].as_array().unwrap().iter().find(is_quality).unwrap();
    assert_eq!(panel["hasMember"][0]["reference"], quality["fullUrl"]);
}

#[test]
fn patient_and_order_are_left_to_the_delivery() {
    let bundle = Case::new().bundle();
    for resource in resources(&bundle, "Observation").into_iter().chain(resources(&bundle, "DiagnosticReport")) {
        assert_eq!(resource["subject"]["identifier"]["value"], "P1");
        assert!(resource["subject"].get("reference").is_none());
        assert_eq!(resource["basedOn"][0]["identifier"]["value"], "A1");
        assert_eq!(resource["status"], "preliminary");
        assert_eq!(resource["meta"]["security"][0]["code"], "AIAST");
    }
}

#[test]
fn the_time_of_the_study_has_an_offset_that_is_stated_or_said_to_be_assumed() {
    let mut case = Case::new();
    assert_eq!(observation(&case.bundle(), "LGE-BURDEN")["effectiveDateTime"], "2026-02-03T10:11:12-03:30");
    case.identity.timezone_offset = None;
    let bundle = case.bundle();
    let line = observation(&bundle, "LGE-BURDEN");
    assert_eq!(line["effectiveDateTime"], "2026-02-03T10:11:12+02:00");
    assert!(line["note"].to_string().contains("+02:00 was assumed"));
    case.identity.study_time = String::new();
    assert_eq!(observation(&case.bundle(), "LGE-BURDEN")["effectiveDateTime"], "2026-02-03");
    case.identity.study_date = "unknown".into();
    assert!(observation(&case.bundle(), "LGE-BURDEN").get("effectiveDateTime").is_none());
}

#[test]
fn provenance_names_images_models_and_software() {
    let case = Case::new();
    let bundle = case.bundle();
    let provenance = resources(&bundle, "Provenance")[0].to_string();
    for source in &case.sources {
        assert!(provenance.contains(&format!("urn:oid:{}", source.sop_instance)));
    }
    for needle in [case.digest.as_str(), case.pipeline.as_str(), &case.models[0].sha256, &case.seg.sha256(), "cpu"] {
        assert!(provenance.contains(needle), "{needle}");
    }
    assert_eq!(resources(&bundle, "Provenance")[0]["target"].as_array().unwrap().len(), 25);
}

#[test]
fn the_same_facts_give_the_same_bytes() {
    let case = Case::new();
    assert_eq!(bundle(&case.facts()).unwrap().bytes, bundle(&case.facts()).unwrap().bytes);
}

#[test]
fn what_is_not_fhir_is_not_written() {
    let mut case = Case::new();
    case.measures.lv_mass = Measured::Value(Grams(f64::NAN));
    assert!(matches!(bundle(&case.facts()), Err(EncodeError::Fhir(_))));
    let mut broken = Case::new().bundle();
    broken["entry"][1]["resource"]["status"] = "done".into();
    assert!(fhir_wire::check_bundle(broken.to_string().as_bytes()).is_err());
}
