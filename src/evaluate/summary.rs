//! One method on one cohort: means with intervals by case, shares with Wilson intervals, agreement of volumes.

use super::case::{CaseScore, RegionScore, SliceScore};
use super::stats::{Agreement, Interval, agreement, mean_by_case, wilson};
use serde::Serialize;

/// A case counts as positive from this share of the myocardium on, %.
pub const POSITIVE_PERCENT: f64 = 1.0;

/// A figure of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// Stable name.
    pub key: &'static str,
    /// Words for people.
    pub name: &'static str,
    /// Unit, empty for shares from 0 to 1.
    pub unit: &'static str,
    /// Value; absent when nothing could be scored.
    pub value: Option<f64>,
    /// 95 % interval: bootstrap by case, Wilson for shares of cases.
    pub interval: Option<Interval>,
    /// Cases or slices behind it.
    pub n: usize,
    /// What must be known to read it.
    pub note: Option<String>,
}

/// Agreement of one quantity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantityAgreement {
    /// What was compared.
    pub quantity: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// Bland-Altman figures.
    pub agreement: Agreement,
}

/// Figures of one method on one cohort.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the method.
    pub method: String,
    /// Name of the cohort.
    pub cohort: String,
    /// Cases, those with scar in the reference, and those without any prediction.
    pub cases: usize,
    /// Cases with scar in the reference.
    pub pathological: usize,
    /// Cases without prediction.
    pub missing: usize,
    /// The figures.
    pub measures: Vec<Measure>,
    /// Bland-Altman agreement.
    pub agreements: Vec<QuantityAgreement>,
}

/// Summarises the cases of a cohort.
pub fn summarise(method: &str, cohort: &str, cases: &[&CaseScore], seed: u64) -> Summary {
    let table = Table { cases, seed };
    let mut measures = table.volumes();
    measures.extend(table.slices());
    measures.extend(table.fractions());
    measures.extend(table.shares());
    measures.extend(table.counts());
    Summary {
        method: method.to_owned(),
        cohort: cohort.to_owned(),
        cases: cases.len(),
        pathological: cases.iter().filter(|case| case.pathological()).count(),
        missing: cases.iter().filter(|case| case.missing.is_some()).count(),
        measures,
        agreements: table.agreements(),
    }
}

struct Table<'a> {
    cases: &'a [&'a CaseScore],
    seed: u64,
}

/// Which cases a measure is about.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    All,
    Sick,
    Well,
}

impl Table<'_> {
    fn part(&self, who: Who) -> impl Iterator<Item = &CaseScore> {
        self.cases.iter().copied().filter(move |case| who == Who::All || case.pathological() == (who == Who::Sick))
    }

    /// Mean over cases, each giving no or one value.
    fn per_case(
        &self,
        (key, name, unit): (&'static str, &'static str, &'static str),
        who: Who,
        value: impl Fn(&CaseScore) -> Option<f64>,
    ) -> Measure {
        let values: Vec<Vec<f64>> = self.part(who).filter_map(|case| value(case).map(|value| vec![value])).collect();
        self.measure((key, name, unit), &values)
    }

    fn measure(&self, (key, name, unit): (&'static str, &'static str, &'static str), values: &[Vec<f64>]) -> Measure {
        let found = mean_by_case(values, self.seed);
        Measure {
            key,
            name,
            unit,
            value: found.map(|(mean, _)| mean),
            interval: found.map(|(_, interval)| interval),
            n: values.iter().map(Vec::len).sum(),
            note: None,
        }
    }

    fn volumes(&self) -> Vec<Measure> {
        let dice = |region: fn(&CaseScore) -> &RegionScore| {
            move |case: &CaseScore| region(case).dice.filter(|_| case.masks && region(case).reference_px > 0)
        };
        let ml = |region: fn(&CaseScore) -> &RegionScore| {
            move |case: &CaseScore| region(case).error_ml().filter(|_| case.masks)
        };
        let ratio = |region: fn(&CaseScore) -> &RegionScore| {
            move |case: &CaseScore| case.volume_ratio_error(region(case)).filter(|_| case.masks)
        };
        let mut no_reflow = self.per_case(
            ("no_reflow_dice", "no-reflow volume Dice, where present", ""),
            Who::All,
            dice(|c| &c.no_reflow),
        );
        let present = || self.part(Who::All).filter(|case| case.masks && case.no_reflow.reference_px > 0);
        let found = present().filter(|case| case.no_reflow.predicted_px > 0).count();
        no_reflow.note = (no_reflow.n > 0).then(|| format!("found in {found} of {}", present().count()));
        vec![
            self.per_case(("scar_dice", "scar volume Dice, cases with scar", ""), Who::Sick, dice(|c| &c.scar)),
            self.per_case(("myocardium_dice", "myocardium volume Dice", ""), Who::All, dice(|c| &c.myocardium)),
            self.per_case(("cavity_dice", "cavity volume Dice", ""), Who::All, dice(|c| &c.cavity)),
            no_reflow,
            self.per_case(("scar_error_ml", "scar |dV|", "mL"), Who::All, ml(|c| &c.scar)),
            self.per_case(("scar_error_ratio", "scar |dV| / V myocardium", "%"), Who::All, ratio(|c| &c.scar)),
            self.per_case(("no_reflow_error_ml", "no-reflow |dV|", "mL"), Who::All, ml(|c| &c.no_reflow)),
            self.per_case(
                ("no_reflow_error_ratio", "no-reflow |dV| / V myocardium", "%"),
                Who::All,
                ratio(|c| &c.no_reflow),
            ),
            self.per_case(("myocardium_error_ml", "myocardium |dV|", "mL"), Who::All, ml(|c| &c.myocardium)),
            self.per_case(("myocardium_hd_mm", "myocardium HD, 3-D", "mm"), Who::All, |case| case.myocardium_hd_mm),
        ]
    }

    /// Figures per slice with scar in the reference, as the paper gives them; intervals by case.
    fn slices(&self) -> Vec<Measure> {
        let by_case = |value: &dyn Fn(&SliceScore) -> Option<f64>| -> Vec<Vec<f64>> {
            let scored =
                |case: &CaseScore| case.scored.iter().filter(|s| s.reference_px > 0).filter_map(value).collect();
            self.part(Who::Sick).filter(|case| case.masks).map(scored).collect()
        };
        let in_mm = self.part(Who::All).flat_map(|case| &case.scored).all(|s| s.hd_px.is_none() || s.hd_mm.is_some());
        let unit = if in_mm { "mm" } else { "px" };
        let total = by_case(&|_| Some(0.0)).iter().map(Vec::len).sum::<usize>();
        let mut distance = self.measure(
            ("slice_hd", "scar HD per slice with scar", unit),
            &by_case(&|s| if in_mm { s.hd_mm } else { s.hd_px }),
        );
        distance.note =
            (distance.n < total).then(|| format!("{} slices without predicted scar left out", total - distance.n));
        vec![
            self.measure(("slice_dsc", "scar DSC per slice with scar", ""), &by_case(&|s| Some(s.dsc))),
            self.per_case(("slice_dsc_by_case", "the same, mean of case means", ""), Who::Sick, |case| {
                let own: Vec<f64> = case.scored.iter().filter(|s| s.reference_px > 0).map(|s| s.dsc).collect();
                super::stats::mean(&own).filter(|_| case.masks)
            }),
            distance,
            self.measure(("slice_as", "scar AS per slice with scar", ""), &by_case(&|s| Some(s.area))),
            self.measure(("slice_ps", "scar PS per slice with scar", ""), &by_case(&|s| Some(s.perimeter))),
        ]
    }

    fn fractions(&self) -> Vec<Measure> {
        let error = |case: &CaseScore| Some(case.fraction_or_zero() - case.fraction_reference);
        let worst = self
            .part(Who::Well)
            .filter_map(|case| case.fraction_predicted)
            .fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))));
        let mut normal = self.per_case(("fraction_normal", "scar called in cases without", "%"), Who::Well, |case| {
            case.fraction_predicted
        });
        normal.note = worst.map(|worst| format!("worst {worst:.1}"));
        vec![
            self.per_case(("fraction_error", "scar fraction, absolute error", "points"), Who::Sick, |c| {
                error(c).map(f64::abs)
            }),
            self.per_case(("fraction_bias", "scar fraction, bias", "points"), Who::Sick, error),
            normal,
            self.per_case(
                ("transmurality_error", "transmurality of 60-degree sectors, absolute error", "points"),
                Who::Sick,
                |case| case.transmurality_error().filter(|_| case.masks),
            ),
        ]
    }

    /// Shares of cases with Wilson intervals. A case without prediction is wrong on either side.
    fn shares(&self) -> Vec<Measure> {
        let share = |key, name, hits: usize, n: usize| Measure {
            key,
            name,
            unit: "",
            value: (n > 0).then(|| hits as f64 / n as f64),
            interval: wilson(hits, n),
            n,
            note: (n > 0).then(|| format!("{hits} of {n}")),
        };
        let scored = || self.cases.iter().filter(|case| case.masks);
        let positive =
            |reference: bool| scored().filter(move |c| (c.fraction_reference >= POSITIVE_PERCENT) == reference);
        let called = |case: &&&CaseScore| case.fraction_predicted.is_some_and(|f| f >= POSITIVE_PERCENT);
        let cleared = |case: &&&CaseScore| case.fraction_predicted.is_some_and(|f| f < POSITIVE_PERCENT);
        let slices = |hit: fn(&SliceScore) -> bool| scored().flat_map(|case| &case.scored).filter(|s| hit(s)).count();
        let (seen, with) = (slices(|s| s.reference_px > 0 && s.predicted_px > 0), slices(|s| s.reference_px > 0));
        let free: usize = scored().map(|case| case.scar_free_slices).sum();
        let wrong: usize = scored().map(|case| case.false_scar_slices).sum();
        let mut measures = vec![
            share("sensitivity", "case sensitivity", positive(true).filter(called).count(), positive(true).count()),
            share("specificity", "case specificity", positive(false).filter(cleared).count(), positive(false).count()),
            share("slice_sensitivity", "slice sensitivity", seen, with),
            share("slice_specificity", "slice specificity", free - wrong, free),
        ];
        // Slices of one heart are not independent: a Wilson interval over them would be too narrow.
        measures.iter_mut().skip(2).for_each(|measure| measure.interval = None);
        measures
    }

    fn counts(&self) -> Vec<Measure> {
        let sum =
            |value: fn(&CaseScore) -> usize| self.cases.iter().filter(|c| c.masks).map(|c| value(c)).sum::<usize>();
        let slices = sum(|case| case.slices);
        let count = |key, name, value: usize, n: usize, note: Option<String>| Measure {
            key,
            name,
            unit: "slices",
            value: (slices > 0).then_some(value as f64),
            interval: None,
            n,
            note,
        };
        let empty = sum(|case| case.empty_slices);
        let scar = sum(|case| case.empty_scar_px);
        vec![
            count(
                "empty_with_wall",
                "slices beyond the heart with wall called",
                sum(|case| case.empty_with_wall),
                empty,
                (empty > 0).then(|| format!("{scar} px of scar there")),
            ),
            count(
                "missed_slices",
                "slices with wall where none is called",
                sum(|case| case.missed_slices),
                slices - empty,
                None,
            ),
        ]
    }

    fn agreements(&self) -> Vec<QuantityAgreement> {
        type Value = fn(&CaseScore) -> Option<(f64, f64)>;
        let quantities: [(&'static str, &'static str, Value); 3] = [
            ("scar fraction", "%", |case| Some((case.fraction_reference, case.fraction_predicted?))),
            ("scar volume", "mL", |case| Some((case.scar.reference_ml?, case.scar.predicted_ml?))),
            ("myocardium volume", "mL", |case| Some((case.myocardium.reference_ml?, case.myocardium.predicted_ml?))),
        ];
        let one = |(quantity, unit, value): (&'static str, &'static str, Value)| {
            let cases = self.cases.iter().filter(|case| case.masks && case.missing.is_none());
            let pairs: Vec<(f64, f64)> = cases.filter_map(|case| value(case)).collect();
            Some(QuantityAgreement { quantity, unit, agreement: agreement(&pairs, self.seed)? })
        };
        quantities.into_iter().filter_map(one).collect()
    }
}
