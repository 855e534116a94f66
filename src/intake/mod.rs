//! The ways in: QIDO-RS poller, PACS webhook, REST and command line all become one `Submission`, and a submission
//! becomes a run when the rules of revisions want one.

mod inputs;
mod poller;
mod submit;
mod webhook;

pub use inputs::{InputSeries, Inputs, inputs};
pub use poller::Poller;
pub use submit::{retry, submit};
pub use webhook::pass_webhooks;
