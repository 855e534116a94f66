//! Retrieval: what comes back is what was stored, from memory or from the spool.

use std::collections::BTreeSet;

use futures::StreamExt;
use scargate::dicomweb::{Client, Syntax};
use scargate::domain::source::SourceObject;
use scargate::domain::uid::Uid;
use scargate::failure::{Class, Code};

use super::{Bench, content, items, study, tiny};
use crate::support::unique;

#[tokio::test]
async fn a_study_comes_back_byte_for_byte() {
    let bench = Bench::new();
    let study = study();
    let uid = bench.store(&study).await;
    let sent: BTreeSet<Vec<u8>> = items(&study).into_iter().map(|item| item.bytes.to_vec()).collect();
    let client = bench.client();
    let objects = client.retrieve_study(&uid, Syntax::AsStored).await.unwrap();
    assert!(objects.iter().all(|object| matches!(object, SourceObject::Memory(_))));
    assert_eq!(objects.iter().map(content).collect::<BTreeSet<_>>(), sent);

    // The other client counts the same objects.
    let mut other = dicom_web::DicomWebClient::with_single_url(&bench.servers.pacs_url());
    other.set_basic_auth("scargate", &bench.servers.secret("orthanc"));
    other.add_header("Accept", "multipart/related; type=\"application/dicom\"; transfer-syntax=*");
    let stream = other.retrieve_study(uid.as_str()).run().await.unwrap();
    let theirs: Vec<_> =
        stream.map(|object| object.unwrap().meta().media_storage_sop_instance_uid().to_owned()).collect().await;
    assert_eq!(theirs.len(), objects.len());

    let series = client.list_series(&uid).await.unwrap();
    let of_series = client.retrieve_series(&uid, &series[0].series, Syntax::AsStored).await.unwrap();
    assert_eq!(of_series.len() as u64, series[0].instances.unwrap());
    let one = &client.list_instances(&uid).await.unwrap()[0];
    let object = client.retrieve_instance(&uid, &one.series, &one.sop_instance).await.unwrap();
    assert!(sent.contains(&content(&object)));
}

#[tokio::test]
async fn large_objects_go_through_the_spool_and_leave_nothing() {
    let mut bench = Bench::new();
    bench.config.spool.memory_bytes = 1000;
    let study = study();
    let uid = bench.store(&study).await;
    let client = bench.client();
    let objects = client.retrieve_study(&uid, Syntax::AsStored).await.unwrap();
    assert!(objects.iter().all(|object| matches!(object, SourceObject::Spooled(_))));
    let sent: BTreeSet<Vec<u8>> = items(&study).into_iter().map(|item| item.bytes.to_vec()).collect();
    assert_eq!(objects.iter().map(content).collect::<BTreeSet<_>>(), sent);
    assert_eq!(files(&bench), objects.len() + 1, "each object and the lock");
    drop(objects);
    assert_eq!(files(&bench), 1);
    drop(client);
    assert_eq!(files(&bench), 0);
}

fn files(bench: &Bench) -> usize {
    let rooms = std::fs::read_dir(bench.folder().join("spool")).unwrap();
    rooms.map(|room| std::fs::read_dir(room.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn a_full_spool_and_a_large_study_have_their_codes() {
    let mut bench = Bench::new();
    let uid = bench.store(&study()).await;
    bench.config.spool.memory_bytes = 0;
    bench.config.spool.max_bytes = 20_000;
    let failure = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
    assert_eq!(failure.code, Code::SpoolFull);
    assert!(matches!(failure.class, Class::Transient { .. }), "room comes back when other studies are done");
    assert_eq!(files(&bench), 0, "what was written is gone");

    let mut bench = Bench::new();
    bench.config.limits.study_bytes = 20_000;
    assert_rejected(&bench.client(), &uid, Code::StudyTooLarge).await;
    let mut bench = Bench::new();
    bench.config.limits.instance_bytes = 3000;
    assert_rejected(&bench.client(), &uid, Code::StudyTooLarge).await;
    let mut bench = Bench::new();
    bench.config.limits.multipart_parts = 3;
    assert_rejected(&bench.client(), &uid, Code::StudyTooLarge).await;
}

async fn assert_rejected(client: &Client, uid: &Uid, code: Code) {
    let failure = client.retrieve_study(uid, Syntax::AsStored).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Rejected, code));
}

#[tokio::test]
async fn a_study_that_is_gone_is_not_found() {
    let bench = Bench::new();
    let client = bench.client();
    let unknown = Uid::parse(&unique::uid()).unwrap();
    assert_rejected(&client, &unknown, Code::StudyNotFound).await;
    let uid = bench.store(&tiny()).await;
    assert!(!client.list_instances(&uid).await.unwrap().is_empty());
    bench.delete(&uid).await;
    assert_rejected(&client, &uid, Code::StudyNotFound).await;
}

#[tokio::test]
async fn wrong_credentials_and_a_dead_port_are_told_apart() {
    let mut bench = Bench::new();
    bench.config.pacs.password = "wrong".into();
    let uid = Uid::parse(&unique::uid()).unwrap();
    let failure = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Credentials, Code::PacsUnauthorized));
    let mut bench = Bench::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    bench.config.pacs.url = format!("http://127.0.0.1:{port}/dicom-web").parse().unwrap();
    let failure = bench.client().retrieve_study(&uid, Syntax::AsStored).await.unwrap_err();
    assert_eq!(failure.code, Code::PacsUnavailable);
    assert!(matches!(failure.class, Class::Transient { .. }));
    let mut words = failure.to_string();
    let mut source = std::error::Error::source(&failure);
    while let Some(cause) = source {
        words += &cause.to_string();
        source = cause.source();
    }
    assert!(!words.contains(uid.as_str()), "no UID in an error: {words}");
}
