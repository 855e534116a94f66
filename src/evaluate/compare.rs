//! Tests between methods on the same cases, and between cohorts.

use super::case::{CaseScore, SliceScore};
use super::stats::{RankTest, rank_sum, signed_rank};
use serde::Serialize;

/// One test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What was compared.
    pub measure: &'static str,
    /// `signed-rank` (paired) or `rank-sum` (independent samples).
    pub test: &'static str,
    /// First side: a method, or a method on a cohort.
    pub a: String,
    /// Second side.
    pub b: String,
    /// Medians of the two sides.
    pub medians: [Option<f64>; 2],
    /// The result; absent when nothing differs.
    pub result: Option<RankTest>,
}

/// Values with the names of the slices or cases that they belong to.
type Named = Vec<(String, f64)>;

/// Dice of slices with scar in the reference.
fn slices(cases: &[&CaseScore]) -> Named {
    let scored = cases.iter().filter(|case| case.masks).flat_map(|case| &case.scored);
    let name = |s: &SliceScore| (format!("{} {}", s.case, s.slice), s.dsc);
    scored.filter(|s| s.reference_px > 0).map(name).collect()
}

/// Scar volume Dice of cases with scar in the reference.
fn volumes(cases: &[&CaseScore]) -> Named {
    let sick = cases.iter().filter(|case| case.masks && case.pathological());
    sick.filter_map(|case| Some((case.case.clone(), case.scar.dice?))).collect()
}

/// Signed-rank and rank-sum between two methods on the same cases. The paper names rank-sum; slices and cases scored by
/// two methods are paired, so signed-rank is the proper test.
pub fn methods(names: [&str; 2], a: &[&CaseScore], b: &[&CaseScore]) -> Vec<Comparison> {
    let mut found = Vec::new();
    for (measure, values) in
        [("scar DSC per slice", slices as fn(&[&CaseScore]) -> Named), ("scar volume Dice", volumes)]
    {
        let (left, right): (Named, Named) = (values(a), values(b));
        let pairs: Vec<(f64, f64)> = left
            .iter()
            .filter_map(|(name, value)| Some((*value, right.iter().find(|(other, _)| other == name)?.1)))
            .collect();
        let (left, right): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        if pairs.is_empty() {
            continue;
        }
        found.push(comparison(measure, "signed-rank", names, [&left, &right], signed_rank(&pairs)));
        found.push(comparison(measure, "rank-sum", names, [&left, &right], rank_sum(&left, &right)));
    }
    found
}

/// Rank-sum of one method between two cohorts, by case.
pub fn cohorts(names: [&str; 2], a: &[&CaseScore], b: &[&CaseScore]) -> Vec<Comparison> {
    let values = |cases: &[&CaseScore]| -> Vec<f64> { volumes(cases).into_iter().map(|(_, value)| value).collect() };
    let (a, b) = (values(a), values(b));
    let test = rank_sum(&a, &b);
    if test.is_none() {
        return Vec::new();
    }
    vec![comparison("scar volume Dice", "rank-sum", names, [&a, &b], test)]
}

fn comparison(
    measure: &'static str,
    test: &'static str,
    names: [&str; 2],
    values: [&[f64]; 2],
    result: Option<RankTest>,
) -> Comparison {
    let [a, b] = names.map(str::to_owned);
    Comparison { measure, test, a, b, medians: values.map(|values| super::stats::quantile(values, 0.5)), result }
}
