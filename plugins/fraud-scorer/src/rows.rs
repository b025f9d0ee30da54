//! What the operator reads and emits.

use wasmill_sdk::prelude::*;

use crate::amount::minor;
use crate::inputs::Features;

/// A payment with the features that the engine computes as of it.
#[derive(Row, Clone, Copy)]
#[row(name = "transactions")]
pub struct Payment<'a> {
    pub id: &'a str,
    pub account: u64,
    pub at: Timestamp,
    pub amount: Decimal<12, 2>,
    pub channel: &'a str,
    #[row(feature(count = "rows", over = "1m"))]
    pub count_1m: u64,
    #[row(feature(count = "rows", over = "10m"))]
    pub count_10m: u64,
    #[row(feature(count = "rows", over = "1h"))]
    pub count_1h: u64,
    #[row(feature(count = "rows", over = "1d"))]
    pub count_1d: u64,
    #[row(feature(sum = "amount", over = "1h"))]
    pub sum_1h: Decimal<38, 2>,
    #[row(feature(sum = "amount", over = "1d"))]
    pub sum_1d: Decimal<38, 2>,
    #[row(feature(mean = "amount", rows = 50))]
    pub mean_50: f64,
    #[row(feature(max = "amount", rows = 50))]
    pub max_50: Decimal<12, 2>,
    #[row(feature(count = "rows", rows = 50))]
    pub rows_50: u64,
    #[row(feature(distinct = "merchant", over = "1h"))]
    pub merchants_1h: u64,
    #[row(feature(distinct = "country", over = "2h"))]
    pub countries_2h: u64,
}

/// A payment that the model takes for fraud.
#[derive(Row)]
#[row(name = "alerts")]
pub struct Alert<'a> {
    pub account: u64,
    pub at: Timestamp,
    pub transaction: &'a str,
    pub rule: &'a str,
    pub score: f64,
    pub reasons: &'a str,
    pub amount: Decimal<12, 2>,
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
