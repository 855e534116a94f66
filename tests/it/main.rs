//! Integration tests, one binary: against real servers (see `support::servers`), a module per behaviour.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;
mod telemetry;
mod tls;

mod analyze;
mod auth;
mod cli;
mod deliver;
mod dicomweb;
mod evaluate;
mod fault_proxy;
mod fhir;
mod journey;
mod kills;
mod ledger;
mod measures;
mod phantom;
mod pipeline;
mod queue;
mod seg;
mod stage;
mod store;
mod test_kit;
