//! Bland-Altman agreement of two measurements of the same cases (Bland and Altman 1986).

use super::{Interval, mean, percentile_interval, sample_sd};
use serde::Serialize;

const Z: f64 = 1.959_963_984_540_054;

/// Bias and limits of agreement of predicted minus reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// Cases.
    pub n: usize,
    /// Mean difference.
    pub bias: f64,
    /// Its 95 % interval, bias +- 1.96 SD / sqrt(n).
    pub bias_interval: Interval,
    /// Standard deviation of the differences.
    pub sd: f64,
    /// Limits of agreement: bias +- 1.96 SD.
    pub limits: Interval,
    /// Half width of the 95 % interval of either limit: 1.96 SD sqrt(1/n + 1.96^2 / (2 (n - 1))).
    pub limit_margin: f64,
    /// Slope of the differences on the means of both (proportional bias); absent when all means are equal.
    pub slope: Option<f64>,
    /// Its 95 % bootstrap interval by case.
    pub slope_interval: Option<Interval>,
}

/// Agreement of (reference, predicted) pairs; `None` below three.
pub fn agreement(pairs: &[(f64, f64)], seed: u64) -> Option<Agreement> {
    let differences: Vec<f64> = pairs.iter().map(|(reference, predicted)| predicted - reference).collect();
    let n = pairs.len();
    if n < 3 {
        return None;
    }
    let (bias, sd) = (mean(&differences)?, sample_sd(&differences)?);
    let around = |middle: f64, half: f64| Interval { low: middle - half, high: middle + half };
    let count = n as f64;
    Some(Agreement {
        n,
        bias,
        bias_interval: around(bias, Z * sd / count.sqrt()),
        sd,
        limits: around(bias, Z * sd),
        limit_margin: Z * sd * (1.0 / count + Z * Z / (2.0 * (count - 1.0))).sqrt(),
        slope: slope(pairs.iter()),
        slope_interval: percentile_interval(pairs, seed, |drawn| slope(drawn.iter().copied())),
    })
}

/// Least-squares slope of the difference on the mean.
fn slope<'a>(pairs: impl Iterator<Item = &'a (f64, f64)>) -> Option<f64> {
    let points: Vec<(f64, f64)> = pairs.map(|(r, p)| ((r + p) / 2.0, p - r)).collect();
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let shared: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 1e-12).then(|| shared / spread)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn peak_flow_data_of_bland_and_altman() {
        // Lancet 1986;i:307, table 1: Wright against mini peak flow meter, 17 subjects. Published: mean difference
        // (Wright - mini) -2.1, SD 38.8, limits -79.7 and 75.5 (with 2 SD instead of 1.96), SE of the bias 9.4.
        let wright =
            [494., 395., 516., 434., 476., 557., 413., 442., 650., 433., 417., 656., 267., 478., 178., 423., 427.];
        let mini =
            [512., 430., 520., 428., 500., 600., 364., 380., 658., 445., 432., 626., 260., 477., 259., 350., 451.];
        let pairs: Vec<(f64, f64)> = mini.iter().copied().zip(wright).collect();
        let found = agreement(&pairs, 1).unwrap();
        assert_eq!(found.n, 17);
        assert!((found.bias + 2.1).abs() < 0.05 && (found.sd - 38.8).abs() < 0.05, "{found:?}");
        assert!((found.bias - 2.0 * found.sd + 79.7).abs() < 0.1 && (found.bias + 2.0 * found.sd - 75.5).abs() < 0.1);
        assert!(((found.bias_interval.high - found.bias) / Z - 9.4).abs() < 0.05);
        assert!(agreement(&pairs[..2], 1).is_none());
    }

    #[test]
    fn proportional_bias_shows_as_a_slope() {
        let pairs: Vec<(f64, f64)> = (1..20).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        // d = r, mean = 1.5 r: slope 2/3, exactly.
        let found = agreement(&pairs, 1).unwrap();
        assert!((found.slope.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!(agreement(&[(1.0, 1.0); 5], 1).unwrap().slope.is_none());
    }
}
