//! The DICOMweb client against a real Orthanc, beside the `dicom-web` crate, and with faults between the two.

mod faults;
mod search;
mod store;
mod syntaxes;
mod transfer;

use std::path::Path;

use bytes::Bytes;
use scargate::config::{self, Config};
use scargate::dicomweb::{Client, StoreItem, StoreOutcome};
use scargate::domain::source::SourceObject;
use scargate::domain::uid::Uid;
use scargate::phantom::{SeedSpace, Spec, Study, StudySpec, Variant};
use uuid::Uuid;

use crate::support::fault_proxy::FaultProxy;
use crate::support::servers::Servers;

/// A PACS, a configuration that names it, and a spool that goes with the test.
pub struct Bench {
    pub servers: Servers,
    pub config: Config,
    folder: tempfile::TempDir,
}

impl Bench {
    /// Straight to the PACS.
    pub fn new() -> Self {
        let servers = Servers::shared();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pacs.toml");
        let text = format!(
            "[pacs]\nurl = \"{}\"\nauth = \"basic\"\nusername = \"scargate\"\npassword = \"file:{}\"\nidle_timeout_secs = 20\n\
             [spool]\ndirectory = \"{}\"\n",
            servers.pacs_url(),
            servers.secret_file("orthanc").display(),
            folder.path().join("spool").display(),
        );
        std::fs::write(&file, text).unwrap();
        let config = config::load(&[file]).unwrap();
        Self { servers, config, folder }
    }

    /// Through a fault proxy.
    pub async fn behind_proxy() -> (Self, FaultProxy) {
        let mut bench = Self::new();
        let proxy = FaultProxy::start(&bench.servers.pacs_origin()).await;
        bench.config.pacs.url = proxy.url("/dicom-web").parse().unwrap();
        (bench, proxy)
    }

    pub fn client(&self) -> Client {
        Client::new(&self.config.pacs, &self.config.limits, &self.config.spool).unwrap()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stores a study with the client of this bench.
    pub async fn store(&self, study: &Study) -> Uid {
        let uid = Uid::parse(&study.uid).unwrap();
        let outcomes = self.client().store(&uid, &items(study)).await.unwrap();
        assert!(outcomes.iter().all(|o| matches!(o, StoreOutcome::Stored { .. })), "{outcomes:?}");
        uid
    }

    /// Deletes a study by the PACS's own API.
    pub async fn delete(&self, study: &Uid) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let found = self.servers.pacs_request(&http, reqwest::Method::POST, "/tools/lookup");
        let found: serde_json::Value = found.body(study.to_string()).send().await.unwrap().json().await.unwrap();
        for entry in found.as_array().unwrap().iter().filter(|entry| entry["Type"] == "Study") {
            let path = entry["Path"].as_str().unwrap();
            let answer = self.servers.pacs_request(&http, reqwest::Method::DELETE, path).send().await.unwrap();
            assert!(answer.status().is_success());
        }
    }
}

/// A small study that no other test has: only late enhancement, so that it is quick to make.
pub fn study() -> Study {
    Study::build(&spec()).unwrap()
}

pub fn spec() -> StudySpec {
    let seed = Uuid::new_v4().as_u64_pair().0;
    StudySpec::new(Spec::new(SeedSpace::Evaluation, seed).matrix(48)).phases(4)
}

/// One slice and little else.
pub fn tiny() -> Study {
    Study::build(&spec().variant(Variant::OneSlice)).unwrap()
}

pub fn items(study: &Study) -> Vec<StoreItem> {
    let item = |instance: &scargate::phantom::Instance| StoreItem {
        sop_instance: Uid::parse(&instance.sop_instance_uid).unwrap(),
        bytes: Bytes::from(instance.to_bytes().unwrap()),
    };
    study.instances.iter().map(item).collect()
}

pub fn content(object: &SourceObject) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut object.open().unwrap(), &mut bytes).unwrap();
    bytes
}
