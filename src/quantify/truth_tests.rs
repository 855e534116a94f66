//! Exact masks of synthetic hearts, against the truth that the phantom computed in its own way: radial chords on the
//! nearest pixel, insertions of the right ventricle from the anatomy as it was drawn.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::quality::Intensities;
use super::segments::{self, Geometry};
use crate::cli::handover;
use crate::config::tests::defaults;
use crate::domain::measures::Measured;
use crate::domain::segments::{DirectionSource, Directions, Level, Segments, SliceRole};
use crate::domain::stack::{cross, dot};
use crate::phantom::study::{Study, StudySpec};
use crate::phantom::truth::Truth;
use crate::phantom::{Lesion, Scars, SeedSpace, Spec, Territory};

fn level_name(role: SliceRole) -> &'static str {
    match role {
        SliceRole::Ring(Level::Basal) => "basal",
        SliceRole::Ring(Level::Mid) => "mid",
        SliceRole::Ring(Level::Apical) => "apical",
        SliceRole::Empty => "none",
        SliceRole::TooBasal => "too-basal",
        SliceRole::ApicalCap => "apical-cap",
        SliceRole::Broken => "broken",
    }
}

/// Angle of the anterior insertion at a level: the middle one of its slices.
fn insertion(truth: &Truth) -> f64 {
    let mut angles: Vec<f64> = truth.slices.iter().filter_map(|s| Some(s.insertions_deg?.0)).collect();
    angles.sort_by(f64::total_cmp);
    angles[angles.len() / 2]
}

/// Sums over the segments of each level: mean of ours, mean of the truth.
fn levels(found: &Segments, truth: &Truth) -> Vec<(f64, f64)> {
    let level = |range: std::ops::Range<usize>| {
        let n = range.len() as f64;
        let ours = found.segments[range.clone()].iter().map(|s| s.transmurality.value().unwrap().mean.0).sum::<f64>();
        let theirs = truth.segments[range].iter().map(|s| s.transmurality_percent.unwrap()).sum::<f64>();
        (ours / n, theirs / n)
    };
    vec![level(0..6), level(6..12), level(12..16)]
}

#[test]
fn exact_masks_give_the_phantoms_transmurality_in_every_territory() {
    for (seed, territory) in [(4, Territory::Lad), (8, Territory::Rca), (11, Territory::Lcx)] {
        let spec = Spec::new(SeedSpace::Evaluation, seed).matrix(160).scars(Scars::Given(vec![Lesion::of(territory)]));
        let study = Study::build(&StudySpec::new(spec).phases(1)).unwrap();
        let (stack, labels) = handover::exact(&study).unwrap();
        let truth = &study.truth;
        let geometry = Geometry::of(&stack, &labels);
        let intensities = Intensities::of(&stack, &labels);
        for (ours, theirs) in geometry.slices.iter().zip(&truth.slices) {
            assert_eq!(level_name(ours.role), theirs.level, "seed {seed}, slice {}", ours.index);
        }

        let found = segments::directions(&geometry, &intensities, &defaults().quantify, None).value().unwrap();
        let sine = dot(found.septum, cross(truth.septum, truth.base_to_apex));
        let off = sine.atan2(dot(found.septum, truth.septum)).to_degrees();
        assert_eq!(found.source, DirectionSource::Found, "seed {seed}");
        assert!(off.abs() < 12.0, "seed {seed}: septum {off:.1} degrees off");
        assert!(dot(found.base_to_apex, truth.base_to_apex) > 0.98);

        let known = Directions { septum: truth.septum, anterior_insertion_deg: insertion(truth), ..found };
        let measured = segments::measure(&stack, &labels, &geometry, Measured::Value(known), 100);
        for (level, (ours, theirs)) in levels(&measured, truth).iter().enumerate() {
            assert!((ours - theirs).abs() < 1.5, "seed {seed}, level {level}: {ours:.2} {theirs:.2}");
        }
        let mut sum = 0.0;
        for (ours, theirs) in measured.segments.iter().zip(&truth.segments) {
            let mean = ours.transmurality.value().unwrap().mean.0;
            // The phantom's insertion moves from slice to slice, ours stays: borders of segments differ by some degrees.
            let off = (mean - theirs.transmurality_percent.unwrap()).abs();
            assert!(off < 12.0, "seed {seed}, segment {}: {off:.1}", ours.segment);
            sum += off;
        }
        assert!(sum / 16.0 < 2.5, "seed {seed}: {:.2}", sum / 16.0);
    }
}
