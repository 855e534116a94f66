//! `scargate evaluate`: predictions, or the pipeline itself, against reference masks.

mod shipped;
mod show;

use crate::config::Config;
use crate::evaluate::case::Prediction;
use crate::evaluate::{self, Cohort, Method, read, report};
use crate::failure::{Code, Failure};
use clap::Args;
use regex_lite::Regex;
use std::path::PathBuf;

/// Score masks against reference masks: overlap, distances, volumes, detection, agreement; tables per cohort.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["predictions", "images"]))]
pub struct EvaluateArgs {
    /// Folder of reference masks.
    #[arg(long, value_name = "DIR")]
    references: PathBuf,
    /// Folder of predicted masks, optionally with a name for the tables. May be repeated: the first is tested against the
    /// others.
    #[arg(long, value_name = "[NAME=]DIR")]
    predictions: Vec<String>,
    /// Folder of images (PNG or NIfTI, named as the references) that the pipeline itself reads, as configured: scored as shipped.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// With --images: also without the detection limit, with the other scar source, FWHM, 5-SD and Otsu inside our own wall,
    /// and the best constant scar fraction in hindsight.
    #[arg(long, requires = "images")]
    baselines: bool,
    /// Only the cases whose name matches; files of others are not opened.
    #[arg(long, value_name = "REGEX", value_parser = parse_regex)]
    only: Option<Regex>,
    /// A table of its own for the cases whose name matches. May be repeated.
    #[arg(long = "cohort", value_name = "NAME=REGEX", value_parser = parse_cohort)]
    cohorts: Vec<Cohort>,
    /// Where to write CSV, JSON and plots.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of the bootstrap intervals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the whole report as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Folders hold one kind of file; the name of a case comes from the file name:
  PNG    <case>_slice<k>.png, one per slice, as EMIDEC is often passed on; no spacing, so distances are in pixels
  NIfTI  <case>.nii or <case>.nii.gz, slices along the third axis
  SEG    <case>.dcm, or any depth below <case>/; one per case; other DICOM files are ignored
Labels are 0 background, 1 LV cavity, 2 myocardium, 3 scar, 4 no-reflow; SEG segments are known by code or label.
Prediction and reference may differ in kind when both say where they lie (SEG, NIfTI), else slices go by number.

A case or slice without prediction counts as empty, never as absent: it scores 0. Scar is infarct and no-reflow.
docs/evaluation.md defines every figure.

Examples:
  Phantoms with exact masks, end to end:
    scargate phantom --out ph --count 2 --seed 6
    for s in 6-0 6-1; do scargate analyze ph/$s/dicom --out result/$s; done
    scargate evaluate --predictions result --references ph --out scores

  The pipeline itself on labelled pictures, against thresholds and a constant:
    scargate evaluate --images data/images --references data/labels --baselines --out scores

  Two models, tables for two scanners:
    scargate evaluate --references labels --predictions new=masks/new --predictions old=masks/old \\
      --cohort 1.5T='^A' --cohort 3T='^B' --out scores";

fn parse_cohort(text: &str) -> Result<Cohort, String> {
    let (name, pattern) = text.split_once('=').ok_or("write NAME=REGEX, for example pathological=_P")?;
    if name.is_empty() || name == "all" {
        return Err("give the cohort a name other than `all`".to_owned());
    }
    Ok(Cohort { name: name.to_owned(), pattern: parse_regex(pattern)? })
}

fn parse_regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("not a regular expression: {error}"))
}

/// Runs the command.
///
/// # Errors
/// `bad-request` for folders, files or options that cannot be used; with `--images` unusable models too.
pub fn run(args: &EvaluateArgs, config: &Config) -> Result<(), Failure> {
    let wanted = |case: &str| args.only.as_ref().is_none_or(|only| only.is_match(case));
    let references = read::labels(&args.references, &wanted)?;
    if references.is_empty() {
        return Err(Failure::permanent(Code::BadRequest, "--only leaves no reference"));
    }
    let mut methods = Vec::new();
    if let Some(dir) = &args.images {
        // Of a case without reference nothing could be scored.
        let images = read::images(dir, &|case| references.contains_key(case))?;
        methods.extend(shipped::methods(&images, config, args.baselines)?);
    }
    for text in &args.predictions {
        methods.push(predicted(text, &wanted)?);
    }
    if args.baselines {
        methods.push(evaluate::constant(&references)?);
    }
    let report = evaluate::evaluate(&references, &methods, &args.cohorts, args.seed)?;
    if let Some(dir) = &args.out {
        report::write(&report, dir)?;
    }
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        println!("{}", json.map_err(|error| Failure::permanent(Code::Internal, error.to_string()))?);
        return Ok(());
    }
    show::print(&report);
    if let Some(dir) = &args.out {
        println!("written to {}: {}", dir.display(), report::FILES);
    }
    Ok(())
}

/// Masks of a folder as a method; `NAME=` in front of it is optional.
fn predicted(text: &str, wanted: read::Wanted<'_>) -> Result<Method, Failure> {
    let (name, dir) = match text.split_once('=') {
        Some((name, dir)) if !name.is_empty() && !PathBuf::from(text).exists() => (name.to_owned(), PathBuf::from(dir)),
        _ => {
            let dir = PathBuf::from(text);
            let name = dir.file_name().map_or_else(|| "predictions".to_owned(), |n| n.to_string_lossy().into_owned());
            (name, dir)
        }
    };
    let cases =
        read::labels(&dir, wanted)?.into_iter().map(|(case, volume)| (case, Prediction::Labels(volume))).collect();
    Ok(Method { name, note: None, cases })
}
