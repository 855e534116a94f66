//! Labels and images from folders: one kind of file per folder, one volume per case.

mod nifti;
mod png;
mod seg;

pub use seg::read_bytes as read_seg;

use super::error::Error;
use super::volume::Volume;
use ndarray::Array2;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Volumes by name of the case, sorted.
pub type Cases = BTreeMap<String, Volume>;

/// An image stack without DICOM: what `scargate evaluate --images` wraps.
#[derive(Debug, Clone)]
pub struct ImageStack {
    /// (slice number, pixels [rows, columns]), in order.
    pub slices: Vec<(usize, Array2<f32>)>,
    /// Spacing, when the files state it.
    pub spacing: Option<super::volume::Spacing>,
}

/// Folders below one another that are entered at most.
const DEPTH_MAX: usize = 16;

/// What kind of files a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Png,
    Nifti,
    Seg,
}

/// Which cases are read, by name; files of others are not opened.
pub type Wanted<'a> = &'a dyn Fn(&str) -> bool;

/// Reads the label volumes of the wanted cases of a folder.
///
/// # Errors
/// When nothing is found, kinds are mixed, or a file is not readable.
pub fn labels(dir: &Path, wanted: Wanted<'_>) -> Result<Cases, Error> {
    match kind(dir)? {
        Kind::Png => png::labels(dir, wanted),
        Kind::Nifti => nifti::labels(dir, wanted),
        Kind::Seg => seg::labels(dir, wanted),
    }
}

/// Reads the image stacks of the wanted cases of a folder: PNG or NIfTI, named as labels are.
///
/// # Errors
/// When nothing is found or a file is not readable; DICOM has `scargate analyze`.
pub fn images(dir: &Path, wanted: Wanted<'_>) -> Result<BTreeMap<String, ImageStack>, Error> {
    match kind(dir)? {
        Kind::Png => png::images(dir, wanted),
        Kind::Nifti => nifti::images(dir, wanted),
        Kind::Seg => Err(Error::Option(format!(
            "{}: --images takes PNG or NIfTI; for DICOM run `scargate analyze` per study and give its outputs as --predictions",
            dir.display()
        ))),
    }
}

fn kind(dir: &Path) -> Result<Kind, Error> {
    let found = [
        (Kind::Png, !png::files(dir)?.is_empty()),
        (Kind::Nifti, !nifti::files(dir)?.is_empty()),
        (Kind::Seg, !seg::files(dir)?.is_empty()),
    ];
    let mut kinds = found.iter().filter(|(_, any)| *any).map(|(kind, _)| *kind);
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => Ok(kind),
        (None, _) => Err(Error::Empty(dir.to_owned())),
        (Some(_), Some(_)) => Err(Error::Mixed(dir.to_owned())),
    }
}

/// Files directly in a folder, sorted.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(dir).map_err(Error::io(dir))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// All files below a folder, sorted; links are not followed.
fn walk(dir: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))?.filter_map(Result::ok) {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_file() {
            paths.push(entry.path());
        } else if kind.is_dir() && depth > 0 {
            walk(&entry.path(), depth - 1, paths)?;
        }
    }
    paths.sort();
    Ok(())
}

/// Refuses values above 4, naming the file.
fn check_classes(path: &Path, labels: &Array2<u8>) -> Result<(), Error> {
    match labels.iter().find(|label| **label > 4) {
        Some(label) => Err(Error::file(
            path,
            format!("holds the value {label}; labels are 0 background, 1 cavity, 2 myocardium, 3 scar, 4 no-reflow"),
        )),
        None => Ok(()),
    }
}
