//! `scargate demo`: one synthetic study through a running gateway, watched from outside as a hospital would.

use super::table::table;
use crate::config::Config;
use crate::deliver::ehr::Ehr;
use crate::dicomweb::{self, StoreItem, StoreOutcome};
use crate::domain::uid::Uid;
use crate::encode::seg::SEGMENTATION_STORAGE;
use crate::failure::{Code, Failure};
use crate::phantom::study::{Study, StudySpec};
use crate::phantom::{SeedSpace, Spec};
use bytes::Bytes;
use clap::Args;
use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// How long the demo waits for the gateway to start, and for the study to be done.
const START_PATIENCE: Duration = Duration::from_secs(60);
const STUDY_PATIENCE: Duration = Duration::from_secs(300);
const STORE_BATCH: usize = 24;

/// Send a synthetic study through PACS, queue, models, PACS and EHR, and show what came back.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Seed of the phantom.
    #[arg(long, default_value_t = 6)]
    seed: u64,
    /// PatientID of the phantom; the EHR must hold that patient (scripts/demo.sh sees to it).
    #[arg(long, default_value = "DEMO-1")]
    patient_id: String,
    /// Birth date, YYYYMMDD.
    #[arg(long, default_value = "19600214")]
    birth_date: String,
    /// AccessionNumber; default: made from the time, so that each demo is a study of its own.
    #[arg(long)]
    accession: Option<String>,
    /// Folder for the picture and the fetched objects.
    #[arg(long, default_value = "out/demo")]
    out: PathBuf,
    /// Keep the gateway running at the end instead of stopping it.
    #[arg(long)]
    keep: bool,
}

/// Runs the demo against the peers of the configuration.
///
/// # Errors
/// When the gateway does not start, the study does not complete, or an output cannot be fetched back.
pub fn run(args: &DemoArgs, config: &Config, files: &[PathBuf]) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| io("the runtime", &error))?.block_on(demo(args, config, files))
}

async fn demo(args: &DemoArgs, config: &Config, files: &[PathBuf]) -> Result<(), Failure> {
    std::fs::create_dir_all(&args.out).map_err(|error| io("the output folder", &error))?;
    let pacs = dicomweb::Client::new(&config.pacs, &config.limits, &config.spool)?;
    heading("1  A synthetic study is drawn");
    let study = phantom(args)?;
    let uid = Uid::parse(&study.uid).map_err(|error| Failure::permanent(Code::Internal, error.to_string()))?;
    println!("{} objects: localiser, cine, LGE magnitude + PSIR short axis, LGE long axis", study.instances.len());
    heading("2  The scanner stores it in the PACS (STOW-RS)");
    upload(&pacs, &uid, &study).await?;
    heading("3  The gateway finds it and works");
    let gateway = Gateway::start(config, files, &args.out)?;
    let run = gateway.follow(&uid).await?;
    heading("4  Truth and measurement  (synthetic: checks the plumbing, not accuracy)");
    println!("{}", comparison(&study, &run));
    heading("5  What the PACS holds now");
    fetch_seg(&pacs, config, &uid, &args.out).await?;
    heading("6  What the EHR holds now");
    show_ehr(config, &uid).await?;
    heading("7  The audit trail");
    println!("{}", timeline(&run));
    verify(files)?;
    let picture = gateway.picture(&run, &args.out).await?;
    heading("8  The picture");
    println!("{}", picture.display());
    println!("\nResearch use only; not a medical device. Results are preliminary until a person signs.");
    gateway.end(args.keep);
    Ok(())
}

fn heading(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m");
}

fn io(what: &str, error: &std::io::Error) -> Failure {
    Failure::permanent(Code::Internal, format!("{what}: {error}"))
}

fn phantom(args: &DemoArgs) -> Result<Study, Failure> {
    let mut spec = StudySpec::new(Spec::new(SeedSpace::Evaluation, args.seed));
    let now = OffsetDateTime::now_utc();
    let digits = |format| now.format(format).unwrap_or_default();
    spec.patient.id = args.patient_id.clone();
    spec.patient.birth_date = args.birth_date.clone();
    spec.patient.study_date = digits(time::macros::format_description!("[year][month][day]"));
    spec.patient.accession = args.accession.clone().unwrap_or_else(|| {
        digits(time::macros::format_description!("D[year repr:last_two][month][day][hour][minute][second]"))
    });
    // The demo's PACS states no issuer: the EHR's identifier system comes from ehr.patient_system.
    spec.patient.issuer = String::new();
    Study::build(&spec).map_err(|error| Failure::permanent(Code::Internal, error.to_string()))
}

async fn upload(pacs: &dicomweb::Client, uid: &Uid, study: &Study) -> Result<(), Failure> {
    let bar = progress(study.instances.len() as u64, "objects stored");
    for batch in study.instances.chunks(STORE_BATCH) {
        let items = batch.iter().map(|instance| {
            let bytes = instance.to_bytes().map_err(|error| Failure::permanent(Code::Internal, error.to_string()))?;
            let sop_instance = Uid::parse(&instance.sop_instance_uid)
                .map_err(|error| Failure::permanent(Code::Internal, error.to_string()))?;
            Ok(StoreItem { sop_instance, bytes: Bytes::from(bytes) })
        });
        let items = items.collect::<Result<Vec<_>, Failure>>()?;
        let outcomes = pacs.store(uid, &items).await?;
        if !outcomes.iter().all(|outcome| matches!(outcome, StoreOutcome::Stored { .. })) {
            return Err(Failure::permanent(Code::PacsRefused, "the PACS did not store the phantom"));
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish();
    println!();
    Ok(())
}

fn progress(length: u64, what: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(what.to_owned())
}

/// The gateway as a process of its own; stopped when dropped.
struct Gateway {
    child: Option<Child>,
    base: String,
    http: reqwest::Client,
    log: PathBuf,
}

impl Gateway {
    fn start(config: &Config, files: &[PathBuf], out: &Path) -> Result<Self, Failure> {
        let log = out.join("gateway.log");
        let file = std::fs::File::create(&log).map_err(|error| io("the gateway's log", &error))?;
        let errors = file.try_clone().map_err(|error| io("the gateway's log", &error))?;
        let binary = std::env::current_exe().map_err(|error| io("this program", &error))?;
        let mut command = Command::new(binary);
        for file in files {
            command.arg("--config").arg(file);
        }
        let child = command.arg("serve").stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.map_err(|error| io("scargate serve", &error))?;
        println!("scargate serve runs (log: {})", log.display());
        let base = format!("http://{}:{}", config.server.bind, config.server.port);
        Ok(Self { child: Some(child), base, http: reqwest::Client::new(), log })
    }

    async fn json(&self, path: &str) -> Option<Value> {
        self.http.get(format!("{}{path}", self.base)).send().await.ok()?.json().await.ok()
    }

    /// Prints each state as the study enters it; the run when it has ended.
    async fn follow(&self, study: &Uid) -> Result<Value, Failure> {
        self.ready().await?;
        let started = Instant::now();
        let mut last = String::new();
        while started.elapsed() < STUDY_PATIENCE {
            let runs = self.json(&format!("/api/v1/runs?study={study}&limit=1")).await.unwrap_or_default();
            if let Some(run) = runs.pointer("/runs/0") {
                let state = run["state"].as_str().unwrap_or_default();
                if state != last {
                    println!("  {:5.1} s  {state}", started.elapsed().as_secs_f64());
                    last = state.to_owned();
                }
                if !run["ended_at"].is_null() {
                    return self.ended(run).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(self.failed(&format!("the study was not done within {} s", STUDY_PATIENCE.as_secs())))
    }

    async fn ended(&self, run: &Value) -> Result<Value, Failure> {
        let id = run["id"].as_str().unwrap_or_default();
        let detail = self.json(&format!("/api/v1/runs/{id}")).await;
        let detail = detail.ok_or_else(|| self.failed("the run cannot be read"))?;
        if run["state"] == "completed" {
            return Ok(detail);
        }
        Err(self.failed(&format!("the run ended {}: {}", run["state"], run["code"])))
    }

    async fn ready(&self) -> Result<(), Failure> {
        let started = Instant::now();
        while started.elapsed() < START_PATIENCE {
            if self.json("/health/ready").await.is_some_and(|body| body["status"] == "ready") {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(self.failed("the gateway did not become ready"))
    }

    fn failed(&self, what: &str) -> Failure {
        Failure::permanent(Code::Internal, format!("{what}; see {}", self.log.display()))
    }

    async fn picture(&self, run: &Value, out: &Path) -> Result<PathBuf, Failure> {
        let id = run["id"].as_str().unwrap_or_default();
        let answer = self.http.get(format!("{}/api/v1/runs/{id}/artefacts/overlay", self.base)).send().await;
        let bytes = match answer {
            Ok(answer) if answer.status().is_success() => answer.bytes().await.ok(),
            _ => None,
        };
        let bytes = bytes.ok_or_else(|| self.failed("the overlay cannot be fetched"))?;
        let path = out.join("overlay.png");
        std::fs::write(&path, bytes).map_err(|error| io("the overlay", &error))?;
        Ok(path)
    }

    fn end(mut self, keep: bool) {
        if keep {
            println!("The gateway goes on at {} (stop it with Ctrl-C or kill).", self.base);
            self.child = None;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // SIGTERM first, so that it reaches its checkpoint; std can only kill.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

fn comparison(study: &Study, run: &Value) -> Table {
    let measured = |name: &str| run.pointer(&format!("/measures/{name}/value")).and_then(Value::as_f64);
    let truth = &study.truth;
    let lines = [
        ("LV mass, g", Some(truth.lv_mass_g), measured("lv_mass")),
        ("LGE mass incl. no-reflow, g", Some(truth.scar_mass_g), measured("scar_mass")),
        ("burden, % of LV mass", truth.burden_percent, measured("burden")),
        ("no-reflow mass, g", Some(truth.no_reflow_mass_g), measured("no_reflow_mass")),
    ];
    let mut rows = table(&["", "truth", "measured", "difference"]);
    for (name, truth, measured) in lines {
        let show = |value: Option<f64>| value.map_or("absent".to_owned(), |value| format!("{value:.1}"));
        let difference = match (truth, measured) {
            (Some(truth), Some(measured)) if truth > 0.0 => format!("{:+.0} %", 100.0 * (measured / truth - 1.0)),
            _ => String::new(),
        };
        rows.add_row([name.to_owned(), show(truth), show(measured), difference]);
    }
    rows
}

async fn fetch_seg(pacs: &dicomweb::Client, config: &Config, study: &Uid, out: &Path) -> Result<(), Failure> {
    let instances = pacs.list_instances(study).await?;
    let ours = instances.iter().find(|i| i.sop_class.as_ref().is_some_and(|c| c.as_str() == SEGMENTATION_STORAGE));
    let seg = ours.ok_or_else(|| Failure::permanent(Code::PacsProtocol, "the PACS holds no SEG for the study"))?;
    let object = pacs.retrieve_instance(study, &seg.series, &seg.sop_instance).await?;
    let path = out.join("seg.dcm");
    let mut file = std::fs::File::create(&path).map_err(|error| io("the SEG", &error))?;
    let mut reader = object.open().map_err(|error| io("the SEG", &error))?;
    let bytes = std::io::copy(&mut reader, &mut file).map_err(|error| io("the SEG", &error))?;
    let root = config.pacs.url.as_str().trim_end_matches('/');
    println!("SEG fetched back ({bytes} bytes) -> {}", path.display());
    println!("  {root}/studies/{study}/series/{}/instances/{}", seg.series, seg.sop_instance);
    Ok(())
}

async fn show_ehr(config: &Config, study: &Uid) -> Result<(), Failure> {
    let ehr = Ehr::new(config)?;
    let observations = ehr.observations(study).await?;
    let mut rows = table(&["Observation", "status", "value", "URL"]);
    for one in &observations {
        let text = |pointer: &str| one.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let value = match one.pointer("/valueQuantity/value") {
            Some(value) => format!("{value} {}", text("/valueQuantity/unit")),
            None => [text("/valueCodeableConcept/text"), text("/dataAbsentReason/text")].concat(),
        };
        rows.add_row([text("/code/text"), text("/status"), value, ehr.url_of(one)]);
    }
    println!("{rows}");
    if observations.is_empty() {
        return Err(Failure::permanent(Code::EhrRefused, "the EHR holds no Observation of the study"));
    }
    Ok(())
}

fn timeline(run: &Value) -> Table {
    let mut rows = table(&["when (UTC)", "event", "outcome", "peer"]);
    for event in run["timeline"].as_array().into_iter().flatten() {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        rows.add_row([text("recorded_at"), text("kind"), text("outcome"), text("peer")]);
    }
    rows
}

/// `scargate audit verify`, as an auditor would call it.
fn verify(files: &[PathBuf]) -> Result<(), Failure> {
    let binary = std::env::current_exe().map_err(|error| io("this program", &error))?;
    let mut command = Command::new(binary);
    for file in files {
        command.arg("--config").arg(file);
    }
    let status = command.args(["audit", "verify"]).status().map_err(|error| io("audit verify", &error))?;
    if status.success() { Ok(()) } else { Err(Failure::permanent(Code::Internal, "the ledger does not verify")) }
}
