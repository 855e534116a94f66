//! What the store's tests share: a store on a database of its own, submissions, results.

use std::time::Duration;

use scargate::audit::pseudonym::Pseudonyms;
use scargate::domain::artefact::{Artefact, ArtefactKind, DicomIdentity};
use scargate::domain::delivery::Destination;
use scargate::domain::identity::StudyIdentity;
use scargate::domain::provenance::PipelineVersion;
use scargate::domain::run::{RunId, RunState};
use scargate::domain::submission::{InputDigest, Submission, Trigger};
use scargate::domain::uid::Uid;
use scargate::store::{Claim, Claimed, ClaimedDelivery, Finished, NewDelivery, Store, Submitted};
use sqlx::PgPool;

use crate::support::database::TestDatabase;
use crate::support::servers::Servers;

pub const LEASE: Duration = Duration::from_secs(30);

/// A store as the app role, and the database it stands on.
pub struct Kit {
    pub store: Store,
    pub database: TestDatabase,
}

impl Kit {
    pub async fn new() -> Self {
        let database = TestDatabase::fresh(&Servers::shared()).await;
        let store = Store::connect_url(&database.url("app"), 8, pseudonyms()).await.unwrap();
        store.check_migrated().await.unwrap();
        Self { store, database }
    }

    pub async fn owner(&self) -> PgPool {
        self.database.pool("owner").await
    }

    /// Runs a statement as the owner, e.g. to let time pass.
    pub async fn as_owner(&self, sql: &'static str) -> u64 {
        sqlx::query(sql).execute(&self.owner().await).await.unwrap().rows_affected()
    }

    pub async fn submit(&self, study: &Uid, trigger: Trigger, images: &str) -> Submitted {
        self.store.submit(&submission(study, trigger), &digest(images), None).await.unwrap()
    }

    /// A new run, whatever happened before.
    pub async fn start(&self, study: &Uid, images: &str) -> RunId {
        match self.submit(study, Trigger::Reprocess, images).await {
            Submitted::Started { run, .. } => run,
            other => panic!("{other:?}"),
        }
    }

    pub async fn claim(&self, run: RunId) -> Claimed {
        match self.store.claim(run, "worker", LEASE, 5).await.unwrap() {
            Claim::Claimed(claimed) => claimed,
            other => panic!("{other:?}"),
        }
    }

    /// Takes a new run up to its outbox, with these deliveries.
    pub async fn finish(&self, study: &Uid, images: &str, deliveries: Vec<NewDelivery>) -> RunId {
        let run = self.start(study, images).await;
        let claimed = self.claim(run).await;
        self.analyzing(&claimed).await;
        let result = result(&claimed, deliveries);
        self.store.finish_analysis(run, claimed.token, &result, &[]).await.unwrap();
        run
    }

    pub async fn analyzing(&self, claimed: &Claimed) {
        let (from, to) = (RunState::Retrieving, RunState::Analyzing);
        self.store.set_state(claimed.run, claimed.token, from, to, &[]).await.unwrap();
    }

    pub async fn due(&self, destination: Destination) -> Vec<ClaimedDelivery> {
        self.store.claim_due_deliveries(destination, "sender", 10, LEASE).await.unwrap()
    }

    pub async fn state(&self, run: RunId) -> RunState {
        self.store.run_summary(run).await.unwrap().unwrap().state
    }
}

pub fn pseudonyms() -> Pseudonyms {
    Pseudonyms::from_bytes(&[42; 32]).unwrap()
}

pub fn study(name: &str) -> Uid {
    Uid::derive(&["test-study", name])
}

pub fn submission(study: &Uid, trigger: Trigger) -> Submission {
    Submission { study: study.clone(), trigger, actor: "tester".into() }
}

pub fn digest(images: &str) -> InputDigest {
    InputDigest::of([&Uid::derive(&["images", images])])
}

/// SEG and Bundle with bytes and UIDs of the claimed revision.
pub fn result(claimed: &Claimed, deliveries: Vec<NewDelivery>) -> Finished {
    let uid = |role: &str| Uid::derive_output(&claimed.study, claimed.revision, role, "");
    let dicom = DicomIdentity { sop_class: uid("class"), sop_instance: uid("seg"), series: uid("series") };
    let artefact = |kind: ArtefactKind, dicom: Option<DicomIdentity>| Artefact {
        kind,
        name: kind.name().into(),
        dicom,
        bytes: format!("{} {} {}", kind.name(), claimed.study, claimed.revision).into_bytes(),
    };
    Finished {
        trace_context: None,
        selection_digest: format!("selection of {}", claimed.input_digest.as_str()),
        pipeline_version: PipelineVersion::of(&["test"]),
        identity: identity(&claimed.study),
        measures: serde_json::json!({ "lv_mass": { "value": 101.5 } }),
        artefacts: vec![artefact(ArtefactKind::Seg, Some(dicom)), artefact(ArtefactKind::FhirBundle, None)],
        deliveries,
    }
}

pub fn identity(study: &Uid) -> StudyIdentity {
    StudyIdentity {
        study: study.clone(),
        patient_name: "Probe^Petra".into(),
        patient_id: "P-4711".into(),
        issuer_of_patient_id: Some("HOSPITAL".into()),
        patient_birth_date: "19600102".into(),
        patient_sex: "F".into(),
        accession_number: "A-0815".into(),
        issuer_of_accession_number: None,
        referring_physician_name: String::new(),
        study_id: String::new(),
        study_date: "20260101".into(),
        study_time: String::new(),
        timezone_offset: None,
        specific_character_set: None,
    }
}

pub fn both() -> Vec<NewDelivery> {
    vec![NewDelivery::now(Destination::Pacs, "seg"), NewDelivery::now(Destination::Ehr, "fhir-bundle")]
}
