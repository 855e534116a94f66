//! Predictions against references: overlap, distances, volumes, detection, agreement, tests, per cohort. Pure functions
//! over label volumes, and the readers and writers around them; no network, no database.
//!
//! Rules for what is not there. A case or slice without prediction is scored as empty: Dice, area and perimeter similarity 0,
//! distances undefined and counted. A Dice of two empty masks does not exist and enters no mean. A case is positive from
//! 1 % of the myocardium on; one without prediction is wrong whether it is positive or not.

pub mod case;
pub mod compare;
mod error;
pub mod overlap;
pub mod read;
pub mod report;
pub mod stats;
pub mod summary;
pub mod transmurality;
pub mod volume;
pub mod wrap;

pub use error::Error;

use case::{CaseScore, Prediction};
use compare::Comparison;
use read::Cases;
use regex_lite::Regex;
use serde::Serialize;
use std::collections::BTreeMap;
use summary::Summary;
use volume::pair;

/// A way to get masks, and what it said.
#[derive(Debug, Clone)]
pub struct Method {
    /// Name in tables.
    pub name: String,
    /// What must be known to read its figures.
    pub note: Option<String>,
    /// Predictions by case; cases that are not listed are misses.
    pub cases: BTreeMap<String, Prediction>,
}

/// A group of cases by name.
#[derive(Debug, Clone)]
pub struct Cohort {
    /// Name in tables.
    pub name: String,
    /// Cases whose name matches.
    pub pattern: Regex,
}

/// Scores of a method.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    /// Name of the method.
    pub method: String,
    /// Its note.
    pub note: Option<String>,
    /// Cases, sorted by name.
    pub cases: Vec<CaseScore>,
    /// Predicted cases without reference: not scored.
    pub without_reference: Vec<String>,
    /// Predicted slices without reference, in all cases: not scored.
    pub unscored_slices: usize,
}

/// All that an evaluation says.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Scores by method.
    pub scores: Vec<Scores>,
    /// Tables: every cohort (first `all`), every method.
    pub summaries: Vec<Summary>,
    /// Tests: the first method against the others; cohorts against one another.
    pub comparisons: Vec<Comparison>,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// Scores all methods on all references.
///
/// # Errors
/// When a prediction cannot be laid on its reference, a method shares no case with the references, or a cohort is empty.
pub fn evaluate(references: &Cases, methods: &[Method], cohorts: &[Cohort], seed: u64) -> Result<Report, Error> {
    let scores = methods.iter().map(|method| scores(references, method)).collect::<Result<Vec<_>, Error>>()?;
    let mut groups = vec![("all".to_owned(), references.keys().cloned().collect::<Vec<_>>())];
    for cohort in cohorts {
        let names: Vec<String> = references.keys().filter(|name| cohort.pattern.is_match(name)).cloned().collect();
        if names.is_empty() {
            return Err(Error::Option(format!("cohort {}: no case name matches its expression", cohort.name)));
        }
        groups.push((cohort.name.clone(), names));
    }
    let mut summaries = Vec::new();
    for (cohort, names) in &groups {
        for method in &scores {
            summaries.push(summary::summarise(&method.method, cohort, &part(method, names), seed));
        }
    }
    let comparisons = comparisons(&scores, &groups);
    Ok(Report { scores, summaries, comparisons, seed })
}

fn scores(references: &Cases, method: &Method) -> Result<Scores, Error> {
    let without_reference: Vec<String> =
        method.cases.keys().filter(|name| !references.contains_key(*name)).cloned().collect();
    if without_reference.len() == method.cases.len() && !method.cases.is_empty() {
        let first = |names: &mut dyn Iterator<Item = &String>| names.next().cloned().unwrap_or_default();
        return Err(Error::Option(format!(
            "{}: no case has the name of a reference; predictions are named like `{}`, references like `{}`",
            method.name,
            first(&mut method.cases.keys()),
            first(&mut references.keys())
        )));
    }
    let mut unscored_slices = 0;
    let mut cases = Vec::with_capacity(references.len());
    for (name, reference) in references {
        let none = Prediction::Missing("no file of this case".to_owned());
        cases.push(match method.cases.get(name).unwrap_or(&none) {
            Prediction::Labels(volume) => {
                let paired = pair(name, reference, Some(volume))?;
                unscored_slices += paired.unscored;
                case::score(name, &paired, None)
            }
            Prediction::Missing(why) => case::score(name, &pair(name, reference, None)?, Some(why.clone())),
            Prediction::Fraction(value) => case::score_fraction(name, &pair(name, reference, None)?, *value),
        });
    }
    Ok(Scores { method: method.name.clone(), note: method.note.clone(), cases, without_reference, unscored_slices })
}

/// The named cases of a method.
fn part<'a>(scores: &'a Scores, names: &[String]) -> Vec<&'a CaseScore> {
    scores.cases.iter().filter(|case| names.contains(&case.case)).collect()
}

fn comparisons(scores: &[Scores], groups: &[(String, Vec<String>)]) -> Vec<Comparison> {
    let Some((first, others)) = scores.split_first() else { return Vec::new() };
    let mut found = Vec::new();
    for other in others {
        let (a, b): (Vec<&CaseScore>, Vec<&CaseScore>) = (first.cases.iter().collect(), other.cases.iter().collect());
        found.extend(compare::methods([&first.method, &other.method], &a, &b));
    }
    let named = groups.get(1..).unwrap_or_default();
    for (index, (left, left_names)) in named.iter().enumerate() {
        for (right, right_names) in named.iter().skip(index + 1) {
            let names = [format!("{}, {left}", first.method), format!("{}, {right}", first.method)];
            found.extend(compare::cohorts([&names[0], &names[1]], &part(first, left_names), &part(first, right_names)));
        }
    }
    found
}

/// The best constant in hindsight: the median scar fraction of the references with scar. A method whose error on such
/// cases is not below this one's has learned nothing about the fraction.
pub fn constant(references: &Cases) -> Result<Method, Error> {
    let mut fractions = Vec::new();
    for (name, reference) in references {
        let score = case::score(name, &pair(name, reference, None)?, None);
        if score.pathological() {
            fractions.push(score.fraction_reference);
        }
    }
    let median = stats::quantile(&fractions, 0.5).unwrap_or(0.0);
    Ok(Method {
        name: "constant".to_owned(),
        note: Some(format!(
            "{median:.1} % for every case: the median of the references with scar, chosen in hindsight"
        )),
        cases: references.keys().map(|name| (name.clone(), Prediction::Fraction(median))).collect(),
    })
}
