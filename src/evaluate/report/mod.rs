//! What an evaluation writes: CSV, JSON, SVG.

mod csv;
mod svg;

use super::{Error, Report};
use std::path::Path;

/// Files in words, for the terminal.
pub const FILES: &str = "summary.csv, cases.csv, slices.csv, tests.csv, evaluation.json, *.svg";

/// Writes all files of a report into a folder, which is made when it does not exist.
///
/// # Errors
/// When a file cannot be written.
pub fn write(report: &Report, dir: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let json = serde_json::to_vec_pretty(report).map_err(|error| Error::Option(error.to_string()))?;
    let mut files = vec![
        ("summary.csv".to_owned(), csv::summary(report).into_bytes()),
        ("cases.csv".to_owned(), csv::cases(report).into_bytes()),
        ("slices.csv".to_owned(), csv::slices(report).into_bytes()),
        ("tests.csv".to_owned(), csv::tests(report).into_bytes()),
        ("evaluation.json".to_owned(), json),
    ];
    files.extend(svg::plots(report).into_iter().map(|(name, text)| (name, text.into_bytes())));
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(Error::io(&path))?;
    }
    Ok(())
}
