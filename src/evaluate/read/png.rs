//! One PNG per slice, `<case>_slice<k>.png`, as EMIDEC was published: no place, no spacing.

use super::{Cases, ImageStack, Wanted, check_classes, listed};
use crate::evaluate::error::Error;
use crate::evaluate::volume::{LabelSlice, Volume};
use ndarray::Array2;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Slices of the cases: name -> (slice number, file).
type Files = BTreeMap<String, BTreeMap<usize, PathBuf>>;

/// The slice files of a folder; other files are ignored.
pub(super) fn files(dir: &Path) -> Result<Files, Error> {
    let mut found = Files::new();
    for path in listed(dir)? {
        let Some((case, number)) = path.file_name().and_then(|name| name.to_str()).and_then(split) else { continue };
        if found.entry(case.to_owned()).or_default().insert(number, path.clone()).is_some() {
            return Err(Error::file(&path, "this slice number stands twice"));
        }
    }
    Ok(found)
}

/// Case and number of `<case>_slice<k>.png`.
fn split(name: &str) -> Option<(&str, usize)> {
    let (case, number) = name.strip_suffix(".png")?.rsplit_once("_slice")?;
    (!case.is_empty()).then_some((case, number.parse().ok()?))
}

fn open(path: &Path) -> Result<image::DynamicImage, Error> {
    image::open(path).map_err(|error| Error::file(path, format!("not readable as PNG: {error}")))
}

fn array<T>(path: &Path, width: u32, height: u32, values: Vec<T>) -> Result<Array2<T>, Error> {
    Array2::from_shape_vec((height as usize, width as usize), values)
        .map_err(|error| Error::file(path, error.to_string()))
}

pub(super) fn labels(dir: &Path, wanted: Wanted<'_>) -> Result<Cases, Error> {
    let read = |(case, files): (String, BTreeMap<usize, PathBuf>)| {
        let slices = files.into_iter().map(|(number, path)| {
            let picture = open(&path)?.into_luma8();
            let labels = array(&path, picture.width(), picture.height(), picture.into_raw())?;
            check_classes(&path, &labels)?;
            Ok(LabelSlice { number, plane: None, source: None, labels })
        });
        let slices = slices.collect::<Result<Vec<_>, Error>>()?;
        Ok((case, Volume { slices, spacing: None, sparse: false }))
    };
    files(dir)?.into_iter().filter(|(case, _)| wanted(case)).map(read).collect()
}

pub(super) fn images(dir: &Path, wanted: Wanted<'_>) -> Result<BTreeMap<String, ImageStack>, Error> {
    let read = |(case, files): (String, BTreeMap<usize, PathBuf>)| {
        let slices = files.into_iter().map(|(number, path)| {
            let picture = open(&path)?;
            let (width, height) = (picture.width(), picture.height());
            // 8-bit values stay what they are; only 16-bit files go through 16 bits.
            let values: Vec<f32> = match picture.color().bytes_per_pixel() / picture.color().channel_count() {
                1 => picture.into_luma8().into_raw().into_iter().map(f32::from).collect(),
                _ => picture.into_luma16().into_raw().into_iter().map(f32::from).collect(),
            };
            Ok((number, array(&path, width, height, values)?))
        });
        Ok((case, ImageStack { slices: slices.collect::<Result<_, Error>>()?, spacing: None }))
    };
    files(dir)?.into_iter().filter(|(case, _)| wanted(case)).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn names_are_split_at_the_last_slice_mark() {
        assert_eq!(split("Case_P001_slice004.png"), Some(("Case_P001", 4)));
        assert_eq!(split("a_slice1_slice2.png"), Some(("a_slice1", 2)));
        assert_eq!(split("Case_P001.png"), None);
        assert_eq!(split("_slice1.png"), None);
    }
}
