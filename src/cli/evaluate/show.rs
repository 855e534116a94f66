//! An evaluation on the terminal: per cohort one table, measures down, methods across.

use crate::cli::table::table;
use crate::evaluate::Report;
use crate::evaluate::summary::{Measure, Summary};
use comfy_table::Table;

/// Prints all tables and what must be known to read them.
pub(super) fn print(report: &Report) {
    let mut cohorts: Vec<&str> = report.summaries.iter().map(|summary| summary.cohort.as_str()).collect();
    cohorts.dedup();
    for cohort in cohorts {
        let of: Vec<&Summary> = report.summaries.iter().filter(|summary| summary.cohort == cohort).collect();
        let Some(first) = of.first() else { continue };
        println!("{cohort}: {} cases, {} with scar in the reference", first.cases, first.pathological);
        println!("{}", figures(&of));
        if of.iter().any(|summary| !summary.agreements.is_empty()) {
            println!("{}", agreements(&of));
        }
    }
    println!("Means with 95 % intervals (bootstrap by case; Wilson for shares of cases); n = cases or slices.");
    if !report.comparisons.is_empty() {
        println!("{}", tests(report));
    }
    for scores in &report.scores {
        if let Some(note) = &scores.note {
            println!("{}: {note}", scores.method);
        }
        let missing: Vec<String> = scores
            .cases
            .iter()
            .filter_map(|case| case.missing.as_ref().map(|why| format!("{} ({why})", case.case)))
            .collect();
        if !missing.is_empty() {
            println!("{}: scored as misses: {}", scores.method, missing.join(", "));
        }
        if !scores.without_reference.is_empty() || scores.unscored_slices > 0 {
            println!(
                "{}: not scored, since there is no reference: {} cases, {} slices",
                scores.method,
                scores.without_reference.len(),
                scores.unscored_slices
            );
        }
    }
}

fn figures(of: &[&Summary]) -> Table {
    let mut header = vec!["measure"];
    header.extend(of.iter().map(|summary| summary.method.as_str()));
    let mut rows = table(&header);
    let Some(first) = of.first() else { return rows };
    for (index, measure) in first.measures.iter().enumerate() {
        let cells: Vec<String> =
            of.iter().map(|summary| summary.measures.get(index).map_or_else(String::new, cell)).collect();
        if cells.iter().all(|cell| cell.is_empty()) {
            continue;
        }
        let unit = if measure.unit.is_empty() { String::new() } else { format!(", {}", measure.unit) };
        let mut row = vec![format!("{}{unit}", measure.name)];
        row.extend(cells);
        rows.add_row(row);
    }
    rows
}

/// Value, interval, n and note; empty when there is no value.
fn cell(measure: &Measure) -> String {
    let Some(value) = measure.value else { return String::new() };
    let digits = match measure.unit {
        "" => 3,
        "slices" => 0,
        _ => 1,
    };
    let mut text = format!("{value:.digits$}");
    if let Some(interval) = measure.interval {
        text += &format!(" ({:.digits$} to {:.digits$})", interval.low, interval.high);
    }
    match &measure.note {
        Some(note) if note.contains(" of ") && measure.unit.is_empty() && !note.starts_with("found") => {
            text += &format!(" {note}");
        }
        Some(note) => text += &format!(" n {}; {note}", measure.n),
        None => text += &format!(" n {}", measure.n),
    }
    text
}

fn agreements(of: &[&Summary]) -> Table {
    let mut rows = table(&["Bland-Altman", "quantity", "n", "bias", "limits of agreement", "slope on the mean"]);
    for summary in of {
        for found in &summary.agreements {
            let a = &found.agreement;
            let slope = match (a.slope, a.slope_interval) {
                (Some(slope), Some(interval)) => format!("{slope:.2} ({:.2} to {:.2})", interval.low, interval.high),
                _ => String::new(),
            };
            rows.add_row([
                summary.method.clone(),
                format!("{}, {}", found.quantity, found.unit),
                a.n.to_string(),
                format!("{:.1} ({:.1} to {:.1})", a.bias, a.bias_interval.low, a.bias_interval.high),
                format!("{:.1} to {:.1} (each ± {:.1})", a.limits.low, a.limits.high, a.limit_margin),
                slope,
            ]);
        }
    }
    rows
}

fn tests(report: &Report) -> Table {
    let mut rows = table(&["measure", "Wilcoxon", "a", "b", "median a", "median b", "n", "p"]);
    for c in &report.comparisons {
        let median =
            |index: usize| c.medians.get(index).copied().flatten().map_or_else(String::new, |m| format!("{m:.3}"));
        let (n, p) = match &c.result {
            Some(r) => (format!("{}, {}", r.n, r.m), format!("{:.3}{}", r.p, if r.exact { " exact" } else { "" })),
            None => (String::new(), "no difference".to_owned()),
        };
        rows.add_row([c.measure.into(), c.test.into(), c.a.clone(), c.b.clone(), median(0), median(1), n, p]);
    }
    rows
}
