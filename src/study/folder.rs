//! A folder of DICOM files as source objects, for `scargate analyze`.

use crate::domain::source::SourceObject;
use crate::failure::{Code, Failure};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Folders below one another that are entered at most.
const DEPTH_MAX: usize = 16;

/// What a folder holds.
#[derive(Debug)]
pub struct Folder {
    /// The DICOM files, sorted by path.
    pub objects: Vec<SourceObject>,
    /// Files that are not DICOM Part 10 files, `DICOMDIR` among them.
    pub skipped: usize,
}

/// Lists the DICOM files below `dir`: those with the `DICM` mark (PS3.10 section 7.1). Links are not followed.
///
/// # Errors
/// `bad-request` when the folder cannot be read or holds more than `max` DICOM files.
pub fn read_folder(dir: &Path, max: usize) -> Result<Folder, Failure> {
    let mut folder = Folder { objects: Vec::new(), skipped: 0 };
    let mut paths = Vec::new();
    list(dir, DEPTH_MAX, &mut paths)
        .map_err(|error| Failure::permanent(Code::BadRequest, format!("the folder cannot be read: {error}")))?;
    paths.sort();
    for path in paths {
        if is_dicomdir(&path) || !has_mark(&path) {
            folder.skipped += 1;
            continue;
        }
        if folder.objects.len() == max {
            return Err(Failure::permanent(Code::BadRequest, "more DICOM files than [limits] study_instances"));
        }
        folder.objects.push(SourceObject::File(path));
    }
    Ok(folder)
}

fn list(dir: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            paths.push(entry.path());
        } else if kind.is_dir() && depth > 0 {
            list(&entry.path(), depth - 1, paths)?;
        }
    }
    Ok(())
}

fn is_dicomdir(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("DICOMDIR"))
}

fn has_mark(path: &Path) -> bool {
    let mut start = [0; 132];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start.ends_with(b"DICM")
}
