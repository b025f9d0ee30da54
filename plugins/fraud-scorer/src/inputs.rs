//! What the model sees of a payment: sixteen numbers.
//!
//! Training calls this very function, natively; the sandbox calls it in Wasm. Its logarithms
//! are `libm`'s on both sides, because the machines' own differ in their last bits.

use std::sync::LazyLock;

/// Numbers that the model takes for each payment.
pub const INPUTS: usize = 16;

/// A payment and the features that the engine computed as of it, itself included.
///
/// Money is in hundredths of the account's currency; the model sees only its proportions, so
/// that no currency is dear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Features<'a> {
    /// The payment's amount.
    pub amount_minor: i64,
    /// How it was paid: `atm`, `card`, `mobile`, `netbanking` or `upi`.
    pub channel: &'a str,
    /// Payments of the account within a minute, ten minutes, an hour, a day.
    pub counts: [u64; 4],
    /// Sums of the account's amounts within an hour and a day.
    pub sums_minor: [i64; 2],
    /// Mean of the account's latest 50 amounts.
    pub mean_50_minor: f64,
    /// Largest of the account's latest 50 amounts.
    pub max_50_minor: i64,
    /// How many those latest amounts are, at most 50.
    pub rows_50: u64,
    /// Different merchants within an hour.
    pub merchants_1h: u64,
    /// Different countries within two hours.
    pub countries_2h: u64,
}

/// The model's view of one payment.
#[must_use]
pub fn inputs(features: &Features<'_>) -> [f32; INPUTS] {
    let [count_1m, count_10m, count_1h, count_1d] = features.counts.map(log_of_count);
    let amount = log_of_money(features.amount_minor as f64);
    let mean = log_of_money(features.mean_50_minor);
    let max = log_of_money(features.max_50_minor as f64);
    let [sum_1h, sum_1d] = features.sums_minor.map(|sum| log_of_money(sum as f64));
    let paid_by = |channel| f64::from(u8::from(features.channel == channel));
    let numbers = [
        amount - mean,
        amount - max,
        max - mean,
        sum_1h - mean,
        sum_1h - count_1h - mean,
        sum_1d - mean,
        count_1m,
        count_10m,
        count_1h,
        count_1d,
        log_of_count(features.merchants_1h),
        log_of_count(features.countries_2h),
        log_of_count(features.rows_50),
        paid_by("atm"),
        paid_by("card"),
        paid_by("netbanking"),
    ];
    numbers.map(|number| number as f32)
}

/// Natural logarithms of small counts: half of a payment's logarithms are of these.
static LOGS: LazyLock<[f64; 256]> =
    LazyLock::new(|| std::array::from_fn(|count| libm::log(count.max(1) as f64)));

/// Natural logarithm; counts include the payment itself, so none is zero.
fn log_of_count(count: u64) -> f64 {
    let small = usize::try_from(count)
        .ok()
        .and_then(|count| LOGS.get(count));
    small.copied().unwrap_or_else(|| libm::log(count as f64))
}

/// Natural logarithm; a refund or a zero counts as the smallest coin.
fn log_of_money(minor: f64) -> f64 {
    libm::log(minor.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Features<'_> = Features {
        amount_minor: 2_000,
        channel: "atm",
        counts: [1, 2, 3, 4],
        sums_minor: [6_000, 8_000],
        mean_50_minor: 1_000.0,
        max_50_minor: 4_000,
        rows_50: 50,
        merchants_1h: 2,
        countries_2h: 1,
    };

    #[test]
    fn inputs_do_not_depend_on_the_currency() {
        let rupees = Features {
            amount_minor: ROW.amount_minor * 64,
            sums_minor: ROW.sums_minor.map(|sum| sum * 64),
            mean_50_minor: ROW.mean_50_minor * 64.0,
            max_50_minor: ROW.max_50_minor * 64,
            ..ROW
        };
        for (one, other) in inputs(&ROW).into_iter().zip(inputs(&rupees)) {
            assert!((one - other).abs() < 1e-5, "{one} {other}");
        }
    }

    #[test]
    fn every_input_is_a_number_whatever_comes() {
        let nothing = Features {
            amount_minor: -5,
            channel: "",
            counts: [0; 4],
            sums_minor: [0; 2],
            mean_50_minor: f64::NAN,
            max_50_minor: i64::MIN,
            rows_50: 0,
            merchants_1h: 0,
            countries_2h: u64::MAX,
        };
        assert!(inputs(&nothing).iter().all(|input| input.is_finite()));
    }

    #[test]
    fn small_and_large_counts_have_their_logarithm() {
        for count in [0, 1, 2, 255, 256, 257, 1 << 40] {
            let expected = libm::log(count.max(1) as f64);
            assert_eq!(log_of_count(count).to_bits(), expected.to_bits(), "{count}");
        }
    }

    #[test]
    fn known_values() {
        let [by_mean, by_max, ..] = inputs(&ROW);
        assert!((by_mean - std::f32::consts::LN_2).abs() < 1e-6);
        assert!((by_max + std::f32::consts::LN_2).abs() < 1e-6);
        assert_eq!(&inputs(&ROW)[13..], [1.0, 0.0, 0.0]);
    }
}
