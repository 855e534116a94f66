//! Where retrieved objects go: small ones stay in memory, the rest goes to files of a room that dies with its process.

use super::error::Error;
use crate::config;
use crate::domain::source::SourceObject;
use bytes::Bytes;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// Name of the file whose lock says that a room's process lives.
const LOCK: &str = "lock";
/// All objects of one study in memory together, as a multiple of `spool.memory_bytes`.
const MEMORY_SHARE: u64 = 8;

/// The spool of one client: a sub-folder of the configured directory, readable by its owner only.
pub(super) struct Spool {
    directory: PathBuf,
    room: PathBuf,
    memory_bytes: u64,
    max_bytes: u64,
    /// Bytes of all rooms as far as known; only grows between measurements.
    used: AtomicU64,
    _lock: File,
}

impl Spool {
    /// Makes a room and removes those of processes that died.
    pub(super) fn new(config: &config::Spool) -> Result<Self, Error> {
        let directory = config.directory.clone();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(Error::spool)?;
        sweep(&directory);
        let room = directory.join(Uuid::new_v4().to_string());
        DirBuilder::new().mode(0o700).create(&room).map_err(Error::spool)?;
        let lock = File::create(room.join(LOCK)).map_err(Error::spool)?;
        lock.try_lock().map_err(|error| Error::spool(error.into()))?;
        let used = AtomicU64::new(measure(&directory));
        let (memory_bytes, max_bytes) = (config.memory_bytes, config.max_bytes);
        Ok(Self { directory, room, memory_bytes, max_bytes, used, _lock: lock })
    }

    /// Memory that the objects of one retrieval may take together, bytes.
    pub(super) fn memory_budget(&self) -> u64 {
        self.memory_bytes.saturating_mul(MEMORY_SHARE)
    }

    /// Takes up room for more bytes on disk.
    fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used <= self.max_bytes {
            return Ok(());
        }
        // Files that are gone since are not subtracted one by one; the disk knows.
        let measured = measure(&self.directory);
        self.used.store(measured, Ordering::Relaxed);
        if measured + bytes <= self.max_bytes { Ok(()) } else { Err(Error::SpoolFull) }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Objects may outlive the client; then the folder is not empty and goes with the next start.
        let only_lock = std::fs::read_dir(&self.room).is_ok_and(|entries| entries.count() == 1);
        if only_lock {
            let _ = std::fs::remove_dir_all(&self.room);
        }
    }
}

/// Removes rooms whose lock nobody holds.
fn sweep(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for room in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let is_room = room.file_name().and_then(|name| name.to_str()).is_some_and(|n| Uuid::parse_str(n).is_ok());
        if !is_room {
            continue;
        }
        if let Ok(lock) = File::open(room.join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = std::fs::remove_dir_all(&room);
        }
    }
}

/// Bytes of all files in all rooms.
fn measure(directory: &Path) -> u64 {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let rooms = entries(directory).map(|room| room.path());
    rooms.flat_map(|room| entries(&room)).filter_map(|file| file.metadata().ok()).map(|m| m.len()).sum()
}

/// An object on its way in.
pub(super) struct Sink<'a> {
    spool: &'a Spool,
    /// Bytes that may still go to memory.
    budget: u64,
    memory: Vec<u8>,
    file: Option<(tokio::fs::File, TempPath)>,
}

impl<'a> Sink<'a> {
    /// A sink that keeps up to `budget` bytes (and `spool.memory_bytes`) in memory.
    pub(super) fn new(spool: &'a Spool, budget: u64) -> Self {
        Self { spool, budget: budget.min(spool.memory_bytes), memory: Vec::new(), file: None }
    }

    /// Takes more bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.file.is_none() && (self.memory.len() + bytes.len()) as u64 > self.budget {
            self.spill().await?;
        }
        match &mut self.file {
            None => self.memory.extend_from_slice(bytes),
            Some((file, _)) => {
                self.spool.reserve(bytes.len() as u64)?;
                file.write_all(bytes).await.map_err(Error::spool)?;
            }
        }
        Ok(())
    }

    async fn spill(&mut self) -> Result<(), Error> {
        let file = tempfile::Builder::new().suffix(".dcm").tempfile_in(&self.spool.room).map_err(Error::spool)?;
        let (file, path) = file.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let memory = std::mem::take(&mut self.memory);
        self.spool.reserve(memory.len() as u64)?;
        file.write_all(&memory).await.map_err(Error::spool)?;
        self.file = Some((file, path));
        Ok(())
    }

    /// The object, and how many bytes of memory it takes.
    pub(super) async fn finish(self) -> Result<(SourceObject, u64), Error> {
        match self.file {
            None => {
                let size = self.memory.len() as u64;
                Ok((SourceObject::Memory(Bytes::from(self.memory)), size))
            }
            Some((mut file, path)) => {
                file.flush().await.map_err(Error::spool)?;
                Ok((SourceObject::Spooled(Arc::new(path)), 0))
            }
        }
    }
}

impl From<std::fs::TryLockError> for Error {
    fn from(error: std::fs::TryLockError) -> Self {
        Self::Spool(io::Error::from(error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read;

    fn config(directory: &Path, memory_bytes: u64, max_bytes: u64) -> config::Spool {
        config::Spool { directory: directory.to_path_buf(), max_bytes, memory_bytes }
    }

    async fn store(spool: &Spool, budget: u64, chunks: &[&[u8]]) -> Result<(SourceObject, u64), Error> {
        let mut sink = Sink::new(spool, budget);
        for chunk in chunks {
            sink.write(chunk).await?;
        }
        sink.finish().await
    }

    fn content(object: &SourceObject) -> Vec<u8> {
        let mut bytes = Vec::new();
        object.open().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn small_objects_stay_in_memory_and_large_ones_go_to_disk_whole() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(&config(dir.path(), 10, 1000)).unwrap();
        let (small, in_memory) = store(&spool, 100, &[b"0123", b"456789"]).await.unwrap();
        assert!(matches!(small, SourceObject::Memory(_)) && in_memory == 10);
        let (large, in_memory) = store(&spool, 100, &[b"0123", b"456789", b"a", b"bc"]).await.unwrap();
        assert!(matches!(large, SourceObject::Spooled(_)) && in_memory == 0);
        assert_eq!(content(&large), b"0123456789abc");
        let (no_budget, _) = store(&spool, 3, &[b"0123"]).await.unwrap();
        assert!(matches!(no_budget, SourceObject::Spooled(_)));
    }

    #[tokio::test]
    async fn the_spool_fills_and_empties() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(&config(dir.path(), 0, 100)).unwrap();
        let first = store(&spool, 0, &[&[1; 80]]).await.unwrap();
        assert!(matches!(store(&spool, 0, &[&[1; 80]]).await, Err(Error::SpoolFull)));
        drop(first);
        assert!(store(&spool, 0, &[&[1; 80]]).await.is_ok(), "room of dropped objects is used again");
    }

    #[tokio::test]
    async fn rooms_of_the_dead_are_swept_and_those_of_the_living_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let living = Spool::new(&config(dir.path(), 0, 100)).unwrap();
        let (kept, _) = store(&living, 0, &[b"x"]).await.unwrap();
        let dead = dir.path().join(Uuid::new_v4().to_string());
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), b"").unwrap();
        std::fs::write(dead.join("left.dcm"), b"left").unwrap();
        let other = dir.path().join("notes");
        std::fs::create_dir(&other).unwrap();
        let _second = Spool::new(&config(dir.path(), 0, 100)).unwrap();
        assert!(!dead.exists() && other.exists());
        assert_eq!(content(&kept), b"x");
    }
}
