//! A study in the PACS, a patient and an order in the EHR, a result in the outbox, and workers that send it.

use std::sync::Arc;
use std::time::Duration;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use reqwest::Method;
use scargate::audit::pseudonym::Pseudonyms;
use scargate::config::Config;
use scargate::deliver::Worker;
use scargate::dicomweb::{Client, StoreItem, StoreOutcome};
use scargate::domain::artefact::{Artefact, ArtefactKind, DicomIdentity};
use scargate::domain::delivery::{DeliveryState, Destination};
use scargate::domain::identity::StudyIdentity;
use scargate::domain::measures::{AbsentReason, Measured, Measures, Quality, QualityGrade};
use scargate::domain::provenance::{IntendedUse, ModelRef, PipelineVersion};
use scargate::domain::run::{RunId, RunState};
use scargate::domain::segments::{DirectionSource, Directions, Segments, Transmurality, TransmuralityClass};
use scargate::domain::stack::SourceFrame;
use scargate::domain::submission::{InputDigest, Submission, Trigger};
use scargate::domain::uid::Uid;
use scargate::domain::units::{Grams, Percent};
use scargate::encode::fhir::{Facts, bundle};
use scargate::store::{Claim, DeliverySummary, Finished, NewDelivery, Store, Submitted};
use serde_json::{Value, json};
use time::UtcOffset;
use time::macros::datetime;
use tokio_util::sync::CancellationToken;

use crate::support::config::TestConfig;
use crate::support::database::TestDatabase;
use crate::support::fault_proxy::FaultProxy;
use crate::support::servers::Servers;
use crate::support::unique;

pub const PATIENT_SYSTEM: &str = "urn:scargate:demo:patient";
pub const ACCESSION_SYSTEM: &str = "urn:scargate:demo:accession";
const SEG_CLASS: &str = "1.2.840.10008.5.1.4.1.1.66.4";
const MR_CLASS: &str = "1.2.840.10008.5.1.4.1.1.4";

/// All that a delivery needs; the EHR and the PACS stand behind fault proxies.
pub struct Fixture {
    pub servers: Servers,
    pub ehr: FaultProxy,
    pub pacs: FaultProxy,
    pub store: Store,
    pub config: TestConfig,
    pub identity: StudyIdentity,
    pub http: reqwest::Client,
    revisions: u32,
    _database: TestDatabase,
}

impl Fixture {
    /// A study in the PACS; the EHR knows nothing of its patient yet.
    pub async fn new() -> Self {
        let servers = Servers::shared();
        let database = TestDatabase::fresh(&servers).await;
        let (ehr, pacs) =
            (FaultProxy::start(&servers.ehr_origin()).await, FaultProxy::start(&servers.pacs_origin()).await);
        let mut config = TestConfig::new(&servers, &database);
        config.set("ehr.url", ehr.url("/fhir")).set("pacs.url", pacs.url("/dicom-web")).set("pacs.request_retries", 0);
        let pseudonyms = Pseudonyms::from_bytes(&[7; 32]).unwrap();
        let store = Store::connect_url(&database.url("app"), 4, pseudonyms).await.unwrap();
        let identity = identity();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let new = Self { servers, ehr, pacs, store, config, identity, http, revisions: 0, _database: database };
        new.upload_source().await;
        new
    }

    /// The same with patient and order in the EHR. Returns their references too.
    pub async fn with_patient() -> (Self, String, String) {
        let fixture = Self::new().await;
        let patient = fixture.add_patient(json!({})).await;
        let order = fixture.add_order(&patient).await;
        (fixture, patient, order)
    }

    async fn upload_source(&self) {
        let sop = Uid::derive(&["source", self.identity.study.as_str()]);
        let bytes = dicom(&self.identity, MR_CLASS, &sop, &Uid::derive(&["s", sop.as_str()]), &[0; 8]);
        let item = StoreItem { sop_instance: sop, bytes: bytes.into() };
        let outcome = self.direct_pacs().store(&self.identity.study, &[item]).await.unwrap();
        assert_eq!(outcome, [StoreOutcome::Stored { warning: None }]);
    }

    /// The PACS without its proxy.
    pub fn direct_pacs(&self) -> Client {
        let mut config = self.config.load();
        config.pacs.url = self.servers.pacs_url().parse().unwrap();
        Client::new(&config.pacs, &config.limits, &config.spool).unwrap()
    }

    /// A Patient with the study's identifier and birth date; `more` is laid over it.
    pub async fn add_patient(&self, more: Value) -> String {
        let mut patient = json!({
            "resourceType": "Patient",
            "identifier": [{ "system": PATIENT_SYSTEM, "value": self.identity.patient_id }],
            "active": true,
            "birthDate": "1960-02-14",
        });
        for (key, value) in more.as_object().unwrap() {
            patient[key] = value.clone();
        }
        self.create(&patient).await
    }

    /// A ServiceRequest with the study's accession number.
    pub async fn add_order(&self, subject: &str) -> String {
        self.create(&json!({
            "resourceType": "ServiceRequest",
            "identifier": [{ "system": ACCESSION_SYSTEM, "value": self.identity.accession_number }],
            "status": "active",
            "intent": "order",
            "subject": { "reference": subject },
        }))
        .await
    }

    /// Creates a resource in the EHR; its `Type/id`.
    pub async fn create(&self, resource: &Value) -> String {
        let kind = resource["resourceType"].as_str().unwrap();
        let request = self.servers.ehr_request(&self.http, Method::POST, &format!("/{kind}")).json(resource);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        let created: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        format!("{kind}/{}", created["id"].as_str().unwrap())
    }

    /// Writes over a resource in the EHR, as another system would.
    pub async fn overwrite(&self, resource: &Value) {
        let path = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        let request = self.servers.ehr_request(&self.http, Method::PUT, &path).json(resource);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// What the EHR holds of a type for a patient.
    pub async fn held(&self, kind: &str, patient: &str) -> Vec<Value> {
        self.found(&format!("/{kind}?patient={patient}&_count=200")).await
    }

    /// The Provenances of a patient's reports.
    pub async fn provenances(&self, patient: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for report in self.held("DiagnosticReport", patient).await {
            let id = report["id"].as_str().unwrap();
            all.extend(self.found(&format!("/Provenance?target=DiagnosticReport/{id}")).await);
        }
        all
    }

    /// Resources of a search.
    pub async fn found(&self, path: &str) -> Vec<Value> {
        let answer = self.servers.ehr_request(&self.http, Method::GET, path).send().await.unwrap();
        let found: Value = serde_json::from_slice(&answer.error_for_status().unwrap().bytes().await.unwrap()).unwrap();
        found["entry"].as_array().into_iter().flatten().map(|entry| entry["resource"].clone()).collect()
    }

    /// Asserts that the EHR holds exactly one result for a patient: panel, seven members, 16 segments, a report.
    pub async fn assert_one_set(&self, patient: &str) -> Vec<Value> {
        let observations = self.held("Observation", patient).await;
        let mut codes: Vec<&str> =
            observations.iter().map(|o| o["code"]["coding"][0]["code"].as_str().unwrap()).collect();
        codes.sort_unstable();
        let all = codes.len();
        codes.retain(|code| *code != "LGE-TRANSM");
        assert_eq!(all - codes.len(), 16, "transmurality of each segment");
        let expected = [
            "LGE-BURDEN",
            "LGE-LV-MASS",
            "LGE-MVO-LV",
            "LGE-MVO-MASS",
            "LGE-MVO-SCAR",
            "LGE-QUALITY",
            "LGE-QUANT",
            "LGE-SCAR-MASS",
        ];
        assert_eq!(codes, expected);
        assert_eq!(self.held("DiagnosticReport", patient).await.len(), 1);
        observations
    }

    /// The configuration as it stands.
    pub fn load(&self) -> Config {
        self.config.load()
    }

    /// A finished run of the study in the outbox: a Bundle for the EHR.
    pub async fn enqueue_bundle(&mut self, scar: f64) -> RunId {
        let (run, token, revision) = self.start_run().await;
        let bytes = encode(&self.identity, run, revision, scar);
        let finished = self.finished(bytes, vec![NewDelivery::now(Destination::Ehr, "bundle")]);
        self.store.finish_analysis(run, token, &finished, &[]).await.unwrap();
        run
    }

    /// A finished run of the study in the outbox: an object for the PACS.
    pub async fn enqueue_seg(&mut self) -> (RunId, Artefact) {
        let (run, token, revision) = self.start_run().await;
        let seg = seg(&self.identity, revision, &[1, 2, 3, 4]);
        let finished = self.finished(seg.clone(), vec![NewDelivery::now(Destination::Pacs, "seg")]);
        self.store.finish_analysis(run, token, &finished, &[]).await.unwrap();
        (run, seg)
    }

    async fn start_run(&mut self) -> (RunId, scargate::domain::run::FencingToken, u32) {
        self.revisions += 1;
        let submission =
            Submission { study: self.identity.study.clone(), trigger: Trigger::Reprocess, actor: "test".into() };
        let digest = InputDigest::of([&Uid::derive(&["i", &self.revisions.to_string()])]);
        let Submitted::Started { run, revision } = self.store.submit(&submission, &digest, None).await.unwrap() else {
            panic!("not started")
        };
        let lease = Duration::from_secs(60);
        let Claim::Claimed(claimed) = self.store.claim(run, "test", lease, 3).await.unwrap() else {
            panic!("not claimed")
        };
        self.store.set_state(run, claimed.token, RunState::Retrieving, RunState::Analyzing, &[]).await.unwrap();
        (run, claimed.token, revision)
    }

    fn finished(&self, artefact: Artefact, deliveries: Vec<NewDelivery>) -> Finished {
        Finished {
            trace_context: None,
            selection_digest: "s".into(),
            pipeline_version: PipelineVersion::of(&["test"]),
            identity: self.identity.clone(),
            measures: json!({}),
            artefacts: vec![artefact],
            deliveries,
        }
    }

    /// A worker with the configuration as it stands.
    pub fn worker(&self, destination: Destination) -> Worker {
        let config = self.load();
        let pacs = Arc::new(Client::new(&config.pacs, &config.limits, &config.spool).unwrap());
        Worker::new(self.store.clone(), pacs, &config, destination, "test-worker").unwrap()
    }

    /// Runs a worker until the only delivery of a run stops moving.
    pub async fn settle(&self, run: RunId, destination: Destination) -> DeliverySummary {
        let stop = CancellationToken::new();
        let task = tokio::spawn(self.worker(destination).run(stop.clone()));
        let moving = |state| matches!(state, DeliveryState::Pending | DeliveryState::Sending);
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        let delivery = loop {
            let delivery = self.delivery(run).await;
            if !moving(delivery.state) {
                break delivery;
            }
            assert!(tokio::time::Instant::now() < end, "{:?} after {} attempts", delivery.code, delivery.attempts);
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        stop.cancel();
        task.await.unwrap().unwrap();
        delivery
    }

    /// The only delivery of a run.
    pub async fn delivery(&self, run: RunId) -> DeliverySummary {
        let mut all = self.store.deliveries_of(run).await.unwrap();
        assert_eq!(all.len(), 1);
        all.pop().unwrap()
    }
}

fn identity() -> StudyIdentity {
    StudyIdentity {
        study: Uid::parse(&unique::uid()).unwrap(),
        patient_name: "Phantom^Delivery".into(),
        patient_id: unique::patient_id(),
        issuer_of_patient_id: None,
        patient_birth_date: "19600214".into(),
        patient_sex: "O".into(),
        accession_number: unique::accession(),
        issuer_of_accession_number: None,
        referring_physician_name: String::new(),
        study_id: "1".into(),
        study_date: "20260203".into(),
        study_time: "101112".into(),
        timezone_offset: Some("+0100".into()),
        specific_character_set: None,
    }
}

/// A Bundle whose scar mass is `scar` grams.
pub fn encode(identity: &StudyIdentity, run: RunId, revision: u32, scar: f64) -> Artefact {
    let source = SourceFrame {
        sop_class: Uid::parse(MR_CLASS).unwrap(),
        sop_instance: Uid::derive(&["source", identity.study.as_str()]),
        series: Uid::derive(&["series"]),
        frame: None,
    };
    let models = [ModelRef {
        role: "myocardium".into(),
        name: "scargate-test".into(),
        version: "0.1.0".into(),
        sha256: "ab".repeat(32),
        licence: "CC0-1.0".into(),
        intended_use: IntendedUse::Research,
    }];
    let picture =
        Artefact { kind: ArtefactKind::Overlay, name: "bullseye".into(), dicom: None, bytes: b"\x89PNG\r\n".to_vec() };
    bundle(&Facts {
        identity,
        measures: &measures(scar),
        sources: &[source],
        input_digest: &InputDigest::of([&identity.study]),
        seg: Some(&seg(identity, revision, &[1])),
        report: None,
        bullseye: Some(&picture),
        code_system: true,
        models: &models,
        provider: "cpu",
        pipeline: &PipelineVersion::of(&["test"]),
        run,
        revision,
        device_serial: "scargate-test",
        assumed_offset: UtcOffset::UTC,
        segments_in_one: false,
        issued: datetime!(2026-03-04 05:06:07 UTC),
    })
    .unwrap()
}

pub fn measures(scar: f64) -> Measures {
    let quality = Quality { grade: QualityGrade::Good, reasons: Vec::new() };
    Measures {
        lv_mass: Measured::Value(Grams(120.0)),
        scar_mass: Measured::Value(Grams(scar)),
        burden: Measured::Value(Percent(scar / 1.2)),
        no_reflow_mass: Measured::Value(Grams(0.0)),
        no_reflow_of_myocardium: Measured::Value(Percent(0.0)),
        detection_limit: Percent(2.5),
        slices_in_stack: 10,
        segments: segments(scar),
        ..Measures::absent(quality, AbsentReason::NotApplicable)
    }
}

/// Segments whose mean is the scar mass in percent; segment 2 is absent.
fn segments(scar: f64) -> Segments {
    let mut segments = Segments::absent(AbsentReason::RingIncomplete);
    segments.directions = Measured::Value(Directions {
        source: DirectionSource::Found,
        base_to_apex: [0.0, 0.0, -1.0],
        septum: [-1.0, 0.0, 0.0],
        anterior_insertion_deg: 60.0,
        slices_found: 8,
        ends_disagree: false,
    });
    for segment in segments.segments.iter_mut().filter(|segment| segment.segment != 2) {
        segment.transmurality = Measured::Value(Transmurality {
            mean: Percent(scar),
            maximum: Percent(1.5 * scar),
            depth: Measured::Absent(AbsentReason::NotApplicable),
            enhanced: Percent(scar),
            class: TransmuralityClass::of(Percent(scar)),
        });
    }
    segments
}

/// A stand-in for the segmentation: what matters here is its UIDs and its bytes.
pub fn seg(identity: &StudyIdentity, revision: u32, pixels: &[u8]) -> Artefact {
    let dicom_identity = DicomIdentity {
        sop_class: Uid::parse(SEG_CLASS).unwrap(),
        sop_instance: Uid::derive_output(&identity.study, revision, "seg", ""),
        series: Uid::derive_output(&identity.study, revision, "seg-series", ""),
    };
    let bytes = dicom(identity, SEG_CLASS, &dicom_identity.sop_instance, &dicom_identity.series, pixels);
    Artefact { kind: ArtefactKind::Seg, name: "seg".into(), dicom: Some(dicom_identity), bytes }
}

fn dicom(identity: &StudyIdentity, class: &str, sop: &Uid, series: &Uid, pixels: &[u8]) -> Vec<u8> {
    let mut object = InMemDicomObject::new_empty();
    let mut put = |tag, vr, text: &str| {
        object.put(DataElement::new(tag, vr, text));
    };
    put(tags::SOP_CLASS_UID, VR::UI, class);
    put(tags::SOP_INSTANCE_UID, VR::UI, sop.as_str());
    put(tags::STUDY_DATE, VR::DA, &identity.study_date);
    put(tags::ACCESSION_NUMBER, VR::SH, &identity.accession_number);
    put(tags::MODALITY, VR::CS, if class == MR_CLASS { "MR" } else { "SEG" });
    put(tags::PATIENT_NAME, VR::PN, &identity.patient_name);
    put(tags::PATIENT_ID, VR::LO, &identity.patient_id);
    put(tags::PATIENT_BIRTH_DATE, VR::DA, &identity.patient_birth_date);
    put(tags::STUDY_INSTANCE_UID, VR::UI, identity.study.as_str());
    put(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())));
    let meta = FileMetaTableBuilder::new().transfer_syntax("1.2.840.10008.1.2.1");
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}
