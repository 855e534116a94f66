//! Wilcoxon's rank tests, two-sided: rank-sum for independent samples, signed-rank for paired ones. Exact for small samples
//! without ties, else the normal approximation with tie correction.

use serde::Serialize;

/// Largest samples of the exact tests.
const EXACT_SUM: usize = 20;
const EXACT_SIGNED: usize = 50;

/// A test's result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RankTest {
    /// Size of the first sample, or number of pairs that differ.
    pub n: usize,
    /// Size of the second sample; for pairs the number given.
    pub m: usize,
    /// Rank sum of the first sample, or of the positive differences.
    pub statistic: f64,
    /// Two-sided p.
    pub p: f64,
    /// Whether p is exact.
    pub exact: bool,
}

/// Ranks from 1 with mid-ranks for ties, and the sum of t^3 - t over groups of ties.
fn ranks(values: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![0.0; values.len()];
    let (mut ties, mut done) = (0.0, 0);
    for group in order.chunk_by(|a, b| a.1 == b.1) {
        let size = group.len();
        let rank = done as f64 + (size as f64 + 1.0) / 2.0;
        for (index, _) in group {
            if let Some(slot) = ranks.get_mut(*index) {
                *slot = rank;
            }
        }
        ties += (size as f64).powi(3) - size as f64;
        done += size;
    }
    (ranks, ties)
}

/// Two-sided tail of the normal distribution.
fn two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() / std::f64::consts::SQRT_2).min(1.0)
}

/// Rank-sum test of two independent samples (Mann-Whitney U); continuity correction 0.5. `None` when a sample is empty.
pub fn rank_sum(a: &[f64], b: &[f64]) -> Option<RankTest> {
    let (n, m) = (a.len(), b.len());
    if n == 0 || m == 0 {
        return None;
    }
    let (ranks, ties) = ranks(&[a, b].concat());
    let statistic: f64 = ranks.iter().take(n).sum();
    let (nf, mf) = (n as f64, m as f64);
    let total = nf + mf;
    let u = statistic - nf * (nf + 1.0) / 2.0;
    let exact = ties == 0.0 && n <= EXACT_SUM && m <= EXACT_SUM;
    let p = if exact {
        exact_sum(n, m, u.max(nf * mf - u).round() as usize)
    } else {
        let variance = nf * mf / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
        approximate((u - nf * mf / 2.0).abs() - 0.5, variance)
    };
    Some(RankTest { n, m, statistic, p, exact })
}

/// Two-sided p of a deviation; 1 when nothing varies.
fn approximate(deviation: f64, variance: f64) -> f64 {
    if variance <= 0.0 { 1.0 } else { two_sided(deviation.max(0.0) / variance.sqrt()) }
}

/// 2 P(U >= u) over all arrangements of n and m.
fn exact_sum(n: usize, m: usize, u: usize) -> f64 {
    // ways[k][v]: subsets of k ranks among those seen so far whose U is v (adding rank r as the k-th gives r - k).
    let top = n * m;
    let mut ways = vec![vec![0.0f64; top + 1]; n + 1];
    if let Some(first) = ways.first_mut().and_then(|row| row.first_mut()) {
        *first = 1.0;
    }
    for rank in 1..=n + m {
        for k in (1..=n.min(rank)).rev() {
            let gain = rank - k;
            let (below, here) = ways.split_at_mut(k);
            let (Some(below), Some(here)) = (below.last(), here.first_mut()) else { continue };
            for (to, from) in here.iter_mut().skip(gain).zip(below.iter()) {
                *to += from;
            }
        }
    }
    tail(ways.last().map_or(&[][..], Vec::as_slice), u)
}

/// 2 x the share of the counts from `from` on, at most 1.
fn tail(counts: &[f64], from: usize) -> f64 {
    let total: f64 = counts.iter().sum();
    (2.0 * counts.iter().skip(from).sum::<f64>() / total).min(1.0)
}

/// Signed-rank test of paired values; pairs that are equal are left out (Wilcoxon's own rule), no continuity correction, as
/// scipy.stats.wilcoxon does by default. `None` when no pair differs.
pub fn signed_rank(pairs: &[(f64, f64)]) -> Option<RankTest> {
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| rounded(a - b)).filter(|d| *d != 0.0).collect();
    let n = differences.len();
    if n == 0 {
        return None;
    }
    let sizes: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    let (ranks, ties) = ranks(&sizes);
    // A fold: the sum of nothing would be -0.
    let positive = ranks.iter().zip(&differences).filter(|(_, d)| **d > 0.0);
    let statistic = positive.fold(0.0, |sum, (rank, _)| sum + rank);
    let nf = n as f64;
    let whole = nf * (nf + 1.0) / 2.0;
    let exact = ties == 0.0 && n <= EXACT_SIGNED && n == pairs.len();
    let p = if exact {
        exact_signed(n, statistic.max(whole - statistic).round() as usize)
    } else {
        let variance = nf * (nf + 1.0) * (2.0 * nf + 1.0) / 24.0 - ties / 48.0;
        approximate((statistic - whole / 2.0).abs(), variance)
    };
    Some(RankTest { n, m: pairs.len(), statistic, p, exact })
}

/// Equal differences must tie although their floating-point values differ in the last digits.
fn rounded(difference: f64) -> f64 {
    (difference * 1e12).round() / 1e12
}

/// 2 P(W >= w) over all signs of n ranks.
fn exact_signed(n: usize, w: usize) -> f64 {
    let mut ways = vec![0.0f64; n * (n + 1) / 2 + 1];
    if let Some(first) = ways.first_mut() {
        *first = 1.0;
    }
    for rank in 1..=n {
        let before = ways.clone();
        for (to, from) in ways.iter_mut().skip(rank).zip(&before) {
            *to += from;
        }
    }
    tail(&ways, w)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn close(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() <= 1e-9 * wanted.max(1e-3)
    }

    #[test]
    fn rank_sum_is_scipys_mannwhitneyu() {
        // scipy 1.17.1, method="exact"
        let a = [0.62, 0.71, 0.55, 0.80, 0.44, 0.67];
        let b = [0.51, 0.49, 0.60, 0.38, 0.70, 0.42, 0.58];
        let found = rank_sum(&a, &b).unwrap();
        assert!(found.exact && found.statistic == 53.0 && close(found.p, 0.137_529_137_529_137_54), "{found:?}");
        // Ties: method="asymptotic", use_continuity=True
        let a = [0.0, 0.0, 0.5, 0.5, 0.7, 0.8, 0.8, 0.9];
        let b = [0.0, 0.2, 0.5, 0.3, 0.8, 0.0, 0.1];
        let found = rank_sum(&a, &b).unwrap();
        assert!(!found.exact && found.statistic == 75.0 && close(found.p, 0.216_774_064_910_187_47), "{found:?}");
        // Ties and more than twenty.
        let a = [
            0.81, 0.81, 0.52, 0.29, 0.05, 0.38, 0.41, 0.05, 0.05, 1.0, 0.65, 0.23, 0.43, 0.97, 0.9, 0.84, 0.39, 0.49,
            0.68, 0.06, 0.56, 0.27, 0.88, 0.06, 0.68, 0.87, 0.23, 0.9, 0.87, 0.02,
        ];
        let b = [
            0.57, 0.0, 0.4, 0.35, 0.16, 0.26, 0.64, 0.25, 0.12, 0.56, 0.36, 0.64, 0.19, 0.26, 0.64, 0.41, 0.41, 0.19,
            0.01, 0.75, 0.07, 0.68, 0.29, 0.76, 0.32,
        ];
        let found = rank_sum(&a, &b).unwrap();
        assert!(found.statistic == 941.0 && close(found.p, 0.089_220_005_905_978_03), "{found:?}");
    }

    #[test]
    fn signed_rank_is_scipys_wilcoxon() {
        // scipy 1.17.1, method="exact"
        let a = [0.62, 0.71, 0.55, 0.80, 0.44, 0.67, 0.31];
        let b = [0.51, 0.49, 0.60, 0.38, 0.70, 0.42, 0.58];
        let pairs: Vec<(f64, f64)> = a.into_iter().zip(b).collect();
        let found = signed_rank(&pairs).unwrap();
        assert!(found.exact && found.statistic == 16.0 && close(found.p, 0.8125), "{found:?}");
        // One pair is equal, others tie: method="approx", correction=False
        let a = [0.0, 0.0, 0.5, 0.5, 0.75, 0.875, 0.75, 1.0];
        let b = [0.0, 0.25, 0.25, 0.375, 0.875, 0.0, 0.125, 0.25];
        let pairs: Vec<(f64, f64)> = a.into_iter().zip(b).collect();
        let found = signed_rank(&pairs).unwrap();
        assert_eq!((found.n, found.m, found.statistic, found.exact), (7, 8, 23.0, false));
        assert!(close(found.p, 0.126_825_658_377_091_03), "{found:?}");
    }

    #[test]
    fn nothing_to_compare_is_no_result() {
        assert!(rank_sum(&[], &[1.0]).is_none());
        assert!(signed_rank(&[(1.0, 1.0)]).is_none());
        assert_eq!(rank_sum(&[1.0, 1.0], &[1.0, 1.0]).unwrap().p, 1.0);
    }
}
