//! Small statistics of an evaluation: intervals by case, agreement of measurements, rank tests.

mod agreement;
mod bootstrap;
mod rank;
mod share;

pub use agreement::{Agreement, agreement};
pub use bootstrap::{Interval, ROUNDS, mean_by_case, percentile_interval};
pub use rank::{RankTest, rank_sum, signed_rank};
pub use share::wilson;

/// Mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation with n - 1; `None` below two values.
pub fn sample_sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    Some((values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt())
}

/// Quantile with linear interpolation (`numpy.percentile`'s default), `q` from 0 to 1; `None` of nothing.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let low = *sorted.get(place.floor() as usize)?;
    let high = *sorted.get(place.ceil() as usize)?;
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        // numpy.percentile([7, 1, 3, 10], [2.5, 50, 97.5])
        let values = [7.0, 1.0, 3.0, 10.0];
        let found: Vec<f64> = [0.025, 0.5, 0.975].iter().map(|q| quantile(&values, *q).unwrap()).collect();
        for (found, wanted) in found.iter().zip([1.15, 5.0, 9.775]) {
            assert!((found - wanted).abs() < 1e-12, "{found}");
        }
        assert_eq!(quantile(&[], 0.5), None);
        // numpy.std(ddof=1)
        assert!((sample_sd(&values).unwrap() - 4.031_128_874_149_275).abs() < 1e-12);
    }
}
