//! `scargate models`: the models that are plugged in, and whether they still answer as they did when they were stored.

use super::table::table;
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::infer::{self, Manifest, ModelReport, Role};
use clap::{Args, Subcommand};
use comfy_table::Table;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Arguments of `scargate models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
    /// Folder of the model manifests instead of the configured one.
    #[arg(long, global = true, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Machine-readable output.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Show the manifests: role, version, licence, intended use, contrasts, measured accuracy.
    List,
    /// Load every model, run it on its stored phantom probe and compare with the stored output.
    Check,
    /// Take a model in: write digest and probe of the ONNX file into the folder's manifest, which must say all the rest.
    ///
    /// The probe is a drawn picture and the model's own answer to it, so that `models check` sees when the model answers
    /// otherwise one day. See docs/bring-your-own-model.md.
    Adopt {
        /// Folder of one model: manifest.toml and the ONNX file.
        folder: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// The failure of the first model that is not usable, after all were reported.
pub fn run(args: &ModelsArgs, mut config: Config) -> Result<(), Failure> {
    if let Some(models) = &args.models {
        config.infer.models.clone_from(models);
    }
    match &args.command {
        ModelsCommand::List => list(&config, args.json),
        ModelsCommand::Check => check(&config, args.json),
        ModelsCommand::Adopt { folder } => adopt(&config, folder),
    }
}

fn list(config: &Config, as_json: bool) -> Result<(), Failure> {
    let models = infer::list(&config.infer.models)?;
    if as_json {
        return print_json(&Value::Array(
            models.iter().map(|(manifest, size)| manifest_json(manifest, *size)).collect(),
        ));
    }
    let mut table = table(&["role", "name", "version", "licence", "intended use", "contrasts", "size", "accuracy"]);
    for (manifest, size) in &models {
        table.add_row([
            manifest.role.name().to_owned(),
            manifest.name.clone(),
            manifest.version.clone(),
            manifest.licence.clone(),
            word(&manifest.intended_use),
            contrasts(manifest).join(", "),
            megabytes(*size),
            manifest.accuracy.summary.clone(),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn check(config: &Config, as_json: bool) -> Result<(), Failure> {
    let reports = infer::check(&config.infer)?;
    if as_json {
        print_json(&Value::Array(reports.iter().map(|(role, report)| report_json(*role, report)).collect()))?;
    } else {
        println!("{}", report_table(&reports));
    }
    match reports.into_iter().find_map(|(_, report)| report.err()) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn adopt(config: &Config, folder: &Path) -> Result<(), Failure> {
    let manifest = infer::adopt(&config.infer, folder)?;
    println!("{} {} is taken in as {}: sha256 {}", manifest.name, manifest.version, manifest.role, manifest.sha256);
    println!("measure it before use: scargate evaluate --images DIR --references DIR");
    Ok(())
}

fn report_table(reports: &[(Role, Result<ModelReport, Failure>)]) -> Table {
    let columns = ["role", "name", "result", "provider", "load ms", "first ms", "run ms", "memory", "difference"];
    let mut table = table(&columns);
    for (role, report) in reports {
        let row = match report {
            Ok(report) => vec![
                role.name().to_owned(),
                format!("{} {}", report.name, report.version),
                "ok".to_owned(),
                format!("{} ({} of {} nodes)", report.provider, report.nodes.0, report.nodes.1),
                format!("{:.0}", report.load_ms),
                format!("{:.0}", report.first_ms),
                format!("{:.0}", report.run_ms),
                report.memory_bytes.map_or("not known".to_owned(), megabytes),
                format!("{:.1e} of {:.0e}", report.difference, report.tolerance),
            ],
            Err(failure) => vec![role.name().to_owned(), failure.detail.clone(), failure.code.to_string()],
        };
        table.add_row(row);
    }
    table
}

fn report_json(role: Role, report: &Result<ModelReport, Failure>) -> Value {
    match report {
        Ok(report) => json!({ "role": role.name(), "ok": true, "report": report }),
        Err(failure) => json!({
            "role": role.name(), "ok": false, "code": failure.code.as_str(), "detail": failure.detail,
            "action": failure.code.action(),
        }),
    }
}

fn manifest_json(manifest: &Manifest, size: u64) -> Value {
    json!({
        "role": manifest.role.name(),
        "name": manifest.name,
        "version": manifest.version,
        "file": manifest.folder.join(&manifest.file),
        "sha256": manifest.sha256,
        "bytes": size,
        "source": manifest.source,
        "training_data": manifest.training_data,
        "licence": manifest.licence,
        "credit": manifest.credit,
        "intended_use": word(&manifest.intended_use),
        "contrasts": contrasts(manifest),
        "accuracy": { "summary": manifest.accuracy.summary, "values": manifest.accuracy.values },
    })
}

fn contrasts(manifest: &Manifest) -> Vec<&'static str> {
    manifest.contrasts.iter().map(|contrast| contrast.name()).collect()
}

/// A value's name as it is written in files.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn print_json(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::permanent(Code::Internal, "the report cannot be written as JSON").caused_by(error))?;
    println!("{text}");
    Ok(())
}
