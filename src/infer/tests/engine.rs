//! What the engine draws, counts and says about itself.

use super::super::{Engine, Stage};
use super::{COLUMNS, GREY, Models, ROWS, dice_of, heart, infarct, pictures, segment, stack, truth};
use crate::config::Infer;
use crate::domain::labels::{Label, ScarSource};
use crate::domain::stack::{Contrast, Stack};
use crate::failure::{Class, Code};
use ndarray::Array2;

#[test]
fn every_detector_layout_and_decoder_draws_the_known_hearts() {
    let truth = truth();
    let stack = stack(&truth);
    let pairs = [
        ("ultralytics", "decoder"),
        ("libreyolo9", "decoder-four"),
        ("yolov5", "decoder-points"),
        ("e2e", "decoder"),
        ("e2e", "decoder-four"),
    ];
    for (detector, decoder) in pairs {
        let found = segment(&Models::of(detector, decoder).engine(), &stack);
        assert_eq!(found.slices.len(), 5);
        for (index, (slice, truth)) in found.slices.iter().zip(&truth).enumerate() {
            let what = format!("{detector}, {decoder}, slice {index}");
            assert_eq!(slice.labels.dim(), (ROWS, COLUMNS), "{what}");
            assert!(dice_of(&slice.labels, truth, 2..=4) > 0.9, "{what}: wall");
            assert!(dice_of(&slice.labels, truth, 1..=1) > 0.9, "{what}: cavity");
            assert!(dice_of(&slice.labels, truth, 3..=4) > 0.85, "{what}: scar");
            // Mixed pixels between scar and wall are as grey as no-reflow, so slices without it are not asked.
            assert!(index != 3 || dice_of(&slice.labels, truth, 4..=4) > 0.5, "{what}: no-reflow");
            assert_eq!(slice.entropy.is_some(), (1..4).contains(&index), "{what}");
            let scar = slice.labels.mapv(|label| label >= Label::Scar as u8);
            assert!(scar.iter().zip(&slice.scar_inner).all(|(scar, inner)| *scar || !inner), "{what}");
            assert!(scar.iter().zip(&slice.scar_outer).all(|(scar, outer)| !scar || *outer), "{what}");
            let boxes = if detector == "e2e" { 2 } else { 1 };
            assert_eq!(slice.boxes.len(), if [2, 3].contains(&index) { boxes } else { 0 }, "{what}");
        }
    }
}

#[test]
fn boxes_are_told_in_slice_pixels_and_work_is_counted() {
    let engine = Models::of("ultralytics", "decoder").engine();
    let seen = std::cell::RefCell::new(Vec::new());
    let found = engine.segment(&stack(&truth()), &|progress| seen.borrow_mut().push(progress)).unwrap();
    // The fixture's best box is the whole crop: about (22, 19), 1.5 x the ring's 26 px.
    let lesion = found.slices[2].boxes[0];
    for (edge, expected) in [(lesion.x0, -0.5), (lesion.y0, 2.5), (lesion.x1, 38.5), (lesion.y1, 41.5)] {
        assert!((edge - expected).abs() < 1.6, "{lesion:?}: {edge}, expected {expected}");
    }
    assert!((lesion.confidence - 0.9).abs() < 1e-5);
    let runs: Vec<(&str, u32)> = found.timings.iter().map(|t| (t.role.as_str(), t.runs)).collect();
    // Whole slices and crops in one batch each; three rings in one batch; two slices with one box each.
    assert_eq!(runs, [("myocardium", 2), ("scar-detector", 1), ("scar-encoder", 2), ("scar-decoder", 2)]);
    assert_eq!(found.provider, "cpu");
    assert_eq!(found.scar_source, ScarSource::Sam);
    assert_eq!(found.models.len(), 4);
    let stages: Vec<Stage> = seen.borrow().iter().map(|p| p.stage).collect();
    assert_eq!(stages, [Stage::Locate, Stage::Myocardium, Stage::Detect, Stage::Segment, Stage::Segment]);
    assert!(seen.borrow().iter().all(|p| p.done <= p.total));
}

#[test]
fn labels_do_not_depend_on_the_batch_nor_on_the_run() {
    let models = Models::of("libreyolo9", "decoder");
    let stack = stack(&truth());
    let one = Engine::load(&Infer { batch: 1, ..models.config(ScarSource::Sam) }).unwrap();
    let (a, b) = (segment(&one, &stack), segment(&models.engine(), &stack));
    let again = segment(&one, &stack);
    for ((a, b), again) in a.slices.iter().zip(&b.slices).zip(&again.slices) {
        assert!(a.labels == b.labels && a.scar_inner == b.scar_inner && a.scar_outer == b.scar_outer);
        assert!(a.labels == again.labels && a.boxes == again.boxes && a.entropy == again.entropy);
    }
}

#[test]
fn half_precision_ports_are_converted() {
    let models = Models::of("ultralytics", "decoder");
    models.put("myocardium", "dense-half");
    let truth = truth();
    let found = segment(&models.engine(), &stack(&truth));
    for (slice, truth) in found.slices.iter().zip(&truth) {
        assert!(dice_of(&slice.labels, truth, 2..=4) > 0.9);
    }
}

#[test]
fn a_slice_without_a_box_has_no_scar_whatever_the_dense_model_says() {
    // 218 is scar for the dense model, and too dark for the detector.
    let faint = heart(infarct).mapv(|label| if label == Label::Scar as u8 { 218.0 } else { GREY[usize::from(label)] });
    let stack = pictures(vec![faint; 3]);
    let models = Models::of("ultralytics", "decoder");
    let found = segment(&models.engine(), &stack);
    for slice in &found.slices {
        assert!(slice.labels.iter().all(|label| *label < Label::Scar as u8) && slice.boxes.is_empty());
        assert!(slice.agreement.abs() < 1e-6, "one model sees scar, the other none");
        assert!(!slice.scar_outer.iter().any(|set| *set));
    }
    let dense = segment(&Engine::load(&models.config(ScarSource::Dense)).unwrap(), &stack);
    assert_eq!(dense.scar_source, ScarSource::Dense);
    assert_eq!(dense.models.len(), 1);
    let truth = heart(infarct);
    assert!(dense.slices.iter().all(|slice| dice_of(&slice.labels, &truth, 3..=4) > 0.85));
}

#[test]
fn stacks_that_the_models_cannot_serve_are_rejected() {
    let engine = Models::of("ultralytics", "decoder").engine();
    let code = |stack: &Stack| {
        let failure = engine.segment(stack, &|_| {}).unwrap_err();
        assert_eq!(failure.class, Class::Rejected);
        failure.code
    };
    assert_eq!(code(&pictures(vec![Array2::zeros((ROWS, COLUMNS)); 3])), Code::NoMyocardium);
    let noise = Array2::from_elem((ROWS, COLUMNS), f32::NAN);
    assert_eq!(code(&pictures(vec![noise; 3])), Code::NoMyocardium);
    let magnitude = Stack { contrast: Contrast::Magnitude, ..stack(&truth()) };
    assert_eq!(code(&magnitude), Code::ContrastNotSupported);
    let uneven = pictures(vec![Array2::zeros((4, 4)), Array2::zeros((4, 5))]);
    assert_eq!(code(&uneven), Code::PixelDataInvalid);
    assert_eq!(code(&pictures(vec![Array2::zeros((0, 7))])), Code::PixelDataInvalid);
}

#[test]
fn the_engine_says_what_it_is() {
    let engine = Models::of("ultralytics", "decoder").engine();
    assert_eq!(engine.provider(), "cpu");
    assert_eq!(engine.accepted_contrasts(), [Contrast::Psir]);
    assert!(engine.ort_version().starts_with("1."), "{}", engine.ort_version());
    let parts = engine.version_parts();
    assert_eq!(parts, Models::of("ultralytics", "decoder").engine().version_parts(), "the folder does not matter");
    let other = Models::of("libreyolo9", "decoder");
    assert_ne!(parts, other.engine().version_parts());
    other.edit("scar-detector", "confidence = 0.25", "confidence = 0.3");
    assert_ne!(Models::of("libreyolo9", "decoder").engine().version_parts(), other.engine().version_parts());
}

#[test]
fn the_mask_is_chosen_as_the_manifest_says() {
    let stack = stack(&truth());
    let scar_pixels = |models: &Models| {
        let found = segment(&models.engine(), &stack);
        let count =
            |slice: usize| found.slices[slice].labels.iter().filter(|label| **label >= Label::Scar as u8).count();
        assert_eq!(count(1), 0, "a healthy slice");
        count(2)
    };
    let token0 = scar_pixels(&Models::of("ultralytics", "decoder-four"));
    // The fixture's IoU estimate prefers a mask that covers everything: the whole wall, grown by a pixel.
    let best = Models::of("ultralytics", "decoder-four");
    best.edit("scar-decoder", "mask_select = \"token0\"", "mask_select = \"best_iou\"");
    let wall = truth()[2].iter().filter(|label| **label >= Label::Myocardium as u8).count();
    let whole = scar_pixels(&best);
    assert!(whole > wall && whole < 2 * wall, "{whole} pixels, the wall has {wall}");
    assert!(token0 < wall / 2);
    // Four masks and nothing to choose by is an error; one mask with a padding point is the same mask.
    let only = Models::of("ultralytics", "decoder-four");
    only.edit("scar-decoder", "mask_select = \"token0\"", "mask_select = \"only\"");
    assert_eq!(only.engine().segment(&stack, &|_| {}).unwrap_err().code, Code::ModelInvalid);
    let padded = Models::of("ultralytics", "decoder");
    padded.edit("scar-decoder", "mask_select = \"only\"", "mask_select = \"token0\"");
    assert_eq!(scar_pixels(&padded), token0);
}
