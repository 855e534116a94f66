//! Names that no other test uses, so that tests can share servers and run at the same time.

use uuid::Uuid;

/// A short lower-case word, fit for a queue prefix or a database name.
pub fn word(start: &str) -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("{start}_{}", &id[..12])
}

/// A DICOM UID under the UUID root (PS3.5 B.2).
pub fn uid() -> String {
    format!("2.25.{}", Uuid::new_v4().as_u128())
}

/// A patient identifier.
pub fn patient_id() -> String {
    word("PAT").to_uppercase()
}

/// An accession number: at most 16 characters (VR SH).
pub fn accession() -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("A{}", &id[..14]).to_uppercase()
}
