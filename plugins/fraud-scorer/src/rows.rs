//! What the operator reads and emits.

use wasmill_sdk::prelude::*;

use crate::amount::minor;
use crate::inputs::Features;

/// A payment with the features that the engine computes as of it.
#[derive(Row, Clone, Copy)]
#[row(name = "transactions")]
pub struct Payment<'a> {
    pub(crate) id: &'a str,
    pub(crate) account: u64,
    pub(crate) at: Timestamp,
    pub(crate) amount: Decimal<12, 2>,
    pub(crate) channel: &'a str,
    #[row(feature(count = "rows", over = "1m"))]
    pub(crate) count_1m: u64,
    #[row(feature(count = "rows", over = "10m"))]
    pub(crate) count_10m: u64,
    #[row(feature(count = "rows", over = "1h"))]
    pub(crate) count_1h: u64,
    #[row(feature(count = "rows", over = "1d"))]
    pub(crate) count_1d: u64,
    #[row(feature(sum = "amount", over = "1h"))]
    pub(crate) sum_1h: Decimal<38, 2>,
    #[row(feature(sum = "amount", over = "1d"))]
    pub(crate) sum_1d: Decimal<38, 2>,
    #[row(feature(mean = "amount", rows = 50))]
    pub(crate) mean_50: f64,
    #[row(feature(max = "amount", rows = 50))]
    pub(crate) max_50: Decimal<12, 2>,
    #[row(feature(count = "rows", rows = 50))]
    pub(crate) rows_50: u64,
    #[row(feature(distinct = "merchant", over = "1h"))]
    pub(crate) merchants_1h: u64,
    #[row(feature(distinct = "country", over = "2h"))]
    pub(crate) countries_2h: u64,
}

/// A payment that the model takes for fraud.
#[derive(Row)]
#[row(name = "alerts")]
pub struct Alert<'a> {
    pub(crate) account: u64,
    pub(crate) at: Timestamp,
    pub(crate) transaction: &'a str,
    pub(crate) rule: &'a str,
    pub(crate) score: f64,
    pub(crate) reasons: &'a str,
    pub(crate) amount: Decimal<12, 2>,
}

impl<'a> Payment<'a> {
    /// What the model is fed with.
    pub(crate) fn features(&self) -> Features<'a> {
        Features {
            amount_minor: minor(self.amount),
            channel: self.channel,
            counts: [self.count_1m, self.count_10m, self.count_1h, self.count_1d],
            sums_minor: [minor(self.sum_1h), minor(self.sum_1d)],
            mean_50_minor: self.mean_50 * 100.0,
            max_50_minor: minor(self.max_50),
            rows_50: self.rows_50,
            merchants_1h: self.merchants_1h,
            countries_2h: self.countries_2h,
        }
    }
}
