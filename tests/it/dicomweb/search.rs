//! Searches and metadata, the same as the `dicom-web` crate finds.

use std::collections::BTreeSet;

use dicom_core::ops::AttributeSelector;
use dicom_dictionary_std::tags;
use scargate::dicomweb::StudyQuery;
use scargate::domain::uid::Uid;
use scargate::failure::{Class, Code};
use scargate::phantom::study::{Study, StudySpec};
use scargate::phantom::{PatientInfo, Variant};
use time::Date;
use time::macros::format_description;

use super::{Bench, spec, study};
use crate::support::unique;

fn date_of(text: &str) -> Date {
    Date::parse(text, format_description!("[year][month][day]")).unwrap()
}

#[tokio::test]
async fn pages_add_up_and_the_two_clients_agree() {
    let mut bench = Bench::new();
    bench.config.pacs.page_size = 1;
    // A day that no other test uses: paging by offset is no snapshot, and others delete studies meanwhile.
    let on_own_day = |mut spec: StudySpec| {
        spec.patient.study_date = "19700103".into();
        Study::build(&spec).unwrap()
    };
    let small = || spec().variant(Variant::OneSlice);
    let studies = [on_own_day(spec()), on_own_day(small()), on_own_day(small())];
    let mut stored = BTreeSet::new();
    for study in &studies {
        stored.insert(bench.store(study).await);
    }
    let day = studies[0].instances[0].object.get(tags::STUDY_DATE).unwrap().to_str().unwrap().to_string();
    let query = StudyQuery {
        from: Some(date_of(&day)),
        to: Some(date_of(&day)),
        modality: Some("MR".into()),
        ..StudyQuery::default()
    };
    let client = bench.client();
    let found = client.search_studies(&query).await.unwrap();
    let listed: BTreeSet<Uid> = found.iter().map(|entry| entry.study.clone()).collect();
    assert!(stored.is_subset(&listed), "every study of the day is listed");
    assert_eq!(listed.len(), found.len(), "no study is listed twice");

    let mut other = dicom_web::DicomWebClient::with_single_url(&bench.servers.pacs_url());
    other.set_basic_auth("scargate", &bench.servers.secret("orthanc"));
    for study in &studies {
        let uid = Uid::parse(&study.uid).unwrap();
        let ours =
            client.search_studies(&StudyQuery { study: Some(uid.clone()), ..StudyQuery::default() }).await.unwrap();
        let theirs = other
            .query_studies()
            .with_filter(AttributeSelector::from(tags::STUDY_INSTANCE_UID), uid.to_string())
            .with_includefields(vec![tags::NUMBER_OF_STUDY_RELATED_INSTANCES])
            .run()
            .await
            .unwrap();
        assert_eq!((ours.len(), theirs.len()), (1, 1));
        let count = theirs[0].get(tags::NUMBER_OF_STUDY_RELATED_INSTANCES).unwrap().to_int::<u64>().unwrap();
        assert_eq!(ours[0].instances, Some(count));
        assert_eq!(count, study.instances.len() as u64);
        assert_eq!(ours[0].modalities, ["MR"]);

        let series = client.list_series(&uid).await.unwrap();
        let theirs = other.query_series_in_study(uid.as_str()).run().await.unwrap();
        let theirs: BTreeSet<String> = theirs
            .iter()
            .map(|set| set.get(tags::SERIES_INSTANCE_UID).unwrap().to_str().unwrap().trim().into())
            .collect();
        assert_eq!(series.iter().map(|entry| entry.series.to_string()).collect::<BTreeSet<_>>(), theirs);
        assert_eq!(series.iter().filter_map(|entry| entry.instances).sum::<u64>(), count);
        assert!(series.iter().all(|entry| entry.modality == "MR"));
    }
}

#[tokio::test]
async fn instances_are_listed_with_class_and_series() {
    let bench = Bench::new();
    let study = study();
    let uid = bench.store(&study).await;
    let client = bench.client();
    let listed = client.list_instances(&uid).await.unwrap();
    let expected: BTreeSet<_> = study.instances.iter().map(|instance| instance.sop_instance_uid.clone()).collect();
    assert_eq!(listed.iter().map(|entry| entry.sop_instance.to_string()).collect::<BTreeSet<_>>(), expected);
    for entry in &listed {
        assert_eq!(entry.sop_class.as_ref().map(Uid::as_str), Some("1.2.840.10008.5.1.4.1.1.4"));
    }
    assert!(client.holds_instance(&uid, &listed[0].sop_instance).await.unwrap());
    assert!(!client.holds_instance(&uid, &Uid::parse(&unique::uid()).unwrap()).await.unwrap());
}

#[tokio::test]
async fn metadata_carries_all_attributes_and_bulk_data_by_reference() {
    let bench = Bench::new();
    let study = study();
    let uid = bench.store(&study).await;
    let client = bench.client();
    let series = client.list_series(&uid).await.unwrap();
    let mut instances = 0;
    for series in series {
        for set in client.series_metadata(&uid, &series.series).await.unwrap() {
            instances += 1;
            let sop = set.text(tags::SOP_INSTANCE_UID).unwrap();
            let sent = study.instances.iter().find(|instance| instance.sop_instance_uid == sop).unwrap();
            let position = sent.object.get(tags::IMAGE_POSITION_PATIENT).unwrap().to_multi_float64().unwrap();
            assert_eq!(set.numbers(tags::IMAGE_POSITION_PATIENT), Some(position));
            assert!(set.bulk_data_uri(tags::PIXEL_DATA).is_some());
        }
    }
    assert_eq!(instances, study.instances.len());
}

#[tokio::test]
async fn the_patient_is_read_fresh() {
    let bench = Bench::new();
    let spec = spec();
    let of = |id: &str| {
        let patient = PatientInfo { id: id.to_owned(), ..spec.patient.clone() };
        let mut study =
            scargate::phantom::Study::build(&spec.clone().variant(scargate::phantom::Variant::OneSlice)).unwrap();
        for instance in &mut study.instances {
            let text = dicom_core::PrimitiveValue::from(patient.id.as_str());
            instance.object.put(dicom_core::DataElement::new(tags::PATIENT_ID, dicom_core::VR::LO, text));
            let issuer = dicom_core::PrimitiveValue::from("HOSPITAL");
            instance.object.put(dicom_core::DataElement::new(tags::ISSUER_OF_PATIENT_ID, dicom_core::VR::LO, issuer));
        }
        study
    };
    let (before, after) = (unique::patient_id(), unique::patient_id());
    let client = bench.client();
    let uid = bench.store(&of(&before)).await;
    let key = client.patient_key(&uid).await.unwrap();
    assert_eq!((key.patient_id.as_str(), key.issuer_of_patient_id.as_deref()), (before.as_str(), Some("HOSPITAL")));
    assert!(!key.accession_number.is_empty());

    // The same study under a second patient: nobody can tell whose it is.
    bench.store(&of(&after)).await;
    let failure = client.patient_key(&uid).await.unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Held, Code::PatientChanged));
    assert!(!failure.to_string().contains(&after), "no patient in an error");

    bench.delete(&uid).await;
    bench.store(&of(&after)).await;
    assert_eq!(client.patient_key(&uid).await.unwrap().patient_id, after);

    bench.delete(&uid).await;
    assert_eq!(client.patient_key(&uid).await.unwrap_err().code, Code::StudyNotFound);
}
