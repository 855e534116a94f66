//! Measures of hand-made hearts whose masses can be worked out on paper.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::measure;
use crate::config;
use crate::config::tests::defaults;
use crate::domain::identity::StudyIdentity;
use crate::domain::labels::{Label, Region, ScarSource, Segmentation, SliceLabels};
use crate::domain::measures::{AbsentReason, Measured, ReviewFlag};
use crate::domain::stack::{Contrast, Plane, Slice, SourceFrame, Stack, StackFlag};
use crate::domain::uid::Uid;
use crate::failure::{Class, Code};
use ndarray::Array2;

const SIZE: usize = 64;
const HEIGHT_MM: f64 = 10.0;

pub(super) fn identity() -> StudyIdentity {
    StudyIdentity {
        study: Uid::derive(&["study"]),
        patient_name: String::new(),
        patient_id: String::new(),
        issuer_of_patient_id: None,
        patient_birth_date: String::new(),
        patient_sex: String::new(),
        accession_number: String::new(),
        issuer_of_accession_number: None,
        referring_physician_name: String::new(),
        study_id: String::new(),
        study_date: String::new(),
        study_time: String::new(),
        timezone_offset: None,
        specific_character_set: None,
    }
}

/// A ring of 12..20 px about the centre; `scar` tells which wall pixels are enhanced, by (angle in turns, radius).
fn ring(scar: impl Fn(f64, f64) -> bool) -> SliceLabels {
    let labels = Array2::from_shape_fn((SIZE, SIZE), |(r, c)| {
        let (y, x) = (r as f64 - 31.5, c as f64 - 31.5);
        let radius = x.hypot(y);
        let turn = y.atan2(x) / std::f64::consts::TAU + 0.5;
        let label = match radius {
            radius if radius < 12.0 => Label::Cavity,
            radius if radius >= 20.0 => Label::Background,
            radius if scar(turn, radius) => Label::Scar,
            _ => Label::Myocardium,
        };
        label as u8
    });
    let scar = labels.mapv(|l| l == Label::Scar as u8);
    SliceLabels { labels, scar_inner: scar.clone(), scar_outer: scar, boxes: vec![], entropy: None, agreement: 1.0 }
}

fn stack_of(slices: &[SliceLabels]) -> Stack {
    let slices = slices.iter().enumerate().map(|(index, labels)| Slice {
        pixels: labels.labels.mapv(|l| [20.0, 100.0, 0.0, 120.0, 5.0][usize::from(l)])
            + Array2::from_shape_fn((SIZE, SIZE), |(r, c)| ((r * 7 + c * 3) % 5) as f32),
        valid: None,
        plane: Plane {
            position_mm: [0.0, 0.0, index as f64 * HEIGHT_MM],
            row: [1.0, 0.0, 0.0],
            column: [0.0, 1.0, 0.0],
            spacing_mm: [2.0, 2.0],
        },
        thickness_mm: 8.0,
        height_mm: HEIGHT_MM,
        source: SourceFrame {
            sop_class: Uid::derive(&["class"]),
            sop_instance: Uid::derive(&["instance", &index.to_string()]),
            series: Uid::derive(&["series"]),
            frame: None,
        },
    });
    Stack {
        identity: identity(),
        contrast: Contrast::Psir,
        frame_of_reference: Uid::derive(&["frame"]),
        position_reference_indicator: String::new(),
        lossy: false,
        manufacturer: String::new(),
        field_strength_t: None,
        slices: slices.collect(),
        flags: vec![],
        decisions: vec![],
    }
}

fn segmentation(slices: Vec<SliceLabels>) -> Segmentation {
    Segmentation {
        slices,
        no_reflow: true,
        scar_source: ScarSource::Sam,
        models: vec![],
        provider: "cpu".into(),
        timings: vec![],
    }
}

fn measured(slices: Vec<SliceLabels>) -> crate::domain::measures::Measures {
    measure(&stack_of(&slices), segmentation(slices), &defaults().quantify).unwrap().1
}

/// Wall area on paper: pi (20^2 - 12^2) px x 4 mm^2 x 10 mm per slice, 1.05 g/mL.
fn wall_g(slices: f64) -> f64 {
    std::f64::consts::PI * (400.0 - 144.0) * 4.0 * HEIGHT_MM * slices / 1000.0 * 1.05
}

#[test]
fn masses_follow_from_areas_heights_and_density() {
    let quarter = |turn: f64, _: f64| turn < 0.25;
    let measures =
        measured(vec![ring(quarter), ring(quarter), ring(quarter), ring(quarter), ring(quarter), ring(quarter)]);
    let lv = measures.lv_mass.value().unwrap().0;
    assert!((lv / wall_g(6.0) - 1.0).abs() < 0.02, "{lv}");
    let burden = measures.burden.value().unwrap().0;
    assert!((burden - 25.0).abs() < 0.5, "{burden}");
    assert!((measures.scar_mass.value().unwrap().0 - lv / 4.0).abs() < 0.02 * lv);
    assert_eq!(measures.review_flags, vec![ReviewFlag::ApexCutOff], "a tube has no apex");
}

#[test]
fn a_healthy_heart_has_zero_scar_and_no_share_of_nothing() {
    let measures = measured(vec![ring(|_, _| false); 6]);
    assert_eq!(measures.scar_mass.value().unwrap().0, 0.0);
    assert_eq!(measures.burden.value().unwrap().0, 0.0);
    // Withheld whatever was found, unless the site trusts its model.
    assert_eq!(measures.no_reflow_mass, Measured::Absent(AbsentReason::WithheldForAccuracy));
    let settings = config::Quantify { no_reflow: config::NoReflow::Show, ..defaults().quantify };
    let slices = vec![ring(|_, _| false); 6];
    let shown = measure(&stack_of(&slices), segmentation(slices), &settings).unwrap().1;
    assert_eq!(shown.no_reflow_mass.value().unwrap().0, 0.0);
    assert_eq!(shown.no_reflow_of_scar, Measured::Absent(AbsentReason::NotApplicable));
}

#[test]
fn withheld_no_reflow_is_plain_scar_everywhere() {
    let mut slices = vec![ring(|turn, _| turn < 0.25); 6];
    let scar = slices[2].labels.iter().filter(|label| **label == Label::Scar as u8).count();
    slices[2].labels.mapv_inplace(|label| if label == Label::Scar as u8 { Label::NoReflow as u8 } else { label });
    let (labels, measures) = measure(&stack_of(&slices), segmentation(slices.clone()), &defaults().quantify).unwrap();
    assert_eq!((labels.slices[2].count(Region::NoReflow), labels.slices[2].count(Region::Scar)), (0, scar));
    assert!(!labels.regions().contains(&Region::NoReflow));
    assert!(measures.slices.iter().all(|slice| slice.no_reflow.is_none()));
    let settings = config::Quantify { no_reflow: config::NoReflow::Show, ..defaults().quantify };
    let (labels, shown) = measure(&stack_of(&slices), segmentation(slices), &settings).unwrap();
    assert_eq!(labels.slices[2].count(Region::NoReflow), scar);
    assert_eq!(shown.scar_mass, measures.scar_mass, "it counts as scar either way");
    assert_eq!(shown.signals, measures.signals, "dark cores do not count as enhanced");
    assert!(shown.slices[2].no_reflow.is_some_and(|volume| volume.0 > 0.0));
}

#[test]
fn specks_are_no_scar() {
    let mut slices = vec![ring(|_, _| false); 6];
    slices[2].labels[(31, 46)] = Label::Scar as u8;
    assert_eq!(measured(slices).scar_mass.value().unwrap().0, 0.0);
}

#[test]
fn scar_below_the_detection_limit_counts_as_none_and_above_it_in_full() {
    let burden = |share: f64| measured(vec![ring(|turn, _| turn < share); 6]).burden.value().unwrap().0;
    assert_eq!(burden(0.02), 0.0);
    assert!((burden(0.04) - 4.0).abs() < 0.5);
}

#[test]
fn a_missing_slice_inside_the_ventricle_withholds_masses() {
    let slices = vec![ring(|_, _| false); 6];
    let mut stack = stack_of(&slices);
    stack.flags.push(StackFlag::MissingSlice { after_slice: 2, step_mm: 20.0 });
    let (_, measures) = measure(&stack, segmentation(slices), &defaults().quantify).unwrap();
    assert_eq!(measures.lv_mass, Measured::Absent(AbsentReason::MissingSlice));
    assert_eq!(measures.burden, Measured::Absent(AbsentReason::MissingSlice));
    assert!(measures.review_flags.contains(&ReviewFlag::MissingSlice));
}

#[test]
fn patterns_outside_training_are_flagged() {
    let whole = measured(vec![ring(|_, radius| radius < 18.0); 6]);
    assert!(whole.review_flags.contains(&ReviewFlag::WholeRingEnhanced));
    assert!(whole.review_flags.contains(&ReviewFlag::BurdenOutsideTraining));
    let mid_wall = measured(vec![ring(|turn, radius| turn < 0.2 && radius > 15.0); 6]);
    assert!(mid_wall.review_flags.contains(&ReviewFlag::NoSubendocardialContact));
}

#[test]
fn inverted_contrast_is_refused() {
    let slices = vec![ring(|_, _| false); 6];
    let mut stack = stack_of(&slices);
    stack.slices.iter_mut().for_each(|slice| slice.pixels.mapv_inplace(|v| -v));
    let failure = measure(&stack, segmentation(slices), &defaults().quantify).unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Rejected, Code::PolarityUnproven));
}

#[test]
fn no_wall_is_a_coded_rejection() {
    let mut slices = vec![ring(|_, _| false); 6];
    slices.iter_mut().for_each(|slice| slice.labels.fill(0));
    let failure = measure(&stack_of(&slices), segmentation(slices), &defaults().quantify).unwrap_err();
    assert_eq!((failure.class, failure.code), (Class::Rejected, Code::NoMyocardium));
}
