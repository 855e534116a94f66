//! Taking in models of every format from nothing but the ONNX file and a manifest without digest and probe.

use super::super::adopt;
use super::{Models, dice_of, segment, stack, truth};
use crate::domain::labels::ScarSource;

/// Leaves of a model what a site has after its export: the file and what it can say about it.
fn forget(models: &Models, role: &str) {
    let folder = models.folder(role);
    std::fs::remove_file(folder.join("probe-input.f32")).unwrap();
    std::fs::remove_file(folder.join("probe-output.f32")).unwrap();
    let path = folder.join("manifest.toml");
    let mut table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    table.remove("sha256").unwrap();
    table.remove("probe").unwrap();
    std::fs::write(&path, table.to_string()).unwrap();
}

#[test]
fn exports_of_every_format_are_taken_in_and_draw_the_known_hearts() {
    let truth = truth();
    let stack = stack(&truth);
    let pairs =
        [("ultralytics", "decoder"), ("libreyolo9", "decoder-four"), ("yolov5", "decoder-points"), ("e2e", "decoder")];
    for (detector, decoder) in pairs {
        let models = Models::of(detector, decoder);
        let config = models.config(ScarSource::Sam);
        for role in ["myocardium", "scar-detector", "scar-encoder", "scar-decoder"] {
            forget(&models, role);
            let manifest = adopt(&config, &models.folder(role)).unwrap();
            assert_eq!(manifest.role.name(), role);
        }
        let reports = super::super::check(&config).unwrap();
        assert!(reports.iter().all(|(_, report)| report.is_ok()), "{detector}, {decoder}");
        let found = segment(&models.engine(), &stack);
        for (slice, truth) in found.slices.iter().zip(&truth) {
            assert!(dice_of(&slice.labels, truth, 3..=4) > 0.85, "{detector}, {decoder}");
        }
    }
}

#[test]
fn a_manifest_that_does_not_fit_its_file_is_not_taken_in() {
    let models = Models::of("ultralytics", "decoder");
    let config = models.config(ScarSource::Sam);
    let folder = models.folder("scar-detector");
    models.edit("scar-detector", "name = \"images\"", "name = \"pictures\"");
    let failure = adopt(&config, &folder).unwrap_err();
    assert!(failure.detail.contains("images"), "{failure}");
    models.edit("scar-detector", "licence = \"Apache-2.0\"\n", "");
    let failure = adopt(&config, &folder).unwrap_err();
    assert!(failure.detail.contains("licence"), "{failure}");
}
