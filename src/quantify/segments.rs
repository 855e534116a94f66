//! Chords and pixels to the 16 segments of the AHA model (Cerqueira, Circulation 2002), territories, and the wall that
//! lies in no segment.

use super::chords::{Chords, RAYS, Ray};
use super::directions::{self, Axis};
use super::quality::Intensities;
use super::ring::{Basis, Ring};
use super::view::View;
use super::{contour, lesions};
use crate::config;
use crate::domain::labels::{Label, Segmentation};
use crate::domain::measures::{AbsentReason, Measured};
use crate::domain::segments::{
    Directions, Level, Outside, SegmentMeasures, Segments, SliceRing, SliceRole, Territory, TerritoryMeasures,
    Transmurality, TransmuralityClass,
};
use crate::domain::stack::{Stack, Vector3, dot};
use crate::domain::units::{Grams, Millilitres, Percent};
use ndarray::Array2;

/// Share of the circumference that a ring needs.
const MIN_COVERAGE: f64 = 0.5;
/// Share of valid chords that a segment needs.
const MIN_VALID: f64 = 0.5;
/// Chords whose mean is the maximum.
const NEIGHBOURS: usize = 5;
/// The apex is cut off when the last ring's cavity is above this share of the largest one.
const CUT_APEX: f64 = 0.6;
/// Coverage of a ring whose centre is used to judge motion, %.
const WHOLE_RING: f64 = 90.0;
/// Rings over less than this length, mm, are no whole ventricle.
const SHORT_MM: f64 = 40.0;

/// The stack as geometry: one view and, where there is a cavity, one ring per slice.
pub(super) struct Geometry {
    pub views: Vec<View>,
    pub rings: Vec<Option<Ring>>,
    pub axis: Option<Axis>,
    /// Stack order, with coverage in percent.
    pub slices: Vec<SliceRing>,
    /// Wall or scar that is not part of the ventricle of its slice, mL.
    pub stray_ml: f64,
    /// Base or apex is not in the images.
    pub apex_cut: bool,
    pub base_cut: bool,
}

impl Geometry {
    pub(super) fn of(stack: &Stack, labels: &Segmentation) -> Self {
        let views: Vec<View> =
            stack.slices.iter().zip(&labels.slices).map(|(slice, labels)| View::of(slice, labels)).collect();
        let ventricles: Vec<Array2<bool>> = views.iter().map(ventricle).collect();
        let stray_ml = views.iter().zip(&ventricles).map(|(view, ventricle)| stray_ml(view, ventricle)).sum();
        let rings: Vec<Option<Ring>> =
            views.iter().zip(&ventricles).map(|(view, ventricle)| Ring::of(view, ventricle)).collect();
        let axis = Axis::of(stack, &rings);
        let mut made = Self { views, rings, axis, stray_ml, slices: Vec::new(), apex_cut: false, base_cut: false };
        made.slices = made.roles(stack);
        made.drop_rings_out_of_use();
        made.see_cut_ends(stack);
        made
    }

    fn direction(&self, stack: &Stack) -> Vector3 {
        let along = || stack.slices.first().map_or([0.0, 0.0, 1.0], |slice| slice.plane.normal());
        self.axis.as_ref().map_or_else(along, |axis| axis.base_to_apex)
    }

    /// What each slice is used for; levels by thirds of the length over slices with a ring.
    fn roles(&self, stack: &Stack) -> Vec<SliceRing> {
        let direction = self.direction(stack);
        let septum = directions::usual_septum(direction);
        let place: Vec<f64> = stack.slices.iter().map(|slice| slice.plane.distance_mm(direction)).collect();
        let coverage: Vec<f64> = self
            .views
            .iter()
            .zip(&self.rings)
            .map(|(view, ring)| {
                ring.as_ref().map_or(0.0, |r| r.coverage(view, &directions::basis(view, septum, direction)))
            })
            .collect();
        let sound = |k: usize| coverage.get(k).is_some_and(|share| *share >= MIN_COVERAGE);
        let at = |k: usize| place.get(k).copied().unwrap_or(0.0);
        let rings: Vec<f64> = (0..place.len()).filter(|k| sound(*k)).map(at).collect();
        let first = rings.iter().copied().fold(f64::INFINITY, f64::min);
        let last = rings.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let role = |k: usize, view: &View, ring: &Option<Ring>| {
            let wall = view.labels.iter().any(|label| *label >= Label::Myocardium as u8);
            match () {
                () if !wall => SliceRole::Empty,
                () if sound(k) => SliceRole::Ring(level(at(k) - first, last - first, rings.len())),
                () if rings.is_empty() => SliceRole::Broken,
                () if ring.is_none() && at(k) > last => SliceRole::ApicalCap,
                () if ring.is_some() && at(k) < first => SliceRole::TooBasal,
                () if at(k) > last => SliceRole::ApicalCap,
                () if at(k) < first => SliceRole::TooBasal,
                () => SliceRole::Broken,
            }
        };
        let slices = self.views.iter().zip(&self.rings).zip(&coverage).enumerate();
        slices
            .map(|(index, ((view, ring), share))| SliceRing {
                index,
                role: role(index, view, ring),
                method: None,
                coverage: Percent(100.0 * share),
            })
            .collect()
    }

    fn drop_rings_out_of_use(&mut self) {
        for (slice, ring) in self.slices.iter().zip(&mut self.rings) {
            if !matches!(slice.role, SliceRole::Ring(_)) {
                *ring = None;
            }
        }
    }

    fn see_cut_ends(&mut self, stack: &Stack) {
        let direction = self.direction(stack);
        let mut rings: Vec<(f64, f64)> = stack
            .slices
            .iter()
            .zip(&self.rings)
            .filter_map(|(slice, ring)| Some((slice.plane.distance_mm(direction), ring.as_ref()?.cavity_mm2)))
            .collect();
        rings.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (Some(first), Some(last)) = (rings.first(), rings.last()) else { return };
        let largest = rings.iter().map(|(_, area)| *area).fold(0.0, f64::max);
        let n = rings.len() as f64;
        let length = if n > 1.0 { (last.0 - first.0) * n / (n - 1.0) } else { 0.0 };
        let capped = self.slices.iter().any(|slice| slice.role == SliceRole::ApicalCap);
        self.apex_cut = !capped && last.1 > CUT_APEX * largest;
        self.base_cut = !self.apex_cut && length < SHORT_MM;
    }

    /// Why nothing can be said by place.
    fn absent(&self) -> Option<AbsentReason> {
        match () {
            () if self.axis.is_none() => Some(AbsentReason::NoOrientation),
            () if self.rings.iter().flatten().next().is_none() => Some(AbsentReason::NoRing),
            () if self.apex_cut || self.base_cut => Some(AbsentReason::VentricleIncomplete),
            () => None,
        }
    }
}

/// The largest part of cavity and wall, filled.
fn ventricle(view: &View) -> Array2<bool> {
    contour::largest_filled(&view.mask(|label| label != Label::Background as u8))
}

fn stray_ml(view: &View, ventricle: &Array2<bool>) -> f64 {
    let pixels = view.labels.iter().zip(ventricle);
    pixels.filter(|(label, inside)| **label >= Label::Myocardium as u8 && !**inside).count() as f64 * view.voxel_ml
}

/// Third of the length between the first and the last ring, each ring counting from its basal edge. One ring is mid,
/// two are basal and mid.
fn level(from_first: f64, span: f64, count: usize) -> Level {
    if count < 2 || span <= 0.0 {
        return Level::Mid;
    }
    let length = span * count as f64 / (count as f64 - 1.0);
    match 3.0 * from_first / length + 1e-6 {
        third if third < 1.0 => Level::Basal,
        third if third < 2.0 => Level::Mid,
        _ => Level::Apical,
    }
}

/// Segment of a direction, radians from mid-septum toward the anterior wall. Basal and mid: six of 60 degrees from the
/// anterior insertion through the septum; apical: four of 90 degrees about mid-septum.
fn segment_of(level: Level, angle: f64, anterior_insertion_deg: f64) -> u8 {
    const SIX: [u8; 6] = [2, 3, 4, 5, 6, 1];
    const FOUR: [u8; 4] = [14, 13, 16, 15];
    // Far below any drawing's accuracy; keeps a direction that lies on a border from falling to either side by chance.
    const NUDGE_DEG: f64 = 1e-7;
    let sixth = |first: u8| {
        let turn = (anterior_insertion_deg - angle.to_degrees() + NUDGE_DEG).rem_euclid(360.0);
        first + SIX.get((turn / 60.0) as usize).copied().unwrap_or(1)
    };
    match level {
        Level::Basal => sixth(0),
        Level::Mid => sixth(6),
        Level::Apical => {
            let turn = (angle.to_degrees() + 45.0 + NUDGE_DEG).rem_euclid(360.0);
            FOUR.get((turn / 90.0) as usize).copied().unwrap_or(15)
        }
    }
}

/// Sums over the chords and pixels of a place.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rays: f64,
    valid: f64,
    scar: f64,
    enhanced: f64,
    depth: f64,
    maximum: Option<f64>,
    wall_ml: f64,
    scar_ml: f64,
}

impl Sums {
    fn add_ray(&mut self, ray: &Ray, height: f64) {
        self.rays += height;
        if let Some(share) = ray.share {
            self.valid += height;
            self.scar += height * share.scar;
            if share.enhanced {
                self.enhanced += height;
                self.depth += height * share.scar;
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.rays += other.rays;
        self.valid += other.valid;
        self.scar += other.scar;
        self.enhanced += other.enhanced;
        self.depth += other.depth;
        self.wall_ml += other.wall_ml;
        self.scar_ml += other.scar_ml;
        self.maximum = [self.maximum, other.maximum].into_iter().flatten().reduce(f64::max);
    }

    fn transmurality(&self) -> Measured<Transmurality> {
        let Some(maximum) = self.maximum.filter(|_| self.rays > 0.0 && self.valid >= MIN_VALID * self.rays) else {
            return Measured::Absent(AbsentReason::RingIncomplete);
        };
        let percent = |share: f64| Percent(100.0 * share);
        let mean = percent(self.scar / self.valid);
        let depth = if self.enhanced > 0.0 {
            Measured::Value(percent(self.depth / self.enhanced))
        } else {
            Measured::Absent(AbsentReason::NotApplicable)
        };
        let class = TransmuralityClass::of(mean);
        let enhanced = percent(self.enhanced / self.valid);
        Measured::Value(Transmurality { mean, maximum: percent(maximum), depth, enhanced, class })
    }

    fn masses(&self) -> Outside {
        let grams = |ml: f64| -> Measured<Grams> { Measured::Value(Millilitres(ml).myocardial_mass()) };
        Outside { wall: grams(self.wall_ml), scar: grams(self.scar_ml) }
    }
}

/// Anatomical directions of a stack, or why there are none. `withheld` is why sums over slices are not given.
pub(super) fn directions(
    geometry: &Geometry,
    intensities: &Intensities,
    settings: &config::Quantify,
    withheld: Option<AbsentReason>,
) -> Measured<Directions> {
    match (&geometry.axis, withheld.or(geometry.absent())) {
        (Some(axis), None) => Measured::Value(directions::find(
            axis,
            &geometry.views,
            &geometry.rings,
            intensities,
            settings.anterior_insertion(),
        )),
        (_, reason) => Measured::Absent(reason.unwrap_or(AbsentReason::NoOrientation)),
    }
}

/// Everything by place.
pub(super) fn measure(
    stack: &Stack,
    labels: &Segmentation,
    geometry: &Geometry,
    directions: Measured<Directions>,
    chords: usize,
) -> Segments {
    let (lesion_count, lesions) = lesions::measure(stack, labels);
    let directions = match directions {
        Measured::Value(directions) => directions,
        Measured::Absent(reason) => {
            let slices = geometry.slices.clone();
            return Segments { lesion_count, lesions, slices, ..Segments::absent(reason) };
        }
    };
    let mut sums = Places::default();
    let mut rings = geometry.slices.clone();
    for ((view, ring), slice) in geometry.views.iter().zip(&geometry.rings).zip(&mut rings) {
        let height = stack.slices.get(slice.index).map_or(0.0, |slice| slice.height_mm);
        match (slice.role, ring) {
            (SliceRole::Ring(level), Some(ring)) => {
                let basis = directions::basis(view, directions.septum, directions.base_to_apex);
                let chords = Chords::of(view, ring, &basis, chords);
                slice.method = Some(chords.method);
                sums.add_ring(view, ring, &basis, &chords, level, &directions, height);
            }
            (SliceRole::ApicalCap, _) => add_pixels(view, |_| 0, std::slice::from_mut(&mut sums.cap)),
            _ => add_pixels(view, |_| 0, std::slice::from_mut(&mut sums.outside)),
        }
    }
    let (cap, outside) = (sums.cap.masses(), sums.outside.masses());
    Segments {
        chords_per_slice: chords,
        directions: Measured::Value(directions),
        slices: rings,
        segments: sums.segments(),
        territories: sums.territories(),
        apical_cap: cap,
        outside,
        lesion_count,
        lesions,
    }
}

/// Sums of the 16 segments (index 0 is segment 1) and of the wall in none.
#[derive(Debug, Default)]
struct Places {
    segments: [Sums; 16],
    cap: Sums,
    outside: Sums,
}

impl Places {
    #[allow(clippy::too_many_arguments)]
    fn add_ring(
        &mut self,
        view: &View,
        ring: &Ring,
        basis: &Basis,
        chords: &Chords,
        level: Level,
        directions: &Directions,
        height: f64,
    ) {
        let place = |angle: f64| usize::from(segment_of(level, angle, directions.anterior_insertion_deg)) - 1;
        for ray in &chords.rays {
            if let Some(sums) = self.segments.get_mut(place(ray.angle)) {
                sums.add_ray(ray, height);
            }
        }
        for (at, mean) in neighbour_means(&chords.rays, &place) {
            if let Some(sums) = self.segments.get_mut(at) {
                sums.maximum = Some(sums.maximum.map_or(mean, |old| old.max(mean)));
            }
        }
        let of_pixel = |index| place(basis.angle(contour::minus(view.point(index), ring.centre)));
        add_pixels(view, of_pixel, &mut self.segments);
    }

    fn segments(&self) -> Vec<SegmentMeasures> {
        (1..=16)
            .zip(&self.segments)
            .map(|(segment, sums)| SegmentMeasures {
                segment,
                transmurality: sums.transmurality(),
                wall: sums.masses().wall,
                scar: sums.masses().scar,
                valid_chords: Percent(if sums.rays > 0.0 { 100.0 * sums.valid / sums.rays } else { 0.0 }),
            })
            .collect()
    }

    fn territories(&self) -> Vec<TerritoryMeasures> {
        Territory::ALL
            .map(|territory| {
                let mut sums = Sums::default();
                (1..=16)
                    .zip(&self.segments)
                    .filter(|(s, _)| Territory::of(*s) == territory)
                    .for_each(|(_, s)| sums.add(s));
                let masses = sums.masses();
                TerritoryMeasures {
                    territory,
                    transmurality: sums.transmurality(),
                    wall: masses.wall,
                    scar: masses.scar,
                }
            })
            .to_vec()
    }
}

/// (place, mean of `NEIGHBOURS` chords) for every run of neighbouring chords that lies in one place and is valid. Where a
/// place has fewer chords in a row, the runs are as long as it allows.
fn neighbour_means(rays: &[Ray], place: &impl Fn(f64) -> usize) -> Vec<(usize, f64)> {
    let chords: Vec<(usize, Option<f64>)> = rays
        .chunks_exact(RAYS)
        .map(|rays| {
            let middle = rays.get(RAYS / 2).map_or(0.0, |ray| ray.angle);
            let valid: Vec<f64> = rays.iter().filter_map(|ray| Some(ray.share?.scar)).collect();
            let sound = 2 * valid.len() >= RAYS;
            (place(middle), sound.then(|| valid.iter().sum::<f64>() / valid.len() as f64))
        })
        .collect();
    let count = chords.len();
    let run = |start: usize| -> Vec<f64> {
        let first = chords.get(start).map_or(0, |(at, _)| *at);
        let row = (0..NEIGHBOURS.min(count))
            .map_while(|k| chords.get((start + k) % count).filter(|(at, _)| *at == first).and_then(|(_, scar)| *scar));
        row.collect()
    };
    let runs: Vec<(usize, Vec<f64>)> =
        (0..count).filter_map(|k| Some((chords.get(k)?.0, run(k)))).filter(|(_, run)| !run.is_empty()).collect();
    let longest = |at: usize| runs.iter().filter(|(a, _)| *a == at).map(|(_, run)| run.len()).max().unwrap_or(0);
    let longest: Vec<usize> = (0..16).map(longest).collect();
    runs.iter()
        .filter(|(at, run)| longest.get(*at) == Some(&run.len()))
        .map(|(at, run)| (*at, run.iter().sum::<f64>() / run.len() as f64))
        .collect()
}

/// Adds the wall and scar of a slice to the places of its pixels.
fn add_pixels(view: &View, place: impl Fn((usize, usize)) -> usize, sums: &mut [Sums]) {
    let mut counts = vec![(0_u32, 0_u32); sums.len()];
    for (index, label) in view.labels.indexed_iter().filter(|(_, label)| **label >= Label::Myocardium as u8) {
        if let Some((wall, scar)) = counts.get_mut(place(index)) {
            *wall += 1;
            *scar += u32::from(*label >= Label::Scar as u8);
        }
    }
    for (sums, (wall, scar)) in sums.iter_mut().zip(counts) {
        sums.wall_ml += f64::from(wall) * view.voxel_ml;
        sums.scar_ml += f64::from(scar) * view.voxel_ml;
    }
}

/// Largest shift of the ring's centre between neighbouring slices against the straight axis through all of them, mm.
pub(super) fn motion_mm(geometry: &Geometry) -> f64 {
    // An open ring has no centre that could be compared.
    let whole = |slice: &SliceRing| slice.coverage.0 >= WHOLE_RING;
    let centres: Vec<Vector3> = geometry
        .views
        .iter()
        .zip(&geometry.rings)
        .zip(&geometry.slices)
        .filter(|(_, slice)| whole(slice))
        .filter_map(|((view, ring), _)| Some(view.to_patient(ring.as_ref()?.epi.centre())))
        .collect();
    let (Some(first), Some(last)) = (centres.first(), centres.last()) else { return 0.0 };
    let steps = centres.len().saturating_sub(1).max(1) as f64;
    let usual: Vector3 = std::array::from_fn(|k| (last[k] - first[k]) / steps);
    let pairs = centres.iter().zip(centres.iter().skip(1));
    let shift = |(a, b): (&Vector3, &Vector3)| {
        let off: Vector3 = std::array::from_fn(|k| b[k] - a[k] - usual[k]);
        dot(off, off).sqrt()
    };
    pairs.map(shift).fold(0.0, f64::max)
}
