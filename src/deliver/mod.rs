//! Takes results from the outbox to the PACS and to the EHR, exactly once in effect.
//!
//! What keeps a result from arriving twice or in the wrong place: the bytes were stored before anything was sent and are
//! sent as they are; objects have UIDs, and lines of the EHR identifiers, that depend on the study and not on the
//! attempt; before a repeated attempt writes, it asks the peer what is there; patient and order are read again from the
//! PACS just before each delivery, and in the EHR the Patient is proven by identifier, birth date and life. Whatever is
//! ambiguous is held for a person.

pub mod backoff;
pub mod ehr;
pub mod pacs;
mod worker;

pub use worker::{Worker, research_use_event};
