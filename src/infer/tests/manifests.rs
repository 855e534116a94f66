//! Manifests with something missing, unknown or contradictory.

use super::super::Manifest;
use super::root;
use std::path::Path;

/// Leaves one key after the other out of every fixture's manifest: each is needed.
#[test]
fn whatever_a_manifest_leaves_unset_is_refused() {
    for fixture in ["dense", "ultralytics", "libreyolo9", "e2e", "yolov5", "encoder", "decoder"] {
        let folder = root().join("tests/fixtures/infer").join(fixture);
        let text = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
        let table: toml::Table = text.parse().unwrap();
        assert!(Manifest::parse(&text, &folder).is_ok(), "{fixture}");
        let mut keys = Vec::new();
        leaves(&table, &mut Vec::new(), &mut keys);
        assert!(keys.len() > 25, "{fixture}");
        for key in keys {
            // Low-resolution logits are the one thing that a decoder may lack.
            if key == ["output", "low_res"] {
                continue;
            }
            let mut less = table.clone();
            remove(&mut less, &key);
            let refused = Manifest::parse(&toml::to_string(&less).unwrap(), &folder);
            assert!(refused.is_err(), "{fixture}: accepted without {key:?}");
        }
        for extra in ["colour = \"rgb\"\n", "tta = \"none\"\n"] {
            assert!(Manifest::parse(&format!("{extra}{text}"), &folder).is_err(), "{fixture}: {extra}");
        }
    }
}

fn leaves(table: &toml::Table, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    for (key, value) in table {
        path.push(key.clone());
        match value {
            toml::Value::Table(inner) => leaves(inner, path, out),
            _ => out.push(path.clone()),
        }
        path.pop();
    }
}

fn remove(table: &mut toml::Table, path: &[String]) {
    match path {
        [key] => {
            table.remove(key);
        }
        [key, rest @ ..] => {
            if let Some(toml::Value::Table(inner)) = table.get_mut(key) {
                remove(inner, rest);
            }
        }
        [] => {}
    }
}

#[test]
fn contradictions_in_a_manifest_are_refused() {
    let read = |fixture: &str| {
        std::fs::read_to_string(root().join("tests/fixtures/infer").join(fixture).join("manifest.toml")).unwrap()
    };
    let cases = [
        ("dense", "schema = 1", "schema = 2", "schema 2"),
        ("dense", "file = \"model.onnx\"", "file = \"../model.onnx\"", "plain file name"),
        ("dense", "file = \"model.onnx\"", "file = \"/etc/passwd\"", "plain file name"),
        ("dense", "file = \"model.onnx\"", "file = \"a/../model.onnx\"", "plain file name"),
        ("dense", "file = \"model.onnx\"", "file = \"..\"", "plain file name"),
        ("dense", "input = \"probe-input.f32\"", "input = \"x/y.f32\"", "plain file name"),
        ("dense", "\"slice\", ", "", "input.regions"),
        ("dense", "\"no-reflow\"]", "\"mvo\"]", "output.classes"),
        ("dense", "format = \"dense\"", "format = \"sam\"", "does not serve"),
        ("dense", "kind = \"unit\"", "kind = \"unit\"\nlo = 1.0", "lo or hi"),
        ("dense", "kind = \"unit\"", "kind = \"percentile-minmax\"\nlo = 1.0", "needs lo and hi"),
        ("dense", "kind = \"unit\"", "kind = \"percentile-minmax\"\nlo = 9.0\nhi = 2.0", "lo < hi"),
        ("dense", "contrasts = [\"psir\"]", "contrasts = []", "contrasts"),
        ("dense", "crop_factor = 1.5", "crop_factor = nan", "crop_factor"),
        ("dense", "orientation = \"native\"", "orientation = \"canonical\"", "canonical"),
        ("dense", "shape = [1, 1, 32, 32]", "shape = [1, 0]", "empty or too large"),
        ("dense", "shape = [1, 1, 32, 32]", "shape = [4294967296, 4294967296, 64]", "empty or too large"),
        ("dense", "[accuracy]", "[thresholds]\niou = 0.5\n[accuracy]", "thresholds.iou"),
        ("dense", "tolerance = 1e-3", "tolerance = 5.0", "tolerance"),
        ("ultralytics", "boxes = \"cxcywh\"", "boxes = \"xyxy\"", "boxes as"),
        ("ultralytics", "confidence = 0.25", "confidence = 1.5", "thresholds"),
        ("ultralytics", "max_detections = 8", "max_detections = 0", "thresholds"),
        ("ultralytics", "classes = [\"scar\"]", "classes = [\"lesion\"]", "lacks \"scar\""),
        ("decoder", "mask_select = \"only\"", "mask_select = \"largest\"", "largest"),
        ("decoder", "mask = 0.0", "mask = inf", "thresholds.mask"),
        ("encoder", "[accuracy]", "[prompt]\nframe = 32\nmask_select = \"only\"\n[accuracy]", "[prompt]"),
    ];
    for (fixture, from, to, word) in cases {
        let text = read(fixture);
        assert!(text.contains(from), "{fixture}: `{from}`");
        let error = Manifest::parse(&text.replacen(from, to, 1), Path::new(".")).unwrap_err();
        assert!(error.contains(word), "{fixture}, {to}: `{error}` lacks `{word}`");
    }
}
