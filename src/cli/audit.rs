//! `scargate migrate` and `scargate audit`: the schema, and proof and export of the audit trail.

use crate::audit::checkpoint::{Checkpoints, public_key};
use crate::audit::export::{Format, export};
use crate::audit::sealer::seal_all;
use crate::audit::verify::{Report, verify};
use crate::config::Config;
use crate::domain::events::{Event, EventKind};
use crate::domain::run::RunId;
use crate::domain::uid::Uid;
use crate::failure::{Code, Failure};
use crate::store::{EventFilter, Store};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime};

/// Prove, export or seal the audit trail.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

const EXAMPLES: &str = "\
How the trail is kept: every act writes its event in its own transaction; a sealer chains the events by digest; signed
checkpoints leave the database. Whoever alters, deletes, reorders or cuts off events is found by `verify`, also when it
was the owner of the database, as far back as the newest checkpoint that is out of his reach.

Examples:
  scargate audit verify                                      with this gateway's own key and folder
  scargate audit verify --checkpoints /mnt/worm --public-key auditor.pem
  scargate audit export --format csv --from 2026-01-01T00:00:00Z --out january.csv
  scargate audit export --format fhir --study 1.2.840.1 --identities
  scargate audit checkpoint --close-month 2026-01            afterwards the owner may drop audit_events_2026_01

Exit status of `verify`: 0 intact, 70 damaged, 75 the database cannot be reached.";

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Walk the whole chain, hold it against the checkpoints, and report everything that is not as it was sealed.
    Verify(VerifyArgs),
    /// Write events out, oldest first. The export itself is recorded.
    Export(ExportArgs),
    /// Sign the head of the chain and write it into audit.checkpoint_directory.
    Checkpoint(CheckpointArgs),
    /// Chain what is committed now, instead of waiting for the running gateway.
    Seal,
    /// Forget who stands behind a study's pseudonym; the events stay and still verify.
    Erase(EraseArgs),
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Folder with the checkpoint files; default audit.checkpoint_directory.
    #[arg(long, value_name = "DIR")]
    checkpoints: Option<PathBuf>,
    /// File with the trusted public key, PEM or hex; default: the public half of audit.checkpoint_key.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Form of the export.
    #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
    format: ExportFormat,
    /// Recorded at this time or later, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<OffsetDateTime>,
    /// Recorded before this time, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<OffsetDateTime>,
    /// Only events about this study.
    #[arg(long, value_name = "STUDY_INSTANCE_UID")]
    study: Option<Uid>,
    /// Only events about this patient's studies, by PatientID.
    #[arg(long, value_name = "PATIENT_ID", conflicts_with = "study")]
    patient: Option<String>,
    /// Only events of this run.
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Only events of these kinds, e.g. delivery-outcome; may be given several times.
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    kind: Vec<String>,
    /// Add who stands behind the pseudonyms, where that was not erased.
    #[arg(long)]
    identities: bool,
    /// Name that the record of this export carries; default: the login name.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// File to write; default standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExportFormat {
    /// A JSON object a line; `event` holds the bytes that were hashed.
    Ndjson,
    /// For spreadsheets; formulas are disarmed.
    Csv,
    /// A FHIR R4 AuditEvent a line.
    Fhir,
}

#[derive(Debug, Args)]
struct CheckpointArgs {
    /// Close this month: every event of it is sealed, so its partition can be dropped and the rest still verifies.
    #[arg(long, value_name = "YYYY-MM", value_parser = parse_month)]
    close_month: Option<(i32, Month)>,
}

#[derive(Debug, Args)]
struct EraseArgs {
    /// The study.
    #[arg(long, value_name = "STUDY_INSTANCE_UID")]
    study: Uid,
    /// Name that the record of this erasure carries; default: the login name.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

/// Runs `scargate migrate`.
///
/// # Errors
/// As [`Store::migrate`].
pub fn migrate(config: &Config) -> Result<(), Failure> {
    let applied = block_on(Store::migrate(&config.database))??;
    if applied.is_empty() {
        println!("the database is up to date");
    } else {
        println!("applied {} migrations: {applied:?}", applied.len());
    }
    Ok(())
}

/// Runs `scargate audit ...`.
///
/// # Errors
/// Of the database; `ledger-damaged` when `verify` finds something.
pub fn run(args: AuditArgs, config: &Config) -> Result<(), Failure> {
    block_on(async {
        match args.command {
            AuditCommand::Verify(args) => {
                // An auditor has no pseudonym key, and needs none.
                let store = Store::connect_reader(&config.database).await?;
                store.check_migrated().await?;
                run_verify(&store, config, args).await
            }
            AuditCommand::Export(args) => {
                // Neither does an export: studies are found by the erasable side table too.
                let store = if config.audit.pseudonym_key.is_empty() {
                    Store::connect_reader(&config.database).await?
                } else {
                    Store::connect(&config.database, &config.audit).await?
                };
                store.check_migrated().await?;
                run_export(&store, args).await
            }
            AuditCommand::Checkpoint(args) => run_checkpoint(&connect(config).await?, config, args).await,
            AuditCommand::Seal => {
                println!("sealed {} events", seal_all(&connect(config).await?).await?);
                Ok(())
            }
            AuditCommand::Erase(args) => run_erase(&connect(config).await?, args).await,
        }
    })?
}

async fn connect(config: &Config) -> Result<Store, Failure> {
    let store = Store::connect(&config.database, &config.audit).await?;
    store.check_migrated().await?;
    Ok(store)
}

fn block_on<F: Future>(work: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::permanent(Code::Internal, format!("no runtime: {}", error.kind())))?;
    Ok(runtime.block_on(work))
}

async fn run_verify(store: &Store, config: &Config, args: VerifyArgs) -> Result<(), Failure> {
    let key = match &args.public_key {
        Some(file) => public_key(&std::fs::read_to_string(file).map_err(|error| {
            Failure::permanent(Code::BadRequest, format!("{} cannot be read: {}", file.display(), error.kind()))
        })?)?,
        None if config.audit.checkpoint_key.is_empty() => {
            return Err(Failure::permanent(Code::ConfigInvalid, "give --public-key, or set audit.checkpoint_key"));
        }
        None => Checkpoints::from_config(&config.audit)?.public_key(),
    };
    let directory = args.checkpoints.as_ref().unwrap_or(&config.audit.checkpoint_directory);
    // Before the first checkpoint there is no folder; a folder that is gone later shows as missing files.
    let report = verify(store, directory.exists().then_some(directory.as_path()), &key).await?;
    if args.json {
        println!("{}", json!(report));
    } else {
        print_report(&report);
    }
    if report.is_intact() {
        Ok(())
    } else {
        Err(Failure::permanent(Code::LedgerDamaged, format!("{} findings", report.findings_in_all)))
    }
}

fn print_report(report: &Report) {
    println!("ledger       {}", report.ledger);
    println!("sealed       {} events, head {}", report.sealed, report.head);
    println!("checkpoints  {} agree; they vouch for events up to {}", report.checkpoints, report.vouched);
    println!("unsealed     {} committed events wait for the sealer", report.unsealed);
    for month in &report.dropped_months {
        println!("dropped      {month}: closed by a signed checkpoint, its events are gone, its links verify");
    }
    for finding in &report.findings {
        println!("FINDING      {}", json!(finding));
    }
    let unlisted = report.findings_in_all - report.findings.len() as u64;
    if unlisted > 0 {
        println!("FINDING      and {unlisted} more");
    }
    println!("{}", if report.is_intact() { "result       intact" } else { "result       DAMAGED" });
}

async fn run_export(store: &Store, args: ExportArgs) -> Result<(), Failure> {
    let format = match args.format {
        ExportFormat::Ndjson => Format::Ndjson,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Fhir => Format::Fhir,
    };
    let subjects = match (&args.study, &args.patient) {
        (Some(study), _) => Some(store.subjects_of_study(study).await?),
        (None, Some(patient)) => Some(store.subjects_of_patient(patient).await?),
        (None, None) => None,
    };
    let mut event = Event::ours(EventKind::AuditExport);
    event.actor = args.actor.unwrap_or_else(login);
    event.study = args.study;
    event.detail = json!({
        "format": format!("{format:?}").to_lowercase(), "identities": args.identities, "kinds": args.kind,
        "from": args.from.map(|t| t.format(&Rfc3339).unwrap_or_default()),
        "until": args.until.map(|t| t.format(&Rfc3339).unwrap_or_default()),
        "by_patient": args.patient.is_some(),
    });
    store.record_export(&event, subjects.as_deref().unwrap_or_default()).await?;
    let filter = EventFilter {
        run: args.run,
        subjects,
        kinds: args.kind,
        actor: None,
        from: args.from,
        until: args.until,
        after: None,
    };
    let mut out: Box<dyn Write> = match &args.out {
        Some(file) => Box::new(BufWriter::new(File::create(file).map_err(|error| {
            Failure::permanent(Code::BadRequest, format!("{} cannot be written: {}", file.display(), error.kind()))
        })?)),
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let written = export(store, &filter, format, args.identities, &mut out).await?;
    eprintln!("{written} events");
    Ok(())
}

async fn run_checkpoint(store: &Store, config: &Config, args: CheckpointArgs) -> Result<(), Failure> {
    let checkpoints = Checkpoints::from_config(&config.audit)?;
    seal_all(store).await?;
    let signed = match args.close_month {
        Some((year, month)) => checkpoints.close_month(store, year, month).await?,
        None => checkpoints.make_now(store).await?,
    };
    println!("{}", config.audit.checkpoint_directory.join(signed.file_name()).display());
    println!("public key for verifiers: {}", signed.key);
    Ok(())
}

async fn run_erase(store: &Store, args: EraseArgs) -> Result<(), Failure> {
    let mut event = Event::ours(EventKind::RunAction);
    event.actor = args.actor.unwrap_or_else(login);
    event.detail = json!({ "action": "erase-identity" });
    if store.erase_subject(&args.study, &event).await? {
        println!("erased");
        Ok(())
    } else {
        Err(Failure::permanent(Code::NotFound, "no identity is stored for this study"))
    }
}

fn login() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "command line".into())
}

fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write it as 2026-01-31T23:59:59Z".into())
}

fn parse_kind(text: &str) -> Result<String, String> {
    let names = || EventKind::ALL.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ");
    text.parse::<EventKind>().map(|k| k.name().to_owned()).map_err(|_| format!("one of: {}", names()))
}

fn parse_month(text: &str) -> Result<(i32, Month), String> {
    let parsed = text.split_once('-').and_then(|(year, month)| {
        let (year, month) = (year.parse::<i32>().ok()?, Month::try_from(month.parse::<u8>().ok()?).ok()?);
        Date::from_calendar_date(year, month, 1).ok().map(|day| (day.year(), day.month()))
    });
    parsed.ok_or_else(|| "write it as 2026-01".into())
}
