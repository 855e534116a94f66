//! Store (STOW-RS): what the PACS did with each object, read from the answer's body whatever its status.

use super::error::Error;
use super::json::Attributes;
use super::transport::status_error;
use super::{Client, JSON, json, xml};
use crate::domain::uid::Uid;
use crate::failure::Failure;
use bytes::Bytes;
use dicom_dictionary_std::tags;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// Bytes that are handed to the connection at a time.
const CHUNK: usize = 64 * 1024;

/// An object to store: a whole Part 10 file and the UIDs that it holds.
#[derive(Debug, Clone)]
pub struct StoreItem {
    /// SOPInstanceUID of the object.
    pub sop_instance: Uid,
    /// The file: preamble, `DICM`, group 2, data set.
    pub bytes: Bytes,
}

/// What the PACS said about one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Stored. A WarningReason (0008,1196) is still success.
    Stored {
        /// WarningReason when the PACS changed or dropped attributes.
        warning: Option<u16>,
    },
    /// The PACS refuses the object because it has one with that UID: the caller compares what is stored.
    Duplicate {
        /// FailureReason (0008,1197).
        reason: u16,
    },
    /// Not stored now, but the reason may pass (out of resources, processing failure).
    TryAgain {
        /// FailureReason (0008,1197).
        reason: u16,
    },
    /// Refused for good.
    Refused {
        /// FailureReason (0008,1197); `None` when the PACS did not give one.
        reason: Option<u16>,
    },
    /// The answer does not mention the object: ask with [`Client::holds_instance`] before anything else.
    Unconfirmed,
}

impl StoreOutcome {
    /// Sorts a FailureReason (PS3.18 table 10.5.3-2, PS3.7 annex C, PS3.4 annex B.2.3).
    fn failed(reason: Option<u16>) -> Self {
        match reason {
            // 0111H: duplicate SOP Instance (PS3.7 C.5.7); B00EH (45070): the same in the Azure DICOM service.
            Some(reason @ (0x0111 | 0xB00E)) => Self::Duplicate { reason },
            // 0110H processing failure, A7xxH out of resources, 0213H resource limitation.
            Some(reason @ (0x0110 | 0x0213 | 0xA700..=0xA7FF)) => Self::TryAgain { reason },
            reason => Self::Refused { reason },
        }
    }
}

impl Client {
    /// Stores objects of one study in one request, which is never repeated here; one outcome per item, in their order.
    ///
    /// The body is streamed; a PACS that takes nothing and says nothing for `pacs.idle_timeout_secs` is given up.
    ///
    /// # Errors
    /// Only when the PACS said nothing about any object: transient when it is away or the answer was lost (the objects
    /// may be stored all the same), permanent when it refuses the request.
    pub async fn store(&self, study: &Uid, items: &[StoreItem]) -> Result<Vec<StoreOutcome>, Failure> {
        Ok(self.store_once(study, items).await?)
    }

    async fn store_once(&self, study: &Uid, items: &[StoreItem]) -> Result<Vec<StoreOutcome>, Error> {
        let boundary = Uuid::new_v4().simple().to_string();
        let pieces = pieces(items, &boundary);
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let stream = futures::stream::iter(pieces.into_iter().map(move |piece| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(piece)
        }));
        let request = self
            .transport
            .post(self.transport.url(&["studies", study.as_str()]), JSON)
            .header(CONTENT_TYPE, format!("multipart/related; type=\"application/dicom\"; boundary={boundary}"))
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(stream));
        let response = tokio::select! {
            response = request.send() => response.map_err(Error::connection)?,
            idle = no_progress(&sent, self.transport.idle()) => return Err(idle),
        };
        let status = response.status();
        let failed = status_error(status, response.headers());
        let body = self.transport.body(response, self.limits.json_bytes).collect().await;
        let report = body.and_then(|bytes| parse(&bytes, self.limits.json_depth)).unwrap_or_default();
        outcomes(items, &report, status).ok_or(failed)
    }
}

/// Ends when nothing was taken from the body, and no answer came, for this long.
async fn no_progress(sent: &AtomicU64, idle: Duration) -> Error {
    let mut before = sent.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(idle).await;
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            return Error::Idle(idle);
        }
        before = now;
    }
}

/// The request body in pieces that share the items' memory.
fn pieces(items: &[StoreItem], boundary: &str) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for item in items {
        pieces.push(Bytes::from(format!("\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n")));
        let mut rest = item.bytes.clone();
        while !rest.is_empty() {
            pieces.push(rest.split_to(CHUNK.min(rest.len())));
        }
    }
    pieces.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    pieces
}

/// What an answer says, by SOPInstanceUID.
#[derive(Debug, Default)]
struct Report {
    outcomes: BTreeMap<Uid, StoreOutcome>,
    /// FailureReasons of parts that the PACS could not identify (OtherFailuresSequence).
    others: Vec<Option<u16>>,
}

/// Reads the Store Instances Response Module (PS3.18 table 10.5.3-1) from JSON or XML.
fn parse(bytes: &[u8], depth: usize) -> Result<Report, Error> {
    let sets = if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<') {
        vec![xml::parse(bytes, depth)?]
    } else {
        json::parse(bytes, depth)?
    };
    let mut report = Report::default();
    for set in &sets {
        for item in set.items(tags::REFERENCED_SOP_SEQUENCE) {
            let warning = reason(&item, tags::WARNING_REASON);
            if let Some(uid) = item.uid(tags::REFERENCED_SOP_INSTANCE_UID) {
                report.outcomes.insert(uid, StoreOutcome::Stored { warning });
            }
        }
        // A failure has the last word when a PACS names an object in both lists.
        for item in set.items(tags::FAILED_SOP_SEQUENCE) {
            let outcome = StoreOutcome::failed(reason(&item, tags::FAILURE_REASON));
            if let Some(uid) = item.uid(tags::REFERENCED_SOP_INSTANCE_UID) {
                report.outcomes.insert(uid, outcome);
            }
        }
        let others = set.items(tags::OTHER_FAILURES_SEQUENCE);
        report.others.extend(others.iter().map(|item| reason(item, tags::FAILURE_REASON)));
    }
    Ok(report)
}

fn reason(item: &Attributes, tag: dicom_core::Tag) -> Option<u16> {
    item.unsigned(tag).and_then(|number| u16::try_from(number).ok())
}

/// Outcomes in the order of the items; `None` when the answer tells nothing about any of them and is no success.
fn outcomes(items: &[StoreItem], report: &Report, status: StatusCode) -> Option<Vec<StoreOutcome>> {
    let told = |item: &StoreItem| report.outcomes.get(&item.sop_instance).copied();
    let mut outcomes: Vec<StoreOutcome> =
        items.iter().map(|item| told(item).unwrap_or(StoreOutcome::Unconfirmed)).collect();
    // With a single object an unidentified failure can only be its own.
    if let ([outcome @ StoreOutcome::Unconfirmed], [reason]) = (outcomes.as_mut_slice(), report.others.as_slice()) {
        *outcome = StoreOutcome::failed(*reason);
    }
    let nothing_told = outcomes.iter().all(|outcome| *outcome == StoreOutcome::Unconfirmed);
    (!nothing_told || status.is_success()).then_some(outcomes)
}

#[cfg(test)]
#[path = "stow_tests.rs"]
mod tests;
