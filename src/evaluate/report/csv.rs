//! Tables as CSV (RFC 4180); an absent value is an empty field.

use crate::evaluate::Report;
use crate::evaluate::case::RegionScore;

/// One line: fields with comma, quote or line break are quoted.
fn line(fields: &[String]) -> String {
    let quoted = |field: &String| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

fn header(names: &[&str]) -> String {
    line(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Methods by cohort by measure.
pub(super) fn summary(report: &Report) -> String {
    let mut text = header(&["cohort", "method", "measure", "name", "unit", "value", "low", "high", "n", "note"]);
    for summary in &report.summaries {
        for m in &summary.measures {
            text += &line(&[
                summary.cohort.clone(),
                summary.method.clone(),
                m.key.to_owned(),
                m.name.to_owned(),
                m.unit.to_owned(),
                number(m.value),
                number(m.interval.map(|i| i.low)),
                number(m.interval.map(|i| i.high)),
                m.n.to_string(),
                m.note.clone().unwrap_or_default(),
            ]);
        }
    }
    text
}

/// One line per method and case.
pub(super) fn cases(report: &Report) -> String {
    let mut text = header(&[
        "method",
        "case",
        "missing",
        "scar_dice",
        "myocardium_dice",
        "cavity_dice",
        "no_reflow_dice",
        "fraction_reference",
        "fraction_predicted",
        "scar_reference_px",
        "scar_predicted_px",
        "scar_reference_ml",
        "scar_predicted_ml",
        "myocardium_reference_px",
        "myocardium_predicted_px",
        "myocardium_reference_ml",
        "myocardium_predicted_ml",
        "scar_error_ratio",
        "no_reflow_error_ratio",
        "myocardium_hd_mm",
        "transmurality_error",
        "slices",
        "missed_slices",
    ]);
    for scores in &report.scores {
        for c in &scores.cases {
            let volumes = |r: &RegionScore| {
                [r.reference_px.to_string(), r.predicted_px.to_string(), number(r.reference_ml), number(r.predicted_ml)]
            };
            let mut fields = vec![scores.method.clone(), c.case.clone(), c.missing.clone().unwrap_or_default()];
            fields.extend([&c.scar, &c.myocardium, &c.cavity, &c.no_reflow].map(|region| number(region.dice)));
            fields.extend([number(Some(c.fraction_reference)), number(c.fraction_predicted)]);
            fields.extend(volumes(&c.scar));
            fields.extend(volumes(&c.myocardium));
            fields.extend(
                [
                    c.volume_ratio_error(&c.scar),
                    c.volume_ratio_error(&c.no_reflow),
                    c.myocardium_hd_mm,
                    c.transmurality_error(),
                ]
                .map(number),
            );
            fields.extend([c.slices.to_string(), c.missed_slices.to_string()]);
            text += &line(&fields);
        }
    }
    text
}

/// One line per method and slice with scar on either side.
pub(super) fn slices(report: &Report) -> String {
    let mut text =
        header(&["method", "case", "slice", "reference_px", "predicted_px", "dsc", "hd_px", "hd_mm", "as", "ps"]);
    for scores in &report.scores {
        for s in scores.cases.iter().filter(|case| case.masks).flat_map(|case| &case.scored) {
            let mut fields = vec![scores.method.clone(), s.case.clone(), s.slice.to_string()];
            fields.extend([s.reference_px.to_string(), s.predicted_px.to_string()]);
            fields.extend([Some(s.dsc), s.hd_px, s.hd_mm, Some(s.area), Some(s.perimeter)].map(number));
            text += &line(&fields);
        }
    }
    text
}

/// One line per test.
pub(super) fn tests(report: &Report) -> String {
    let mut text = header(&["measure", "test", "a", "b", "median_a", "median_b", "n", "m", "statistic", "p", "exact"]);
    for c in &report.comparisons {
        let mut fields = vec![c.measure.to_owned(), c.test.to_owned(), c.a.clone(), c.b.clone()];
        fields.extend(c.medians.map(number));
        fields.extend(match &c.result {
            Some(r) => {
                [r.n.to_string(), r.m.to_string(), r.statistic.to_string(), r.p.to_string(), r.exact.to_string()]
            }
            None => Default::default(),
        });
        text += &line(&fields);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(line(&["a".into(), "b,c".into(), "say \"x\"".into()]), "a,\"b,c\",\"say \"\"x\"\"\"\n");
    }
}
