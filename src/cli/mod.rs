//! The command line: one file per command; arguments are parsed here, work is done by the library's modules.

mod analyze;
mod audit;
mod bullseye;
mod demo;
mod evaluate;
mod explain;
pub mod handover;
mod models;
mod phantom;
mod runs;
mod serve;
mod submit;
mod table;

use crate::config::{self, Config};
use crate::domain::submission::Trigger;
use crate::failure::{Failure, exit_status};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures myocardial scar on LGE cardiac MR: DICOMweb in, DICOM SEG and FHIR out. Research use only; not a medical device.
#[derive(Debug, Parser)]
#[command(name = "scargate", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file; may be given several times, later files win. See config/default.toml for every option.
    #[arg(long, short, global = true, value_name = "FILE", env = "SCARGATE_CONFIG", value_delimiter = ',')]
    config: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prove, export or seal the audit trail.
    Audit(audit::AuditArgs),
    /// Analyse a folder of DICOM without any server: SEG, FHIR Bundle, overlay, measures.
    Analyze(analyze::AnalyzeArgs),
    /// Score masks, or the pipeline itself, against reference masks.
    Evaluate(evaluate::EvaluateArgs),
    /// Check the configuration or print every option with its documentation.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Send a synthetic study through PACS, queue, models, PACS and EHR, and show what came back.
    Demo(demo::DemoArgs),
    /// Make or upgrade the database schema, as the owner role (database.owner_url), and grant to the other roles.
    Migrate,
    /// List the models that are plugged in, or check them against their stored probes.
    Models(models::ModelsArgs),
    /// Say what an error code means and what to do.
    Explain(explain::ExplainArgs),
    /// Draw synthetic cardiac MR with exact truth: studies, and arrays for training.
    Phantom(phantom::PhantomArgs),
    /// Run the gateway: poller, workers, deliveries, REST; or one role of it.
    Serve(serve::ServeArgs),
    /// Process a study that is in the PACS.
    Submit(submit::SubmitArgs),
    /// Process a study again although its images did not change, e.g. with a new model.
    Reprocess(submit::SubmitArgs),
    /// See and act on runs, deliveries and messages that were put aside.
    Runs(runs::RunsArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read all layers, report all faults at once.
    Check,
    /// Print the built-in defaults: the manual of every option.
    Defaults,
}

/// Parses the command line, runs the command and maps its failure to an exit status.
pub fn main() -> ExitCode {
    end_quietly_on_closed_pipe();
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            eprintln!("  what to do: {}", failure.code.action());
            ExitCode::from(exit_status(&failure))
        }
    }
}

/// A reader that has seen enough (`| head`) is no fault of ours: `println!` panics on a closed pipe, and that ends the
/// command with the status that SIGPIPE would give.
fn end_quietly_on_closed_pipe() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            std::process::exit(141);
        }
        usual(info);
    }));
}

fn run(cli: Cli) -> Result<(), Failure> {
    let load = || -> Result<Config, Failure> { config::load(&cli.config) };
    match cli.command {
        Command::Audit(args) => audit::run(args, &load()?),
        Command::Migrate => audit::migrate(&load()?),
        Command::Config(ConfigCommand::Check) => load().map(|_| println!("configuration is valid")),
        Command::Config(ConfigCommand::Defaults) => {
            print!("{}", config::DEFAULTS);
            Ok(())
        }
        Command::Models(args) => models::run(&args, load()?),
        Command::Analyze(args) => analyze::run(&args, &load()?),
        Command::Evaluate(args) => evaluate::run(&args, &load()?),
        Command::Demo(args) => demo::run(&args, &load()?, &cli.config),
        Command::Serve(args) => serve::run(&args, load()?),
        Command::Explain(args) => explain::run(&args),
        Command::Phantom(args) => phantom::run(&args),
        Command::Submit(args) => submit::run(args, Trigger::Cli, &load()?),
        Command::Reprocess(args) => submit::run(args, Trigger::Reprocess, &load()?),
        Command::Runs(args) => runs::run(args, &load()?),
    }
}
