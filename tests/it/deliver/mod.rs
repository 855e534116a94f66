//! Delivery to real servers: exactly one result arrives, whatever happens on the way, and only with the right patient.

pub mod fixture;

mod ehr_faults;
mod ehr_matching;
mod ehr_modes;
mod ehr_revisions;
mod pacs;
