//! Stored probes: a phantom input with its expected output beside each model, and the reports that come from them.

use super::error::InferError;
use super::manifest::{Manifest, ProbeTensor, Role};
use super::onnx;
use super::runtime::{Runtime, ort_name};
use super::session::{Model, Options, Tensor, millis};
use crate::config::{Infer, Provider};
use crate::failure::Failure;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Reads the tensors of a probe file (raw little-endian f32, one after the other).
///
/// # Errors
/// [`InferError::File`] when the file is missing or its length is not that of the tensors.
pub fn read(folder: &Path, name: &str, tensors: &[ProbeTensor]) -> Result<Vec<Tensor>, InferError> {
    let bytes = onnx::read_beside(folder, name)?;
    let counts: Vec<usize> = tensors.iter().map(|tensor| tensor.shape.iter().product()).collect();
    let expected = counts.iter().sum::<usize>() * 4;
    if bytes.len() != expected {
        let text = format!("{} bytes, its tensors take {expected}", bytes.len());
        return Err(InferError::File { path: folder.join(name), text });
    }
    let mut values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Ok(tensors
        .iter()
        .zip(counts)
        .map(|(tensor, count)| Tensor { shape: tensor.shape.clone(), data: values.by_ref().take(count).collect() })
        .collect())
}

/// Largest difference of two sets of tensors, each over the largest stored value of its tensor (at least 1); infinite
/// when shapes differ or a value is not a number on one side only.
pub fn difference(found: &[Tensor], expected: &[Tensor]) -> f64 {
    if found.len() != expected.len() || found.iter().zip(expected).any(|(f, e)| f.shape != e.shape) {
        return f64::INFINITY;
    }
    let mut worst = 0.0f64;
    for (f, e) in found.iter().zip(expected) {
        let scale = e.data.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        for (a, b) in f.data.iter().zip(&e.data).filter(|(a, b)| !(a.is_nan() && b.is_nan())) {
            let part = f64::from((a - b).abs() / scale);
            worst = if part.is_nan() { f64::INFINITY } else { worst.max(part) };
        }
    }
    worst
}

/// What `models check` found out about one model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelReport {
    /// Role.
    pub role: &'static str,
    /// Name and version.
    pub name: String,
    /// Version.
    pub version: String,
    /// Size of the ONNX file, bytes.
    pub bytes: usize,
    /// Provider that was proven in use.
    pub provider: &'static str,
    /// Nodes that it ran, of all nodes.
    pub nodes: (usize, usize),
    /// Time to load, ms.
    pub load_ms: f64,
    /// Time of the first forward pass, ms.
    pub first_ms: f64,
    /// Median time of the next forward passes, ms.
    pub run_ms: f64,
    /// Growth of the process's resident memory by loading and running, bytes; `None` where the system does not tell.
    pub memory_bytes: Option<u64>,
    /// Largest difference to the stored output, as a part of its largest value.
    pub difference: f64,
    /// Allowed difference.
    pub tolerance: f64,
}

/// The manifests of a models' folder, in the order of a run; roles without a folder are left out.
///
/// # Errors
/// `model-invalid` when the folder holds no model or a manifest is not valid.
pub fn list(models: &Path) -> Result<Vec<(Manifest, u64)>, Failure> {
    let mut found = Vec::new();
    for role in Role::ALL {
        let folder = models.join(role.name());
        if folder.join("manifest.toml").exists() {
            let manifest = read_role(models, role)?;
            let size = std::fs::metadata(folder.join(&manifest.file)).map_or(0, |meta| meta.len());
            found.push((manifest, size));
        }
    }
    if found.is_empty() {
        return Err(InferError::Manifest { path: models.to_path_buf(), text: "holds no model".to_owned() }.into());
    }
    Ok(found)
}

/// The manifest of a role.
///
/// # Errors
/// [`InferError::Manifest`], also when the manifest is one of another role.
pub fn read_role(models: &Path, role: Role) -> Result<Manifest, InferError> {
    let folder: PathBuf = models.join(role.name());
    let manifest = Manifest::read(&folder)?;
    if manifest.role != role {
        let text = format!("is of role {}, in the folder of role {role}", manifest.role);
        return Err(InferError::Manifest { path: folder.join("manifest.toml"), text });
    }
    Ok(manifest)
}

/// A role with what its model did on the probe.
pub type RoleReport = (Role, Result<ModelReport, Failure>);

/// Loads every model of the folder and runs it on its probe; one result per model, so that one bad model does not hide
/// the others.
///
/// # Errors
/// When ONNX Runtime or the folder cannot be used at all.
pub fn check(config: &Infer) -> Result<Vec<RoleReport>, Failure> {
    let runtime = Runtime::load(&config.library)?;
    let options = super::engine::options(config);
    let present: Vec<Role> =
        Role::ALL.into_iter().filter(|role| config.models.join(role.name()).join("manifest.toml").exists()).collect();
    if present.is_empty() {
        let text = "holds no model".to_owned();
        return Err(InferError::Manifest { path: config.models.clone(), text }.into());
    }
    Ok(present
        .into_iter()
        .map(|role| (role, check_one(&runtime, &config.models, role, &options).map_err(Failure::from)))
        .collect())
}

/// Forward passes after the first that the median is taken of.
const REPEATS: usize = 5;

fn check_one(runtime: &Runtime, models: &Path, role: Role, options: &Options) -> Result<ModelReport, InferError> {
    let before = resident_bytes();
    let mut model = Model::load(runtime, read_role(models, role)?, options)?;
    let first_ms = model.probe_ms;
    let mut times = Vec::with_capacity(REPEATS);
    let mut difference = model.probe_difference;
    for _ in 0..REPEATS {
        let start = Instant::now();
        model.repeat_probe()?;
        // Reading and comparing the files is not the model's time.
        times.push(model.probe_ms.min(millis(start)));
        difference = difference.max(model.probe_difference);
    }
    times.sort_by(f64::total_cmp);
    let memory_bytes = before.zip(resident_bytes()).map(|(before, after)| after.saturating_sub(before));
    let provider: Provider = model.provider;
    let ran = model.placement.get(ort_name(provider)).map_or(0, |share| share.nodes);
    Ok(ModelReport {
        role: role.name(),
        name: model.manifest.name.clone(),
        version: model.manifest.version.clone(),
        bytes: model.bytes,
        provider: provider.name(),
        nodes: (ran, model.placement.values().map(|share| share.nodes).sum()),
        load_ms: model.load_ms,
        first_ms,
        run_ms: times.get(REPEATS / 2).copied().unwrap_or(first_ms),
        memory_bytes,
        difference,
        tolerance: model.manifest.probe.tolerance,
    })
}

/// Resident memory of this process (Linux).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
