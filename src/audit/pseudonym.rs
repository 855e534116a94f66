//! Keyed pseudonyms: the ledger names a study by an HMAC, whose key and side table can be taken away.

use crate::config::Secret;
use crate::domain::uid::Uid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::zeroize::Zeroizing;
use sha2::Sha256;
use std::fmt;

/// The key of the pseudonyms. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Pseudonyms(Zeroizing<Vec<u8>>);

impl Pseudonyms {
    /// From `[audit] pseudonym_key`: 32 bytes or more, as hex or base64.
    ///
    /// # Errors
    /// Text that says what is wrong, without the key.
    pub fn from_config(secret: &Secret) -> Result<Self, String> {
        let text = secret.expose().trim();
        let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok()).unwrap_or_default();
        Self::from_bytes(&bytes)
    }

    /// From bytes.
    ///
    /// # Errors
    /// When there are fewer than 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < 32 {
            return Err("audit.pseudonym_key must be at least 32 bytes, as hex or base64".into());
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Pseudonym of a study: 32 hex digits (128 bits) of HMAC-SHA256.
    pub fn study(&self, study: &Uid) -> String {
        self.tag("study", study.as_str())
    }

    fn tag(&self, domain: &str, text: &str) -> String {
        // HMAC takes keys of any length, so this cannot fail; an empty text would be as useless as it is impossible.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(domain.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        let mut hex = hex::encode(mac.finalize().into_bytes());
        hex.truncate(32);
        hex
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(key)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base64_of_the_same_key_agree_and_short_keys_are_refused() {
        let key = [7_u8; 32];
        let study = Uid::derive(&["study"]);
        let hex = Pseudonyms::from_config(&Secret::from(hex::encode(key).as_str())).unwrap();
        let base64 = Pseudonyms::from_config(&Secret::from(STANDARD.encode(key).as_str())).unwrap();
        assert_eq!(hex.study(&study), base64.study(&study));
        assert!(Pseudonyms::from_config(&Secret::from("")).is_err());
        assert!(Pseudonyms::from_bytes(&key[..31]).is_err());
    }

    #[test]
    fn matches_openssl() {
        // printf 'study\0%s' 1.2.3 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707..07
        let pseudonyms = Pseudonyms::from_bytes(&[7; 32]).unwrap();
        assert_eq!(pseudonyms.study(&Uid::parse("1.2.3").unwrap()), OPENSSL);
    }

    const OPENSSL: &str = "f8bfd10978175696a086c7151fdd9b29";
}
