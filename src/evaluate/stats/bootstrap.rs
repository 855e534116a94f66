//! Intervals by resampling whole cases: slices of one heart are not independent.

use super::{mean, quantile};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Resamples.
pub const ROUNDS: usize = 2000;

/// Ends of a 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// 95 % percentile interval of a statistic over cases drawn with replacement. `None` without cases or when the statistic
/// is never defined.
pub fn percentile_interval<T>(cases: &[T], seed: u64, statistic: impl Fn(&[&T]) -> Option<f64>) -> Option<Interval> {
    if cases.is_empty() {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut found = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let drawn: Vec<&T> = (0..cases.len()).filter_map(|_| cases.get(random.random_range(0..cases.len()))).collect();
        found.extend(statistic(&drawn));
    }
    Some(Interval { low: quantile(&found, 0.025)?, high: quantile(&found, 0.975)? })
}

/// Mean over all values with its interval by case; each case gives any number of values.
pub fn mean_by_case(cases: &[Vec<f64>], seed: u64) -> Option<(f64, Interval)> {
    let all: Vec<f64> = cases.iter().flatten().copied().collect();
    let interval = percentile_interval(cases, seed, |drawn| {
        let (sum, count) = drawn.iter().fold((0.0, 0), |(s, n), case| (s + case.iter().sum::<f64>(), n + case.len()));
        (count > 0).then(|| sum / count as f64)
    })?;
    Some((mean(&all)?, interval))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_near_the_normal_one_and_repeats() {
        // 100 cases, mean 4.5, SD of the mean .287: normal interval 3.94 to 5.06.
        let cases: Vec<Vec<f64>> = (0..100).map(|i| vec![f64::from(i % 10)]).collect();
        let (mean, found) = mean_by_case(&cases, 7).unwrap();
        assert_eq!(mean, 4.5);
        assert!((found.low - 3.94).abs() < 0.06 && (found.high - 5.06).abs() < 0.06, "{found:?}");
        assert_eq!(mean_by_case(&cases, 7).unwrap().1, found);
    }

    #[test]
    fn slices_of_one_case_stay_together() {
        // Two cases that disagree: resampling slices would give a narrow interval, resampling cases reaches both ends.
        let cases = vec![vec![0.0; 50], vec![1.0; 50]];
        let (_, found) = mean_by_case(&cases, 1).unwrap();
        assert_eq!((found.low, found.high), (0.0, 1.0));
        assert!(mean_by_case(&[], 1).is_none() && mean_by_case(&[vec![]], 1).is_none());
    }
}
