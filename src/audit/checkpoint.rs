//! Checkpoints: the head of the chain, signed, written outside the database.
//!
//! A file is one line of canonical JSON: `{"checkpoint": {...}, "key": hex, "signature": base64}`. The Ed25519
//! signature is over the canonical text of the `checkpoint` object, whose keys are `events` (of a closed month),
//! `head` (hex), `kind` (`periodic` or `month`), `ledger`, `made`, `month` (`YYYY-MM` or null), `schema` (1) and
//! `sequence`.

use super::canonical::{canonical, recorded_text};
use crate::domain::events::{Event, EventKind};
use crate::failure::{Code, Failure};
use crate::store::{Store, StoredCheckpoint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use time::{Date, Month, OffsetDateTime, Time};
use uuid::Uuid;

/// What a checkpoint states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Form of this object, 1.
    pub schema: u32,
    /// Which ledger.
    pub ledger: Uuid,
    /// `periodic` or `month`.
    pub kind: String,
    /// The closed month, `YYYY-MM`.
    pub month: Option<String>,
    /// Events recorded in the closed month.
    pub events: Option<u64>,
    /// Position of the head.
    pub sequence: u64,
    /// Digest of the head, hex.
    pub head: String,
    /// When it was made, UTC.
    pub made: String,
}

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What it states.
    pub checkpoint: Checkpoint,
    /// The bytes that were signed.
    signed_text: String,
    /// Public key that it names, hex. Trust comes from the verifier's own copy of the key, not from here.
    pub key: String,
    signature: Vec<u8>,
}

impl Signed {
    /// Signs a checkpoint.
    pub fn new(checkpoint: Checkpoint, key: &SigningKey) -> Self {
        let signed_text = canonical(&serde_json::to_value(&checkpoint).unwrap_or(Value::Null));
        let signature = key.sign(signed_text.as_bytes()).to_bytes().to_vec();
        Self { checkpoint, signed_text, key: hex::encode(key.verifying_key().as_bytes()), signature }
    }

    /// Reads a file's text. `None` when it is not a checkpoint.
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let object = value.get("checkpoint")?;
        Some(Self {
            checkpoint: serde_json::from_value(object.clone()).ok()?,
            signed_text: canonical(object),
            key: value.get("key")?.as_str()?.to_owned(),
            signature: STANDARD.decode(value.get("signature")?.as_str()?).ok()?,
        })
    }

    /// The file's text.
    pub fn document(&self) -> String {
        let value = json!({
            "checkpoint": serde_json::to_value(&self.checkpoint).unwrap_or(Value::Null),
            "key": self.key, "signature": STANDARD.encode(&self.signature),
        });
        canonical(&value)
    }

    /// True when `key` signed it.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        Signature::from_slice(&self.signature)
            .is_ok_and(|signature| key.verify_strict(self.signed_text.as_bytes(), &signature).is_ok())
    }

    /// Name of its file: sorts by position.
    pub fn file_name(&self) -> String {
        let c = &self.checkpoint;
        let month = c.month.as_deref().map(|m| format!("-{m}")).unwrap_or_default();
        let ledger: String = c.ledger.simple().to_string().chars().take(8).collect();
        format!("checkpoint-{ledger}-{:012}-{}{month}.json", c.sequence, c.kind)
    }
}

/// Makes checkpoints: the key and the folder outside the database.
pub struct Checkpoints {
    key: SigningKey,
    directory: PathBuf,
}

impl Checkpoints {
    /// From `[audit]`.
    ///
    /// # Errors
    /// `config-invalid` when the key is not an Ed25519 key in PKCS#8 PEM.
    pub fn from_config(audit: &crate::config::Audit) -> Result<Self, Failure> {
        let key = signing_key(audit.checkpoint_key.expose())?;
        Ok(Self { key, directory: audit.checkpoint_directory.clone() })
    }

    /// The key that verifiers need.
    pub fn public_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// Signs the present head when the chain grew since the last checkpoint by more than that checkpoint's own event.
    ///
    /// # Errors
    /// Of the database or the folder.
    pub async fn make_if_grown(&self, store: &Store) -> Result<Option<Signed>, Failure> {
        let head = store.chain_head().await?.sequence;
        let last = store.checkpoints().await?.last().map_or(0, |c| u64::try_from(c.sequence).unwrap_or(0));
        if head <= last.saturating_add(u64::from(last > 0)) {
            return Ok(None);
        }
        self.make(store, None).await.map(Some)
    }

    /// Signs the present head, of whatever age.
    ///
    /// # Errors
    /// Of the database or the folder.
    pub async fn make_now(&self, store: &Store) -> Result<Signed, Failure> {
        self.make(store, None).await
    }

    /// Closes a month: afterwards the owner may drop its partition and the rest still verifies.
    ///
    /// # Errors
    /// `conflict` when the month is not over, or events of it are not sealed yet.
    pub async fn close_month(&self, store: &Store, year: i32, month: Month) -> Result<Signed, Failure> {
        let (from, until) = month_bounds(year, month)?;
        if OffsetDateTime::now_utc() < until {
            return Err(Failure::permanent(Code::Conflict, "the month is not over"));
        }
        let (events, unsealed) = store.count_events(from, until).await?;
        if unsealed > 0 {
            return Err(Failure::permanent(Code::Conflict, format!("{unsealed} events of the month are not sealed")));
        }
        self.make(store, Some((from.date(), events))).await
    }

    async fn make(&self, store: &Store, closed: Option<(Date, u64)>) -> Result<Signed, Failure> {
        let (ledger, head) = (store.ledger_id().await?, store.chain_head().await?);
        let made = super::canonical::to_micros(OffsetDateTime::now_utc());
        let signed = Signed::new(
            Checkpoint {
                schema: 1,
                ledger,
                kind: if closed.is_some() { "month" } else { "periodic" }.into(),
                month: closed.map(|(day, _)| month_text(day)),
                events: closed.map(|(_, events)| events),
                sequence: head.sequence,
                head: hex::encode(head.hash),
                made: recorded_text(made),
            },
            &self.key,
        );
        // The file first: a checkpoint that only the database has proves nothing.
        write_file(&self.directory, &signed)?;
        let mut event = Event::ours(EventKind::Checkpoint);
        event.detail = json!({
            "sequence": head.sequence, "kind": signed.checkpoint.kind, "month": signed.checkpoint.month,
        });
        let row = StoredCheckpoint {
            sequence: i64::try_from(head.sequence).unwrap_or(i64::MAX),
            kind: signed.checkpoint.kind.clone(),
            month: closed.map(|(day, _)| day),
            made_at: made,
            document: signed.document(),
        };
        store.add_checkpoint(&row, &event).await?;
        Ok(signed)
    }
}

/// First instant of a month and of the next.
pub(super) fn month_bounds(year: i32, month: Month) -> Result<(OffsetDateTime, OffsetDateTime), Failure> {
    let start = |year, month| {
        Date::from_calendar_date(year, month, 1)
            .map(|day| day.with_time(Time::MIDNIGHT).assume_utc())
            .map_err(|_| Failure::permanent(Code::BadRequest, "no such month"))
    };
    let next_year = if month == Month::December { year + 1 } else { year };
    Ok((start(year, month)?, start(next_year, month.next())?))
}

/// `YYYY-MM`.
pub(super) fn month_text(day: Date) -> String {
    format!("{:04}-{:02}", day.year(), u8::from(day.month()))
}

fn signing_key(pem: &str) -> Result<SigningKey, Failure> {
    SigningKey::from_pkcs8_pem(pem.trim()).map_err(|_| {
        Failure::permanent(Code::ConfigInvalid, "audit.checkpoint_key must be an Ed25519 private key in PKCS#8 PEM")
    })
}

/// Reads a public key: PEM (SPKI) or 64 hex digits.
///
/// # Errors
/// `bad-request` when it is neither.
pub fn public_key(text: &str) -> Result<VerifyingKey, Failure> {
    let text = text.trim();
    let from_hex = || -> Option<VerifyingKey> {
        let bytes: [u8; 32] = hex::decode(text).ok()?.try_into().ok()?;
        VerifyingKey::from_bytes(&bytes).ok()
    };
    VerifyingKey::from_public_key_pem(text).ok().or_else(from_hex).ok_or_else(|| {
        Failure::permanent(Code::BadRequest, "the public key must be an Ed25519 key as PEM or 64 hex digits")
    })
}

fn write_file(directory: &Path, signed: &Signed) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(signed.document().as_bytes())?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(directory.join(signed.file_name()))?;
        std::fs::File::open(directory)?.sync_all()
    };
    write().map_err(|error| {
        Failure::transient(Code::Internal, format!("audit.checkpoint_directory cannot be written: {}", error.kind()))
    })
}

/// Every checkpoint file of a folder, by name; `None` for a file that is not readable as one.
///
/// # Errors
/// When the folder cannot be read.
pub fn read_directory(directory: &Path) -> Result<Vec<(String, Option<Signed>)>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::permanent(
            Code::NotFound,
            format!("checkpoint folder {} cannot be read: {}", directory.display(), error.kind()),
        )
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("checkpoint-") && name.ends_with(".json") {
            let signed = std::fs::read_to_string(&path).ok().and_then(|text| Signed::parse(&text));
            files.push((name, signed));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            schema: 1,
            ledger: Uuid::from_u128(5),
            kind: "month".into(),
            month: Some("2026-01".into()),
            events: Some(12),
            sequence: 30,
            head: "ab".repeat(32),
            made: "2026-02-01T00:00:01.000000Z".into(),
        }
    }

    #[test]
    fn a_signed_checkpoint_reads_back_and_any_change_breaks_it() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let signed = Signed::new(checkpoint(), &key);
        let read = Signed::parse(&signed.document()).unwrap();
        assert_eq!(read, signed);
        assert!(read.is_signed_by(&key.verifying_key()));
        assert!(!read.is_signed_by(&SigningKey::from_bytes(&[8; 32]).verifying_key()));
        let forged = signed.document().replace("\"sequence\":30", "\"sequence\":29");
        assert!(!Signed::parse(&forged).unwrap().is_signed_by(&key.verifying_key()));
        assert_eq!(signed.file_name(), "checkpoint-00000000-000000000030-month-2026-01.json");
    }

    #[test]
    fn public_keys_are_read_as_hex_and_pem() {
        let key = SigningKey::from_bytes(&[9; 32]).verifying_key();
        assert_eq!(public_key(&hex::encode(key.as_bytes())).unwrap(), key);
        // RFC 8410 section 4: the SPKI prefix of an Ed25519 key.
        let der = [hex::decode("302a300506032b6570032100").unwrap(), key.as_bytes().to_vec()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        assert_eq!(public_key(&pem).unwrap(), key);
        assert!(public_key("nonsense").is_err());
    }
}
