//! Models, libraries and providers that are not what they should be.

use super::super::{Engine, Role, check, list, onnx, probe};
use super::{Models, root};
use crate::config::{Infer, Provider};
use crate::domain::labels::ScarSource;
use crate::failure::{Class, Code};
use std::path::PathBuf;

/// Each fault, and words that the message must hold.
#[test]
fn files_that_are_not_what_the_manifest_says_are_refused() {
    type Change = fn(&Models);
    let cases: [(&str, Change, &[&str]); 11] = [
        ("digest", |m| std::fs::write(m.folder("scar-encoder").join("model.onnx"), b"other").unwrap(), &["digest is"]),
        (
            "external data",
            |m| {
                let bytes = std::fs::read(root().join("tests/fixtures/infer/external.onnx")).unwrap();
                let digest = onnx::sha256_hex(&bytes);
                std::fs::write(m.folder("myocardium").join("model.onnx"), bytes).unwrap();
                replace_digest(m, &digest);
            },
            &["external files"],
        ),
        (
            "not ONNX",
            |m| {
                std::fs::write(m.folder("myocardium").join("model.onnx"), b"PK\x03\x04").unwrap();
                replace_digest(m, &onnx::sha256_hex(b"PK\x03\x04"));
            },
            &["not a well-formed ONNX file"],
        ),
        (
            "output name",
            |m| m.edit("myocardium", "[output]\nname = \"output\"", "[output]\nname = \"logits\""),
            &["expected output `logits`", "found `output`"],
        ),
        (
            "input name",
            |m| m.edit("scar-encoder", "name = \"image\"", "name = \"pixels\""),
            &["expected one input `pixels`", "found `image`"],
        ),
        ("channels", |m| m.edit("scar-detector", "channels = 3", "channels = 1"), &["expected one input", "3, 32, 32"]),
        ("rank", |m| m.edit("scar-decoder", "masks = \"masks\"", "masks = \"iou_predictions\""), &["of rank 4"]),
        ("layout", |m| layout(m, "e2e", "xyxy", "iou = 0.5\n"), &["[batch, K, 6]"]),
        (
            "probe length",
            |m| std::fs::write(m.folder("scar-encoder").join("probe-input.f32"), [0; 8]).unwrap(),
            &["8 bytes"],
        ),
        (
            "probe answer",
            |m| {
                let path = m.folder("scar-encoder").join("probe-output.f32");
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[2048..2052].copy_from_slice(&9.0f32.to_le_bytes());
                std::fs::write(path, bytes).unwrap();
            },
            &["stored probe differs"],
        ),
        ("crop factor", |m| m.edit("scar-decoder", "crop_factor = 1.5", "crop_factor = 1.4"), &["crops of factor 1.4"]),
    ];
    for (what, change, words) in cases {
        let models = Models::of("ultralytics", "decoder");
        change(&models);
        let failure = models.refused();
        assert_eq!(failure.code, Code::ModelInvalid, "{what}: {failure}");
        for word in words {
            assert!(failure.detail.contains(word), "{what}: `{}` lacks `{word}`", failure.detail);
        }
    }
}

fn replace_digest(models: &Models, digest: &str) {
    let old = probe::read_role(models.0.path(), Role::Myocardium).unwrap().sha256;
    models.edit("myocardium", &old, digest);
}

fn layout(models: &Models, format: &str, boxes: &str, without: &str) {
    models.edit("scar-detector", "format = \"ultralytics\"", &format!("format = \"{format}\""));
    models.edit("scar-detector", "boxes = \"cxcywh\"", &format!("boxes = \"{boxes}\""));
    models.edit("scar-detector", without, "");
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_refused() {
    let models = Models::of("ultralytics", "decoder");
    let outside = tempfile::tempdir().unwrap();
    let file = models.folder("myocardium").join("model.onnx");
    std::fs::rename(&file, outside.path().join("model.onnx")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("model.onnx"), &file).unwrap();
    let failure = models.refused();
    assert!(failure.detail.contains("leads out of the model's folder"), "{failure}");
}

#[test]
fn a_missing_library_and_a_missing_provider_have_their_codes() {
    let models = Models::of("ultralytics", "decoder");
    let config = models.config(ScarSource::Sam);
    let refused = |config: &Infer| match Engine::load(config) {
        Ok(_) => panic!("accepted"),
        Err(failure) => failure,
    };
    let missing = refused(&Infer { library: PathBuf::from("/nonexistent/libonnxruntime.so"), ..config.clone() });
    assert_eq!(missing.code, Code::ConfigInvalid);
    assert!(missing.detail.contains("infer.library"), "{missing}");
    let cuda = Infer { providers: vec![Provider::Cuda, Provider::Cpu], require: Provider::Cuda, ..config };
    let failure = refused(&cuda);
    assert_eq!((failure.class, failure.code), (Class::Permanent, Code::ProviderMissing));
    assert!(failure.detail.contains("cuda"), "{failure}");
}

#[test]
fn check_reports_every_model_even_when_one_is_broken() {
    let models = Models::of("ultralytics", "decoder");
    std::fs::write(models.folder("scar-encoder").join("model.onnx"), b"other").unwrap();
    let reports = check(&models.config(ScarSource::Sam)).unwrap();
    let summary: Vec<(Role, bool)> = reports.iter().map(|(role, report)| (*role, report.is_ok())).collect();
    assert_eq!(
        summary,
        [(Role::Myocardium, true), (Role::ScarDetector, true), (Role::ScarEncoder, false), (Role::ScarDecoder, true),]
    );
    let report = reports[0].1.as_ref().unwrap();
    assert!(report.nodes.0 > 0 && report.nodes.0 == report.nodes.1 && report.provider == "cpu");
    assert!(report.difference <= report.tolerance);
    let empty = tempfile::tempdir().unwrap();
    let config = Infer { models: empty.path().to_path_buf(), ..models.config(ScarSource::Sam) };
    assert_eq!(check(&config).unwrap_err().code, Code::ModelInvalid);
    assert_eq!(list(empty.path()).unwrap_err().code, Code::ModelInvalid);
    assert_eq!(list(models.0.path()).unwrap().len(), 4);
}
