//! Phantom studies of a test's own in the PACS, their patient in the EHR, and what came back.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use scargate::phantom::study::{Study, StudySpec};
use scargate::phantom::{SeedSpace, Spec};
use serde_json::{Value, json};

use super::servers::Servers;
use super::unique;

/// A synthetic study with a patient, an order and UIDs that no other test has.
pub struct TestStudy {
    pub spec: StudySpec,
    pub study: Study,
    /// Where uploads go: usually the PACS itself, never a proxy.
    servers: Servers,
    client: Client,
}

impl TestStudy {
    /// Draws a study. Small and with one cine phase, because most tests are about its way, not about its pixels.
    pub fn draw(servers: &Servers, change: impl FnOnce(StudySpec) -> StudySpec) -> Self {
        let mut spec = StudySpec::new(Spec::new(SeedSpace::Evaluation, 7).matrix(128)).phases(1);
        spec.patient.id = unique::patient_id();
        spec.patient.accession = unique::accession();
        spec.patient.issuer = String::new();
        // Within the poller's look-back.
        spec.patient.study_date = today();
        let spec = change(spec);
        let study = Study::build(&spec).unwrap();
        Self { spec, study, servers: servers.clone(), client: client() }
    }

    /// Study Instance UID.
    pub fn uid(&self) -> &str {
        &self.study.uid
    }

    /// Stores all objects in the PACS, as a scanner would.
    pub async fn upload(&self) -> &Self {
        for instance in &self.study.instances {
            let bytes = instance.to_bytes().unwrap();
            let request = self.servers.pacs_request(&self.client, Method::POST, "/instances").body(bytes);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap_or_default());
        }
        self
    }

    /// Deletes the study from the PACS.
    pub async fn delete(&self) {
        let query = json!({"Level": "Study", "Query": {"StudyInstanceUID": self.uid()}});
        let found = self.servers.pacs_request(&self.client, Method::POST, "/tools/find").json(&query);
        let ids: Vec<String> = found.send().await.unwrap().json().await.unwrap();
        for id in ids {
            let delete = self.servers.pacs_request(&self.client, Method::DELETE, &format!("/studies/{id}"));
            assert_eq!(delete.send().await.unwrap().status(), StatusCode::OK);
        }
    }

    /// The patient as a FHIR resource that matches the DICOM header.
    pub fn patient(&self) -> Value {
        json!({
            "resourceType": "Patient",
            "identifier": [{"system": "urn:scargate:demo:patient", "value": self.spec.patient.id}],
            "active": true,
            "name": [{"family": "Phantom"}],
            "birthDate": dashed(&self.spec.patient.birth_date),
        })
    }

    /// The order as a FHIR resource, for that patient's reference.
    pub fn order(&self, patient: &str) -> Value {
        let kind = json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]});
        let accession = &self.spec.patient.accession;
        json!({
            "resourceType": "ServiceRequest",
            "identifier": [{"type": kind, "system": "urn:scargate:demo:accession", "value": accession}],
            "status": "active",
            "intent": "order",
            "code": {"text": "MR heart"},
            "subject": {"reference": patient},
        })
    }

    /// Puts patient and order into the EHR; the patient's reference.
    pub async fn register(&self) -> String {
        self.register_at(&self.servers).await
    }

    /// As `register`, in the EHR of another set than the study's PACS.
    pub async fn register_at(&self, servers: &Servers) -> String {
        let patient = create(servers, &self.patient()).await;
        create(servers, &self.order(&patient)).await;
        patient
    }

    /// The SEG instances that the PACS holds for this study (QIDO-RS).
    pub async fn segs(&self) -> Vec<Value> {
        self.objects("SEG").await
    }

    /// The instances of one modality that the PACS holds for this study (QIDO-RS).
    pub async fn objects(&self, modality: &str) -> Vec<Value> {
        let path = format!("/dicom-web/studies/{}/instances?includefield=00080060", self.uid());
        let answer = self.servers.pacs_request(&self.client, Method::GET, &path).send().await.unwrap();
        let all: Vec<Value> = answer.json().await.unwrap();
        all.into_iter().filter(|instance| instance["00080060"]["Value"][0] == modality).collect()
    }

    /// The bytes of one instance of this study (WADO-RS, without the multipart around them).
    pub async fn fetch(&self, instance: &Value) -> Vec<u8> {
        let query = json!({"Level": "Instance", "Query": {"SOPInstanceUID": instance["00080018"]["Value"][0]}});
        let found = self.servers.pacs_request(&self.client, Method::POST, "/tools/find").json(&query);
        let ids: Vec<String> = found.send().await.unwrap().json().await.unwrap();
        let file = self.servers.pacs_request(&self.client, Method::GET, &format!("/instances/{}/file", ids[0]));
        file.send().await.unwrap().bytes().await.unwrap().to_vec()
    }
}

/// Creates a resource in the EHR; its reference.
pub async fn create(servers: &Servers, resource: &Value) -> String {
    let kind = resource["resourceType"].as_str().unwrap();
    let request = servers.ehr_request(&client(), Method::POST, &format!("/{kind}")).json(resource);
    let answer = request.header("content-type", "application/fhir+json").send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{body}");
    format!("{kind}/{}", body["id"].as_str().unwrap())
}

/// All resources that a search of the EHR finds, for example `Observation?patient=Patient/1`.
pub async fn search(servers: &Servers, query: &str) -> Vec<Value> {
    let separator = if query.contains('?') { '&' } else { '?' };
    let path = format!("/{query}{separator}_count=500");
    let answer = servers.ehr_request(&client(), Method::GET, &path).send().await.unwrap();
    let bundle: Value = answer.json().await.unwrap();
    assert_eq!(bundle["resourceType"], "Bundle", "{bundle}");
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|entry| entry["resource"].clone()).collect()
}

/// Asks again and again until `question` has an answer.
///
/// # Panics
/// When it has none within `patience`; `what` says what was awaited.
pub async fn eventually<T>(what: &str, patience: Duration, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// Today's date (UTC) as DICOM writes it.
pub fn today() -> String {
    time::OffsetDateTime::now_utc().format(time::macros::format_description!("[year][month][day]")).unwrap()
}

fn dashed(date: &str) -> String {
    format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..])
}
