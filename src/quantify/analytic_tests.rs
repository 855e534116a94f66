//! Hearts made of concentric rings with sectors of known depth and angle: every measure can be worked out on paper,
//! whatever the plane, the pixels and the way they are stored.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::measure;
use super::tests::identity;
use crate::config::tests::defaults;
use crate::domain::labels::{Label, ScarSource, Segmentation, SliceLabels};
use crate::domain::measures::{AbsentReason, Measured, Measures, ReviewFlag};
use crate::domain::segments::{ChordMethod, DirectionSource, Level, SliceRole, Transmurality, TransmuralityClass};
use crate::domain::stack::{Contrast, Plane, Slice, SourceFrame, Stack, StackFlag, Vector3, cross, dot};
use crate::domain::uid::Uid;
use ndarray::{Array2, Axis};
use proptest::prelude::*;

/// A scar: from and to in degrees from mid-septum toward the anterior wall, depth interval of the wall.
#[derive(Debug, Clone, Copy)]
struct Sector {
    from: f64,
    to: f64,
    depth: (f64, f64),
}

#[derive(Debug, Clone)]
struct Heart {
    /// Outer radii of cavity and wall per slice, mm, base first; no cavity: 0.
    radii: Vec<(f64, f64)>,
    sectors: Vec<Sector>,
    /// Degrees in which there is no wall, per slice.
    open: Vec<(f64, f64)>,
    apex: Vector3,
    septum: Vector3,
    /// Turn of the pixel grid about the axis, degrees.
    turn: f64,
    /// [between rows, between columns], mm.
    pixel: [f64; 2],
    step: f64,
}

const CENTRE: Vector3 = [30.0, -20.0, 10.0];

fn unit(v: Vector3) -> Vector3 {
    let length = dot(v, v).sqrt();
    v.map(|x| x / length)
}

fn add(a: Vector3, t: f64, b: Vector3) -> Vector3 {
    std::array::from_fn(|k| a[k] + t * b[k])
}

impl Heart {
    /// Six slices of 12 mm; wall 10 mm thick, the cavity smaller toward the apex.
    fn new(sectors: Vec<Sector>) -> Self {
        let apex = unit([0.6, -0.55, -0.58]);
        let flat = add([-1.0, -0.8, 0.2], -dot([-1.0, -0.8, 0.2], apex), apex);
        let radii = [[(24.0, 34.0); 2], [(23.0, 33.0); 2], [(14.0, 24.0); 2]].concat();
        Self {
            open: vec![(0.0, 0.0); radii.len()],
            radii,
            sectors,
            apex,
            septum: unit(flat),
            turn: 0.0,
            pixel: [1.0, 1.0],
            step: 12.0,
        }
    }

    /// The same with one slice per level.
    fn short(mut self) -> Self {
        self.radii = self.radii.into_iter().step_by(2).collect();
        self.open.truncate(self.radii.len());
        self.step *= 2.0;
        self
    }

    fn anterior(&self) -> Vector3 {
        cross(self.septum, self.apex)
    }

    fn label(&self, slice: usize, point: Vector3) -> Label {
        let (endo, epi) = self.radii[slice];
        let d = add(point, -1.0, add(CENTRE, self.step * slice as f64, self.apex));
        let (x, y) = (dot(d, self.septum), dot(d, self.anterior()));
        let (radius, angle) = (x.hypot(y), y.atan2(x).to_degrees());
        let within = |from: f64, to: f64| (angle - from).rem_euclid(360.0) < to - from;
        let depth = (radius - endo) / (epi - endo);
        match () {
            () if radius < endo => Label::Cavity,
            () if radius >= epi || within(self.open[slice].0, self.open[slice].1) => Label::Background,
            () if self.sectors.iter().any(|s| within(s.from, s.to) && depth >= s.depth.0 && depth < s.depth.1) => {
                Label::Scar
            }
            () => Label::Myocardium,
        }
    }

    fn plane(&self, slice: usize, rows: usize, columns: usize) -> Plane {
        let (sin, cos) = self.turn.to_radians().sin_cos();
        let row = add(self.septum.map(|v| cos * v), sin, self.anterior());
        let column = add(self.septum.map(|v| -sin * v), cos, self.anterior());
        let centre = add(CENTRE, self.step * slice as f64, self.apex);
        let corner = add(centre, -0.5 * (columns as f64 - 0.7) * self.pixel[1], row);
        let position_mm = add(corner, -0.5 * (rows as f64 - 0.4) * self.pixel[0], column);
        Plane { position_mm, row, column, spacing_mm: self.pixel }
    }

    fn draw(&self) -> (Stack, Segmentation) {
        let side = |spacing: f64| (76.0 / spacing).ceil() as usize;
        let (rows, columns) = (side(self.pixel[0]), side(self.pixel[1]));
        let drawn = (0..self.radii.len()).map(|index| {
            let plane = self.plane(index, rows, columns);
            let labels = Array2::from_shape_fn((rows, columns), |(r, c)| {
                self.label(index, plane.to_patient(r as f64, c as f64)) as u8
            });
            let pixels = labels.mapv(|l| [20.0, 100.0, 0.0, 120.0, 5.0][usize::from(l)])
                + Array2::from_shape_fn((rows, columns), |(r, c)| ((r * 7 + c * 3) % 5) as f32);
            let scar = labels.mapv(|l| l >= Label::Scar as u8);
            let source = SourceFrame {
                sop_class: Uid::derive(&["class"]),
                sop_instance: Uid::derive(&["instance", &index.to_string()]),
                series: Uid::derive(&["series"]),
                frame: None,
            };
            let slice = Slice { pixels, valid: None, plane, thickness_mm: 7.0, height_mm: self.step, source };
            let (scar_inner, scar_outer) = (scar.clone(), scar);
            (slice, SliceLabels { labels, scar_inner, scar_outer, boxes: vec![], entropy: None, agreement: 1.0 })
        });
        let (slices, labels) = drawn.unzip();
        let stack = Stack {
            identity: identity(),
            contrast: Contrast::Psir,
            frame_of_reference: Uid::derive(&["frame"]),
            position_reference_indicator: String::new(),
            lossy: false,
            manufacturer: String::new(),
            field_strength_t: None,
            slices,
            flags: vec![],
            decisions: vec![],
        };
        let segmentation = Segmentation {
            slices: labels,
            no_reflow: true,
            scar_source: ScarSource::Dense,
            models: vec![],
            provider: "cpu".into(),
            timings: vec![],
        };
        (stack, segmentation)
    }

    /// A point at the anterior insertion, 60 degrees from mid-septum, at mid level.
    fn insertion(&self) -> Vector3 {
        let middle = add(CENTRE, 0.5 * self.step * (self.radii.len() - 1) as f64, self.apex);
        let (sin, cos) = 60_f64.to_radians().sin_cos();
        add(add(middle, 33.0 * cos, self.septum), 33.0 * sin, self.anterior())
    }

    fn measured(&self) -> Measures {
        let (stack, labels) = self.draw();
        self.measured_as(&stack, labels)
    }

    fn measured_as(&self, stack: &Stack, labels: Segmentation) -> Measures {
        Self::measured_from(self.insertion(), stack, labels)
    }

    fn measured_from(insertion: Vector3, stack: &Stack, labels: Segmentation) -> Measures {
        let mut settings = defaults().quantify;
        settings.anterior_insertion_mm = insertion.to_vec();
        measure(stack, labels, &settings).unwrap().1
    }

    /// Share of a segment's angle that a sector covers, by counting in steps of a hundredth of a degree.
    fn covered(segment: u8, sectors: &[Sector]) -> f64 {
        let (low, high) = match segment {
            1..=12 => {
                let sixth = [300.0, 0.0, 60.0, 120.0, 180.0, 240.0][usize::from((segment - 1) % 6)];
                // Counted from the anterior insertion (60 degrees) away from the anterior wall.
                (60.0 - sixth - 60.0, 60.0 - sixth)
            }
            _ => {
                let middle = [90.0, 0.0, 270.0, 180.0][usize::from(segment - 13)];
                (middle - 45.0, middle + 45.0)
            }
        };
        let count = ((high - low) * 100.0) as usize;
        let inside = (0..count).filter(|k| {
            let angle = low + (*k as f64 + 0.5) / 100.0;
            sectors.iter().any(|s| (angle - s.from).rem_euclid(360.0) < s.to - s.from)
        });
        inside.count() as f64 / count as f64
    }
}

fn transmurality(measures: &Measures, segment: u8) -> Transmurality {
    measures.segments.segments[usize::from(segment) - 1].transmurality.value().unwrap()
}

fn worst_error(heart: &Heart, depth: f64) -> f64 {
    let measures = heart.measured();
    let errors = (1..=16).map(|s| {
        let truth = 100.0 * depth * Heart::covered(s, &heart.sectors);
        (transmurality(&measures, s).mean.0 - truth).abs()
    });
    errors.fold(0.0, f64::max)
}

/// Orientations: the usual one, a strongly tilted one, and one with a turned grid.
fn orientations(heart: &Heart) -> Vec<Heart> {
    let apex = unit([0.35, -0.85, -0.4]);
    let flat = add([-0.6, -0.9, 0.5], -dot([-0.6, -0.9, 0.5], apex), apex);
    vec![
        heart.clone(),
        Heart { apex, septum: unit(flat), ..heart.clone() },
        Heart { turn: 33.0, ..heart.clone() },
        Heart { pixel: [heart.pixel[0], 0.7 * heart.pixel[1]], turn: -12.0, ..heart.clone() },
        Heart { pixel: [0.6 * heart.pixel[0], heart.pixel[1]], turn: 71.0, apex, septum: unit(flat), ..heart.clone() },
    ]
}

#[test]
fn transmurality_is_within_two_points_up_to_a_millimetre() {
    let scars = [(-60.0, 60.0, 0.5), (-17.0, 95.0, 0.25), (100.0, 247.0, 1.0), (60.0, 120.0, 0.75)];
    for (from, to, depth) in scars {
        let heart = Heart::new(vec![Sector { from, to, depth: (0.0, depth) }]).short();
        for (k, heart) in orientations(&heart).iter().enumerate() {
            let error = worst_error(heart, depth);
            assert!(error < 2.0, "{from}..{to} depth {depth} orientation {k}: {error:.2}");
        }
    }
}

#[test]
fn masses_are_within_two_percent_up_to_a_millimetre() {
    let scar = Sector { from: -17.0, to: 95.0, depth: (0.0, 0.5) };
    for heart in orientations(&Heart::new(vec![scar]).short()) {
        {
            let m = heart.measured();
            let area = |inner: f64, outer: f64| std::f64::consts::PI * (outer * outer - inner * inner);
            let gram = |mm2: f64| mm2 * heart.step / 1000.0 * 1.05;
            let wall: f64 = heart.radii.iter().map(|(endo, epi)| gram(area(*endo, *epi))).sum();
            let share = (scar.to - scar.from) / 360.0;
            let scar_g: f64 = heart.radii.iter().map(|(a, b)| gram(area(*a, 0.5 * (a + b))) * share).sum();
            let off = |found: f64, truth: f64| (found / truth - 1.0).abs();
            assert!(off(m.lv_mass.value().unwrap().0, wall) < 0.02);
            assert!(off(m.scar_mass.value().unwrap().0, scar_g) < 0.02);
            let segments = m.segments.segments.iter().map(|s| s.wall.value().unwrap().0).sum::<f64>();
            let rest = m.segments.apical_cap.wall.value().unwrap().0 + m.segments.outside.wall.value().unwrap().0;
            assert!(off(segments + rest, m.lv_mass.value().unwrap().0) < 1e-9, "segments, cap and rest are the LV");
            let third = m.segments.segments[0].wall.value().unwrap().0;
            assert!(off(third, gram(area(24.0, 34.0)) / 6.0) < 0.03, "{third}");
        }
    }
}

#[test]
fn depth_maximum_extent_and_class_of_one_segment() {
    // Half of segment 4 (basal inferior: -120 to -60 degrees), 60 % deep.
    let heart = Heart::new(vec![Sector { from: -90.0, to: -60.0, depth: (0.0, 0.6) }]);
    let t = transmurality(&heart.measured(), 4);
    assert!((t.mean.0 - 30.0).abs() < 2.0, "{t:?}");
    assert!((t.maximum.0 - 60.0).abs() < 2.0, "{t:?}");
    assert!((t.depth.value().unwrap().0 - 60.0).abs() < 3.0, "{t:?}");
    assert!((t.enhanced.0 - 50.0).abs() < 3.0, "{t:?}");
    assert_eq!(t.class, TransmuralityClass::To50);
    let free = transmurality(&heart.measured(), 1);
    assert_eq!((free.mean.0, free.maximum.0, free.class), (0.0, 0.0, TransmuralityClass::None));
    assert_eq!(free.depth, Measured::Absent(AbsentReason::NotApplicable));
}

#[test]
fn no_reflow_counts_as_depth_and_mid_wall_scar_as_its_own_thickness() {
    let mid_wall = Heart::new(vec![Sector { from: -120.0, to: -60.0, depth: (0.3, 0.7) }]);
    let t = transmurality(&mid_wall.measured(), 4);
    assert!((t.mean.0 - 40.0).abs() < 2.0, "{t:?}");
    let (stack, mut labels) = Heart::new(vec![Sector { from: -120.0, to: -60.0, depth: (0.0, 0.7) }]).draw();
    let heart = Heart::new(vec![]);
    let before = heart.measured_as(&stack, labels.clone());
    for slice in &mut labels.slices {
        let all = slice.labels.mapv(|l| if l == Label::Scar as u8 { Label::NoReflow as u8 } else { l });
        // Every second row of the scar becomes a core.
        for (mut row, core) in slice.labels.rows_mut().into_iter().zip(all.rows()).step_by(2) {
            row.assign(&core);
        }
    }
    assert_eq!(transmurality(&before, 4), transmurality(&heart.measured_as(&stack, labels), 4));
}

#[test]
fn levels_ends_and_directions_come_from_geometry() {
    let heart = Heart::new(vec![Sector { from: -60.0, to: 60.0, depth: (0.0, 0.5) }]);
    let m = heart.measured();
    let roles: Vec<SliceRole> = m.segments.slices.iter().map(|s| s.role).collect();
    let levels = [Level::Basal, Level::Mid, Level::Apical].map(SliceRole::Ring);
    assert_eq!(roles, [[levels[0]; 2], [levels[1]; 2], [levels[2]; 2]].concat());
    assert!(m.segments.slices.iter().all(|s| s.method == Some(ChordMethod::Centreline) && s.coverage.0 == 100.0));
    let d = m.segments.directions.value().unwrap();
    assert_eq!(d.source, DirectionSource::Given);
    assert!(dot(d.base_to_apex, heart.apex) > 0.999 && dot(d.septum, heart.septum) > 0.9999);
}

type Change = fn(&mut Slice, &mut SliceLabels);

fn flip(slice: &mut Slice, labels: &mut SliceLabels, axis: usize) {
    let count = slice.pixels.len_of(Axis(axis)) as f64 - 1.0;
    let plane = &mut slice.plane;
    plane.position_mm = if axis == 0 { plane.to_patient(count, 0.0) } else { plane.to_patient(0.0, count) };
    let direction = if axis == 0 { &mut plane.column } else { &mut plane.row };
    *direction = direction.map(|v| -v);
    slice.pixels.invert_axis(Axis(axis));
    for mask in [&mut labels.scar_inner, &mut labels.scar_outer] {
        mask.invert_axis(Axis(axis));
    }
    labels.labels.invert_axis(Axis(axis));
}

fn transpose(slice: &mut Slice, labels: &mut SliceLabels) {
    let plane = &mut slice.plane;
    (plane.row, plane.column) = (plane.column, plane.row);
    plane.spacing_mm.reverse();
    slice.pixels = slice.pixels.t().as_standard_layout().to_owned();
    labels.labels = labels.labels.t().as_standard_layout().to_owned();
    labels.scar_inner = labels.scar_inner.t().as_standard_layout().to_owned();
    labels.scar_outer = labels.scar_outer.t().as_standard_layout().to_owned();
}

/// The numbers by place, in anatomical order.
fn numbers(m: &Measures) -> Vec<f64> {
    let t = |t: Transmurality| vec![t.mean.0, t.maximum.0, t.depth.value().map_or(-1.0, |d| d.0), t.enhanced.0];
    let places = m.segments.segments.iter().flat_map(|s| t(s.transmurality.value().unwrap()));
    places.chain(m.segments.territories.iter().flat_map(|s| t(s.transmurality.value().unwrap()))).collect()
}

fn masses(m: &Measures) -> Vec<f64> {
    let places = m.segments.segments.iter().flat_map(|s| [s.wall, s.scar]);
    let whole = [m.lv_mass, m.scar_mass];
    places.chain(whole).map(|mass| mass.value().unwrap().0).chain([m.burden.value().unwrap().0]).collect()
}

#[test]
fn flips_quarter_turns_transposition_and_slice_order_change_nothing() {
    let scars = vec![
        Sector { from: -17.0, to: 95.0, depth: (0.0, 0.55) },
        Sector { from: 200.0, to: 230.0, depth: (0.2, 1.0) },
    ];
    let heart = Heart { pixel: [1.3, 1.1], turn: 17.0, ..Heart::new(scars).short() };
    let (stack, labels) = heart.draw();
    let (wanted, wanted_masses) = {
        let m = heart.measured_as(&stack, labels.clone());
        (numbers(&m), masses(&m))
    };
    let changes: [(&str, Change); 7] = [
        ("rows flipped", |s, l| flip(s, l, 0)),
        ("columns flipped", |s, l| flip(s, l, 1)),
        ("half turn", |s, l| {
            flip(s, l, 0);
            flip(s, l, 1);
        }),
        ("transposed", transpose),
        ("quarter turn", |s, l| {
            transpose(s, l);
            flip(s, l, 1);
        }),
        ("quarter turn back", |s, l| {
            transpose(s, l);
            flip(s, l, 0);
        }),
        ("transposed the other way", |s, l| {
            transpose(s, l);
            flip(s, l, 0);
            flip(s, l, 1);
        }),
    ];
    for reversed in [false, true] {
        for (name, change) in &changes {
            let (mut stack, mut labels) = (stack.clone(), labels.clone());
            stack.slices.iter_mut().zip(&mut labels.slices).for_each(|(slice, labels)| change(slice, labels));
            if reversed {
                stack.slices.reverse();
                labels.slices.reverse();
            }
            let m = heart.measured_as(&stack, labels);
            // Equal but for the last bits of patient positions.
            let found = numbers(&m).into_iter().chain(masses(&m));
            for (found, wanted) in found.zip(wanted.iter().chain(&wanted_masses)) {
                assert!((found - wanted).abs() < 1e-9, "{name}, reversed {reversed}: {found} {wanted}");
            }
        }
    }
}

#[test]
fn at_any_turn_of_the_grid_means_are_within_a_point() {
    let scars = vec![Sector { from: -17.0, to: 95.0, depth: (0.0, 0.55) }];
    for turn in [0.0, 11.0, 23.0, 37.0, 45.0, 68.0, 133.0, 290.0] {
        let error = worst_error(&Heart { turn, pixel: [0.8; 2], ..Heart::new(scars.clone()).short() }, 0.55);
        assert!(error < 1.0, "turn {turn}: {error:.2}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn masses_scale_with_space_and_shares_do_not(
        from in -180.0_f64..180.0, width in 40.0_f64..200.0, depth in 0.3_f64..1.0, factor in 1.1_f64..2.0,
    ) {
        let heart = Heart::new(vec![Sector { from, to: from + width, depth: (0.0, depth) }]).short();
        let (stack, labels) = heart.draw();
        let before = heart.measured_as(&stack, labels.clone());
        let scaled = |in_plane: f64| {
            let mut stack = stack.clone();
            for slice in &mut stack.slices {
                let plane = &mut slice.plane;
                let middle = plane.to_patient(37.8, 37.65);
                let moved: Vector3 = std::array::from_fn(|k| CENTRE[k] + factor * (middle[k] - CENTRE[k]));
                plane.spacing_mm = plane.spacing_mm.map(|s| in_plane * s);
                let corner = plane.to_patient(37.8, 37.65);
                plane.position_mm = std::array::from_fn(|k| plane.position_mm[k] + moved[k] - corner[k]);
                slice.height_mm *= factor;
            }
            // The insertion moves with its tissue.
            let from_centre = add(heart.insertion(), -1.0, CENTRE);
            let along = dot(from_centre, heart.apex);
            let insertion = add(add(CENTRE, in_plane, add(from_centre, -along, heart.apex)), factor * along, heart.apex);
            Heart::measured_from(insertion, &stack, labels.clone())
        };
        let ratio = |a: Measured<crate::domain::units::Grams>, b: Measured<crate::domain::units::Grams>| a.value().unwrap().0 / b.value().unwrap().0;
        let (farther, larger) = (scaled(1.0), scaled(factor));
        for (after, times) in [(&farther, factor), (&larger, factor.powi(3))] {
            prop_assert!((ratio(after.lv_mass, before.lv_mass) / times - 1.0).abs() < 1e-9);
            prop_assert!((ratio(after.scar_mass, before.scar_mass) / times - 1.0).abs() < 1e-9);
            prop_assert!((after.burden.value().unwrap().0 - before.burden.value().unwrap().0).abs() < 1e-9);
            for (a, b) in numbers(after).iter().zip(numbers(&before)) {
                prop_assert!((a - b).abs() < 1e-6, "{} {}", a, b);
            }
        }
    }
}

#[test]
fn an_open_ring_has_no_value_where_no_wall_is() {
    // The outflow tract: no wall from mid-septum to the anterior wall in all basal slices.
    let mut heart = Heart::new(vec![Sector { from: -120.0, to: -60.0, depth: (0.0, 0.5) }]);
    heart.open[..2].fill((-5.0, 65.0));
    let m = heart.measured();
    let segment = |s: usize| m.segments.segments[s - 1].transmurality;
    assert_eq!(segment(2), Measured::Absent(AbsentReason::RingIncomplete));
    assert!((segment(4).value().unwrap().mean.0 - 50.0).abs() < 2.0);
    assert!(segment(8).value().is_some());
    assert!((m.segments.slices[0].coverage.0 - 80.6).abs() < 3.0, "{}", m.segments.slices[0].coverage.0);
}

#[test]
fn slices_without_a_ring_are_in_the_masses_and_in_no_segment() {
    let mut heart = Heart::new(vec![]);
    heart.open[0] = (-100.0, 100.0);
    heart.radii.push((0.0, 15.0));
    heart.open.push((0.0, 0.0));
    let m = heart.measured();
    assert_eq!(m.segments.slices[0].role, SliceRole::TooBasal);
    assert_eq!(m.segments.slices[6].role, SliceRole::ApicalCap);
    let cap = m.segments.apical_cap.wall.value().unwrap().0;
    assert!((cap / (std::f64::consts::PI * 225.0 * 12.0 * 1.05e-3) - 1.0).abs() < 0.02, "{cap}");
    assert!(m.segments.outside.wall.value().unwrap().0 > 5.0);
    let sum = m.segments.segments.iter().map(|s| s.wall.value().unwrap().0).sum::<f64>();
    let rest = cap + m.segments.outside.wall.value().unwrap().0;
    assert!((sum + rest - m.lv_mass.value().unwrap().0).abs() < 1e-9);
    let ringed = m.segments.slices.iter().filter(|s| matches!(s.role, SliceRole::Ring(_))).count();
    assert_eq!(ringed, 5);
}

#[test]
fn a_broken_ring_between_sound_ones_is_held() {
    for fault in [(24.0, 34.0, (-120.0, 120.0)), (0.0, 34.0, (0.0, 0.0))] {
        let mut heart = Heart::new(vec![]);
        heart.radii[3] = (fault.0, fault.1);
        heart.open[3] = fault.2;
        let m = heart.measured();
        assert_eq!(m.segments.slices[3].role, SliceRole::Broken);
        assert!(m.review_flags.contains(&ReviewFlag::BrokenRing));
    }
}

#[test]
fn a_ventricle_cut_off_at_either_end_has_no_segments_and_is_held() {
    let mut no_apex = Heart::new(vec![]);
    no_apex.radii.truncate(4);
    let m = no_apex.measured();
    assert!(m.review_flags.contains(&ReviewFlag::ApexCutOff));
    assert_eq!(m.segments.segments[0].transmurality, Measured::Absent(AbsentReason::VentricleIncomplete));
    assert_eq!(m.segments.segments[0].wall, Measured::Absent(AbsentReason::VentricleIncomplete));
    let mut no_base = Heart::new(vec![]);
    no_base.radii = vec![(24.0, 34.0), (17.0, 27.0), (9.0, 18.0)];
    let m = no_base.measured();
    assert!(m.review_flags.contains(&ReviewFlag::BaseCutOff));
    assert_eq!(m.segments.segments[9].transmurality, Measured::Absent(AbsentReason::VentricleIncomplete));
}

#[test]
fn without_cavity_orientation_or_a_slice_there_are_no_segments() {
    let mut solid = Heart::new(vec![]);
    solid.radii.iter_mut().for_each(|(endo, _)| *endo = 0.0);
    let m = solid.measured();
    assert_eq!(m.segments.segments[0].transmurality, Measured::Absent(AbsentReason::NoRing));
    assert!(m.review_flags.contains(&ReviewFlag::BrokenRing));
    let heart = Heart::new(vec![]);
    for (flag, reason) in [
        (StackFlag::NoOrientation, AbsentReason::NoOrientation),
        (StackFlag::MissingSlice { after_slice: 2, step_mm: 24.0 }, AbsentReason::MissingSlice),
    ] {
        let (mut stack, labels) = heart.draw();
        stack.flags.push(flag);
        let m = heart.measured_as(&stack, labels);
        assert!(m.segments.segments.iter().all(|s| s.transmurality == Measured::Absent(reason)));
        assert!(m.segments.territories.iter().all(|t| t.transmurality == Measured::Absent(reason)));
    }
}

#[test]
fn scar_apart_from_the_wall_is_held() {
    let heart = Heart::new(vec![]);
    let (stack, mut labels) = heart.draw();
    for slice in &mut labels.slices {
        for ((r, c), label) in slice.labels.indexed_iter_mut() {
            if r < 12 && c < 12 {
                *label = Label::Scar as u8;
            }
        }
    }
    assert!(heart.measured_as(&stack, labels).review_flags.contains(&ReviewFlag::ScarOutsideWall));
}

#[test]
fn ends_that_contradict_the_patient_axes_are_held() {
    let mut heart = Heart::new(vec![]);
    heart.radii.reverse();
    let m = heart.measured();
    assert!(m.review_flags.contains(&ReviewFlag::BaseApexUnclear));
    let d = m.segments.directions.value().unwrap();
    assert!(dot(d.base_to_apex, heart.apex) < -0.999, "the areas are followed");
}

#[test]
fn estimated_directions_stay_here() {
    let heart = Heart::new(vec![]);
    let (stack, labels) = heart.draw();
    let m = measure(&stack, labels, &defaults().quantify).unwrap().1;
    assert_eq!(m.segments.directions.value().unwrap().source, DirectionSource::Estimated);
    let first = &m.segments.segments[0];
    assert!(first.transmurality.value().is_some());
    assert_eq!(m.segments.sendable(first), Measured::Absent(AbsentReason::DirectionsEstimated));
}

#[test]
fn lesions_have_size_and_shape() {
    let heart = Heart {
        pixel: [0.8, 1.2],
        ..Heart::new(vec![
            Sector { from: -120.0, to: -60.0, depth: (0.0, 1.0) },
            Sector { from: 60.0, to: 120.0, depth: (0.0, 1.0) },
        ])
    };
    let m = heart.measured();
    assert_eq!(m.segments.lesion_count, 2);
    assert_eq!(m.segments.lesions.len(), 12);
    let first = m.segments.lesions.iter().find(|l| l.slice == 0).unwrap();
    let area = std::f64::consts::PI * (34.0 * 34.0 - 24.0 * 24.0) / 6.0;
    assert!((first.area_mm2 / area - 1.0).abs() < 0.03, "{first:?}");
    // Hull of a 60 degree ring sector: the sector of the outer circle less the triangle to the inner corners.
    let hull = std::f64::consts::PI * 34.0 * 34.0 / 6.0 - 0.5 * 24.0 * 24.0 * 60_f64.to_radians().sin();
    assert!((first.solidity - area / hull).abs() < 0.02, "{first:?} {}", area / hull);
    let perimeter = (34.0 + 24.0) * 60_f64.to_radians() + 20.0;
    let round = 4.0 * std::f64::consts::PI * area / (perimeter * perimeter);
    assert!(first.circularity < round && first.circularity > 0.8 * round, "{first:?} {round}");
}

#[test]
fn error_against_pixel_size_is_as_documented() {
    // docs/measures.md holds this table; the bounds are its figures rounded up.
    for (pixel, thick, bound) in [
        (0.7, 10.0, 1.5),
        (1.0, 10.0, 2.0),
        (1.5, 10.0, 2.5),
        (2.0, 10.0, 4.0),
        (1.0, 6.0, 3.0),
        (1.5, 6.0, 4.0),
        (2.0, 6.0, 9.0),
    ] {
        let mut worst = 0.0_f64;
        for (from, to, depth) in [(-60.0, 60.0, 0.5), (-17.0, 95.0, 0.25), (100.0, 247.0, 1.0), (60.0, 120.0, 0.75)] {
            let heart = Heart::new(vec![Sector { from, to, depth: (0.0, depth) }]).short();
            let mut heart = Heart { pixel: [pixel; 2], ..heart };
            heart.radii.iter_mut().for_each(|(endo, epi)| *endo = *epi - thick);
            worst = orientations(&heart).iter().take(3).map(|h| worst_error(h, depth)).fold(worst, f64::max);
        }
        println!("pixel {pixel} mm, wall {thick} mm: worst {worst:.2} points");
        assert!(worst < bound, "pixel {pixel}, wall {thick}: {worst}");
    }
}
