//! What the integration tests share: the servers they run against, a database of their own, faults on demand.

// Each test uses its part of the kit; a helper that nothing uses yet is not an error.
#![allow(dead_code)]

pub mod config;
pub mod database;
pub mod fault_proxy;
pub mod gateway;
pub mod issuer;
pub mod otlp;
pub mod python;
pub mod servers;
pub mod studies;
pub mod tls;
pub mod unique;
