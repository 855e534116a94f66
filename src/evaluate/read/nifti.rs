//! One NIfTI-1 file per case, `<case>.nii` or `<case>.nii.gz`: columns, rows and slices are its first three axes.

use super::{Cases, ImageStack, Wanted, check_classes, listed};
use crate::domain::stack::{Plane, Vector3, dot};
use crate::evaluate::error::Error;
use crate::evaluate::volume::{LabelSlice, Spacing, Volume};
use ndarray::{Array2, Array3, Axis};
use nifti::{IntoNdArray, NiftiHeader, NiftiObject, ReaderOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Voxels of a file at most: headers are checked before anything is allocated by what they claim.
const VOXELS_MAX: u64 = 1 << 28;

pub(super) fn files(dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let named = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let case = name.strip_suffix(".nii.gz").or_else(|| name.strip_suffix(".nii"))?.to_owned();
        Some((case, path))
    };
    Ok(listed(dir)?.into_iter().filter_map(named).collect())
}

/// Header and values [columns, rows, slices].
fn read(path: &Path) -> Result<(NiftiHeader, Array3<f32>), Error> {
    let failed = |error: nifti::NiftiError| Error::file(path, format!("not readable as NIfTI-1: {error}"));
    let header = NiftiHeader::from_file(path).map_err(failed)?;
    let voxels: u64 = header.dim().map_err(failed)?.iter().map(|n| u64::from(*n)).product();
    if voxels == 0 || voxels > VOXELS_MAX {
        return Err(Error::file(path, format!("{voxels} voxels: expected 1 to {VOXELS_MAX}")));
    }
    let object = ReaderOptions::new().read_file(path).map_err(failed)?;
    let header = object.header().clone();
    let mut values = object.into_volume().into_ndarray::<f32>().map_err(failed)?;
    while values.ndim() > 3 && values.shape().last() == Some(&1) {
        let last = Axis(values.ndim() - 1);
        values = values.index_axis_move(last, 0);
    }
    if values.ndim() == 2 {
        values = values.insert_axis(Axis(2));
    }
    let shape = format!("{:?}", values.shape());
    let values =
        values.into_dimensionality().map_err(|_| Error::file(path, format!("has the shape {shape}, not 3-D")))?;
    Ok((header, values))
}

/// Slices [rows, columns] in the order of the third axis.
fn slices(values: &Array3<f32>) -> impl Iterator<Item = Array2<f32>> + '_ {
    values.axis_iter(Axis(2)).map(|slice| slice.t().to_owned())
}

pub(super) fn labels(dir: &Path, wanted: Wanted<'_>) -> Result<Cases, Error> {
    let mut cases = Cases::new();
    for (case, path) in files(dir)?.into_iter().filter(|(case, _)| wanted(case)) {
        let (header, values) = read(&path)?;
        let affine = affine(&header);
        let mut found = Vec::new();
        for (number, slice) in slices(&values).enumerate() {
            if let Some(value) = slice.iter().find(|value| value.fract() != 0.0 || !(0.0..=255.0).contains(*value)) {
                return Err(Error::file(&path, format!("holds the value {value}, which is no label")));
            }
            let labels = slice.mapv(|value| value as u8);
            check_classes(&path, &labels)?;
            let plane = affine.as_ref().and_then(|affine| plane(affine, number));
            found.push(LabelSlice { number, plane, source: None, labels });
        }
        if cases.insert(case, Volume { slices: found, spacing: spacing(&header), sparse: false }).is_some() {
            return Err(Error::file(&path, "this case stands twice, as .nii and as .nii.gz"));
        }
    }
    Ok(cases)
}

pub(super) fn images(dir: &Path, wanted: Wanted<'_>) -> Result<BTreeMap<String, ImageStack>, Error> {
    let mut cases = BTreeMap::new();
    for (case, path) in files(dir)?.into_iter().filter(|(case, _)| wanted(case)) {
        let (header, values) = read(&path)?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::file(&path, "holds values that are not finite"));
        }
        let stack = ImageStack { slices: slices(&values).enumerate().collect(), spacing: spacing(&header) };
        cases.insert(case, stack);
    }
    Ok(cases)
}

/// Voxel size, mm; `None` when the header gives none or units that are not lengths of a body.
fn spacing(header: &NiftiHeader) -> Option<Spacing> {
    // xyzt_units, bits 0-2: 1 m, 2 mm, 3 um, 0 unknown, which is mm in practice.
    let unit = match header.xyzt_units & 7 {
        0 | 2 => 1.0,
        1 => 1000.0,
        3 => 0.001,
        _ => return None,
    };
    let [_, column, row, slice, ..] = header.pixdim;
    let mm = |value: f32| f64::from(value.abs()) * unit;
    let spacing = Spacing { row_mm: mm(row), column_mm: mm(column), slice_mm: mm(slice) };
    let good = [spacing.row_mm, spacing.column_mm, spacing.slice_mm].iter().all(|mm| *mm > 0.0 && mm.is_finite());
    good.then_some(spacing)
}

/// Columns of the voxel-to-world matrix and the origin, RAS, mm; `None` when the header names no space.
type Affine = [Vector3; 4];

fn affine(header: &NiftiHeader) -> Option<Affine> {
    if header.sform_code > 0 {
        let rows = [header.srow_x, header.srow_y, header.srow_z];
        return Some(std::array::from_fn(|c| std::array::from_fn(|r| f64::from(rows[r][c]))));
    }
    (header.qform_code > 0).then(|| quaternion(header))
}

/// Method 2 of the NIfTI-1 standard.
fn quaternion(header: &NiftiHeader) -> Affine {
    let (b, c, d) = (f64::from(header.quatern_b), f64::from(header.quatern_c), f64::from(header.quatern_d));
    let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
    let sign = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let size = |i: usize| f64::from(header.pixdim[i]);
    let scaled = |v: Vector3, by: f64| v.map(|x| x * by);
    [
        scaled([a * a + b * b - c * c - d * d, 2.0 * (b * c + a * d), 2.0 * (b * d - a * c)], size(1)),
        scaled([2.0 * (b * c - a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d + a * b)], size(2)),
        scaled([2.0 * (b * d + a * c), 2.0 * (c * d - a * b), a * a + d * d - b * b - c * c], size(3) * sign),
        [f64::from(header.quatern_x), f64::from(header.quatern_y), f64::from(header.quatern_z)],
    ]
}

/// Plane of a slice in DICOM's LPS space: RAS with the first two axes turned.
fn plane(affine: &Affine, number: usize) -> Option<Plane> {
    let lps = |v: Vector3| [-v[0], -v[1], v[2]];
    let [column, row, slice, origin] = affine.map(lps);
    let length = |v: Vector3| dot(v, v).sqrt();
    let unit = |v: Vector3| v.map(|x| x / length(v));
    let good = length(column) > 0.0 && length(row) > 0.0;
    good.then(|| Plane {
        position_mm: std::array::from_fn(|i| origin[i] + number as f64 * slice[i]),
        // Along a row the column index grows.
        row: unit(column),
        column: unit(row),
        spacing_mm: [length(row), length(column)],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_quaternion_gives_the_matrix_that_nibabel_gives() {
        // nibabel's get_qform() for (b, c, d) = (.1, .2, .3), pixdim 1.5, 1.25, 8, qfac -1.
        let header = NiftiHeader {
            pixdim: [-1.0, 1.5, 1.25, 8.0, 0.0, 0.0, 0.0, 0.0],
            sform_code: 0,
            qform_code: 1,
            quatern_b: 0.1,
            quatern_c: 0.2,
            quatern_d: 0.3,
            quatern_x: -10.0,
            quatern_y: 20.0,
            quatern_z: 30.0,
            ..NiftiHeader::default()
        };
        let affine = affine(&header).unwrap();
        let rows = [
            [1.11, -0.645_521_4, -3.447_558_0, -10.0],
            [0.894_625_7, 1.0, 0.523_778_9, 20.0],
            [-0.466_417_1, 0.381_840_5, -7.2, 30.0],
        ];
        for (r, row) in rows.iter().enumerate() {
            for (c, value) in row.iter().enumerate() {
                assert!((affine[c][r] - value).abs() < 1e-5, "{r} {c}: {}", affine[c][r]);
            }
        }
        let plane = plane(&affine, 1).unwrap();
        assert!((plane.position_mm[2] - 22.8).abs() < 1e-5 && (plane.spacing_mm[1] - 1.5).abs() < 1e-6);
    }
}
