//! A DICOM object as it came from the PACS or from a folder, before anything parsed its pixels.

use bytes::Bytes;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempPath;

/// Where the bytes of an object are. Cheap to clone; a spooled file is removed with its last owner.
#[derive(Debug, Clone)]
pub enum SourceObject {
    /// Small objects stay in memory.
    Memory(Bytes),
    /// Larger ones are on the spool.
    Spooled(Arc<TempPath>),
    /// A file that is not ours, e.g. in the folder given to `scargate analyze`.
    File(PathBuf),
}

/// Reading and seeking, as DICOM parsers want it.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

impl SourceObject {
    /// Size in bytes; 0 when a file is gone.
    pub fn size(&self) -> u64 {
        let file = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Spooled(path) => file(path),
            Self::File(path) => file(path),
        }
    }

    /// Opens the object for reading from its start.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(match self {
            Self::Memory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Self::Spooled(path) => Box::new(io::BufReader::new(std::fs::File::open(path.as_ref())?)),
            Self::File(path) => Box::new(io::BufReader::new(std::fs::File::open(path)?)),
        })
    }
}
