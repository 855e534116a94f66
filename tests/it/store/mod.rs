//! The store on a real Postgres, as the role the gateway has: submissions, claims, the outbox, the ledger.

pub mod kit;
mod migrate;
mod outbox;
mod runs;
mod submit;
