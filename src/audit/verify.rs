//! The verifier: walks the whole chain and holds it against the checkpoints that left the database.

use super::canonical::recorded_text;
use super::chain::{event_hash, genesis};
use super::checkpoint::{Signed, month_text, read_directory};
use crate::failure::Failure;
use crate::store::{ChainRow, Store, StoredEvent, Unsealed};
use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use time::Date;
use uuid::Uuid;

/// Findings that are listed; the rest is counted.
const LISTED: usize = 200;
const PAGE: u32 = 5000;

/// Something that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// Links are missing: deleted.
    LinksMissing {
        /// First missing position.
        from: u64,
        /// Last missing position.
        to: u64,
    },
    /// A link does not follow from the one before it: changed, inserted or reordered.
    LinkBroken {
        /// Its position.
        sequence: u64,
    },
    /// The event of a link is gone.
    EventMissing {
        /// Its position.
        sequence: u64,
    },
    /// The event's text is not the one that was sealed.
    EventChanged {
        /// Its position.
        sequence: u64,
    },
    /// A searchable column says something else than the sealed text.
    ColumnChanged {
        /// Its position.
        sequence: u64,
        /// The column.
        column: &'static str,
    },
    /// The chain ends before a position that a checkpoint signed: its tail was cut off.
    Truncated {
        /// Position that was signed.
        signed: u64,
        /// Where the chain ends.
        head: u64,
    },
    /// The link at a signed position is another one: the chain was written anew.
    CheckpointDiffers {
        /// Position that was signed.
        sequence: u64,
    },
    /// A checkpoint was not signed by the trusted key, or is not readable.
    CheckpointInvalid {
        /// Its file, or `database`.
        place: String,
    },
    /// The database knows a checkpoint whose file is gone.
    CheckpointFileMissing {
        /// Its position.
        sequence: u64,
    },
    /// A file holds a checkpoint that the database does not know any more.
    CheckpointRowMissing {
        /// Its position.
        sequence: u64,
    },
    /// Events that were deleted while they waited for the sealer.
    LostBeforeSealing {
        /// How many.
        events: u64,
    },
    /// Events that neither wait for the sealer nor are sealed.
    Unaccounted {
        /// How many.
        events: u64,
    },
}

/// What the verifier saw.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which ledger.
    pub ledger: Uuid,
    /// Sealed events.
    pub sealed: u64,
    /// Head of the chain, hex.
    pub head: String,
    /// Checkpoints that agree with the chain.
    pub checkpoints: u64,
    /// Newest position that a checkpoint vouches for; what is after it could still be cut off unseen.
    pub vouched: u64,
    /// Committed events that are not sealed yet.
    pub unsealed: u64,
    /// Closed months whose events were dropped, `YYYY-MM`.
    pub dropped_months: Vec<String>,
    /// What is wrong, at most 200.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub findings_in_all: u64,
}

impl Report {
    /// True when nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.findings_in_all == 0
    }

    fn find(&mut self, finding: Finding) {
        self.findings_in_all += 1;
        if self.findings.len() < LISTED {
            self.findings.push(finding);
        }
    }
}

/// A checkpoint and where it was found.
type Found = (String, Option<Signed>);
/// Checkpoints by their text.
type ByText = BTreeMap<String, Signed>;

/// A checkpoint's row follows its file within this time.
const ROW_FOLLOWS: Duration = Duration::from_secs(2);

/// Verifies the ledger of `store` against the checkpoint files in `directory` and the table's own, trusting `key`.
///
/// # Errors
/// Of the database; a damaged ledger is not an error but a report with findings.
pub async fn verify(store: &Store, directory: Option<&Path>, key: &VerifyingKey) -> Result<Report, Failure> {
    let ledger = store.ledger_id().await?;
    let end = store.chain_head().await?;
    let mut report = Report {
        ledger,
        sealed: 0,
        head: hex::encode(end.hash),
        checkpoints: 0,
        vouched: 0,
        unsealed: 0,
        dropped_months: Vec::new(),
        findings: Vec::new(),
        findings_in_all: 0,
    };
    let trusted = trusted(store, directory, key, &mut report).await?;
    let mut walk = Walk { previous: genesis(ledger), expected: 1, months: BTreeMap::new(), signed: BTreeMap::new() };
    for checkpoint in &trusted {
        walk.signed.insert(checkpoint.checkpoint.sequence, None);
    }
    let mut after = 0;
    loop {
        let rows = store.chain_after(after, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = last.link.sequence;
        for row in &rows {
            walk.step(row, &mut report);
        }
    }
    walk.hold_against(&trusted, ledger, &mut report);
    walk.settle_months(&trusted, &mut report);
    tail(&store.unsealed().await?, &mut report);
    Ok(report)
}

/// Events that the chain does not hold.
fn tail(unsealed: &Unsealed, report: &mut Report) {
    report.unsealed = unsealed.waiting - unsealed.lost.min(unsealed.waiting);
    if unsealed.lost > 0 {
        report.find(Finding::LostBeforeSealing { events: unsealed.lost });
    }
    if unsealed.unaccounted > 0 {
        report.find(Finding::Unaccounted { events: unsealed.unaccounted });
    }
}

/// Checkpoints that the key signed, from the files and the table, which must know the same ones. The gateway may be
/// making one just now, its file first: so the table is read before the files, and again for files without a row.
async fn trusted(
    store: &Store,
    directory: Option<&Path>,
    key: &VerifyingKey,
    report: &mut Report,
) -> Result<Vec<Signed>, Failure> {
    let (table, mut invalid) = signed_by(key, rows(store).await?);
    let found = directory.map(read_directory).transpose()?.unwrap_or_default();
    let (files, invalid_files) = signed_by(key, found);
    invalid.extend(invalid_files);
    for place in invalid {
        report.find(Finding::CheckpointInvalid { place });
    }
    for (document, signed) in &table {
        if !files.contains_key(document) {
            report.find(Finding::CheckpointFileMissing { sequence: signed.checkpoint.sequence });
        }
    }
    if files.keys().any(|document| !table.contains_key(document)) {
        tokio::time::sleep(ROW_FOLLOWS).await;
        let (later, _) = signed_by(key, rows(store).await?);
        for (_, signed) in files.iter().filter(|(document, _)| !later.contains_key(*document)) {
            report.find(Finding::CheckpointRowMissing { sequence: signed.checkpoint.sequence });
        }
    }
    let mut all = table;
    all.extend(files);
    Ok(all.into_values().collect())
}

async fn rows(store: &Store) -> Result<Vec<Found>, Failure> {
    let rows = store.checkpoints().await?;
    Ok(rows.into_iter().map(|row| ("database".to_owned(), Signed::parse(&row.document))).collect())
}

/// Those that the key signed, and the places of the others.
fn signed_by(key: &VerifyingKey, found: Vec<Found>) -> (ByText, Vec<String>) {
    let (mut good, mut invalid) = (ByText::new(), Vec::new());
    for (place, signed) in found {
        match signed {
            Some(signed) if signed.is_signed_by(key) => {
                good.insert(signed.document(), signed);
            }
            _ => invalid.push(place),
        }
    }
    (good, invalid)
}

/// Events of one month, as the chain knows them.
#[derive(Default)]
struct MonthTally {
    present: u64,
    missing: Vec<u64>,
}

/// The state of a walk along the chain.
struct Walk {
    previous: super::chain::Hash,
    expected: u64,
    months: BTreeMap<Date, MonthTally>,
    /// Digest found at each signed position.
    signed: BTreeMap<u64, Option<super::chain::Hash>>,
}

impl Walk {
    fn step(&mut self, row: &ChainRow, report: &mut Report) {
        let sequence = row.link.sequence;
        report.sealed += 1;
        if sequence > self.expected {
            // The link before is gone, so only what follows can be followed.
            report.find(Finding::LinksMissing { from: self.expected, to: sequence - 1 });
        } else if sequence < self.expected || row.link.hash(&self.previous) != row.hash {
            report.find(Finding::LinkBroken { sequence });
        }
        self.previous = row.hash;
        self.expected = sequence + 1;
        if let Some(slot) = self.signed.get_mut(&sequence) {
            *slot = Some(row.hash);
        }
        let month = row.link.recorded.date().replace_day(1).unwrap_or(row.link.recorded.date());
        let tally = self.months.entry(month).or_default();
        match &row.event {
            None => tally.missing.push(sequence),
            Some(event) => {
                tally.present += 1;
                if event_hash(&event.canonical) != row.link.event_hash {
                    report.find(Finding::EventChanged { sequence });
                } else if let Some(column) = differing_column(event) {
                    report.find(Finding::ColumnChanged { sequence, column });
                }
            }
        }
    }

    fn hold_against(&self, trusted: &[Signed], ledger: Uuid, report: &mut Report) {
        let head = self.expected - 1;
        let mut cut = BTreeSet::new();
        for signed in trusted {
            let sequence = signed.checkpoint.sequence;
            let found =
                if sequence == 0 { Some(genesis(ledger)) } else { self.signed.get(&sequence).copied().flatten() };
            if signed.checkpoint.ledger != ledger {
                report.find(Finding::CheckpointDiffers { sequence });
            } else if sequence > head {
                cut.insert(sequence);
            } else if found.map(hex::encode).as_deref() != Some(signed.checkpoint.head.as_str()) {
                report.find(Finding::CheckpointDiffers { sequence });
            } else {
                report.checkpoints += 1;
                report.vouched = report.vouched.max(sequence);
            }
        }
        if let Some(signed) = cut.last() {
            report.find(Finding::Truncated { signed: *signed, head });
        }
    }

    /// Missing events are in order only when their whole month is gone and a signed checkpoint closed it before.
    fn settle_months(&self, trusted: &[Signed], report: &mut Report) {
        for (month, tally) in self.months.iter().filter(|(_, tally)| !tally.missing.is_empty()) {
            let name = month_text(*month);
            let gone = tally.missing.len() as u64;
            let closed = tally.present == 0
                && trusted.iter().any(|signed| {
                    let c = &signed.checkpoint;
                    c.month.as_deref() == Some(&name)
                        && c.events == Some(gone)
                        && tally.missing.iter().all(|sequence| *sequence <= c.sequence)
                });
            if closed {
                report.dropped_months.push(name);
            } else {
                for sequence in &tally.missing {
                    report.find(Finding::EventMissing { sequence: *sequence });
                }
            }
        }
    }
}

/// The first column that is not the copy of the sealed text which it should be.
fn differing_column(event: &StoredEvent) -> Option<&'static str> {
    let Ok(text) = serde_json::from_str::<Value>(&event.canonical) else { return Some("canonical") };
    let columns: [(&'static str, &str, Option<String>); 8] = [
        ("id", "id", Some(event.id.to_string())),
        ("recorded_at", "recorded", Some(recorded_text(event.recorded_at))),
        ("kind", "kind", Some(event.kind.clone())),
        ("outcome", "outcome", Some(event.outcome.clone())),
        ("actor", "actor", Some(event.actor.clone())),
        ("subject", "subject", event.subject.clone()),
        ("run_id", "run", event.run_id.map(|r| r.to_string())),
        ("peer", "peer", event.peer.clone()),
    ];
    columns
        .into_iter()
        .find(|(_, key, stored)| text.get(key).and_then(Value::as_str) != stored.as_deref())
        .map(|(column, _, _)| column)
}
