//! Writing events out, page by page: NDJSON with the very bytes that were hashed, CSV for spreadsheets, FHIR AuditEvents.

use super::canonical::recorded_text;
use super::fhir::audit_event;
use crate::failure::{Code, Failure};
use crate::store::{ChainHead, EventFilter, Store, StoredEvent, SubjectIdentity};
use std::collections::HashMap;
use std::io::Write;

const PAGE: u32 = 2000;

/// Form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; `event` holds the canonical form byte for byte.
    Ndjson,
    /// RFC 4180, safe to open in a spreadsheet.
    Csv,
    /// One FHIR R4 AuditEvent a line.
    Fhir,
}

/// Columns of the CSV form.
const COLUMNS: [&str; 12] = [
    "sequence", "recorded", "kind", "outcome", "actor", "subject", "study", "patient", "run", "peer", "detail", "hash",
];

/// Writes the events that pass `filter`, oldest first, and returns how many. Holds one page in memory. With
/// `identities`, who stands behind a pseudonym is added where that is still known.
///
/// # Errors
/// Of the database, or when `out` cannot be written.
pub async fn export<W: Write>(
    store: &Store,
    filter: &EventFilter,
    format: Format,
    identities: bool,
    out: &mut W,
) -> Result<u64, Failure> {
    let mut filter = filter.clone();
    let mut written = 0;
    if format == Format::Csv {
        line(out, &COLUMNS.join(","))?;
    }
    loop {
        let events = store.audit_events(&filter, PAGE).await?;
        let Some(last) = events.last() else { break };
        filter.after = Some((last.recorded_at, last.id));
        let ids: Vec<_> = events.iter().map(|e| e.id).collect();
        let positions = store.positions(&ids).await?;
        let subjects = if identities { known_subjects(store, &events).await? } else { HashMap::new() };
        for event in &events {
            let subject = event.subject.as_ref().and_then(|s| subjects.get(s));
            let position = positions.get(&event.id);
            line(out, &render(event, subject, position, format))?;
            written += 1;
        }
    }
    out.flush().map_err(|error| unwritable(&error))?;
    Ok(written)
}

async fn known_subjects(store: &Store, events: &[StoredEvent]) -> Result<HashMap<String, SubjectIdentity>, Failure> {
    let mut names: Vec<String> = events.iter().filter_map(|e| e.subject.clone()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(store.subjects(&names).await?.into_iter().map(|s| (s.pseudonym.clone(), s)).collect())
}

fn render(
    event: &StoredEvent,
    subject: Option<&SubjectIdentity>,
    position: Option<&ChainHead>,
    format: Format,
) -> String {
    match format {
        Format::Fhir => audit_event(event, subject, position).to_string(),
        Format::Csv => csv(event, subject, position),
        Format::Ndjson => {
            let sequence = position.map_or_else(|| "null".to_owned(), |p| p.sequence.to_string());
            let hash = position.map_or_else(|| "null".to_owned(), |p| format!("\"{}\"", hex::encode(p.hash)));
            let identity = subject.map_or_else(String::new, |s| {
                let known = serde_json::json!({
                    "study": s.study_uid, "patient_id": s.patient_id, "issuer": s.issuer_of_patient_id,
                    "accession_number": s.accession_number,
                });
                format!(",\"identity\":{known}")
            });
            format!("{{\"sequence\":{sequence},\"hash\":{hash},\"event\":{}{identity}}}", event.canonical)
        }
    }
}

fn csv(event: &StoredEvent, subject: Option<&SubjectIdentity>, position: Option<&ChainHead>) -> String {
    let run = event.run_id.map(|r| r.to_string());
    let cells = [
        position.map(|p| p.sequence.to_string()),
        Some(recorded_text(event.recorded_at)),
        Some(event.kind.clone()),
        Some(event.outcome.clone()),
        Some(event.actor.clone()),
        event.subject.clone(),
        subject.map(|s| s.study_uid.clone()),
        subject.and_then(|s| s.patient_id.clone()),
        run,
        event.peer.clone(),
        Some(super::canonical::canonical(&event.detail())),
        position.map(|p| hex::encode(p.hash)),
    ];
    cells.map(|cell| csv_cell(cell.as_deref().unwrap_or_default())).join(",")
}

/// A cell after RFC 4180. What a spreadsheet would run as a formula is led by an apostrophe (OWASP, CSV injection).
fn csv_cell(text: &str) -> String {
    let formula = text.trim_start().starts_with(['=', '+', '-', '@']) || text.starts_with(['\t', '\r', '\n']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn line<W: Write>(out: &mut W, text: &str) -> Result<(), Failure> {
    out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(|error| unwritable(&error))
}

fn unwritable(error: &std::io::Error) -> Failure {
    Failure::permanent(Code::Internal, format!("the export cannot be written: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_disarmed() {
        assert_eq!(csv_cell("plain"), "plain");
        assert_eq!(csv_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_cell("=HYPERLINK(\"http://x\",1)"), "\"'=HYPERLINK(\"\"http://x\"\",1)\"");
        for bad in ["+1", "-1", "@SUM(A1)", " =1", "\t=1"] {
            assert!(csv_cell(bad).starts_with('\'') || csv_cell(bad).starts_with("\"'"), "{bad:?}");
        }
    }
}
