//! NumPy's array file format, version 1.0, written as a stream whose length is filled in at the end.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes of the header, magic included; a multiple of 64 as the format asks.
const HEADER: usize = 128;

/// A C-ordered array that grows along its first axis.
pub struct NpyWriter {
    file: BufWriter<File>,
    dtype: &'static str,
    item: Vec<usize>,
    count: usize,
}

impl NpyWriter {
    /// Creates the file. `dtype` is NumPy's name, for example `<f4`; `item` is the shape of one entry.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, dtype: &'static str, item: &[usize]) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        file.write_all(&header(dtype, 0, item))?;
        Ok(Self { file, dtype, item: item.to_vec(), count: 0 })
    }

    /// Appends `entries` entries given as little-endian bytes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, entries: usize, bytes: &[u8]) -> io::Result<()> {
        self.count += entries;
        self.file.write_all(bytes)
    }

    /// Appends 32-bit floats.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_f32(&mut self, entries: usize, values: &[f32]) -> io::Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.append(entries, &bytes)
    }

    /// Writes the final length and closes the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> io::Result<usize> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header(self.dtype, self.count, &self.item))?;
        file.sync_all()?;
        Ok(self.count)
    }
}

fn header(dtype: &str, count: usize, item: &[usize]) -> Vec<u8> {
    let shape: String = std::iter::once(&count).chain(item).map(|n| format!("{n}, ")).collect();
    let dict = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({shape}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    bytes.extend_from_slice(dict.as_bytes());
    bytes.resize(HEADER - 1, b' ');
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn file_has_the_documented_layout() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let mut npy = NpyWriter::create(&path, "<f4", &[2]).unwrap();
        npy.append_f32(1, &[1.0, 2.0]).unwrap();
        npy.append_f32(2, &[3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!(npy.finish().unwrap(), 3);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!(length % 64, 0);
        let text = std::str::from_utf8(&bytes[10..length]).unwrap();
        assert!(text.ends_with('\n') && text.contains("'descr': '<f4'") && text.contains("'shape': (3, 2, )"));
        assert_eq!(bytes[length..length + 8], [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
        assert_eq!(bytes.len(), length + 24);
    }
}
