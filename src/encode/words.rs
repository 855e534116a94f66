//! A result in words, line by line, for pages and pictures.

use crate::domain::measures::{Measured, Measures, QualityGrade};
use std::fmt::Display;

/// The numbers that a reader wants first, quality before all; each line can stand alone.
pub fn lines(measures: &Measures) -> Vec<String> {
    let grade = match measures.quality.grade {
        QualityGrade::Good => "good",
        QualityGrade::Limited => "limited",
        QualityGrade::NotUsable => "not usable",
    };
    let mut lines = vec![format!("Image quality: {grade}")];
    lines.extend(measures.quality.reasons.iter().map(|reason| format!("  {reason}")));
    lines.push(shown("LV mass (LGE short axis)", measures.lv_mass));
    lines.push(shown("LGE mass incl. no-reflow", measures.scar_mass));
    lines.push(shown("  of LV mass", measures.burden));
    if let Some(range) = measures.scar_mass_sensitivity.value() {
        lines.push(format!("  contour half a pixel in / out: {:.1} / {:.1}", range.low, range.high));
    }
    lines.push(shown("No-reflow mass", measures.no_reflow_mass));
    if measures.detection_limit.0 > 0.0 {
        lines.push(format!("LGE below {:.1} of the LV mass counts as none.", measures.detection_limit));
    }
    lines.extend(measures.review_flags.iter().map(|flag| format!("For review: {}", flag.text())));
    lines.push("Preliminary. The age of an infarct is not known.".into());
    lines
}

fn shown<T: Copy + Display>(name: &str, value: Measured<T>) -> String {
    match value {
        Measured::Value(value) => format!("{name}: {value:.1}"),
        Measured::Absent(reason) => format!("{name}: no value, {}", reason.text()),
    }
}

/// Breaks a line between words where it is longer than `width` characters; what follows is indented.
pub fn wrapped(line: &str, width: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut rows: Vec<String> = vec![indent.clone()];
    for word in line.split_whitespace() {
        let fits = rows.last().is_some_and(|row| row.trim().is_empty() || row.len() + 1 + word.len() <= width);
        if !fits {
            rows.push(format!("{indent}  "));
        }
        if let Some(row) = rows.last_mut() {
            if !row.trim().is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_and_nothing_is_lost() {
        let line = "  For review: scar burden is above what the models were trained on";
        let rows = wrapped(line, 30);
        assert!(rows.len() > 1 && rows.iter().all(|row| row.len() <= 30 && row.starts_with("  ")), "{rows:?}");
        let words: Vec<&str> = rows.iter().flat_map(|row| row.split_whitespace()).collect();
        assert_eq!(words, line.split_whitespace().collect::<Vec<_>>());
    }
}
