//! Quantiles from a histogram whose buckets are as wide as their values are large.

use std::collections::BTreeMap;

/// Bits of a value's fraction that tell its bucket: 128 buckets for each doubling, so that a
/// bucket's middle lies within 0.4 % of every value in it.
const FRACTION_BITS: u32 = 7;
/// Bits of the fraction that are cut off.
const CUT: u32 = 52 - FRACTION_BITS;

/// Counts of values by bucket.
///
/// Buckets of a relative width as in DDSketch (Masson, Rim, Lee 2019), found as in HdrHistogram by
/// the leading bits of the float, so that no logarithm of the machine's library decides. Sketches
/// that sample, such as KLL, answer by which values came first: the same rows in another order, or
/// merged from other panes, give another answer. Counts do not.
#[derive(Debug, Clone, Default)]
pub(super) struct Quantiles {
    counts: BTreeMap<i32, u64>,
}

impl Quantiles {
    /// Adds a value; what is not a number is left out.
    pub(super) fn add(&mut self, value: f64) {
        if !value.is_nan() {
            *self.counts.entry(bucket(value)).or_default() += 1;
        }
    }

    /// Adds another histogram.
    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
    }

    /// The value of the given rank: the least one that at least this share of the values does not
    /// exceed.
    pub(super) fn at(&self, share: f64) -> Option<f64> {
        let total: u64 = self.counts.values().sum();
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        for (bucket, count) in &self.counts {
            seen += count;
            if seen >= rank {
                return Some(middle(*bucket));
            }
        }
        None
    }

    /// The buckets and their counts.
    pub(super) fn counts(&self) -> impl ExactSizeIterator<Item = (i32, u64)> {
        self.counts.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// Puts back a bucket.
    pub(super) fn restore(&mut self, bucket: i32, count: u64) {
        *self.counts.entry(bucket).or_default() += count;
    }
}

/// The bucket of a value: the leading bits, ordered as the values are; 0 holds zero.
fn bucket(value: f64) -> i32 {
    let leading = (value.abs().to_bits() >> CUT) as i32;
    match value < 0.0 {
        true => -leading,
        false => leading,
    }
}

/// The middle of a bucket, or the one value that it holds.
fn middle(bucket: i32) -> f64 {
    let leading = u64::from(bucket.unsigned_abs());
    let low = f64::from_bits(leading << CUT);
    let high = f64::from_bits((leading + 1) << CUT);
    let middle = match leading {
        0 => 0.0,
        // Small whole numbers have a bucket each, at whose edge they stand.
        _ if high - low <= 1.0 && low.fract() == 0.0 => low,
        _ if high.is_finite() => low + (high - low) / 2.0,
        _ => low,
    };
    if bucket < 0 { -middle } else { middle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_near_its_value_in_any_order() {
        let values: Vec<f64> = (1..=1000).map(|i| f64::from(i) * 3.7 - 500.0).collect();
        let (mut forward, mut backward) = (Quantiles::default(), Quantiles::default());
        values.iter().for_each(|value| forward.add(*value));
        values.iter().rev().for_each(|value| backward.add(*value));
        for share in [0.0_f64, 0.01, 0.5, 0.99, 1.0] {
            let exact = values[((1000.0 * share).ceil() as usize).clamp(1, 1000) - 1];
            let found = forward.at(share).expect("there are values");
            assert!(
                (found - exact).abs() <= exact.abs() * 0.004,
                "{share}: {found} {exact}"
            );
            assert_eq!(backward.at(share), Some(found));
        }
    }

    #[test]
    fn small_whole_numbers_are_exact() {
        let mut quantiles = Quantiles::default();
        (0..=100).for_each(|value| quantiles.add(f64::from(value)));
        assert_eq!(quantiles.at(0.5), Some(50.0));
        assert_eq!(quantiles.at(1.0), Some(100.0));
        assert_eq!(Quantiles::default().at(0.5), None);
    }
}
