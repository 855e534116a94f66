//! The 16 segments on the terminal: one row per level, one column per wall.

use super::table::table;
use crate::domain::measures::{Measured, Measures};
use crate::domain::segments::{DirectionSource, SegmentMeasures, TransmuralityClass};
use comfy_table::Table;

/// Segments, level by level; mean and maximum together.
pub(super) fn table_of(measures: &Measures) -> Table {
    let walls = ["", "anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral"];
    let mut rows = table(&walls);
    let cell = |number: u8| {
        let found = measures.segments.segments.iter().find(|segment| segment.segment == number);
        found.map_or_else(String::new, text_of)
    };
    let row = |name: &str, numbers: [Option<u8>; 6]| {
        let cells = numbers.map(|number| number.map_or_else(String::new, cell));
        std::iter::once(name.to_owned()).chain(cells).collect::<Vec<String>>()
    };
    rows.add_row(row("basal", [1, 2, 3, 4, 5, 6].map(Some)));
    rows.add_row(row("mid", [7, 8, 9, 10, 11, 12].map(Some)));
    // Four apical segments: septal and lateral stand in the columns of their middle.
    rows.add_row(row("apical", [Some(13), Some(14), None, Some(15), Some(16), None]));
    rows
}

fn text_of(segment: &SegmentMeasures) -> String {
    match segment.transmurality {
        Measured::Value(t) => {
            format!("{} {}\n{:.1} %\nmax {:.1} %", segment.segment, shade(t.class), t.mean.0, t.maximum.0)
        }
        Measured::Absent(_) => format!("{}\nabsent", segment.segment),
    }
}

fn shade(class: TransmuralityClass) -> &'static str {
    match class {
        TransmuralityClass::None => "[    ]",
        TransmuralityClass::To25 => "[#   ]",
        TransmuralityClass::To50 => "[##  ]",
        TransmuralityClass::To75 => "[### ]",
        TransmuralityClass::To100 => "[####]",
    }
}

/// What the table shows, and why segments are absent or stay here.
pub(super) fn legend(measures: &Measures) -> String {
    let places = &measures.segments;
    let mut lines = vec![
        "Transmurality by AHA segment (apical: anterior, septal, inferior, lateral): mean over all chords, largest mean of"
            .to_owned(),
        "five neighbouring chords; # = up to 25, 50, 75, 100 %. Segment 17 cannot be judged from short-axis slices.".to_owned(),
    ];
    let reasons = places.segments.iter().filter_map(|segment| segment.transmurality.reason());
    let mut told: Vec<&str> = reasons.map(|reason| reason.text()).collect();
    told.dedup();
    lines.extend(told.iter().map(|reason| format!("Absent: {reason}.")));
    let territories = places.territories.iter().filter_map(|territory| {
        let t = territory.transmurality.value()?;
        Some(format!("{} {:.1} % (max {:.1} %)", territory.territory.text(), t.mean.0, t.maximum.0))
    });
    let territories: Vec<String> = territories.collect();
    if !territories.is_empty() {
        lines.push(format!("Nominal territories (not the patient's vessels): {}.", territories.join(", ")));
    }
    if places.directions.value().is_some_and(|d| d.source == DirectionSource::Estimated) {
        lines.push("Directions are only estimated: these segments are shown here and sent nowhere.".to_owned());
    }
    lines.join("\n")
}
