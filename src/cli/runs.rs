//! `scargate runs`: see what happens to studies, and act on runs, deliveries and dead letters.

use super::submit::parse_uid;
use crate::config::Config;
use crate::domain::events::{Event, EventKind};
use crate::domain::run::{RunId, RunState};
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use crate::http::dto;
use crate::intake;
use crate::queue::Queue;
use crate::store::{DeliveryId, Page, RunDetail, RunFilter, RunSummary, Store};
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

const EXAMPLES: &str = "\
Examples:
  scargate runs list --state failed,rejected
  scargate runs show 0199f6c2-8f4e-7d31-a5b2-3c7f0d1e2a44
  scargate runs retry 0199f6c2-8f4e-7d31-a5b2-3c7f0d1e2a44      after what it failed of was put right
  scargate runs dead                                            messages that were put aside, and why
  scargate runs redrive                                         send the readable ones to the workers again
`scargate explain CODE` says what a code means and what to do.";

/// See and act on runs.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RunsArgs {
    #[command(subcommand)]
    command: RunsCommand,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// List runs, newest first.
    List(ListArgs),
    /// Show everything about one run: attempts, deliveries, artefacts, audit events.
    Show(OneRun),
    /// Try a failed or rejected run again, or send its failed deliveries again.
    Retry(OneRun),
    /// Stop a run that has not ended; what was not sent yet is not sent.
    Cancel(OneRun),
    /// List messages that were put aside, and how many wait.
    Dead(DeadArgs),
    /// Send messages that were put aside to the workers again.
    Redrive(RedriveArgs),
    /// Let a held or failed delivery go.
    Release(ReleaseArgs),
    /// Give a held or failed delivery up.
    Discard(OneDelivery),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only these states, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "STATE", value_parser = str::parse::<RunState>)]
    state: Vec<RunState>,
    /// Only this study.
    #[arg(long, value_name = "STUDY_UID", value_parser = parse_uid)]
    study: Option<Uid>,
    /// Rows at most.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only runs older than this one: the last row of the page before.
    #[arg(long, value_name = "RUN")]
    before: Option<RunId>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OneRun {
    /// Id of the run.
    run: RunId,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OneDelivery {
    /// Id of the delivery, from `scargate runs show`.
    delivery: DeliveryId,
}

#[derive(Debug, Args)]
struct ReleaseArgs {
    /// Id of the delivery, from `scargate runs show`.
    delivery: DeliveryId,
    /// Replace what somebody changed in the EHR; only for a delivery held as `ehr-changed`. Never replaces what was signed
    /// there. The audit trail keeps who decided it.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Args)]
struct DeadArgs {
    /// Messages at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RedriveArgs {
    /// Only messages of this run.
    run: Option<RunId>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What the commands on runs work with.
pub(super) struct Parts {
    pub store: Store,
    pub queue: Queue,
}

impl Parts {
    pub async fn connect(config: &Config) -> Result<Self, Failure> {
        let store = Store::connect(&config.database, &config.audit).await?;
        store.check_migrated().await?;
        Ok(Self { store, queue: Queue::new(&config.broker)? })
    }
}

/// Runs the command.
///
/// # Errors
/// `not-found`, `conflict`; when the database or the broker is away.
pub fn run(args: RunsArgs, config: &Config) -> Result<(), Failure> {
    block_on(async {
        let parts = Parts::connect(config).await?;
        match args.command {
            RunsCommand::List(args) => list(&parts, args).await,
            RunsCommand::Show(args) => show(&parts, &args).await,
            RunsCommand::Retry(args) => {
                let state = intake::retry(&parts.store, &parts.queue, args.run, &actor()).await?;
                acted(&args, state)
            }
            RunsCommand::Cancel(args) => {
                parts.store.cancel(args.run, &actor()).await?;
                acted(&args, RunState::Cancelled)
            }
            RunsCommand::Dead(args) => dead(&parts, &args).await,
            RunsCommand::Redrive(args) => redrive(&parts, &args).await,
            RunsCommand::Release(args) => {
                parts.store.release(args.delivery, &actor(), args.overwrite).await?;
                println!("delivery {} will be sent", args.delivery);
                Ok(())
            }
            RunsCommand::Discard(args) => {
                parts.store.discard(args.delivery, &actor()).await?;
                println!("delivery {} will not be sent", args.delivery);
                Ok(())
            }
        }
    })
}

fn acted(args: &OneRun, state: RunState) -> Result<(), Failure> {
    if args.json {
        return print_json(&json!({ "run": args.run, "state": state }));
    }
    println!("run {} is {state}", args.run);
    Ok(())
}

async fn list(parts: &Parts, args: ListArgs) -> Result<(), Failure> {
    let filter = RunFilter { states: args.state, study: args.study };
    let runs = parts.store.list_runs(&filter, Page { limit: args.limit, before: args.before }).await?;
    if args.json {
        return print_json(&runs.into_iter().map(dto::Run::from).collect::<Vec<_>>());
    }
    let mut table = table(&["run", "study", "rev", "trigger", "state", "tries", "code", "created"]);
    for run in &runs {
        table.add_row([
            run.id.to_string(),
            run.study.to_string(),
            run.revision.to_string(),
            run.trigger.name().to_owned(),
            run.state.to_string(),
            run.attempts.to_string(),
            run.failure_code.clone().unwrap_or_default(),
            when(run.created_at),
        ]);
    }
    println!("{table}");
    Ok(())
}

async fn show(parts: &Parts, args: &OneRun) -> Result<(), Failure> {
    let detail = parts.store.show_run(args.run).await?;
    let detail = detail.ok_or_else(|| Failure::permanent(Code::NotFound, "run"))?;
    if args.json {
        return print_json(&dto::RunDetail::from(detail));
    }
    println!("{}", summary(&detail.summary));
    if !detail.attempts.is_empty() {
        println!("attempts\n{}", attempts(&detail));
    }
    if !detail.deliveries.is_empty() {
        println!("deliveries\n{}", deliveries(&detail));
    }
    if !detail.artefacts.is_empty() {
        println!("artefacts\n{}", artefacts(&detail));
    }
    println!("audit events\n{}", timeline(&detail));
    Ok(())
}

fn summary(run: &RunSummary) -> Table {
    let mut table = table(&["run", &run.id.to_string()]);
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            table.add_row([name.to_owned(), value]);
        }
    };
    row("study", run.study.to_string());
    row("revision", run.revision.to_string());
    row("started by", format!("{} ({})", run.actor, run.trigger.name()));
    row("state", run.state.to_string());
    row("attempts", run.attempts.to_string());
    if run.state == RunState::Received {
        row("next attempt", when(run.next_attempt_at));
    }
    if let Some(code) = &run.failure_code {
        row("code", code.clone());
        row("detail", run.failure_detail.clone().unwrap_or_default());
        if let Ok(code) = code.parse::<Code>() {
            row("meaning", code.meaning().to_owned());
            row("what to do", code.action().to_owned());
        }
    }
    row("pipeline version", run.pipeline_version.as_deref().and_then(|v| v.get(..12)).unwrap_or_default().to_owned());
    row("created", when(run.created_at));
    row("ended", run.ended_at.map(when).unwrap_or_default());
    table
}

fn attempts(detail: &RunDetail) -> Table {
    let mut table = table(&["try", "why", "worker", "from", "to", "outcome", "code"]);
    for a in &detail.attempts {
        table.add_row([
            a.attempt.to_string(),
            a.reason.clone(),
            a.worker.clone(),
            when(a.started_at),
            a.ended_at.map(when).unwrap_or_default(),
            a.outcome.clone().unwrap_or_default(),
            a.code.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn deliveries(detail: &RunDetail) -> Table {
    let mut table = table(&["delivery", "what", "to", "state", "tries", "code", "detail"]);
    for d in &detail.deliveries {
        table.add_row([
            d.id.to_string(),
            d.artefact.clone(),
            d.destination.name().to_owned(),
            d.state.to_string(),
            d.attempts.to_string(),
            d.code.clone().unwrap_or_default(),
            d.detail.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn artefacts(detail: &RunDetail) -> Table {
    let mut table = table(&["artefact", "kind", "bytes", "sha256", ""]);
    for a in &detail.artefacts {
        let sha256 = a.sha256.get(..12).unwrap_or_default();
        let kept = if a.expired { "no longer kept" } else { "" };
        table.add_row([a.name.as_str(), a.kind.name(), &a.size.to_string(), sha256, kept]);
    }
    table
}

fn timeline(detail: &RunDetail) -> Table {
    let mut table = table(&["when", "event", "outcome", "who", "peer"]);
    for e in &detail.timeline {
        let peer = e.peer.as_deref().unwrap_or_default();
        table.add_row([&when(e.recorded_at), e.kind.as_str(), e.outcome.as_str(), e.actor.as_str(), peer]);
    }
    table
}

async fn dead(parts: &Parts, args: &DeadArgs) -> Result<(), Failure> {
    let depths = parts.queue.depths().await?;
    let letters = parts.queue.dead_letters(args.limit).await?;
    if args.json {
        return print_json(&json!({ "depths": depths, "dead": letters }));
    }
    println!("ready {}, waiting for a retry {}, put aside {}", depths.ready, depths.waiting, depths.dead);
    if !letters.is_empty() {
        let mut table = table(&["run", "reason", "detail", "bytes"]);
        for letter in &letters {
            let run = letter.run.map_or_else(|| "not readable".to_owned(), |run| run.to_string());
            table.add_row([run, letter.reason.code.clone(), letter.reason.detail.clone(), letter.bytes.to_string()]);
        }
        println!("{table}");
    }
    Ok(())
}

async fn redrive(parts: &Parts, args: &RedriveArgs) -> Result<(), Failure> {
    let redriven = parts.queue.redrive(args.run).await?;
    let detail = json!({ "action": "redrive", "sent": redriven.sent, "left": redriven.left });
    let event = Event { actor: actor(), run: args.run, detail, ..Event::ours(EventKind::RunAction) };
    parts.store.record(&[event]).await?;
    if args.json {
        return print_json(&redriven);
    }
    println!("{} sent to the workers again, {} left", redriven.sent, redriven.left);
    Ok(())
}

/// Who types, for the audit trail.
pub(super) fn actor() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|key| std::env::var(key).ok()).filter(|user| !user.is_empty());
    let user: String = user.unwrap_or_default().chars().filter(|c| !c.is_control()).take(64).collect();
    if user.is_empty() { "cli".to_owned() } else { format!("cli/{user}") }
}

fn when(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    time.to_offset(time::UtcOffset::UTC).format(&format).unwrap_or_default()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    table
}

pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    println!("{}", text.map_err(|error| Failure::permanent(Code::Internal, error.to_string()))?);
    Ok(())
}

pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::permanent(Code::Internal, format!("runtime: {error}")))?.block_on(work)
}
