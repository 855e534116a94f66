#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;

fn item(uid: &str) -> StoreItem {
    StoreItem { sop_instance: Uid::parse(uid).unwrap(), bytes: Bytes::from_static(b"object") }
}

fn outcomes_of(body: &serde_json::Value, status: u16, uids: &[&str]) -> Option<Vec<StoreOutcome>> {
    let report = parse(body.to_string().as_bytes(), 64).unwrap();
    let items: Vec<_> = uids.iter().map(|uid| item(uid)).collect();
    outcomes(&items, &report, StatusCode::from_u16(status).unwrap())
}

fn response(stored: &[&str], failed: &[(&str, u16)]) -> serde_json::Value {
    let stored: Vec<_> = stored.iter().map(|uid| json!({"00081155": {"vr": "UI", "Value": [uid]}})).collect();
    let failed: Vec<_> = failed
        .iter()
        .map(|(uid, reason)| {
            json!({"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}})
        })
        .collect();
    json!({"00081199": {"vr": "SQ", "Value": stored}, "00081198": {"vr": "SQ", "Value": failed}})
}

#[test]
fn each_object_has_its_own_outcome_whatever_the_status() {
    let body = response(&["1.1"], &[("1.2", 0xA700), ("1.3", 0xC000), ("1.4", 0x0111)]);
    for status in [200, 202, 409, 400] {
        let outcomes = outcomes_of(&body, status, &["1.4", "1.1", "1.2", "1.3"]).unwrap();
        assert_eq!(
            outcomes,
            [
                StoreOutcome::Duplicate { reason: 0x0111 },
                StoreOutcome::Stored { warning: None },
                StoreOutcome::TryAgain { reason: 0xA700 },
                StoreOutcome::Refused { reason: Some(0xC000) },
            ],
            "{status}"
        );
    }
}

#[test]
fn a_success_without_a_word_about_the_object_confirms_nothing() {
    let empty = json!({});
    assert_eq!(outcomes_of(&empty, 200, &["1.1"]), Some(vec![StoreOutcome::Unconfirmed]));
    assert_eq!(outcomes_of(&empty, 409, &["1.1"]), None, "then the status is all there is");
    let other = response(&["1.9"], &[]);
    assert_eq!(outcomes_of(&other, 200, &["1.1"]), Some(vec![StoreOutcome::Unconfirmed]));
}

#[test]
fn failure_wins_over_success_and_warnings_are_success() {
    let both = response(&["1.1"], &[("1.1", 0x0110)]);
    assert_eq!(outcomes_of(&both, 202, &["1.1"]), Some(vec![StoreOutcome::TryAgain { reason: 0x0110 }]));
    let warned = json!({"00081199": {"vr": "SQ", "Value": [
        {"00081155": {"vr": "UI", "Value": ["1.1"]}, "00081196": {"vr": "US", "Value": [45056]}}]}});
    assert_eq!(outcomes_of(&warned, 202, &["1.1"]), Some(vec![StoreOutcome::Stored { warning: Some(0xB000) }]));
}

#[test]
fn an_unidentified_failure_of_the_only_object_is_its_own() {
    let body = json!({"0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xC122]}}]}});
    assert_eq!(outcomes_of(&body, 400, &["1.1"]), Some(vec![StoreOutcome::Refused { reason: Some(0xC122) }]));
    assert_eq!(outcomes_of(&body, 400, &["1.1", "1.2"]), None);
}

#[test]
fn the_body_is_well_formed_multipart() {
    let items = [item("1.1"), StoreItem { sop_instance: Uid::parse("1.2").unwrap(), bytes: vec![7; 200_000].into() }];
    let body: Vec<u8> = pieces(&items, "b").concat();
    let mut reader = crate::dicomweb::multipart::Reader::new("multipart/related; boundary=b", 9, 1 << 20).unwrap();
    let mut events = Vec::new();
    reader.push(&body, &mut events).unwrap();
    reader.finish().unwrap();
    let sizes: Vec<usize> = events
        .iter()
        .filter_map(|e| match e {
            crate::dicomweb::multipart::Event::Data(bytes) => Some(bytes.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [6, 200_000]);
}

#[test]
fn an_answer_in_xml_is_read_like_one_in_json() {
    let xml = r#"<NativeDicomModel><DicomAttribute tag="00081198" vr="SQ"><Item number="1">
        <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.1</Value></DicomAttribute>
        <DicomAttribute tag="00081197" vr="US"><Value number="1">290</Value></DicomAttribute>
        </Item></DicomAttribute></NativeDicomModel>"#;
    let report = parse(xml.as_bytes(), 64).unwrap();
    let outcomes = outcomes(&[item("1.1")], &report, StatusCode::ACCEPTED);
    assert_eq!(outcomes, Some(vec![StoreOutcome::Refused { reason: Some(290) }]));
}
