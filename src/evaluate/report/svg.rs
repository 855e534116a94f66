//! Scatter and Bland-Altman plots as plain SVG, one pair per method and quantity.

use crate::evaluate::Report;
use crate::evaluate::case::CaseScore;
use crate::evaluate::stats::agreement;
use std::fmt::Write;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 56.0;

/// (file name, text) of all plots.
pub(super) fn plots(report: &Report) -> Vec<(String, String)> {
    type Value = fn(&CaseScore) -> Option<(f64, f64)>;
    let quantities: [(&str, &str, Value); 2] = [
        ("scar-fraction", "scar, % of myocardium", |c| Some((c.fraction_reference, c.fraction_predicted?))),
        ("scar-volume", "scar volume, mL", |c| Some((c.scar.reference_ml?, c.scar.predicted_ml?))),
    ];
    let mut files = Vec::new();
    for scores in &report.scores {
        for (quantity, name, value) in quantities {
            let cases = scores.cases.iter().filter(|case| case.masks && case.missing.is_none());
            let points: Vec<(f64, f64)> = cases.filter_map(value).collect();
            if points.len() < 3 {
                continue;
            }
            let method = file_part(&scores.method);
            let title = format!("{}, {} cases", scores.method, points.len());
            files.push((format!("scatter-{quantity}-{method}.svg"), scatter(&points, &title, name)));
            files.push((
                format!("bland-altman-{quantity}-{method}.svg"),
                bland_altman(&points, &title, name, report.seed),
            ));
        }
    }
    files
}

fn file_part(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// A range of values and where it lies on paper.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// Covers the values with a little room, ends on steps.
    fn over(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let step = step(high - low);
        Self {
            low: (low / step).floor() * step,
            high: (high / step).ceil() * step + f64::from(u8::from(high <= low)),
            start,
            end,
        }
    }

    fn at(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = step(self.high - self.low);
        let count = ((self.high - self.low) / step).round().clamp(0.0, 20.0) as usize;
        (0..=count).map(|i| self.low + i as f64 * step).collect()
    }
}

/// 1, 2 or 5 times a power of ten, four to eight of them in the range.
fn step(range: f64) -> f64 {
    if range <= 0.0 || !range.is_finite() {
        return 1.0;
    }
    let rough = range / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let scaled = rough / power;
    power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|s| scaled <= *s).unwrap_or(10.0)
}

struct Page {
    text: String,
    x: Axis,
    y: Axis,
}

impl Page {
    fn new(title: &str, x: Axis, y: Axis, x_name: &str, y_name: &str) -> Self {
        let mut text = String::new();
        let _ = write!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let mut page = Self { text, x, y };
        page.words(WIDTH / 2.0, 22.0, "middle", title);
        page.words(WIDTH / 2.0, HEIGHT - 12.0, "middle", x_name);
        let _ = writeln!(
            page.text,
            "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            HEIGHT / 2.0,
            escape(y_name)
        );
        for tick in x.ticks() {
            page.words(x.at(tick), HEIGHT - MARGIN + 16.0, "middle", &label(tick));
        }
        for tick in y.ticks() {
            page.words(MARGIN - 6.0, y.at(tick) + 4.0, "end", &label(tick));
        }
        page.line((x.low, y.low), (x.high, y.low), "#444", "");
        page.line((x.low, y.low), (x.low, y.high), "#444", "");
        page
    }

    fn words(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let _ = writeln!(self.text, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(text));
    }

    fn line(&mut self, a: (f64, f64), b: (f64, f64), colour: &str, dashes: &str) {
        let _ = writeln!(
            self.text,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"/>",
            self.x.at(a.0),
            self.y.at(a.1),
            self.x.at(b.0),
            self.y.at(b.1)
        );
    }

    fn dot(&mut self, x: f64, y: f64) {
        let (x, y) = (self.x.at(x), self.y.at(y));
        let _ = writeln!(
            self.text,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#1f6f8b\" fill-opacity=\"0.7\"/>"
        );
    }

    fn level(&mut self, value: f64, name: &str, dashes: &str) {
        let (low, high) = (self.x.low, self.x.high);
        self.line((low, value), (high, value), "#b5442e", dashes);
        let (x, y) = (self.x.end - 2.0, self.y.at(value) - 4.0);
        self.words(x, y, "end", &format!("{name} {value:.1}"));
    }

    fn done(mut self) -> String {
        self.text += "</svg>\n";
        self.text
    }
}

/// A number with up to two decimals.
fn label(value: f64) -> String {
    let text = format!("{:.2}", if value.abs() < 0.005 { 0.0 } else { value });
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn scatter(points: &[(f64, f64)], title: &str, name: &str) -> String {
    let values = || points.iter().flat_map(|(r, p)| [*r, *p]).chain([0.0]);
    let x = Axis::over(values(), MARGIN, WIDTH - 20.0);
    let y = Axis::over(values(), HEIGHT - MARGIN, 36.0);
    let mut page = Page::new(title, x, y, &format!("{name}, reference"), "predicted");
    page.line((x.low, x.low), (x.high, x.high), "#999", "4 3");
    points.iter().for_each(|(r, p)| page.dot(*r, *p));
    page.done()
}

fn bland_altman(points: &[(f64, f64)], title: &str, name: &str, seed: u64) -> String {
    let Some(found) = agreement(points, seed) else { return String::new() };
    let moved: Vec<(f64, f64)> = points.iter().map(|(r, p)| ((r + p) / 2.0, p - r)).collect();
    let x = Axis::over(moved.iter().map(|p| p.0), MARGIN, WIDTH - 20.0);
    let levels = [0.0, found.limits.low, found.limits.high];
    let y = Axis::over(moved.iter().map(|p| p.1).chain(levels), HEIGHT - MARGIN, 36.0);
    let mut page = Page::new(title, x, y, &format!("{name}, mean of reference and predicted"), "predicted - reference");
    page.line((x.low, 0.0), (x.high, 0.0), "#999", "4 3");
    page.level(found.bias, "bias", "");
    page.level(found.limits.low, "-1.96 SD", "6 4");
    page.level(found.limits.high, "+1.96 SD", "6 4");
    moved.iter().for_each(|(x, y)| page.dot(*x, *y));
    page.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_where_their_values_are() {
        let text = scatter(&[(0.0, 0.0), (10.0, 10.0), (10.0, 0.0)], "a & b", "x");
        assert!(text.contains("a &amp; b"));
        // The axes run 0 to 10: the corners of the plotting area.
        assert!(text.contains("<circle cx=\"56.0\" cy=\"304.0\"") && text.contains("<circle cx=\"460.0\" cy=\"36.0\""));
        assert!(text.contains("<circle cx=\"460.0\" cy=\"304.0\""));
    }

    #[test]
    fn equal_values_still_give_a_plot() {
        let text = bland_altman(&[(5.0, 5.0); 4], "t", "x", 1);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
