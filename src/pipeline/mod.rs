//! The worker: claims a run, calls the steps in order and does none of their work, and commits what they made.
//!
//! A run is held by a lease with a fencing token; a heartbeat keeps it, and every write carries the token, so a worker
//! that was given up for dead cannot write. The only durable checkpoint is the outbox: source pixels are not kept, so
//! an attempt that ends before it starts again at retrieval.

mod attempt;
mod lease;
mod plan;
mod reconciler;
mod settle;
mod worker;

pub use plan::plan;
pub use reconciler::Reconciler;
pub use worker::Worker;
