//! Properties that hold across the modules of the phantom.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet};
use std::f64::consts::PI;

use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, InMemDicomObject};
use proptest::prelude::*;

use super::heart::{Heart, Shape};
use super::render::render;
use super::scar::{Lesion, Territory};
use super::scene::{Plane, Scene};
use super::series::Component;
use super::signal::{FieldStrength, late_enhancement};
use super::tissue::Tissue;
use super::vec3::{add_scaled, cross, dot, unit};
use super::{Instance, PhantomSeed, Scars, SeedSpace, Spec, Study, StudySpec, Variant, Vendor};

fn seed(number: u64) -> PhantomSeed {
    PhantomSeed { space: SeedSpace::Evaluation, seed: number, index: 0 }
}

fn small(number: u64) -> StudySpec {
    let mut spec = Spec::new(SeedSpace::Evaluation, number).matrix(96);
    spec.pixel_mm = Some(2.6);
    spec.scars = Scars::Given(vec![Lesion { no_reflow: Some(0.7), extent: 0.9, ..Lesion::of(Territory::Lad) }]);
    StudySpec::new(spec).phases(1)
}

/// A truncated ellipsoid without wobble, tilt or scar.
fn plain(endo: f64, wall: f64, length: f64) -> Shape {
    let mut shape = Shape::draw(&seed(1), Vec::new());
    shape.endo = endo;
    shape.wall = wall;
    shape.cap = 0.7 * wall;
    shape.length = length;
    shape.widest = 0.2;
    shape.wobble.clear();
    shape.base_tilt = (0.0, 0.0);
    shape
}

/// Volume of rotation of r^2 (1 - ((z-c)/(e-c))^2) for z in 0..e.
fn solid(radius: f64, c: f64, end: f64) -> f64 {
    let a = end - c;
    PI * radius * radius * (end - (a.powi(3) + c.powi(3)) / (3.0 * a * a))
}

/// Wall and cavity volume (ml) of a stack of slices at right angles to the axis.
fn measured(shape: Shape, pixel: f64, spacing: f64) -> (f64, f64) {
    let scene = Scene::with_shape(&seed(1), shape);
    let late = late_enhancement(&seed(1), FieldStrength::T15);
    let (row, axis) = (scene.pose.septum, scene.pose.apex);
    let column = cross(row, axis);
    let (mut wall, mut cavity) = (0.0, 0.0);
    let steps = (scene.heart.shape().end() / spacing).ceil() as usize;
    for k in 0..steps {
        let centre = scene.pose.to_patient([0.0, 0.0, (k as f64 + 0.5) * spacing]);
        let plane = Plane::centred(centre, row, column, (96, 96), pixel, spacing);
        let labels = render(&scene, &plane, &late, [0.0; 3]).labels;
        let voxel = pixel * pixel * spacing / 1000.0;
        wall += voxel * labels.iter().filter(|l| **l >= 2).count() as f64;
        cavity += voxel * labels.iter().filter(|l| **l == 1).count() as f64;
    }
    (wall, cavity)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn mass_equals_the_analytic_volume(endo in 20.0..30.0f64, wall in 7.0..12.0f64, length in 70.0..95.0f64) {
        let shape = plain(endo, wall, length);
        let c = 0.2 * length;
        let inside = solid(endo, c, length) / 1000.0;
        let whole = solid(endo + wall, c, shape.end()) / 1000.0;
        let (wall_ml, cavity_ml) = measured(shape, 1.2, 4.0);
        prop_assert!((cavity_ml - inside).abs() < 0.02 * inside, "cavity {cavity_ml} for {inside}");
        prop_assert!((wall_ml - (whole - inside)).abs() < 0.02 * (whole - inside), "wall {wall_ml} for {}", whole - inside);
    }

    #[test]
    fn the_wall_keeps_its_volume_through_the_beat(number in 0u64..40) {
        let volume = |contraction: f64| {
            let heart = Heart::new(&seed(number), Shape::draw(&seed(number), Vec::new()), contraction);
            (0..360).map(|a| {
                let (a, z) = (f64::from(a).to_radians(), 30.0);
                let (endo, epi) = (heart.inner_radius(a, z), heart.outer_radius(a, z));
                epi * epi - endo * endo
            }).sum::<f64>()
        };
        prop_assert!((volume(1.0) / volume(0.0) - 1.0).abs() < 0.01);
    }

    #[test]
    fn stored_pixels_give_the_values_back(value in -3900.0..4000.0f32) {
        for vendor in [Vendor::Siemens, Vendor::Ge, Vendor::Philips] {
            let storage = vendor.storage(Component::Psir);
            let word = storage.encode(value);
            let slope = storage.rescale.map_or(1.0, |(slope, _)| slope as f32);
            prop_assert!((storage.decode(word) - value).abs() <= 0.5 * slope + 1e-3, "{vendor:?}");
        }
    }
}

#[test]
fn nulled_wall_is_dark_blood_bright_scar_brighter() {
    for number in 0..200 {
        for field in [FieldStrength::T15, FieldStrength::T30] {
            let contrast = late_enhancement(&seed(number), field);
            let of = |t: Tissue| contrast.signal[t as usize];
            assert!((of(Tissue::Cavity) - 1000.0).abs() < 1.0);
            assert!(of(Tissue::Myocardium).abs() < 250.0, "wall is nulled: {}", of(Tissue::Myocardium));
            assert!(of(Tissue::Scar) > of(Tissue::Myocardium) + 500.0);
            assert!(of(Tissue::NoReflow) < 300.0 && of(Tissue::Air) == 0.0);
            assert!((150.0..450.0).contains(&contrast.inversion_ms), "TI {}", contrast.inversion_ms);
        }
    }
}

fn numbers(object: &FileDicomObject<InMemDicomObject>, tag: dicom_core::Tag) -> Vec<f64> {
    object.element(tag).unwrap().to_multi_float64().unwrap()
}

#[test]
fn written_geometry_leads_back_to_the_heart() {
    let study = Study::build(&small(5)).unwrap();
    let pose = study.phantom.scene.pose;
    let by_uid: HashMap<_, _> = study.instances.iter().map(|i| (i.sop_instance_uid.as_str(), i)).collect();
    let mut levels = Vec::new();
    for slice in study.truth.slices.iter().filter(|s| s.level == "mid") {
        let object = &by_uid[slice.psir_sop_instance_uid.as_deref().unwrap()].object;
        let bytes = by_uid[slice.psir_sop_instance_uid.as_deref().unwrap()].to_bytes().unwrap();
        let read = dicom_object::from_reader(&bytes[..]).unwrap();
        assert_eq!(numbers(object, tags::IMAGE_POSITION_PATIENT), numbers(&read, tags::IMAGE_POSITION_PATIENT));
        let (ipp, iop) =
            (numbers(&read, tags::IMAGE_POSITION_PATIENT), numbers(&read, tags::IMAGE_ORIENTATION_PATIENT));
        let spacing = numbers(&read, tags::PIXEL_SPACING);
        let (row, column) = ([iop[0], iop[1], iop[2]], [iop[3], iop[4], iop[5]]);
        assert!(dot(row, column).abs() < 1e-6 && (dot(row, row) - 1.0).abs() < 1e-6);
        let mask = &study.labels[slice.index];
        let cavity: Vec<usize> = (0..mask.len()).filter(|i| mask[*i] == 1).collect();
        let mean = |f: &dyn Fn(usize) -> usize| cavity.iter().map(|i| f(*i) as f64).sum::<f64>() / cavity.len() as f64;
        let (y, x) = (mean(&|i| i / 96), mean(&|i| i % 96));
        let p = add_scaled(add_scaled([ipp[0], ipp[1], ipp[2]], row, x * spacing[1]), column, y * spacing[0]);
        let [hx, hy, hz] = pose.to_heart(p);
        assert!(hx.hypot(hy) < 6.0, "cavity centre {hx:.1} {hy:.1} mm from the axis");
        levels.push(hz);
    }
    assert!(levels.len() >= 3 && levels.windows(2).all(|w| (w[1] - w[0] - study.truth.spacing_mm).abs() < 3.0));
    assert!(dot(pose.apex, unit([0.62, -0.52, -0.58])) > 0.9, "apex points left, forward and down");
}

#[test]
fn same_seed_same_bytes_and_other_options_other_uids() {
    let bytes = |spec: &StudySpec| -> Vec<Vec<u8>> {
        Study::build(spec).unwrap().instances.iter().map(|i| i.to_bytes().unwrap()).collect()
    };
    assert!(bytes(&small(9)) == bytes(&small(9)));
    let mut seen = HashSet::new();
    for spec in [
        small(9),
        small(10),
        small(9).vendor(Vendor::Ge),
        small(9).variant(Variant::MissingSlice),
        small(9).enhanced(true),
        small(9).phases(2),
    ] {
        for instance in Study::build(&spec).unwrap().instances {
            assert!(seen.insert(instance.sop_instance_uid), "a UID names two contents");
        }
    }
}

#[test]
fn truth_agrees_with_its_masks_and_lesions() {
    let study = Study::build(&small(3)).unwrap();
    let truth = &study.truth;
    let count = |class: u8| study.labels.iter().flatten().filter(|l| **l == class).count() as f64;
    let voxel = truth.pixel_mm.powi(2) * truth.spacing_mm / 1000.0;
    assert!((truth.lv_mass_g - 1.05 * voxel * (count(2) + count(3) + count(4))).abs() < 1e-6);
    assert!((truth.scar_mass_g - 1.05 * voxel * (count(3) + count(4))).abs() < 1e-6);
    assert!(truth.no_reflow_mass_g > 0.0 && truth.no_reflow_mass_g < truth.scar_mass_g);
    assert!((40.0..260.0).contains(&truth.lv_mass_g), "plausible mass: {}", truth.lv_mass_g);
    let of = |n: u8| truth.segments.iter().find(|s| s.segment == n).unwrap().transmurality_percent.unwrap();
    assert!(of(7) > 30.0, "LAD scar is in the mid anterior segment: {}", of(7));
    assert!(of(11) < 5.0, "and not in the mid inferolateral one: {}", of(11));
    assert!(truth.slices.first().unwrap().myocardium_ml == 0.0 && truth.slices.last().unwrap().myocardium_ml == 0.0);
    for slice in truth.slices.iter().filter(|s| s.level == "mid") {
        let (anterior, inferior) = slice.insertions_deg.unwrap();
        assert!((25.0..95.0).contains(&anterior) && (-95.0..-25.0).contains(&inferior), "{anterior} {inferior}");
    }
}

#[test]
fn healthy_hearts_come_as_often_as_asked() {
    let scars = Scars::Random { healthy_fraction: 0.25 };
    let healthy = |space: SeedSpace| {
        let none = |i: &u64| Spec::new(space, 3).index(*i).scars(scars.clone()).lesions().is_empty();
        (0..4000).filter(none).count()
    };
    for space in [SeedSpace::Training, SeedSpace::Evaluation] {
        // Five standard deviations of a binomial with p = 1/4 are 137.
        assert!((863..1137).contains(&healthy(space)), "{} of 4000", healthy(space));
    }
}

fn late(study: &Study) -> Vec<&Instance> {
    study.instances.iter().filter(|i| i.series.starts_with("lge-sax")).collect()
}

fn distinct(instances: &[&Instance], tag: dicom_core::Tag) -> usize {
    let values: HashSet<_> =
        instances.iter().filter_map(|i| i.object.element(tag).ok()?.to_str().ok().map(|s| s.into_owned())).collect();
    values.len()
}

#[test]
fn every_variant_has_its_fault_and_no_other() {
    let whole = Study::build(&small(2)).unwrap();
    let slices = whole.truth.slices.len();
    assert_eq!(late(&whole).len(), 2 * slices);
    assert_eq!(distinct(&late(&whole), tags::IMAGE_POSITION_PATIENT), slices);
    for variant in Variant::ALL {
        let study = Study::build(&small(2).variant(variant)).unwrap();
        let images = late(&study);
        let psir = images.iter().filter(|i| i.series.ends_with("psir")).count();
        let expected = match variant {
            Variant::NoLge | Variant::CineOnly | Variant::LongAxisOnly => 0,
            Variant::MagnitudeOnly => slices,
            Variant::OneSlice => 2,
            Variant::DuplicatePositions => 2 * (slices + 1),
            Variant::MissingSlice => 2 * (slices - 1),
            _ => 2 * slices,
        };
        assert_eq!(images.len(), expected, "{}", variant.name());
        assert_eq!(psir > 0, expected > 0 && variant != Variant::MagnitudeOnly, "{}", variant.name());
        let references = distinct(&images, tags::FRAME_OF_REFERENCE_UID);
        assert_eq!(references, if variant == Variant::MixedFrameOfReference { 2 } else { references.min(1) });
        let oriented = images.iter().all(|i| i.object.element(tags::IMAGE_ORIENTATION_PATIENT).is_ok());
        assert_eq!(oriented, variant != Variant::NoOrientation);
        let short = images.iter().filter(|i| pixel_bytes(i) != 96 * 96 * 2).count();
        assert_eq!(short > 0, variant == Variant::ShortPixelData, "{}", variant.name());
        let scar = study.truth.scar_mass_g / study.truth.lv_mass_g;
        match variant {
            Variant::ScarFree => assert!(study.truth.scar_mass_g == 0.0),
            Variant::WholeRingScar => assert!(scar > 0.8),
            _ => assert!(scar > 0.02 && scar < 0.5),
        }
    }
}

fn pixel_bytes(instance: &Instance) -> usize {
    instance.object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().len()
}

#[test]
fn enhanced_holds_the_same_pixels_as_classic() {
    let classic = Study::build(&small(4)).unwrap();
    let enhanced = Study::build(&small(4).enhanced(true)).unwrap();
    let words = |i: &Instance| i.object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
    let singles: Vec<u8> = late(&classic).into_iter().filter(|i| i.series == "lge-sax-psir").flat_map(words).collect();
    let multi: Vec<&Instance> = late(&enhanced).into_iter().filter(|i| i.series == "lge-sax-psir").collect();
    assert_eq!(multi.len(), 1);
    assert!(words(multi[0]) == singles);
    let frames = multi[0].object.element(tags::NUMBER_OF_FRAMES).unwrap().to_int::<usize>().unwrap();
    assert_eq!(frames, enhanced.truth.slices.len());
    assert_eq!(enhanced.truth.slices[2].psir_frame, Some(3));
}
