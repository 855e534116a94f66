//! What a phantom's images should be measured as, computed from the exact masks on the slice grid.

use std::f64::consts::TAU;

use serde::Serialize;

use super::patient::Phantom;
use super::scar::Lesion;
use super::scene::Plane;
use super::vec3::{V3, cross, dot, perpendicular, sub};

/// Density of myocardium, g/ml.
pub const DENSITY_G_PER_ML: f64 = 1.05;
/// Chords per slice.
const CHORDS: usize = 360;

/// Truth of one slice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SliceTruth {
    /// Index from the base.
    pub index: usize,
    /// Position of the first pixel, mm, LPS.
    pub position_mm: V3,
    /// SOP Instance UID of the PSIR image; none when it was not sent.
    pub psir_sop_instance_uid: Option<String>,
    /// SOP Instance UID of the magnitude image; none when it was not sent.
    pub magnitude_sop_instance_uid: Option<String>,
    /// Frame number of the PSIR image in a multi-frame object.
    pub psir_frame: Option<u32>,
    /// Cavity with papillary muscles, ml.
    pub cavity_ml: f64,
    /// Whole wall including scar and no-reflow, ml.
    pub myocardium_ml: f64,
    /// Scar including no-reflow, ml.
    pub scar_ml: f64,
    /// No-reflow, ml.
    pub no_reflow_ml: f64,
    /// `basal`, `mid`, `apical`; in no segment: `too-basal` (less than half a ring), `apical-cap` (wall without cavity),
    /// `none` (no wall).
    pub level: &'static str,
    /// Anterior and inferior insertion of the right ventricle: angle in degrees about the cavity centre from mid-septum
    /// toward the anterior wall.
    pub insertions_deg: Option<(f64, f64)>,
}

/// Truth of one segment of the 16 (AHA numbering).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SegmentTruth {
    /// 1 to 16.
    pub segment: u8,
    /// Mean over all radial chords of scar length over wall length, %.
    pub transmurality_percent: Option<f64>,
    /// Scar area over wall area, %.
    pub scar_area_percent: Option<f64>,
}

/// Truth of a study.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// Version of this form.
    pub schema: u32,
    /// Says that nobody was measured.
    pub note: &'static str,
    /// Study Instance UID.
    pub study_instance_uid: String,
    /// Seed space, seed and index.
    pub seed: (&'static str, u64, u64),
    /// Variant of the study.
    pub variant: &'static str,
    /// Vendor style.
    pub vendor: String,
    /// g/ml.
    pub density_g_per_ml: f64,
    /// Centre-to-centre spacing of the short axis, mm.
    pub spacing_mm: f64,
    /// In-plane pixel size, mm.
    pub pixel_mm: f64,
    /// Mass of the whole LV wall, g.
    pub lv_mass_g: f64,
    /// Mass of scar including no-reflow, g.
    pub scar_mass_g: f64,
    /// Scar over wall, %; none without wall.
    pub burden_percent: Option<f64>,
    /// Mass of no-reflow, g.
    pub no_reflow_mass_g: f64,
    /// Cavity volume, ml.
    pub cavity_ml: f64,
    /// Unit vector base to apex, LPS.
    pub base_to_apex: V3,
    /// Unit vector from LV centre to mid-septum, LPS.
    pub septum: V3,
    /// Slices of the planned stack, base first, whether or not they were sent.
    pub slices: Vec<SliceTruth>,
    /// Segments 1 to 16.
    pub segments: Vec<SegmentTruth>,
    /// Lesions as drawn.
    pub lesions: Vec<Lesion>,
}

/// Counts of classes 0..4 in one mask.
fn counts(labels: &[u8]) -> [usize; 5] {
    let mut n = [0; 5];
    for label in labels {
        if let Some(slot) = n.get_mut(usize::from(*label)) {
            *slot += 1;
        }
    }
    n
}

/// Per-slice volumes and levels.
#[must_use]
pub fn slices(phantom: &Phantom, labels: &[Vec<u8>]) -> Vec<SliceTruth> {
    let spacing = phantom.plan.spacing;
    let mut out: Vec<SliceTruth> = Vec::with_capacity(labels.len());
    for (index, (plane, mask)) in phantom.plan.planes.iter().zip(labels).enumerate() {
        let [_, cavity, healthy, enhanced, core] = counts(mask);
        let ml = |n: usize| n as f64 * plane.pixel * plane.pixel * spacing / 1000.0;
        out.push(SliceTruth {
            index,
            position_mm: plane.origin,
            psir_sop_instance_uid: None,
            magnitude_sop_instance_uid: None,
            psir_frame: None,
            cavity_ml: ml(cavity),
            myocardium_ml: ml(healthy + enhanced + core),
            scar_ml: ml(enhanced + core),
            no_reflow_ml: ml(core),
            level: "none",
            insertions_deg: None,
        });
    }
    for ((slice, plane), mask) in out.iter_mut().zip(&phantom.plan.planes).zip(labels) {
        let Some(view) = View::new(phantom, plane, mask) else {
            slice.level = if slice.myocardium_ml > 0.0 { "apical-cap" } else { "none" };
            continue;
        };
        slice.level = if view.coverage() < 0.5 { "too-basal" } else { "ring" };
        slice.insertions_deg = view.insertions(phantom).filter(|_| slice.level == "ring");
    }
    set_levels(&mut out);
    out
}

/// Thirds of the slices with a ring, base to apex; one slice is mid, two are basal and mid.
fn set_levels(slices: &mut [SliceTruth]) {
    let n = slices.iter().filter(|s| s.level == "ring").count();
    for (k, slice) in slices.iter_mut().filter(|s| s.level == "ring").enumerate() {
        slice.level = match (n, 3 * k / n.max(1)) {
            (1, _) | (2, 1) => "mid",
            (_, 0) => "basal",
            (_, 1) => "mid",
            _ => "apical",
        };
    }
}

/// Anatomical directions in one slice.
struct View<'a> {
    plane: &'a Plane,
    mask: &'a [u8],
    centre: V3,
    septum: V3,
    anterior: V3,
}

impl<'a> View<'a> {
    fn new(phantom: &Phantom, plane: &'a Plane, mask: &'a [u8]) -> Option<Self> {
        let (mut n, mut row, mut column) = (0.0, 0.0, 0.0);
        for (i, _) in mask.iter().enumerate().filter(|(_, l)| **l == 1) {
            n += 1.0;
            row += (i / plane.columns) as f64;
            column += (i % plane.columns) as f64;
        }
        if n == 0.0 {
            return None;
        }
        let normal = plane.normal();
        // Base to apex, whichever way the normal points.
        let axis = if dot(normal, phantom.scene.pose.apex) > 0.0 { normal } else { normal.map(|v| -v) };
        let septum = perpendicular(phantom.scene.pose.septum, axis);
        let centre = plane.point(row / n, column / n);
        Some(Self { plane, mask, centre, septum, anterior: cross(septum, axis) })
    }

    /// Degrees about the centre, from mid-septum toward the anterior wall.
    fn angle(&self, p: V3) -> f64 {
        let d = sub(p, self.centre);
        dot(d, self.anterior).atan2(dot(d, self.septum)).to_degrees()
    }

    fn insertions(&self, phantom: &Phantom) -> Option<(f64, f64)> {
        let pose = &phantom.scene.pose;
        let heart = &phantom.scene.heart;
        let z = pose.to_heart(self.centre)[2];
        let (anterior, inferior) = heart.insertions(z)?;
        let at = |angle: f64| {
            let r = heart.outer_radius(angle, z);
            self.angle(pose.to_patient([r * angle.cos(), r * angle.sin(), z]))
        };
        Some((at(anterior), at(inferior)))
    }

    fn label_along(&self, angle: f64, r: f64) -> u8 {
        let (s, c) = angle.sin_cos();
        let step = |k: usize| self.centre[k] + r * (c * self.septum[k] + s * self.anterior[k]);
        let d = sub([step(0), step(1), step(2)], self.plane.origin);
        let column = (dot(d, self.plane.along_row) / self.plane.pixel).round();
        let row = (dot(d, self.plane.along_column) / self.plane.pixel).round();
        if row < 0.0 || column < 0.0 || column >= self.plane.columns as f64 {
            return 0;
        }
        self.mask.get(row as usize * self.plane.columns + column as usize).copied().unwrap_or(0)
    }

    /// Fraction of the directions in which there is a wall.
    fn coverage(&self) -> f64 {
        let hits = (0..CHORDS).filter(|k| self.chord(TAU * *k as f64 / CHORDS as f64).is_some()).count();
        hits as f64 / CHORDS as f64
    }

    /// Scar length over wall length of a radial chord; none where there is no wall.
    fn chord(&self, angle: f64) -> Option<f64> {
        let step = 0.25 * self.plane.pixel;
        let (mut wall, mut scar) = (0u32, 0u32);
        for k in 0..(60.0 / step) as usize {
            let label = self.label_along(angle, k as f64 * step);
            wall += u32::from(label >= 2);
            scar += u32::from(label >= 3);
        }
        (f64::from(wall) * step >= 1.5 * self.plane.pixel).then(|| f64::from(scar) / f64::from(wall))
    }
}

/// Segment (1..16) of an angle: basal and mid six of 60 degrees counted from the anterior insertion through the septum,
/// apical four of 90 degrees about the axes.
fn segment(level: &str, angle_deg: f64, anterior_insertion_deg: f64) -> Option<u8> {
    let phi = (anterior_insertion_deg - angle_deg).rem_euclid(360.0);
    let six = [2u8, 3, 4, 5, 6, 1];
    let of_six = six.get((phi / 60.0) as usize).copied().unwrap_or(1);
    match level {
        "basal" => Some(of_six),
        "mid" => Some(of_six + 6),
        "apical" => {
            let quarter = ((angle_deg + 45.0).rem_euclid(360.0) / 90.0) as usize;
            [14u8, 13, 16, 15].get(quarter).copied()
        }
        _ => None,
    }
}

/// Transmurality and area fraction of the segments.
#[must_use]
pub fn segments(phantom: &Phantom, labels: &[Vec<u8>], slices: &[SliceTruth]) -> Vec<SegmentTruth> {
    // Chord sum and count, scar and wall pixels, per segment.
    let mut sums = [[0.0f64; 4]; 17];
    let mut insertion = 60.0;
    for slice in slices {
        let (Some(plane), Some(mask)) = (phantom.plan.planes.get(slice.index), labels.get(slice.index)) else {
            continue;
        };
        let Some(view) = View::new(phantom, plane, mask) else { continue };
        insertion = slice.insertions_deg.map_or(insertion, |i| i.0);
        for k in 0..CHORDS {
            let angle = TAU * k as f64 / CHORDS as f64;
            let place = segment(slice.level, angle.to_degrees(), insertion);
            if let (Some(id), Some(share)) = (place, view.chord(angle)) {
                sums[usize::from(id)][0] += share;
                sums[usize::from(id)][1] += 1.0;
            }
        }
        for (i, label) in mask.iter().enumerate().filter(|(_, l)| **l >= 2) {
            let point = plane.point((i / plane.columns) as f64, (i % plane.columns) as f64);
            if let Some(id) = segment(slice.level, view.angle(point), insertion) {
                sums[usize::from(id)][2] += f64::from(*label >= 3);
                sums[usize::from(id)][3] += 1.0;
            }
        }
    }
    let percent = |part: f64, whole: f64| (whole > 0.0).then(|| 100.0 * part / whole);
    (1..=16u8)
        .zip(&sums[1..])
        .map(|(segment, [share, chords, scar, wall])| SegmentTruth {
            segment,
            transmurality_percent: percent(*share, *chords),
            scar_area_percent: percent(*scar, *wall),
        })
        .collect()
}
