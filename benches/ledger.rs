//! Throughput of the sealed ledger with durable commits, and audit queries at a million events.
//!
//! `SCARGATE_STATE=.scargate/bench scripts/servers.sh up pg`, then `cargo bench --bench ledger --profile dev`.
//! Makes a database of its own and drops it. `--events N` and `--seconds S` change the size.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use scargate::audit::checkpoint::public_key;
use scargate::audit::pseudonym::Pseudonyms;
use scargate::audit::sealer::seal_all;
use scargate::audit::verify::verify;
use scargate::domain::events::{Event, EventKind};
use scargate::domain::run::RunId;
use scargate::domain::uid::Uid;
use scargate::store::{EventFilter, Store};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

struct Server {
    state: std::path::PathBuf,
    port: String,
}

impl Server {
    fn find() -> Self {
        let state = std::env::var("SCARGATE_STATE").unwrap_or_else(|_| ".scargate/bench".into());
        let state = Path::new(env!("CARGO_MANIFEST_DIR")).join(state);
        let env =
            std::fs::read_to_string(state.join("env")).expect("start the server first, see the head of this file");
        let port = env.lines().find_map(|l| l.strip_prefix("SCARGATE_PG_PORT=")).unwrap().to_owned();
        Self { state, port }
    }

    fn url(&self, role: &str, database: &str) -> String {
        let password = std::fs::read_to_string(self.state.join("secrets").join(format!("pg-{role}"))).unwrap();
        format!("postgres://scargate_{role}:{}@127.0.0.1:{}/{database}", password.trim(), self.port)
    }
}

fn argument(name: &str, default: u64) -> u64 {
    let args: Vec<String> = std::env::args().collect();
    args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map_or(default, |v| v.parse().unwrap())
}

#[tokio::main]
async fn main() {
    let server = Server::find();
    let database = "scargate_bench_ledger";
    let mut admin = PgConnection::connect(&server.url("admin", "postgres")).await.unwrap();
    for sql in
        [format!("DROP DATABASE IF EXISTS {database}"), format!("CREATE DATABASE {database} OWNER scargate_owner")]
    {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    let owner = server.url("owner", database);
    Store::migrate_url(&owner, "scargate_app", "scargate_auditor").await.unwrap();
    let key = Pseudonyms::from_bytes(&[1; 32]).unwrap();
    let store = Store::connect_url(&server.url("app", database), 40, key).await.unwrap();
    let durable: (String, String) =
        sqlx::query_as("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
            .fetch_one(&mut admin)
            .await
            .unwrap();
    println!("fsync {}, synchronous_commit {}", durable.0, durable.1);

    for (writers, per_commit) in [(1, 1), (8, 1), (32, 1), (8, 4)] {
        throughput(&store, writers, per_commit).await;
    }
    let mut owner = PgConnection::connect(&owner).await.unwrap();
    fill(&store, &mut owner, argument("--events", 1_000_000)).await;
    queries(&store).await;
    drop(owner);
    store.close().await;
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {database} WITH (FORCE)"))).execute(&mut admin).await.unwrap();
}

/// Events a second from the first commit until the last one is sealed.
async fn throughput(store: &Store, writers: u64, per_commit: usize) {
    let before = store.chain_head().await.unwrap().sequence;
    let (start, length) = (Instant::now(), Duration::from_secs(argument("--seconds", 10)));
    let tasks: Vec<_> = (0..writers)
        .map(|w| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut event = Event::ours(EventKind::DeliveryOutcome);
                event.study = Some(Uid::derive(&["bench", &w.to_string()]));
                event.run = Some(RunId::new());
                event.peer = Some("pacs".into());
                event.detail = json!({ "status": 200, "to": "delivered", "instances": 1 });
                let events = vec![event; per_commit];
                let mut made = 0;
                while start.elapsed() < length {
                    store.record(&events).await.unwrap();
                    made += per_commit as u64;
                }
                made
            })
        })
        .collect();
    let sealing = {
        let store = store.clone();
        tokio::spawn(async move {
            while start.elapsed() < length {
                tokio::time::sleep(Duration::from_millis(500)).await;
                seal_all(&store).await.unwrap();
            }
        })
    };
    let mut made = 0;
    for task in tasks {
        made += task.await.unwrap();
    }
    sealing.await.unwrap();
    seal_all(store).await.unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(store.chain_head().await.unwrap().sequence - before, made, "every event is sealed exactly once");
    println!("{writers:3} writers, {per_commit} events a commit: {:8.0} sealed events/s", made as f64 / seconds);
}

/// Fills up to `total` events over the present month, as they would be after months of work, and seals them.
async fn fill(store: &Store, owner: &mut PgConnection, total: u64) {
    let have = store.chain_head().await.unwrap().sequence;
    let start = Instant::now();
    sqlx::query(
        // Identifiers as the gateway makes them: version 7, growing with time.
        "WITH n AS (SELECT i, overlay(overlay(gen_random_uuid()::text PLACING to_char(i, 'FM00000000') FROM 1)
                        PLACING '7' FROM 15)::uuid AS id, md5((i / 12)::text) AS subject,
                    date_trunc('month', now()) + i * interval '1 second' AS at FROM generate_series(1, $1) AS i),
         e AS (INSERT INTO audit_events (id, recorded_at, canonical, kind, outcome, actor, subject, run_id, peer)
               SELECT id, at, json_build_object('actor', 'scargate', 'detail', json_build_object('n', i), 'id', id, 'kind',
                   (ARRAY['run-state', 'analysis', 'delivery-outcome'])[1 + i % 3], 'outcome', 'success', 'peer', null,
                   'recorded', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                   'run', subject::uuid, 'schema', 1, 'subject', subject)::text,
                   (ARRAY['run-state', 'analysis', 'delivery-outcome'])[1 + i % 3], 'success', 'scargate', subject,
                   subject::uuid, NULL FROM n)
         INSERT INTO audit_pending SELECT id, at FROM n",
    )
    .bind(i64::try_from(total.saturating_sub(have)).unwrap())
    .execute(&mut *owner)
    .await
    .unwrap();
    println!("filled in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let sealed = seal_all(store).await.unwrap();
    println!(
        "sealed {sealed} in {:.1} s: {:.0} events/s",
        start.elapsed().as_secs_f64(),
        sealed as f64 / start.elapsed().as_secs_f64()
    );
    sqlx::query("ANALYZE").execute(owner).await.unwrap();
}

async fn queries(store: &Store) {
    let subject = store.audit_events(&EventFilter::default(), 1).await.unwrap()[0].subject.clone().unwrap();
    let some = store
        .audit_events(&EventFilter { kinds: vec!["analysis".into()], ..EventFilter::default() }, 1)
        .await
        .unwrap()
        .remove(0);
    let middle = some.recorded_at + time::Duration::days(5);
    let cases = [
        ("one study", EventFilter { subjects: Some(vec![subject]), ..EventFilter::default() }),
        ("one run", EventFilter { run: some.run_id.map(RunId), ..EventFilter::default() }),
        (
            "an hour",
            EventFilter {
                from: Some(middle),
                until: Some(middle + time::Duration::hours(1)),
                ..EventFilter::default()
            },
        ),
        ("a kind, first page", EventFilter { kinds: vec!["analysis".into()], ..EventFilter::default() }),
        (
            "a kind, page in the middle",
            EventFilter { kinds: vec!["analysis".into()], after: Some((middle, some.id)), ..EventFilter::default() },
        ),
    ];
    for (name, filter) in cases {
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..20 {
            let start = Instant::now();
            rows = store.audit_events(&filter, 100).await.unwrap().len();
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        println!("query {name:28} {rows:4} rows  median {:7.2} ms  slowest {:7.2} ms", times[10], times[19]);
    }
    let start = Instant::now();
    let key = public_key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
    let report = verify(store, None, &key).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    println!("verify {} events in {:.1} s", report.sealed, start.elapsed().as_secs_f64());
}
