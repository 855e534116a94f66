//! `scargate analyze`: the whole pipeline on a folder of DICOM, with no server at all.

use super::bullseye;
use super::table::table;
use crate::analysis::{self, Analysis, RunFacts};
use crate::config::Config;
use crate::domain::artefact::ArtefactKind;
use crate::domain::measures::{Measured, Measures};
use crate::domain::run::RunId;
use crate::domain::stack::SeriesDecision;
use crate::encode;
use crate::failure::{Code, Failure};
use crate::infer::{Engine, Progress};
use crate::study;
use clap::Args;
use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

const BULLSEYE_SVG: &str = "bullseye.svg";

/// Analyse a folder of DICOM files: SEG, FHIR Bundle, overlay, bullseye and measures are written into a folder.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Nothing leaves this machine and no server is needed. The folder may hold a whole study; the LGE short-axis PSIR stack is
chosen, and the table says why each series was taken or left. Exit status 65: the study cannot be measured, with a coded reason.

Example: scargate phantom --out out --seed 6 && scargate analyze out/6-0/dicom --out out/result")]
pub struct AnalyzeArgs {
    /// Folder of one study; files that are not DICOM are skipped.
    folder: PathBuf,
    /// Where to write seg.dcm, sr.dcm, result-image.dcm, bundle.json, report.pdf, measures.json, overlay.png, bullseye.png
    /// and bullseye.svg.
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// Print the measures as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Coded rejections of the study, unusable models, an output folder that cannot be written.
pub fn run(args: &AnalyzeArgs, config: &Config) -> Result<(), Failure> {
    let folder = study::read_folder(&args.folder, config.limits.study_instances)?;
    let engine = Engine::load(&config.infer)?;
    let selection = analysis::select(&folder.objects, &engine, config).map_err(Failure::from)?;
    let facts = RunFacts {
        run: RunId::new(),
        revision: 1,
        created: OffsetDateTime::now_utc(),
        input_digest: selection.digest,
        outdated: Vec::new(),
    };
    let bar = progress_bar();
    let result = analysis::analyse(selection.stack, &engine, config, &facts, &|progress| show(&bar, progress))?;
    bar.finish_and_clear();
    write(&result, &args.out)?;
    if args.json {
        let json = serde_json::to_string_pretty(&result.measures);
        println!("{}", json.map_err(|error| Failure::permanent(Code::Internal, error.to_string()))?);
        return Ok(());
    }
    println!("{}", decisions(&result.stack.decisions));
    println!("{}", table_of(&result.measures));
    println!("{}", bullseye::table_of(&result.measures));
    println!("{}", bullseye::legend(&result.measures));
    println!("written to {}: {}", args.out.display(), file_names(&result).join(", "));
    println!("AI result, not verified. For research and evaluation only; not a medical device.");
    Ok(())
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:12} {bar:30} {pos}/{len} slices")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_message(progress.stage.name());
    bar.set_length(progress.total as u64);
    bar.set_position(progress.done as u64);
}

fn file_name(kind: ArtefactKind, name: &str) -> String {
    match kind {
        ArtefactKind::Seg => "seg.dcm".into(),
        ArtefactKind::FhirBundle => "bundle.json".into(),
        ArtefactKind::Measures => "measures.json".into(),
        ArtefactKind::Report => "report.pdf".into(),
        ArtefactKind::Overlay => format!("{name}.png"),
        ArtefactKind::Sr | ArtefactKind::ResultImage | ArtefactKind::RejectionNote => format!("{name}.dcm"),
    }
}

fn file_names(result: &Analysis) -> Vec<String> {
    let artefacts = result.artefacts.iter().map(|artefact| file_name(artefact.kind, &artefact.name));
    artefacts.chain([BULLSEYE_SVG.to_owned()]).collect()
}

fn write(result: &Analysis, out: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::permanent(Code::Internal, format!("{}: {error}", out.display()));
    std::fs::create_dir_all(out).map_err(failed)?;
    for artefact in &result.artefacts {
        std::fs::write(out.join(file_name(artefact.kind, &artefact.name)), &artefact.bytes).map_err(failed)?;
    }
    std::fs::write(out.join(BULLSEYE_SVG), encode::bullseye::svg(&result.measures)).map_err(failed)
}

fn decisions(decisions: &[SeriesDecision]) -> Table {
    let mut rows = table(&["series", "", "why"]);
    for decision in decisions {
        let number = decision.series_number.map_or_else(String::new, |number| number.to_string());
        rows.add_row([number.as_str(), if decision.taken { "taken" } else { "left" }, decision.reason.as_str()]);
    }
    rows
}

/// The measures as a person reads them: quality first, absent values with their reasons.
fn table_of(measures: &Measures) -> Table {
    let mut rows = table(&["measure", "value"]);
    let mut grade = format!("{:?}", measures.quality.grade).to_lowercase();
    if !measures.quality.reasons.is_empty() {
        grade = format!("{grade}: {}", measures.quality.reasons.join(", "));
    }
    rows.add_row(["image quality", grade.as_str()]);
    let mut row = |name: &str, value: Measured<String>| {
        let text = match value {
            Measured::Value(text) => text,
            Measured::Absent(reason) => format!("absent: {}", reason.text()),
        };
        rows.add_row([name, text.as_str()]);
    };
    fn text<T: Copy + std::fmt::Display>(value: Measured<T>) -> Measured<String> {
        match value {
            Measured::Value(value) => Measured::Value(value.to_string()),
            Measured::Absent(reason) => Measured::Absent(reason),
        }
    }
    row("LV mass", text(measures.lv_mass));
    row("LGE mass incl. no-reflow (infarct/scar)", text(measures.scar_mass));
    if let Some(range) = measures.scar_mass_sensitivity.value() {
        row("  with the contour half a pixel in / out", Measured::Value(format!("{} / {}", range.low, range.high)));
    }
    row("burden (LGE of LV mass)", text(measures.burden));
    row("  counts as none below", Measured::Value(measures.detection_limit.to_string()));
    row("no-reflow mass", text(measures.no_reflow_mass));
    row("no-reflow of LV mass", text(measures.no_reflow_of_myocardium));
    row("no-reflow of LGE mass", text(measures.no_reflow_of_scar));
    row(
        "slices with myocardium",
        Measured::Value(format!("{} of {}", measures.slices.len(), measures.slices_in_stack)),
    );
    row("second opinion: FWHM in the same wall", text(measures.second_opinion.fwhm));
    row("second opinion: 5 SD in the same wall", text(measures.second_opinion.five_sd));
    let places = &measures.segments;
    row("  LV mass in the apical cap, in no segment", text(places.apical_cap.wall));
    row("  LV mass in slices without a whole ring, in no segment", text(places.outside.wall));
    row("lesions (3-D)", Measured::Value(places.lesion_count.to_string()));
    let directions = places.directions.map(|directions| directions.source.text());
    row("anatomical directions", text(directions));
    let signal = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:.1}"));
    let signals = &measures.signals;
    row(
        "blood / scar above remote, in noise",
        Measured::Value(format!("{} / {}", signal(signals.blood_to_noise), signal(signals.scar_to_noise))),
    );
    for flag in &measures.review_flags {
        row("for review", Measured::Value(flag.text().to_owned()));
    }
    rows
}
