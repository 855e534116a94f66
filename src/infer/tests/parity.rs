//! Comparison with the reference pipeline of models/train, step for step on the same phantoms.

use super::super::{Engine, mask};
use super::{Models, pictures, root, segment};
use crate::config::Infer;
use crate::domain::labels::ScarSource;
use ndarray::Array2;
use std::path::Path;

/// The labels of the reference pipeline in models/train (NumPy and ONNX Runtime for Python) on two evaluation phantoms,
/// with the hand-made models: written by parity.py beside the fixtures.
#[test]
fn labels_are_those_of_the_reference_pipeline() {
    let models = Models::of("libreyolo9", "decoder");
    for role in ["myocardium", "scar-detector", "scar-encoder", "scar-decoder"] {
        models.edit(role, "kind = \"unit\"", "kind = \"percentile-minmax\"\nlo = 1.0\nhi = 99.0");
    }
    let (config, engine) = (models.config(ScarSource::Sam), models.engine());
    let folder = tempfile::tempdir().unwrap();
    let options = crate::phantom::arrays::ArrayExport {
        space: crate::phantom::SeedSpace::Evaluation,
        seed: 77,
        count: 2,
        healthy_fraction: 0.0,
        matrix: 128,
        threads: std::num::NonZeroUsize::new(2).unwrap(),
    };
    crate::phantom::arrays::export(folder.path(), &options, |_| {}).unwrap();
    let (cases, images) = (npy::<4>(&folder.path().join("case.npy")), npy::<4>(&folder.path().join("images.npy")));
    let cases: Vec<u32> = cases.into_iter().map(u32::from_le_bytes).collect();
    let images: Vec<f32> = images.into_iter().map(f32::from_le_bytes).collect();
    let expected = run_lengths(&std::fs::read(root().join("tests/fixtures/infer/parity.bin")).unwrap());
    assert_eq!(expected.len(), 2 * images.len());
    let dense = Engine::load(&Infer { scar_source: ScarSource::Dense, ..config }).unwrap();
    for (engine, expected) in [(&engine, &expected[..images.len()]), (&dense, &expected[images.len()..])] {
        let mut found: Vec<u8> = Vec::new();
        for case in [0, 1] {
            let slices = cases.iter().zip(images.chunks_exact(128 * 128)).filter(|(c, _)| **c == case);
            let shown = slices.map(|(_, p)| Array2::from_shape_vec((128, 128), p.to_vec()).unwrap()).collect();
            let labels = segment(engine, &pictures(shown)).slices;
            found.extend(labels.iter().flat_map(|slice| slice.labels.iter().copied()));
        }
        for (what, labels) in [("cavity", 1..=1), ("wall", 2..=4), ("scar", 3..=4)] {
            let pick = |values: &[u8]| Array2::from_shape_fn((1, values.len()), |(_, i)| labels.contains(&values[i]));
            let (found, expected) = (pick(&found), pick(expected));
            assert!(expected.iter().any(|set| *set), "{what}: the reference is empty");
            let dice = mask::dice(&found, &expected);
            assert!(dice > 0.995, "{what}: Dice {dice} with the reference pipeline");
        }
    }
}

/// The elements of an NPY file (format 1.0), N bytes each.
fn npy<const N: usize>(path: &Path) -> Vec<[u8; N]> {
    let bytes = std::fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..].chunks_exact(N).map(|chunk| chunk.try_into().unwrap()).collect()
}

/// Pairs of value and count, five bytes each.
fn run_lengths(bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks_exact(5)
        .flat_map(|run| std::iter::repeat_n(run[0], u32::from_le_bytes([run[1], run[2], run[3], run[4]]) as usize))
        .collect()
}
