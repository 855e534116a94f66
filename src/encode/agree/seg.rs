//! Masses recomputed from the frames of the encoded SEG.

use super::{SEG_TOLERANCE_G, disagree};
use crate::domain::artefact::Artefact;
use crate::domain::measures::Measures;
use crate::domain::stack::Stack;
use crate::domain::units::Millilitres;
use crate::encode::seg::count_bits;
use crate::failure::Failure;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// SegmentNumbers of the masses that are recomputed.
const MYOCARDIUM: u16 = 2;
const SCAR: u16 = 3;
const NO_REFLOW: u16 = 4;

pub(super) fn check(measures: &Measures, stack: &Stack, seg: &Artefact) -> Result<(), Failure> {
    let masses = seg_masses_g(stack, seg).ok_or_else(|| disagree("the SEG cannot be read back"))?;
    let wanted = [(MYOCARDIUM, measures.lv_mass), (SCAR, measures.scar_mass), (NO_REFLOW, measures.no_reflow_mass)];
    for (segment, mass) in wanted {
        let found = masses.iter().filter(|(number, _)| *number == segment).map(|(_, grams)| grams).sum::<f64>();
        if mass.value().is_some_and(|mass| (mass.0 - found).abs() > SEG_TOLERANCE_G) {
            return Err(disagree("a mass recomputed from the SEG"));
        }
    }
    Ok(())
}

/// (SegmentNumber, mass of the frame) of every frame, with heights from the stack's slices at the same position.
fn seg_masses_g(stack: &Stack, seg: &Artefact) -> Option<Vec<(u16, f64)>> {
    let object = dicom_object::from_reader(std::io::Cursor::new(&seg.bytes)).ok()?;
    let pixels = object.element(tags::PIXEL_DATA).ok()?.to_bytes().ok()?;
    let (rows, columns) = stack.dim();
    let frames = object.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).ok()?.items()?;
    (0..)
        .zip(frames)
        .map(|(index, frame)| {
            let count = count_bits(&pixels, index * rows * columns, rows * columns)?;
            let (segment, position) = (segment_of(frame)?, position_of(frame)?);
            let slice = stack.slices.iter().find(|slice| same_place(slice.plane.position_mm, &position))?;
            Some((segment, Millilitres(count as f64 * slice.voxel_ml()).myocardial_mass().0))
        })
        .collect()
}

fn segment_of(frame: &InMemDicomObject) -> Option<u16> {
    let item = frame.element(tags::SEGMENT_IDENTIFICATION_SEQUENCE).ok()?.items()?.first()?;
    item.element(tags::REFERENCED_SEGMENT_NUMBER).ok()?.to_int().ok()
}

fn position_of(frame: &InMemDicomObject) -> Option<Vec<f64>> {
    let item = frame.element(tags::PLANE_POSITION_SEQUENCE).ok()?.items()?.first()?;
    item.element(tags::IMAGE_POSITION_PATIENT).ok()?.to_multi_float64().ok()
}

fn same_place(a: [f64; 3], b: &[f64]) -> bool {
    b.len() == 3 && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
}
