//! `scargate submit` and `scargate reprocess`: hand a study to the workers.

use super::runs::{Parts, actor, block_on, print_json};
use crate::config::Config;
use crate::dicomweb::Client;
use crate::domain::submission::{Submission, Trigger};
use crate::domain::uid::Uid;
use crate::failure::Failure;
use crate::http::dto;
use crate::intake;
use crate::store::Submitted;
use clap::Args;

const SUBMIT_EXAMPLES: &str = "\
The study must be in the PACS. It is processed when its MR images are new to scargate, or when its last run failed, was
rejected or cancelled; `scargate reprocess` runs it again in any case, e.g. with a new model.

Example: scargate submit 1.2.840.113619.2.5.1762583153";

/// Process a study that is in the PACS.
#[derive(Debug, Args)]
#[command(after_long_help = SUBMIT_EXAMPLES)]
pub struct SubmitArgs {
    /// StudyInstanceUID.
    #[arg(value_name = "STUDY_UID", value_parser = parse_uid)]
    study: Uid,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn parse_uid(text: &str) -> Result<Uid, String> {
    Uid::parse(text).map_err(|error| error.to_string())
}

/// Runs `submit` ([`Trigger::Cli`]) or `reprocess` ([`Trigger::Reprocess`]).
///
/// # Errors
/// `study-not-found`; when the PACS or the database is away. A broker that is away is no error: the run is recorded.
pub fn run(args: SubmitArgs, trigger: Trigger, config: &Config) -> Result<(), Failure> {
    let submission = Submission { study: args.study, trigger, actor: actor() };
    let submitted = block_on(async {
        let parts = Parts::connect(config).await?;
        let pacs = Client::new(&config.pacs, &config.limits, &config.spool)?;
        intake::submit(&parts.store, &pacs, &parts.queue, submission).await
    })?;
    if args.json {
        return print_json(&dto::Submitted::from(submitted));
    }
    match submitted {
        Submitted::Started { run, revision } => println!("started run {run}, revision {revision} of the study"),
        Submitted::AlreadyOpen { run } => println!("run {run} already works on these images"),
        Submitted::Unchanged { run } => {
            println!("the images are those of run {run}, which has ended; `scargate reprocess` runs them again");
        }
    }
    Ok(())
}
