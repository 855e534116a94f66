//! Selection on whole phantom studies: every vendor's habits, classic and Enhanced, and every fault the phantom can make.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::config::tests::defaults;
use crate::phantom::{SeedSpace, Spec, Study, StudySpec, Variant, Vendor};
use bytes::Bytes;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use proptest::prelude::*;
use std::sync::LazyLock;

fn spec() -> StudySpec {
    StudySpec::new(Spec::new(SeedSpace::Evaluation, 11).matrix(64)).phases(5)
}

fn objects(study: &Study) -> Vec<SourceObject> {
    study.instances.iter().map(|instance| SourceObject::Memory(Bytes::from(instance.to_bytes().unwrap()))).collect()
}

/// The whole classic study; building one takes a while.
static WHOLE: LazyLock<Study> = LazyLock::new(|| Study::build(&spec()).unwrap());

fn choose(objects: &[SourceObject], accepted: &[Contrast]) -> Result<Stack, Error> {
    let config = defaults();
    select(objects, &config.study, &config.limits, accepted)
}

fn code(result: &Result<Stack, Error>) -> Code {
    match result {
        Err(Error::Rejected { code, .. }) => *code,
        other => panic!("not a rejection: {:?}", other.as_ref().map(|stack| stack.slices.len())),
    }
}

/// The study with each object changed, as bytes.
fn changed(study: &Study, change: impl Fn(&crate::phantom::Instance, &mut InMemDicomObject)) -> Vec<SourceObject> {
    let encode = |instance: &crate::phantom::Instance| {
        let mut object = instance.object.clone();
        change(instance, &mut object);
        let mut bytes = Vec::new();
        object.write_all(&mut bytes).unwrap();
        SourceObject::Memory(bytes.into())
    };
    study.instances.iter().map(encode).collect()
}

/// The stack against what the phantom planned: planes, heights, sources, and every pixel within the rounding of storage.
fn assert_is_planned_stack(stack: &Stack, study: &Study, slope: f64) {
    let drawn = study.phantom.late_stack();
    assert_eq!(stack.slices.len(), drawn.len());
    let reversed = stack.slices[0].plane.position_mm != study.truth.slices[0].position_mm
        && (stack.slices[0].plane.position_mm[2] - study.truth.slices[0].position_mm[2]).abs() > 1.0;
    for (index, slice) in stack.slices.iter().enumerate() {
        let planned = if reversed { drawn.len() - 1 - index } else { index };
        let (truth, drawn) = (&study.truth.slices[planned], &drawn[planned]);
        for (got, wanted) in slice.plane.position_mm.iter().zip(truth.position_mm) {
            assert!((got - wanted).abs() < 0.01, "position {got} {wanted}");
        }
        assert_eq!(Some(slice.source.sop_instance.as_str()), truth.psir_sop_instance_uid.as_deref());
        assert_eq!(slice.source.frame, truth.psir_frame);
        assert!((slice.height_mm - study.truth.spacing_mm).abs() < 0.01, "height {}", slice.height_mm);
        let worst = slice.pixels.iter().zip(&drawn.psir).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        assert!(worst <= 0.51 * slope, "a pixel of slice {index} is off by {worst}");
    }
}

#[test]
fn every_vendors_psir_stack_is_found_with_its_planes_and_values() {
    for (vendor, slope) in [(Vendor::Siemens, 2.0), (Vendor::Ge, 1.0), (Vendor::Philips, 2.567_521_368)] {
        for enhanced in [false, true] {
            let study = Study::build(&spec().vendor(vendor).enhanced(enhanced)).unwrap();
            let stack = choose(&objects(&study), &[Contrast::Psir]).unwrap();
            assert_is_planned_stack(&stack, &study, slope);
            assert_eq!(stack.contrast, Contrast::Psir);
            assert!(stack.flags.is_empty(), "{vendor:?} {enhanced}: {:?}", stack.flags);
            assert!(stack.slices.iter().any(|s| s.pixels.iter().any(|v| *v < 0.0)), "the sign is kept");
            assert_eq!(stack.identity.study.as_str(), study.uid);
            assert!(!stack.identity.patient_id.is_empty() && stack.field_strength_t.is_some());
        }
    }
}

#[test]
fn every_series_has_a_reason() {
    let stack = choose(&objects(&WHOLE), &[Contrast::Psir]).unwrap();
    let reason_of = |name: &str| {
        let instance = WHOLE.instances.iter().find(|instance| instance.series == name).unwrap();
        let number = i32::try_from(instance.series_number).unwrap();
        let decision = stack.decisions.iter().find(|d| d.series_number == Some(number)).unwrap();
        (decision.reason.as_str(), decision.taken)
    };
    assert_eq!(reason_of("localiser"), ("localizer", false));
    assert_eq!(reason_of("cine-sax"), ("cine", false));
    assert_eq!(reason_of("ti-scout"), ("ti-scout", false));
    assert_eq!(reason_of("lge-sax-mag"), ("magnitude-has-psir-twin", false));
    assert_eq!(reason_of("lge-sax-psir"), ("psir-short-axis", true));
    assert_eq!(reason_of("lge-2ch-psir"), ("long-axis", false));
    assert_eq!(reason_of("lge-4ch-psir"), ("long-axis", false));
}

#[test]
fn every_fault_ends_in_its_code() {
    let wanted = [
        (Variant::NoLge, Code::NoLgeSeries),
        (Variant::CineOnly, Code::NoLgeSeries),
        (Variant::LongAxisOnly, Code::NoLgeSeries),
        (Variant::MagnitudeOnly, Code::ContrastNotSupported),
        (Variant::OneSlice, Code::TooFewSlices),
        (Variant::MixedFrameOfReference, Code::MixedFrameOfReference),
        (Variant::NoOrientation, Code::GeometryInvalid),
        (Variant::ShortPixelData, Code::PixelDataInvalid),
        (Variant::AbsurdRows, Code::StudyTooLarge),
        (Variant::AbsurdFrames, Code::StudyTooLarge),
    ];
    for (variant, wanted) in wanted {
        for enhanced in [false, true] {
            let study = Study::build(&spec().variant(variant).enhanced(enhanced)).unwrap();
            let result = choose(&objects(&study), &[Contrast::Psir]);
            assert_eq!(code(&result), wanted, "{variant:?} enhanced {enhanced}");
            let decided = result.unwrap_err().decisions().len();
            let series: BTreeSet<_> = study.instances.iter().map(|instance| instance.series_number).collect();
            assert_eq!(decided, series.len(), "{variant:?}: a rejection still says why each series was left");
        }
    }
}

#[test]
fn magnitude_is_taken_only_when_a_model_accepts_it() {
    let study = Study::build(&spec().variant(Variant::MagnitudeOnly)).unwrap();
    let stack = choose(&objects(&study), &[Contrast::Psir, Contrast::Magnitude]).unwrap();
    assert_eq!(stack.contrast, Contrast::Magnitude);
    let both = choose(&objects(&WHOLE), &[Contrast::Psir, Contrast::Magnitude]).unwrap();
    assert_eq!(both.contrast, Contrast::Psir, "the first accepted contrast is preferred");
}

#[test]
fn a_repeated_slice_keeps_the_newest_and_says_so() {
    for enhanced in [false, true] {
        let study = Study::build(&spec().variant(Variant::DuplicatePositions).enhanced(enhanced)).unwrap();
        let stack = choose(&objects(&study), &[Contrast::Psir]).unwrap();
        assert_eq!(stack.slices.len(), study.truth.slices.len());
        let repeated: Vec<_> = stack
            .flags
            .iter()
            .filter_map(|f| match f {
                StackFlag::DuplicatePosition { slice, dropped } => Some((*slice, *dropped)),
                _ => None,
            })
            .collect();
        assert_eq!(repeated.len(), 1);
        assert_eq!(repeated[0].1, 1);
        // The truth names the later acquisition.
        let source = &stack.slices[repeated[0].0].source;
        let newest = |s: &crate::phantom::truth::SliceTruth| {
            s.psir_sop_instance_uid.as_deref() == Some(source.sop_instance.as_str()) && s.psir_frame == source.frame
        };
        assert!(study.truth.slices.iter().any(newest));
    }
}

#[test]
fn a_missing_slice_is_flagged_at_its_place_and_no_height_bridges_it() {
    let study = Study::build(&spec().variant(Variant::MissingSlice)).unwrap();
    let stack = choose(&objects(&study), &[Contrast::Psir]).unwrap();
    let spacing = study.truth.spacing_mm;
    let [StackFlag::MissingSlice { after_slice, step_mm }] = stack.flags.as_slice() else {
        panic!("{:?}", stack.flags)
    };
    assert!((step_mm - 2.0 * spacing).abs() < 0.01);
    assert!((stack.slices[*after_slice].height_mm - 1.5 * spacing).abs() < 0.01);
    assert!((stack.slices[0].height_mm - spacing).abs() < 0.01);
}

#[test]
fn names_never_decide_alone() {
    let rename = |text: &'static str| {
        changed(&WHOLE, move |instance, object| {
            let is_stack = instance.series == "lge-sax-psir";
            for tag in [tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME] {
                let name = if is_stack { "series 7" } else { text };
                object.put(DataElement::new(tag, VR::LO, PrimitiveValue::from(name)));
            }
        })
    };
    let stack = choose(&rename("LGE PSIR SAX DELAYED"), &[Contrast::Psir]).unwrap();
    assert_is_planned_stack(&stack, &WHOLE, 2.0);
}

#[test]
fn early_enhancement_three_dimensional_and_dark_blood_are_not_taken_for_late_bright_blood() {
    let named = |text: &'static str| {
        changed(&WHOLE, move |_, object| {
            object.put(DataElement::new(tags::SERIES_DESCRIPTION, VR::LO, PrimitiveValue::from(text)));
        })
    };
    assert_eq!(code(&choose(&named("psir sax early_c"), &[Contrast::Psir])), Code::ContrastNotSupported);
    assert_eq!(code(&choose(&named("psir sax dark_blood"), &[Contrast::Psir])), Code::ContrastNotSupported);
    let volume = changed(&WHOLE, |_, object| {
        object.put(DataElement::new(tags::MR_ACQUISITION_TYPE, VR::CS, PrimitiveValue::from("3D")));
    });
    assert_eq!(code(&choose(&volume, &[Contrast::Psir])), Code::ContrastNotSupported);
}

#[test]
fn slices_in_series_of_their_own_are_put_together() {
    let scattered = changed(&WHOLE, |instance, object| {
        if instance.series == "lge-sax-psir" {
            let uid = format!("2.25.77{}", instance.number);
            object.put(DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, PrimitiveValue::from(uid)));
        }
    });
    let stack = choose(&scattered, &[Contrast::Psir]).unwrap();
    assert_eq!(stack.slices.len(), WHOLE.truth.slices.len());
    assert_eq!(stack.decisions.iter().filter(|d| d.taken).count(), stack.slices.len());
}

#[test]
fn our_own_outputs_and_other_modalities_are_left_out() {
    let mut all = objects(&WHOLE);
    let before = choose(&all, &[Contrast::Psir]).unwrap();
    let seg = changed(&WHOLE, |_, object| {
        object.put(DataElement::new(tags::MODALITY, VR::CS, PrimitiveValue::from("SEG")));
        let uid = PrimitiveValue::from("2.25.4711");
        object.put(DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, uid));
    });
    all.extend(seg.into_iter().take(3));
    let after = choose(&all, &[Contrast::Psir]).unwrap();
    assert_eq!(selected_instances(&before), selected_instances(&after));
    assert!(after.decisions.iter().any(|d| d.reason == "not-mr"));
}

#[test]
fn unreadable_objects_and_foreign_syntaxes_are_told_apart() {
    let mut all = objects(&WHOLE);
    all.push(SourceObject::Memory(Bytes::from_static(b"<html>not found</html>")));
    assert_eq!(code(&choose(&all, &[Contrast::Psir])), Code::NotDicom);
    assert_eq!(code(&choose(&[], &[Contrast::Psir])), Code::NoLgeSeries);
    let mut foreign = objects(&WHOLE);
    for (object, instance) in foreign.iter_mut().zip(&WHOLE.instances) {
        let mut copy = instance.object.clone();
        copy.meta_mut().transfer_syntax = "1.2.3.4.5.6.7".to_owned();
        copy.meta_mut().update_information_group_length();
        // Written by hand: the library refuses to write a syntax that it does not know.
        let mut bytes = [vec![0; 128], b"DICM".to_vec()].concat();
        copy.meta().write(&mut bytes).unwrap();
        let explicit = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
        copy.write_dataset_with_ts(&mut bytes, &explicit).unwrap();
        *object = SourceObject::Memory(bytes.into());
    }
    assert!(matches!(choose(&foreign, &[Contrast::Psir]), Err(Error::NeedsTranscoding)));
}

#[test]
fn limits_hold() {
    let config = defaults();
    let all = objects(&WHOLE);
    let mut limits = config.limits.clone();
    limits.study_instances = all.len() - 1;
    let result = select(&all, &config.study, &limits, &[]);
    assert_eq!(code(&result), Code::StudyTooLarge);
    limits = config.limits.clone();
    limits.frame_pixels = 63;
    assert_eq!(code(&select(&all, &config.study, &limits, &[])), Code::StudyTooLarge);
    limits = config.limits.clone();
    limits.instance_bytes = 1000;
    assert_eq!(code(&select(&all, &config.study, &limits, &[])), Code::StudyTooLarge);
}

#[test]
fn objects_of_two_studies_or_two_patients_are_refused() {
    let second = |tag, vr, text: &'static str| {
        changed(&WHOLE, move |instance, object| {
            if instance.series == "lge-sax-psir" && instance.number == 2 {
                object.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
            }
        })
    };
    assert_eq!(code(&choose(&second(tags::STUDY_INSTANCE_UID, VR::UI, "2.25.1"), &[])), Code::BadRequest);
    let result = choose(&second(tags::PATIENT_ID, VR::LO, "SOMEONE-ELSE"), &[]);
    assert_eq!(code(&result), Code::PatientChanged);
    assert!(!result.unwrap_err().to_string().contains("SOMEONE"), "no patient in an error");
}

#[test]
fn a_folder_gives_its_dicom_files() {
    let dir = tempfile::tempdir().unwrap();
    WHOLE.write(dir.path(), dir.path()).unwrap();
    std::fs::write(dir.path().join("DICOMDIR"), [vec![0; 128], b"DICM".to_vec()].concat()).unwrap();
    std::fs::write(dir.path().join("notes.txt"), "notes").unwrap();
    let folder = read_folder(dir.path(), 10_000).unwrap();
    assert_eq!(folder.objects.len(), WHOLE.instances.len());
    // DICOMDIR, notes, truth.json and truth-labels.npy.
    assert_eq!(folder.skipped, 4);
    let stack = choose(&folder.objects, &[]).unwrap();
    assert_is_planned_stack(&stack, &WHOLE, 2.0);
    assert!(read_folder(&dir.path().join("nowhere"), 10).is_err());
    assert!(read_folder(dir.path(), 3).is_err());
}

/// A small stack whose bytes can be damaged quickly.
static SMALL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let study = Study::build(&StudySpec::new(Spec::new(SeedSpace::Evaluation, 12).matrix(32)).phases(4)).unwrap();
    let stack = study.instances.iter().filter(|instance| instance.series == "lge-sax-psir");
    stack.map(|instance| instance.to_bytes().unwrap()).collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn damaged_bytes_never_panic_and_never_claim_memory(
        object in 0usize..6,
        damages in proptest::collection::vec((0.0f64..1.0, any::<u8>()), 1..6),
        header_only in any::<bool>(),
        cut in proptest::option::of(0.0f64..1.0),
    ) {
        let mut all = SMALL.clone();
        let bytes = &mut all[object];
        // The header is where the lengths and sizes stand.
        let span = if header_only { 2000.min(bytes.len()) } else { bytes.len() };
        for (place, value) in damages {
            bytes[(place * span as f64) as usize] = value;
        }
        if let Some(share) = cut {
            bytes.truncate((share * bytes.len() as f64) as usize);
        }
        let objects: Vec<_> = all.into_iter().map(|bytes| SourceObject::Memory(bytes.into())).collect();
        let _ = choose(&objects, &[Contrast::Psir]);
    }

    #[test]
    fn the_order_of_the_objects_does_not_matter(seed in any::<u64>()) {
        use rand::SeedableRng;
        use rand::seq::SliceRandom;
        let mut shuffled = SMALL.clone();
        shuffled.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        let objects = |all: &[Vec<u8>]| -> Vec<_> {
            all.iter().map(|bytes| SourceObject::Memory(bytes.clone().into())).collect()
        };
        let straight = choose(&objects(&SMALL), &[]).unwrap();
        let other = choose(&objects(&shuffled), &[]).unwrap();
        let positions = |stack: &Stack| stack.slices.iter().map(|s| s.source.sop_instance.clone()).collect::<Vec<_>>();
        prop_assert_eq!(positions(&straight), positions(&other));
    }
}

#[test]
fn a_length_beyond_the_file_is_refused_before_memory_is_claimed() {
    // An OB element of 4 GB in an object of a few hundred bytes.
    let mut bytes = SMALL[0].clone();
    let at = memchr::memmem::find(&bytes, &[0x08, 0x00, 0x16, 0x00]).unwrap();
    let lie = [0x09, 0x00, 0x01, 0x10, b'O', b'B', 0, 0, 0xF0, 0xFF, 0xFF, 0xFF];
    bytes.splice(at..at, lie);
    let object = SourceObject::Memory(bytes.into());
    let result = read::read(&object, Extent::Header, u64::MAX);
    assert!(matches!(result, Err(ReadError::NotDicom { sop_class: Some(_) })));
}

#[test]
fn what_is_left_by_its_headers_changes_no_outcome() {
    let config = defaults();
    let outcome = |result: &Result<Stack, Error>| match result {
        Ok(stack) => (None, selected_instances(stack)),
        Err(error) => (Some(error.to_string()), Vec::new()),
    };
    for variant in Variant::ALL {
        for (vendor, enhanced) in [(Vendor::Siemens, false), (Vendor::Ge, false), (Vendor::Philips, true)] {
            let study = Study::build(&spec().variant(variant).vendor(vendor).enhanced(enhanced)).unwrap();
            let mut series: BTreeSet<u32> = study.instances.iter().map(|instance| instance.series_number).collect();
            series.retain(|number| {
                let of_series = study.instances.iter().filter(|instance| instance.series_number == *number);
                let mut headers: Vec<InMemDicomObject> = of_series.map(|i| (*i.object).clone()).collect();
                headers.iter_mut().for_each(|set| {
                    set.remove_element(tags::PIXEL_DATA);
                });
                let (middle, last) = (headers.len() / 2, headers.len() - 1);
                let samples = [headers[0].clone(), headers[middle].clone(), headers[last].clone()];
                leave(&samples, &config.study, &config.limits).unwrap().is_none()
            });
            let fetched = Study {
                instances: study.instances.iter().filter(|i| series.contains(&i.series_number)).cloned().collect(),
                ..study.clone()
            };
            let (whole, part) =
                (choose(&objects(&study), &[Contrast::Psir]), choose(&objects(&fetched), &[Contrast::Psir]));
            assert_eq!(outcome(&whole), outcome(&part), "{variant:?} {vendor:?} enhanced {enhanced}");
            let cine = study.instances.iter().filter(|i| i.series.contains("cine")).map(|i| i.series_number);
            assert!(cine.clone().all(|number| !series.contains(&number)), "{variant:?}: cine is left");
        }
    }
}

#[test]
fn headers_that_do_not_tell_leave_nothing() {
    let config = defaults();
    let header = |name: &str| {
        let found = WHOLE.instances.iter().find(|instance| instance.series.contains(name)).unwrap();
        let mut set = (*found.object).clone();
        set.remove_element(tags::PIXEL_DATA);
        set
    };
    let left = |headers: &[InMemDicomObject]| leave(headers, &config.study, &config.limits).unwrap().is_some();
    let cine = header("cine");
    assert!(left(std::slice::from_ref(&cine)));
    assert!(!left(&[]));
    assert!(!left(&[header("psir")]));
    assert!(!left(&[cine.clone(), header("psir")]), "images of two kinds, or of two series");
    for tag in [tags::SCANNING_SEQUENCE, tags::MODALITY, tags::IMAGE_TYPE, tags::ROWS, tags::SOP_CLASS_UID] {
        let mut incomplete = cine.clone();
        incomplete.remove_element(tag);
        assert!(!left(&[incomplete]), "{tag}");
    }
}
