//! Independent readers of what we write: the Python checkers under `scripts/`, in the pinned venv.

use std::path::Path;
use std::process::Command;

use super::servers::{Servers, root};

/// Runs a checker of `scripts/`, for example `check_seg.py`.
///
/// # Errors
/// All that it printed, when it ended with anything but 0.
pub fn check(servers: &Servers, name: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(servers.value("SCARGATE_PYTHON"))
        .arg(root().join("scripts").join(name))
        .args(arguments)
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// `check_seg.py` on one file; panics with its findings.
pub fn check_seg(servers: &Servers, file: &Path, more: &[&str]) -> String {
    let mut arguments = vec![file.to_str().unwrap()];
    arguments.extend(more);
    check(servers, "check_seg.py", &arguments).unwrap_or_else(|said| panic!("check_seg.py: {said}"))
}

/// `check_report.py` on some files; panics with its findings.
pub fn check_report(servers: &Servers, files: &[&Path], more: &[&str]) -> String {
    let mut arguments: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    arguments.extend(more);
    check(servers, "check_report.py", &arguments).unwrap_or_else(|said| panic!("check_report.py: {said}"))
}

/// `check_fhir.py` on one file; panics with its findings.
pub fn check_fhir(servers: &Servers, file: &Path) -> String {
    check(servers, "check_fhir.py", &[file.to_str().unwrap()]).unwrap_or_else(|said| panic!("check_fhir.py: {said}"))
}
