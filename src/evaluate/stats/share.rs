//! Interval of a share.

use super::Interval;

const Z: f64 = 1.959_963_984_540_054;

/// 95 % Wilson score interval of `hits` of `n`; `None` of none.
pub fn wilson(hits: usize, n: usize) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (count, share) = (n as f64, hits as f64 / n as f64);
    let scale = 1.0 + Z * Z / count;
    let mid = share + Z * Z / (2.0 * count);
    let half = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
    Some(Interval { low: ((mid - half) / scale).max(0.0), high: ((mid + half) / scale).min(1.0) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn matches_newcombes_worked_examples() {
        // Newcombe, Statistics in Medicine 1998;17:857, table I, method 3 (Wilson): 81/263, 15/148, 0/20, 1/29.
        for (hits, n, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let found = wilson(hits, n).unwrap();
            assert!((found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5, "{hits}/{n}: {found:?}");
        }
        assert!(wilson(0, 0).is_none());
    }
}
