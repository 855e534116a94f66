//! `scargate phantom`: draws synthetic studies, training arrays and their truth.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dicom_core::VR;
use dicom_dictionary_std::tags;
use indicatif::{ProgressBar, ProgressStyle};
use time::OffsetDateTime;

use crate::cli::handover;
use crate::encode::object::Context;
use crate::encode::seg::encode;
use crate::failure::{Code, Failure};
use crate::phantom::arrays::{ArrayExport, export};
use crate::phantom::{
    Lesion, PatientInfo, Phantom, PhantomSeed, Scars, SeedSpace, Spec, Study, StudySpec, Territory, Variant, Vendor,
    preview,
};

/// Draw synthetic cardiac MR with exact truth.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["out", "export_arrays", "preview"]))]
pub struct PhantomArgs {
    /// Write DICOM studies and their truth below this folder, one folder `SEED-INDEX` per patient.
    #[arg(long, value_name = "DIR", conflicts_with = "export_arrays")]
    out: Option<PathBuf>,

    /// Write training arrays into this folder instead of DICOM.
    #[arg(long, value_name = "DIR")]
    export_arrays: Option<PathBuf>,

    /// Write a contact sheet of the short-axis slices (PNG), one row per patient.
    #[arg(long, value_name = "FILE", conflicts_with = "export_arrays")]
    preview: Option<PathBuf>,

    /// Draw the exact outlines into the contact sheet.
    #[arg(long, requires = "preview")]
    outlines: bool,

    /// How many patients to draw.
    #[arg(long, default_value_t = 1, value_name = "N")]
    count: u64,

    /// Seed. The same seed and options give the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Seed space. Training arrays come from `training`, everything that measures or demonstrates from `evaluation`; the
    /// two share no random stream and no pixel size, heart length or inversion time. Default: training for
    /// --export-arrays, else evaluation.
    #[arg(long, value_enum)]
    space: Option<Space>,

    /// Fraction of hearts without scar when scars are drawn at random.
    #[arg(long, default_value_t = 0.25, value_name = "0..1")]
    healthy_fraction: f64,

    /// Rows and columns of the short-axis images.
    #[arg(long, default_value_t = 192, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(64..=512))]
    matrix: u16,

    #[command(flatten)]
    study: StudyArgs,
}

/// Options of DICOM studies.
#[derive(Debug, Args)]
#[command(next_help_heading = "DICOM studies")]
struct StudyArgs {
    /// A scar: territory (lad, lcx, rca), then optionally transmural extent (0..1.2), half-width in degrees, and `mvo` for
    /// a no-reflow core. May be repeated. Default: drawn at random.
    #[arg(long = "scar", value_name = "TERRITORY[:EXTENT[:DEGREES[:mvo]]]", value_parser = parse_scar)]
    scars: Vec<Lesion>,

    /// Whose naming, scaling and arrangement of series to follow.
    #[arg(long, value_enum, default_value_t = Style::Siemens)]
    style: Style,

    /// Enhanced multi-frame MR objects instead of classic ones.
    #[arg(long)]
    enhanced: bool,

    /// A fault or special case instead of a whole study.
    #[arg(long, default_value = "whole", value_parser = parse_variant, value_name = "NAME")]
    variant: Variant,

    /// Cine frames per heart beat; a scanner gives 20 to 30.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=40))]
    phases: u8,

    /// PatientID; with --count above 1 the index is appended. Default: made up from the seed.
    #[arg(long)]
    patient_id: Option<String>,

    /// IssuerOfPatientID.
    #[arg(long)]
    issuer: Option<String>,

    /// PatientName as `Family^Given`.
    #[arg(long)]
    patient_name: Option<String>,

    /// PatientBirthDate as YYYYMMDD.
    #[arg(long, value_parser = parse_date)]
    birth_date: Option<String>,

    /// AccessionNumber, at most 16 characters.
    #[arg(long)]
    accession: Option<String>,

    /// StudyDate as YYYYMMDD. Default: today (UTC), so that a poller that looks back a few days finds the study.
    #[arg(long, value_parser = parse_date)]
    study_date: Option<String>,
}

/// Seed space on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Space {
    /// For training networks.
    Training,
    /// For tests, demonstrations and measurements.
    Evaluation,
}

impl From<Space> for SeedSpace {
    fn from(space: Space) -> Self {
        match space {
            Space::Training => Self::Training,
            Space::Evaluation => Self::Evaluation,
        }
    }
}

/// Vendor style on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Style {
    /// `_MAG` and `_PSIR` series, unsigned pixels with a negative intercept.
    Siemens,
    /// Signed pixels, no rescale attributes, slices apex to base.
    Ge,
    /// Magnitude and PSIR in one series, fractional rescale slope.
    Philips,
}

impl From<Style> for Vendor {
    fn from(style: Style) -> Self {
        match style {
            Style::Siemens => Self::Siemens,
            Style::Ge => Self::Ge,
            Style::Philips => Self::Philips,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  A study as a scanner would send it, with truth.json and exact masks, and a picture of it:
    scargate phantom --out out/ph --seed 7 --scar lad:0.8:50:mvo --preview out/ph.png --outlines

  A study that a gateway must refuse with a reason:
    scargate phantom --out out/bad --variant magnitude-only

  400 hearts for training, about 5000 slices:
    scargate phantom --export-arrays out/train --count 400 --seed 1
  writes images.npy (f32 [n,H,W], signed PSIR), labels.npy (u8: 0 background, 1 cavity, 2 myocardium, 3 scar,
  4 no-reflow), case.npy, slice_index.npy, spacing_mm.npy and meta.json.

Variants: whole, no-lge, cine-only, long-axis-only, magnitude-only, one-slice, duplicate-positions, missing-slice,
mixed-frame-of-reference, no-orientation, short-pixel-data, absurd-rows, absurd-frames, scar-free, whole-ring-scar.

All images are synthetic. Agreement with them checks the plumbing; it says nothing about accuracy in patients.";

fn parse_scar(text: &str) -> Result<Lesion, String> {
    let mut parts = text.split(':');
    let territory = match parts.next() {
        Some("lad") => Territory::Lad,
        Some("lcx") => Territory::Lcx,
        Some("rca") => Territory::Rca,
        _ => return Err("begin with lad, lcx or rca".to_owned()),
    };
    let mut number = |what: &str, lo: f64, hi: f64| match parts.next() {
        None => Ok(None),
        Some(text) => match text.parse::<f64>() {
            Ok(v) if (lo..=hi).contains(&v) => Ok(Some(v)),
            _ => Err(format!("{what} must be a number from {lo} to {hi}")),
        },
    };
    let usual = Lesion::of(territory);
    let extent = number("extent", 0.05, 1.2)?.unwrap_or(usual.extent);
    let half_width_deg = number("half-width", 5.0, 180.0)?.unwrap_or(usual.half_width_deg);
    let no_reflow = match parts.next() {
        None => None,
        Some("mvo") => Some(0.7),
        Some(_) => return Err("the fourth part can only be mvo".to_owned()),
    };
    Ok(Lesion { extent, half_width_deg, no_reflow, ..usual })
}

fn parse_variant(text: &str) -> Result<Variant, String> {
    let names = || Variant::ALL.map(Variant::name).join(", ");
    Variant::ALL.into_iter().find(|v| v.name() == text).ok_or_else(|| format!("choose one of {}", names()))
}

fn parse_date(text: &str) -> Result<String, String> {
    let good = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    if good { Ok(text.to_owned()) } else { Err("write the date as YYYYMMDD".to_owned()) }
}

/// Runs the command.
///
/// # Errors
/// When the output cannot be written.
pub fn run(args: &PhantomArgs) -> Result<(), Failure> {
    let failed = |what: &'static str| move |e: std::io::Error| Failure::permanent(Code::Internal, what).caused_by(e);
    if let Some(dir) = &args.export_arrays {
        return export_arrays(args, dir).map_err(failed("the arrays cannot be written"));
    }
    if let Some(dir) = &args.out {
        write_studies(args, dir)?;
    }
    if let Some(path) = &args.preview {
        let stacks: Vec<_> = (0..args.count).map(|i| Phantom::draw(&args.phantom(i)).late_stack()).collect();
        preview::write(path, &stacks, args.outlines).map_err(failed("the contact sheet cannot be written"))?;
        println!("contact sheet: {}", path.display());
    }
    Ok(())
}

impl PhantomArgs {
    fn phantom(&self, index: u64) -> Spec {
        let space = self.space.map_or(SeedSpace::Evaluation, SeedSpace::from);
        let scars = match (self.study.variant.scars(), self.study.scars.is_empty()) {
            (Some(scars), _) => scars,
            (None, false) => Scars::Given(self.study.scars.clone()),
            (None, true) => Scars::Random { healthy_fraction: self.healthy_fraction.clamp(0.0, 1.0) },
        };
        let seed = PhantomSeed { space, seed: self.seed, index };
        Spec { seed, scars, matrix: usize::from(self.matrix), pixel_mm: None }
    }

    fn study(&self, index: u64) -> StudySpec {
        let spec = StudySpec::new(self.phantom(index));
        let made_up = spec.patient.clone();
        let own = |given: &Option<String>, usual: String| given.clone().unwrap_or(usual);
        let several = |text: String| if self.count > 1 { format!("{text}-{index}") } else { text };
        let s = &self.study;
        let patient = PatientInfo {
            id: s.patient_id.clone().map_or(made_up.id, several),
            issuer: own(&s.issuer, made_up.issuer),
            name: own(&s.patient_name, made_up.name),
            birth_date: own(&s.birth_date, made_up.birth_date),
            sex: made_up.sex,
            accession: s.accession.clone().map_or(made_up.accession, several),
            study_date: s.study_date.clone().unwrap_or_else(today),
        };
        spec.vendor(s.style.into())
            .enhanced(s.enhanced)
            .variant(s.variant)
            .phases(usize::from(s.phases))
            .patient(patient)
    }
}

fn today() -> String {
    let date = OffsetDateTime::now_utc().date();
    format!("{:04}{:02}{:02}", date.year(), u8::from(date.month()), date.day())
}

fn write_studies(args: &PhantomArgs, dir: &Path) -> Result<(), Failure> {
    let bar = ProgressBar::new(args.count).with_style(progress_style());
    for index in 0..args.count {
        let folder = dir.join(format!("{}-{index}", args.seed));
        let study = Study::build(&args.study(index))
            .and_then(|study| study.write(&folder.join("dicom"), &folder.join("truth")).map(|()| study))
            .map_err(|e| Failure::permanent(Code::Internal, "the study cannot be written").caused_by(e))?;
        write_truth_seg(&study, &folder.join("truth"))?;
        bar.inc(1);
        let truth = &study.truth;
        bar.suspend(|| {
            println!(
                "{}: {} objects, LV {:.1} g, scar {:.1} g ({}), no-reflow {:.1} g",
                folder.display(),
                study.instances.len(),
                truth.lv_mass_g,
                truth.scar_mass_g,
                truth.burden_percent.map_or("no wall".to_owned(), |b| format!("{b:.1} %")),
                truth.no_reflow_mass_g,
            );
        });
    }
    bar.finish_and_clear();
    Ok(())
}

/// Writes the exact masks as DICOM SEG where the short axis was sent whole and shows a heart.
fn write_truth_seg(study: &Study, dir: &Path) -> Result<(), Failure> {
    let Some((stack, masks)) = handover::exact(study) else { return Ok(()) };
    let context = Context {
        revision: 0,
        act: "phantom-truth".to_owned(),
        created: OffsetDateTime::UNIX_EPOCH,
        device_serial: "phantom".to_owned(),
        series_number: 9000,
    };
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Failure::permanent(Code::Internal, "the truth cannot be written as SEG").caused_by(e)
    };
    let artefact = encode(&stack, &masks, &context)?;
    let mut object = dicom_object::from_reader(&artefact.bytes[..]).map_err(|e| failed(Box::new(e)))?;
    object.put_str(tags::SERIES_DESCRIPTION, VR::LO, "Phantom truth: exact masks, synthetic");
    object.put_str(tags::CONTENT_DESCRIPTION, VR::LO, "Exact masks of a synthetic phantom");
    object.write_to_file(dir.join("truth-seg.dcm")).map_err(|e| failed(Box::new(e)))
}

fn export_arrays(args: &PhantomArgs, dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let options = ArrayExport {
        space: args.space.map_or(SeedSpace::Training, SeedSpace::from),
        seed: args.seed,
        count: args.count,
        healthy_fraction: args.healthy_fraction.clamp(0.0, 1.0),
        matrix: usize::from(args.matrix),
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    let bar = ProgressBar::new(args.count).with_style(progress_style());
    let counts = export(dir, &options, |done| bar.set_position(done))?;
    bar.finish_and_clear();
    println!(
        "{} slices of {} {} phantoms in {} ({} with scar, {} without any wall)",
        counts.slices,
        counts.cases,
        options.space.name(),
        dir.display(),
        counts.scar_slices,
        counts.empty_slices
    );
    Ok(())
}

fn progress_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos}/{len} phantoms, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
