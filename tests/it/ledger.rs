//! The audit ledger: who may do what to it, sealing under concurrency, and every kind of tampering.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use scargate::audit::chain::event_hash;
use scargate::audit::checkpoint::Checkpoints;
use scargate::audit::export::{Format, export};
use scargate::audit::sealer::{Sealer, seal_all};
use scargate::audit::verify::{Finding, Report, verify};
use scargate::config;
use scargate::domain::events::{Event, EventKind};
use scargate::store::{EventFilter, Store};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::store::kit::{Kit, pseudonyms, study};

/// A ledger with a key and a folder of checkpoints of its own.
struct Ledger {
    kit: Kit,
    folder: tempfile::TempDir,
    checkpoints: Checkpoints,
    audit: config::Audit,
}

/// RFC 8410 section 10.3: the example private key.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";

impl Ledger {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let audit = config::Audit {
            pseudonym_key: config::Secret::from("00".repeat(32).as_str()),
            checkpoint_key: config::Secret::from(KEY),
            checkpoint_directory: folder.path().to_owned(),
            checkpoint_secs: 300,
            seal_secs: 1,
        };
        let checkpoints = Checkpoints::from_config(&audit).unwrap();
        Self { kit: Kit::new().await, folder, checkpoints, audit }
    }

    /// Records `n` events, each in a transaction of its own, and seals them.
    async fn sealed(n: u32) -> Self {
        let ledger = Self::new().await;
        for i in 0..n {
            ledger.record(i).await;
        }
        assert_eq!(seal_all(&ledger.kit.store).await.unwrap(), u64::from(n));
        ledger
    }

    async fn record(&self, i: u32) {
        let mut event = Event::ours(EventKind::Analysis);
        event.study = Some(study("ledger"));
        event.detail = json!({ "n": i });
        self.kit.store.record(&[event]).await.unwrap();
    }

    async fn verify(&self) -> Report {
        verify(&self.kit.store, Some(self.folder.path()), &self.checkpoints.public_key()).await.unwrap()
    }

    /// Tampers as the owner of the database.
    async fn tamper(&self, sql: &str) {
        let owner: PgPool = self.kit.owner().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&owner).await.unwrap();
    }

    async fn export(&self, filter: &EventFilter, format: Format, identities: bool) -> String {
        let mut out = Vec::new();
        export(&self.kit.store, filter, format, identities, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }
}

#[tokio::test]
async fn neither_the_gateway_nor_the_auditor_can_change_the_ledger() {
    let ledger = Ledger::sealed(3).await;
    for (role, sql) in [
        ("app", "UPDATE audit_events SET actor = 'nobody'"),
        ("app", "DELETE FROM audit_events"),
        ("app", "TRUNCATE audit_events"),
        ("app", "DROP TABLE audit_events"),
        ("app", "UPDATE audit_chain SET sealed_at = now()"),
        ("app", "DELETE FROM audit_chain"),
        ("app", "TRUNCATE audit_chain"),
        ("app", "DELETE FROM audit_checkpoints"),
        ("app", "UPDATE audit_ledger SET id = gen_random_uuid()"),
        ("app", "ALTER TABLE audit_events DISABLE TRIGGER ALL"),
        ("auditor", "INSERT INTO audit_pending VALUES (gen_random_uuid(), now())"),
        ("auditor", "DELETE FROM audit_events"),
        ("auditor", "DELETE FROM audit_subjects"),
        ("auditor", "SELECT * FROM runs"),
    ] {
        let pool = ledger.kit.database.pool(role).await;
        let error = sqlx::raw_sql(sql).execute(&pool).await.expect_err(sql);
        // 42501: insufficient privilege (an owner's right counts as one).
        assert_eq!(error.as_database_error().and_then(|e| e.code()).as_deref(), Some("42501"), "{role}: {sql}");
    }
    let auditor = Store::connect_url(&ledger.kit.database.url("auditor"), 2, pseudonyms()).await.unwrap();
    auditor.check_migrated().await.unwrap();
    let report = verify(&auditor, None, &ledger.checkpoints.public_key()).await.unwrap();
    assert!(report.is_intact() && report.sealed == 3, "{report:?}");
}

#[tokio::test]
async fn an_intact_ledger_verifies_and_the_unsealed_tail_is_told() {
    let ledger = Ledger::sealed(12).await;
    let signed = ledger.checkpoints.make_if_grown(&ledger.kit.store).await.unwrap().unwrap();
    assert_eq!(signed.checkpoint.sequence, 12);
    seal_all(&ledger.kit.store).await.unwrap();
    assert!(ledger.checkpoints.make_if_grown(&ledger.kit.store).await.unwrap().is_none(), "only its own event is new");
    ledger.record(99).await;
    let report = ledger.verify().await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.sealed, report.vouched, report.checkpoints, report.unsealed), (13, 12, 1, 1));
}

#[tokio::test]
async fn every_kind_of_tampering_is_found() {
    type Case = (&'static str, &'static str, fn(&Finding) -> bool);
    let cases: [Case; 9] = [
        ("a changed event", "UPDATE audit_events SET canonical = replace(canonical, '\"n\":4', '\"n\":5')", |f| {
            matches!(f, Finding::EventChanged { sequence: 5 })
        }),
        ("a changed column", "UPDATE audit_events SET actor = 'mallory' WHERE canonical LIKE '%\"n\":4}%'", |f| {
            matches!(f, Finding::ColumnChanged { sequence: 5, column: "actor" })
        }),
        ("a deleted event", "DELETE FROM audit_events WHERE canonical LIKE '%\"n\":4}%'", |f| {
            matches!(f, Finding::EventMissing { sequence: 5 })
        }),
        (
            "a deleted event and its link",
            "DELETE FROM audit_events WHERE canonical LIKE '%\"n\":4}%'; DELETE FROM audit_chain WHERE sequence = 5",
            |f| matches!(f, Finding::LinksMissing { from: 5, to: 5 }),
        ),
        (
            "a change with a recomputed digest of the event",
            "UPDATE audit_events SET canonical = replace(canonical, '\"n\":4', '\"n\":5');
             UPDATE audit_chain c SET event_hash = sha256(convert_to(e.canonical, 'UTF8'))
             FROM audit_events e WHERE e.id = c.event_id",
            |f| matches!(f, Finding::LinkBroken { sequence: 5 }),
        ),
        (
            "two events in the other order",
            "ALTER TABLE audit_chain DROP CONSTRAINT audit_chain_pkey;
             UPDATE audit_chain SET sequence = CASE sequence WHEN 4 THEN 5 ELSE 4 END WHERE sequence IN (4, 5)",
            |f| matches!(f, Finding::LinkBroken { sequence: 4 }),
        ),
        (
            "a tail cut off",
            "DELETE FROM audit_events e USING audit_chain c WHERE c.event_id = e.id AND c.sequence > 6;
             DELETE FROM audit_chain WHERE sequence > 6",
            |f| matches!(f, Finding::Truncated { signed: 10, head: 6 }),
        ),
        (
            "a tail cut off together with the table's checkpoints",
            "DELETE FROM audit_events e USING audit_chain c WHERE c.event_id = e.id AND c.sequence > 6;
             DELETE FROM audit_chain WHERE sequence > 6; DELETE FROM audit_checkpoints",
            |f| matches!(f, Finding::Truncated { signed: 10, head: 6 }),
        ),
        ("another ledger in its place", "UPDATE audit_ledger SET id = gen_random_uuid()", |f| {
            matches!(f, Finding::LinkBroken { sequence: 1 })
        }),
    ];
    for (what, sql, expected) in cases {
        let ledger = Ledger::sealed(10).await;
        ledger.checkpoints.make_now(&ledger.kit.store).await.unwrap();
        assert!(ledger.verify().await.is_intact());
        ledger.tamper(sql).await;
        let report = ledger.verify().await;
        assert!(report.findings.iter().any(expected), "{what}: {report:?}");
    }
}

#[tokio::test]
async fn a_chain_written_anew_from_the_start_differs_from_the_checkpoint() {
    let ledger = Ledger::sealed(10).await;
    ledger.checkpoints.make_now(&ledger.kit.store).await.unwrap();
    // The owner alters an event, throws the chain away and lets the sealer build a consistent one.
    ledger
        .tamper(
            "UPDATE audit_events SET canonical = replace(canonical, '\"n\":4', '\"n\":5');
             DELETE FROM audit_pending;
             INSERT INTO audit_pending SELECT id, recorded_at FROM audit_events; DELETE FROM audit_chain",
        )
        .await;
    assert_eq!(seal_all(&ledger.kit.store).await.unwrap(), 11);
    let report = ledger.verify().await;
    assert_eq!(report.findings, [Finding::CheckpointDiffers { sequence: 10 }]);
}

#[tokio::test]
async fn checkpoints_must_be_signed_by_the_trusted_key_and_be_in_both_places() {
    let ledger = Ledger::sealed(2).await;
    let signed = ledger.checkpoints.make_now(&ledger.kit.store).await.unwrap();
    let file = ledger.folder.path().join(signed.file_name());
    let text = std::fs::read_to_string(&file).unwrap();

    std::fs::write(&file, text.replace("\"sequence\":2", "\"sequence\":1")).unwrap();
    let report = ledger.verify().await;
    assert!(report.findings.contains(&Finding::CheckpointInvalid { place: signed.file_name() }), "{report:?}");
    assert!(report.findings.contains(&Finding::CheckpointFileMissing { sequence: 2 }), "{report:?}");

    std::fs::write(&file, text).unwrap();
    ledger.tamper("DELETE FROM audit_checkpoints").await;
    assert_eq!(ledger.verify().await.findings, [Finding::CheckpointRowMissing { sequence: 2 }]);
}

#[tokio::test]
async fn events_hidden_from_the_sealer_are_found() {
    let ledger = Ledger::sealed(2).await;
    ledger.record(7).await;
    ledger.record(8).await;
    ledger
        .tamper("DELETE FROM audit_pending WHERE event_id = (SELECT min(event_id::text)::uuid FROM audit_pending)")
        .await;
    assert_eq!(ledger.verify().await.findings, [Finding::Unaccounted { events: 1 }]);
    ledger.tamper("DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_pending)").await;
    assert!(ledger.verify().await.findings.contains(&Finding::LostBeforeSealing { events: 1 }));
}

#[tokio::test]
async fn events_that_commit_out_of_order_are_sealed_exactly_once() {
    let ledger = Ledger::new().await;
    let app = ledger.kit.database.pool("app").await;
    let (id, canonical) = (uuid::Uuid::now_v7(), "{\"n\":\"slow\"}");
    let mut slow = app.begin().await.unwrap();
    let sql = "WITH e AS (INSERT INTO audit_events (id, recorded_at, canonical, kind, outcome, actor)
               VALUES ($1, $2, $3, 'analysis', 'success', 'x')) INSERT INTO audit_pending VALUES ($1, $2)";
    let recorded = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    sqlx::query(sql).bind(id).bind(recorded).bind(canonical).execute(&mut *slow).await.unwrap();

    // Recorded later, committed and sealed earlier.
    ledger.record(1).await;
    assert_eq!(seal_all(&ledger.kit.store).await.unwrap(), 1);
    slow.commit().await.unwrap();
    assert_eq!(seal_all(&ledger.kit.store).await.unwrap(), 1);
    let rows = ledger.kit.store.chain_after(0, 10).await.unwrap();
    assert_eq!(rows[1].link.event, id);
    assert_eq!(rows[1].link.event_hash, event_hash(canonical));
    assert!(rows[1].link.recorded < rows[0].link.recorded);
}

#[tokio::test]
async fn several_sealers_and_many_writers_leave_one_gapless_chain() {
    let ledger = Ledger::new().await;
    let stop = CancellationToken::new();
    let sealers: Vec<_> = (0..3)
        .map(|_| {
            let (store, stop) = (ledger.kit.store.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    store.seal_batch(7).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    let writers = (0..4).map(|w| {
        let store = ledger.kit.store.clone();
        tokio::spawn(async move {
            for i in 0..25 {
                let mut event = Event::ours(EventKind::Analysis);
                event.detail = json!({ "writer": w, "n": i });
                store.record(&[event.clone(), event]).await.unwrap();
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    stop.cancel();
    futures::future::join_all(sealers).await.into_iter().for_each(Result::unwrap);
    seal_all(&ledger.kit.store).await.unwrap();
    let report = ledger.verify().await;
    assert!(report.is_intact() && report.sealed == 200 && report.unsealed == 0, "{report:?}");
}

#[tokio::test]
async fn the_running_sealer_seals_within_its_promise_and_leaves_a_checkpoint() {
    let ledger = Ledger::new().await;
    let stop = CancellationToken::new();
    let sealer = Sealer::new(ledger.kit.store.clone(), &ledger.audit).unwrap();
    let task = tokio::spawn(sealer.run(stop.clone()));
    for i in 0..5 {
        ledger.record(i).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    ledger.record(5).await;
    stop.cancel();
    task.await.unwrap();
    let rows = ledger.kit.store.chain_after(0, 10).await.unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        assert!(row.link.sealed - row.link.recorded < time::Duration::milliseconds(1500), "{row:?}");
    }
    let report = ledger.verify().await;
    assert!(report.is_intact() && report.vouched == 6, "{report:?}");
}

#[tokio::test]
async fn a_closed_month_can_be_dropped_and_half_of_it_cannot() {
    let ledger = Ledger::sealed(2).await;
    // A month that is over, and events that were recorded in it.
    ledger
        .tamper("CREATE TABLE audit_events_2025_03 PARTITION OF audit_events FOR VALUES FROM ('2025-03-01+00') TO ('2025-04-01+00')")
        .await;
    for n in 0..3 {
        let canonical = json!({
            "actor": "x", "id": uuid::Uuid::from_u128(n), "kind": "analysis", "outcome": "success", "peer": null,
            "recorded": "2025-03-05T00:00:00.000000Z", "run": null, "subject": null,
        });
        ledger
            .tamper(&format!(
                "INSERT INTO audit_events (id, recorded_at, canonical, kind, outcome, actor)
                 VALUES ('{0}', '2025-03-05+00', '{canonical}', 'analysis', 'success', 'x');
                 INSERT INTO audit_pending VALUES ('{0}', '2025-03-05+00')",
                uuid::Uuid::from_u128(n)
            ))
            .await;
    }
    let early = ledger.checkpoints.close_month(&ledger.kit.store, 2025, time::Month::March).await.unwrap_err();
    assert!(early.detail.contains("not sealed"), "{early}");
    seal_all(&ledger.kit.store).await.unwrap();
    let now = OffsetDateTime::now_utc();
    assert!(ledger.checkpoints.close_month(&ledger.kit.store, now.year(), now.month()).await.is_err(), "not over");
    ledger.checkpoints.close_month(&ledger.kit.store, 2025, time::Month::March).await.unwrap();
    assert!(ledger.verify().await.is_intact());

    ledger.tamper("DELETE FROM audit_events WHERE id = '00000000-0000-0000-0000-000000000001'").await;
    assert!(matches!(ledger.verify().await.findings[..], [Finding::EventMissing { .. }]), "one event, not the month");
    ledger.tamper("DROP TABLE audit_events_2025_03").await;
    let report = ledger.verify().await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.dropped_months, ["2025-03"]);

    // A month that nobody closed may not vanish.
    ledger.tamper("DELETE FROM audit_events").await;
    assert!(!ledger.verify().await.is_intact());
}

#[tokio::test]
async fn an_identity_is_erased_without_breaking_the_chain() {
    let ledger = Ledger::new().await;
    let study = study("erase");
    let run = ledger.kit.finish(&study, "one", crate::store::kit::both()).await;
    seal_all(&ledger.kit.store).await.unwrap();
    let store = &ledger.kit.store;
    let names = store.subjects_of_patient("P-4711").await.unwrap();
    assert_eq!(names, [store.pseudonyms().study(&study)]);
    let filter = EventFilter { subjects: Some(names.clone()), ..EventFilter::default() };
    let before = ledger.export(&filter, Format::Ndjson, true).await;
    assert!(before.contains("P-4711") && before.contains(study.as_str()));

    assert!(store.erase_subject(&study, &Event::ours(EventKind::RunAction)).await.unwrap());
    assert!(store.subjects_of_patient("P-4711").await.unwrap().is_empty());
    let after = ledger.export(&EventFilter { run: Some(run), ..EventFilter::default() }, Format::Ndjson, true).await;
    assert!(after.lines().count() >= 4 && !after.contains("P-4711") && !after.contains(study.as_str()));
    assert!(ledger.verify().await.is_intact());
}

#[tokio::test]
async fn an_export_can_be_verified_without_the_database_and_opened_in_a_spreadsheet() {
    let ledger = Ledger::sealed(3).await;
    let mut event = Event::ours(EventKind::RunAction);
    event.actor = "=cmd|' /C calc'!A0".into();
    event.detail = json!({ "note": "a,\"b\"" });
    ledger.kit.store.record(&[event]).await.unwrap();

    let ndjson = ledger.export(&EventFilter::default(), Format::Ndjson, false).await;
    let chain: BTreeMap<u64, _> =
        ledger.kit.store.chain_after(0, 10).await.unwrap().into_iter().map(|r| (r.link.sequence, r)).collect();
    let mut sealed = HashSet::new();
    for line in ndjson.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let Some(sequence) = value["sequence"].as_u64() else { continue };
        let start = line.find("\"event\":").unwrap() + "\"event\":".len();
        assert_eq!(event_hash(&line[start..line.len() - 1]), chain[&sequence].link.event_hash);
        assert_eq!(value["hash"], hex::encode(chain[&sequence].hash));
        sealed.insert(sequence);
    }
    assert_eq!((ndjson.lines().count(), sealed.len()), (4, 3));

    let csv = ledger.export(&EventFilter::default(), Format::Csv, false).await;
    assert_eq!(csv.lines().count(), 5);
    assert!(
        csv.contains(",'=cmd|' /C calc'!A0,") && csv.contains("\"{\"\"note\"\":\"\"a,\\\"\"b\\\"\"\"\"}\""),
        "{csv}"
    );

    let fhir = ledger.export(&EventFilter::default(), Format::Fhir, false).await;
    for line in fhir.lines() {
        let resource: Value = serde_json::from_str(line).unwrap();
        assert_eq!(resource["resourceType"], "AuditEvent");
        assert!(resource["agent"][0]["who"].is_object() && resource["source"]["observer"].is_object());
    }
}

#[tokio::test]
async fn queries_page_through_events_by_time_kind_and_actor() {
    let ledger = Ledger::sealed(5).await;
    let mut other = Event::ours(EventKind::Query);
    other.actor = "auditor".into();
    ledger.kit.store.record(&[other]).await.unwrap();
    let store = &ledger.kit.store;
    let filter = EventFilter { kinds: vec!["analysis".into()], ..EventFilter::default() };
    let first = store.audit_events(&filter, 3).await.unwrap();
    let last = first.last().unwrap();
    let rest =
        store.audit_events(&EventFilter { after: Some((last.recorded_at, last.id)), ..filter }, 10).await.unwrap();
    let ids: HashSet<_> = first.iter().chain(&rest).map(|e| e.id).collect();
    assert_eq!((first.len(), rest.len(), ids.len()), (3, 2, 5));
    let filter = EventFilter { actor: Some("auditor".into()), ..EventFilter::default() };
    assert_eq!(store.audit_events(&filter, 10).await.unwrap().len(), 1);
    let filter = EventFilter { until: Some(first[0].recorded_at), ..EventFilter::default() };
    assert!(store.audit_events(&filter, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn partitions_are_made_ahead_by_the_gateway_and_strays_are_told() {
    let ledger = Ledger::sealed(1).await;
    assert_eq!(ledger.kit.store.upkeep_partitions().await.unwrap(), 0);
    ledger
        .tamper(
            "INSERT INTO audit_events (id, recorded_at, canonical, kind, outcome, actor)
             VALUES (gen_random_uuid(), '2099-01-01+00', '{}', 'analysis', 'success', 'x')",
        )
        .await;
    assert_eq!(ledger.kit.store.upkeep_partitions().await.unwrap(), 1);
}
