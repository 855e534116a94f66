#![allow(clippy::unwrap_used)]

use super::scene::{CENTRE, RADII, polar, segment_at};
use super::*;
use crate::domain::measures::{AbsentReason, Measured, Quality, QualityGrade};
use crate::domain::segments::{Transmurality, TransmuralityClass};
use crate::domain::units::Percent;

fn measures() -> Measures {
    let quality = Quality { grade: QualityGrade::Good, reasons: vec![] };
    let mut measures = Measures::absent(quality, AbsentReason::NoOrientation);
    for segment in measures.segments.segments.iter_mut().filter(|s| s.segment != 5) {
        let mean = Percent(6.25 * f64::from(segment.segment));
        segment.transmurality = Measured::Value(Transmurality {
            mean,
            maximum: Percent(mean.0.max(99.9)),
            depth: Measured::Absent(AbsentReason::NotApplicable),
            enhanced: Percent(50.0),
            class: TransmuralityClass::of(mean),
        });
    }
    measures
}

#[test]
fn segments_lie_where_the_aha_puts_them() {
    let at = |radius: f64, angle: f64| segment_at(radius, angle).unwrap();
    let (apical, mid, basal) = (80.0, 160.0, 250.0);
    assert_eq!([90.0, 150.0, 210.0, 270.0, 330.0, 30.0].map(|a| at(basal, a)), [1, 2, 3, 4, 5, 6]);
    assert_eq!([90.0, 150.0, 210.0, 270.0, 330.0, 30.0].map(|a| at(mid, a)), [7, 8, 9, 10, 11, 12]);
    assert_eq!([90.0, 180.0, 270.0, 0.0].map(|a| at(apical, a)), [13, 14, 15, 16]);
    assert_eq!(at(10.0, 77.0), 17);
    let (_, top) = polar(RADII[3], 90.0);
    assert!(top < CENTRE.1, "anterior is up");
}

#[test]
fn the_svg_is_sound_and_shows_every_mean_with_its_maximum() {
    let text = svg(&measures());
    assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    for segment in (1..=16).filter(|s| *s != 5) {
        assert!(text.contains(&format!(">{:.1}</text>", 6.25 * f64::from(segment))), "segment {segment}");
        assert!(text.contains(&format!("id=\"segment-{segment}\"")));
    }
    assert_eq!(text.matches(">max ").count(), 15);
    assert!(text.contains("NOT VERIFIED"));
}

#[test]
fn the_png_has_the_colour_of_each_class() {
    let picture = canvas(&measures());
    let colour = |radius: f64, angle: f64| {
        let (x, y) = polar(radius, angle);
        picture.get_pixel(x as u32, y as u32).0
    };
    // Near the inner border of each field, away from its text and its lines.
    assert_eq!(colour(RADII[2] + 10.0, 90.0), [254, 227, 145], "segment 1, 6 %");
    assert_eq!(colour(RADII[2] + 10.0, 330.0), [190, 190, 190], "segment 5, absent");
    assert_eq!(colour(RADII[0] + 10.0, 0.0), [110, 38, 5], "segment 16, 100 %");
    assert_eq!(colour(RADII[1] + 10.0, 250.0), [204, 76, 2], "segment 10, 62.5 %");
}
