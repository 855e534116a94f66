//! Training export: images and labels of many phantoms as NumPy arrays.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::json;

use super::npy::NpyWriter;
use super::patient::{Phantom, Scars, Spec};
use super::ranges::{CAVITY_LENGTH_MM, HeldOut, NULLING, PIXEL_MM};
use super::seed::{PhantomSeed, SeedSpace};
use super::tissue::CLASS_NAMES;

/// What to export.
#[derive(Debug, Clone)]
pub struct ArrayExport {
    /// Seed space; `Training` unless arrays of evaluation phantoms are wanted.
    pub space: SeedSpace,
    /// Seed.
    pub seed: u64,
    /// Number of hearts; each gives about a dozen slices.
    pub count: u64,
    /// Fraction of hearts without scar.
    pub healthy_fraction: f64,
    /// Rows and columns.
    pub matrix: usize,
    /// Threads that render.
    pub threads: NonZeroUsize,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayCounts {
    /// Hearts.
    pub cases: u64,
    /// Slices.
    pub slices: usize,
    /// Slices with at least one scar pixel.
    pub scar_slices: usize,
    /// Slices without any wall.
    pub empty_slices: usize,
}

struct Files {
    images: NpyWriter,
    labels: NpyWriter,
    case: NpyWriter,
    slice_index: NpyWriter,
    spacing: NpyWriter,
}

/// One rendered case, ready to be appended.
struct Case {
    images: Vec<f32>,
    labels: Vec<u8>,
    slices: usize,
    pixel: f32,
}

/// Writes `images.npy` (f32 `[n,H,W]`, signed PSIR), `labels.npy` (u8 `[n,H,W]`), `case.npy` (u32 `[n]`), `slice_index.npy` (u16 `[n]`,
/// from the base), `spacing_mm.npy` (f32 `[n]`) and `meta.json` to an existing folder. The result depends on the options only,
/// not on the number of threads. `progress` is called after each case.
///
/// # Errors
/// When a file cannot be written.
pub fn export(dir: &Path, options: &ArrayExport, mut progress: impl FnMut(u64)) -> io::Result<ArrayCounts> {
    let side = options.matrix;
    let create = |name: &str, dtype, item: &[usize]| NpyWriter::create(&dir.join(name), dtype, item);
    let mut files = Files {
        images: create("images.npy", "<f4", &[side, side])?,
        labels: create("labels.npy", "|u1", &[side, side])?,
        case: create("case.npy", "<u4", &[])?,
        slice_index: create("slice_index.npy", "<u2", &[])?,
        spacing: create("spacing_mm.npy", "<f4", &[])?,
    };
    let mut counts = ArrayCounts { cases: 0, slices: 0, scar_slices: 0, empty_slices: 0 };
    let batch = options.threads.get() as u64;
    for first in (0..options.count).step_by(options.threads.get()) {
        for case in render_batch(options, first..(first + batch).min(options.count)) {
            append(&mut files, &case, counts.cases, side * side, &mut counts)?;
            counts.cases += 1;
            progress(counts.cases);
        }
    }
    for file in [files.images, files.labels, files.case, files.slice_index, files.spacing] {
        file.finish()?;
    }
    std::fs::write(dir.join("meta.json"), format!("{:#}\n", meta(options, &counts)))?;
    Ok(counts)
}

fn render_batch(options: &ArrayExport, range: std::ops::Range<u64>) -> Vec<Case> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = range.map(|index| scope.spawn(move || render_case(options, index))).collect();
        workers
            .into_iter()
            .map(|w| match w.join() {
                Ok(case) => case,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

fn render_case(options: &ArrayExport, index: u64) -> Case {
    let spec = Spec {
        seed: PhantomSeed { space: options.space, seed: options.seed, index },
        scars: Scars::Random { healthy_fraction: options.healthy_fraction },
        matrix: options.matrix,
        pixel_mm: None,
    };
    let phantom = Phantom::draw(&spec);
    let stack = phantom.late_stack();
    Case {
        slices: stack.len(),
        pixel: phantom.plan.planes.first().map_or(0.0, |p| p.pixel as f32),
        images: stack.iter().flat_map(|s| s.psir.iter().copied()).collect(),
        labels: stack.into_iter().flat_map(|s| s.labels).collect(),
    }
}

fn append(files: &mut Files, case: &Case, number: u64, pixels: usize, counts: &mut ArrayCounts) -> io::Result<()> {
    let n = case.slices;
    files.images.append_f32(n, &case.images)?;
    files.labels.append(n, &case.labels)?;
    files.case.append(n, &(number as u32).to_le_bytes().repeat(n))?;
    let order: Vec<u8> = (0..n as u16).flat_map(u16::to_le_bytes).collect();
    files.slice_index.append(n, &order)?;
    files.spacing.append_f32(n, &vec![case.pixel; n])?;
    counts.slices += n;
    for labels in case.labels.chunks_exact(pixels) {
        counts.scar_slices += usize::from(labels.iter().any(|v| *v >= 3));
        counts.empty_slices += usize::from(labels.iter().all(|v| *v < 2));
    }
    Ok(())
}

fn meta(options: &ArrayExport, counts: &ArrayCounts) -> serde_json::Value {
    let held =
        |h: HeldOut| json!({"range": [h.range.lo, h.range.hi], "held_out_for_evaluation": [h.band.lo, h.band.hi]});
    json!({
        "schema": 1,
        "generator": concat!("scargate phantom ", env!("CARGO_PKG_VERSION")),
        "seed_space": options.space.name(),
        "seed": options.seed,
        "cases": counts.cases,
        "slices": counts.slices,
        "scar_slices": counts.scar_slices,
        "empty_slices": counts.empty_slices,
        "healthy_fraction": options.healthy_fraction,
        "matrix": options.matrix,
        "classes": CLASS_NAMES,
        "contrast": "psir",
        "slice_order": "base to apex, with slices beyond both ends",
        "pixel_mm": held(PIXEL_MM),
        "cavity_length_mm": held(CAVITY_LENGTH_MM),
        "inversion_over_null": held(NULLING),
    })
}
