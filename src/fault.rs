//! Named places at which a test can make the process die, as a power cut would: after an act, before its record.

use std::sync::OnceLock;

/// Ends the process without any clean-up when `SCARGATE_FAULT` names this place. Does nothing otherwise.
pub fn point(name: &str) {
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    if WANTED.get_or_init(|| std::env::var("SCARGATE_FAULT").ok()).as_deref() == Some(name) {
        tracing::error!(point = name, "ending here because SCARGATE_FAULT says so");
        std::process::abort();
    }
}
