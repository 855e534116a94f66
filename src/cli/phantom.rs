//! `scargate phantom`: draws synthetic studies, training arrays and their truth.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Code, Failure};
use crate::phantom::SeedSpace;
use crate::phantom::arrays::{ArrayExport, export};

/// Draw synthetic cardiac MR with exact truth.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PhantomArgs {
    /// Write training arrays into this folder instead of DICOM.
    #[arg(long, value_name = "DIR")]
    pub export_arrays: Option<PathBuf>,

    /// How many patients to draw.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub count: u64,

    /// Seed: the same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Seed space. Training arrays come from `training`, everything that measures or demonstrates from `evaluation`; the
    /// two share no random stream and no pixel size, heart length or inversion time. Default: training for
    /// --export-arrays, else evaluation.
    #[arg(long, value_enum)]
    pub space: Option<Space>,

    /// Fraction of hearts without scar in --export-arrays.
    #[arg(long, default_value_t = 0.25, value_name = "0..1")]
    pub healthy_fraction: f64,

    /// Rows and columns of the short-axis images.
    #[arg(long, default_value_t = 192, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(64..=512))]
    pub matrix: u16,
}

/// Seed space on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Space {
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

const EXAMPLES: &str = "\
Examples:
  scargate phantom --export-arrays out/train --count 400 --seed 1
      400 hearts (about 5000 slices) as images.npy (f32 [n,H,W], signed PSIR), labels.npy (u8: 0 background,
      1 cavity, 2 myocardium, 3 scar, 4 no-reflow), case.npy, slice_index.npy, spacing_mm.npy and meta.json";

/// Runs the command.
///
/// # Errors
/// When the output cannot be written.
pub fn run(args: &PhantomArgs) -> Result<(), Failure> {
    let Some(dir) = &args.export_arrays else {
        return Err(Failure::permanent(Code::BadRequest, "name a folder with --export-arrays"));
    };
    export_arrays(args, dir)
        .map_err(|e| Failure::permanent(Code::Internal, "the arrays cannot be written").caused_by(e))
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
