//! Scores payments by a neural net that runs inside the sandbox.
//!
//! The engine computes the features, the model sees a whole batch at once, and payments whose
//! score is high enough become alerts. The operator itself keeps no state.

mod amount;
pub mod inputs;
pub mod model;
pub mod reasons;

use std::vec::IntoIter;

use wasmill_sdk::prelude::*;

use amount::minor;
use inputs::{Features, inputs};
use model::Scorer;
use reasons::reasons;

/// A payment with the features that the engine computes as of it.
#[derive(Row, Clone, Copy)]
#[row(name = "transactions")]
pub struct Payment<'a> {
    id: &'a str,
    account: u64,
    at: Timestamp,
    amount: Decimal<12, 2>,
    channel: &'a str,
    #[row(feature(count = "rows", over = "1m"))]
    count_1m: u64,
    #[row(feature(count = "rows", over = "10m"))]
    count_10m: u64,
    #[row(feature(count = "rows", over = "1h"))]
    count_1h: u64,
    #[row(feature(count = "rows", over = "1d"))]
    count_1d: u64,
    #[row(feature(sum = "amount", over = "1h"))]
    sum_1h: Decimal<38, 2>,
    #[row(feature(sum = "amount", over = "1d"))]
    sum_1d: Decimal<38, 2>,
    #[row(feature(mean = "amount", rows = 50))]
    mean_50: f64,
    #[row(feature(max = "amount", rows = 50))]
    max_50: Decimal<12, 2>,
    #[row(feature(count = "rows", rows = 50))]
    rows_50: u64,
    #[row(feature(distinct = "merchant", over = "1h"))]
    merchants_1h: u64,
    #[row(feature(distinct = "country", over = "2h"))]
    countries_2h: u64,
}

/// A payment that the model takes for fraud.
#[derive(Row)]
#[row(name = "alerts")]
pub struct Alert<'a> {
    account: u64,
    at: Timestamp,
    transaction: &'a str,
    rule: &'a str,
    score: f64,
    reasons: &'a str,
    amount: Decimal<12, 2>,
}

/// The configuration.
#[derive(Config)]
pub struct Limits {
    /// Payments with this score or a higher one are alerts; a score lies between 0 and 1.
    #[config(default = 0.7)]
    score_min: f64,
}

/// The operator: the model, and the scores of the batch in hand.
pub struct FraudScorer {
    score_min: f64,
    scorer: Scorer,
    scores: IntoIter<f32>,
}

impl Operator for FraudScorer {
    const PLUGIN: Plugin = plugin!();
    type Config = Limits;
    type Input<'a> = Payment<'a>;
    type Output<'a> = Alert<'a>;
    type State = ();

    fn open(config: Limits, _start: &Start) -> Result<Self, Fault> {
        let score_min = config.score_min;
        if !(0.0..=1.0).contains(&score_min) {
            return Err(Fault::new(format!("score-min is {score_min}, it must be from 0 to 1")));
        }
        let scorer = Scorer::load().map_err(|error| Fault::new(error.to_string()))?;
        Ok(Self { score_min, scorer, scores: Vec::new().into_iter() })
    }

    fn begin_batch(&mut self, rows: BatchRows<'_, '_, Self>) -> Result<(), Fault> {
        for row in rows {
            self.scorer.push(&inputs(&row.features()));
        }
        let scores = self.scorer.score().map_err(|error| Fault::new(error.to_string()))?;
        self.scores = scores.into_iter();
        Ok(())
    }

    fn process(&mut self, row: Payment<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Some(score) = self.scores.next().map(f64::from) else {
            return reject("the model gave no score");
        };
        if score >= self.score_min {
            let Payment { account, at, id: transaction, amount, .. } = row;
            let reasons = &reasons(&row.features());
            cx.emit(Alert { account, at, transaction, rule: "score", score, reasons, amount });
        }
        Ok(())
    }
}

impl<'a> Payment<'a> {
    fn features(&self) -> Features<'a> {
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

wasmill_sdk::export!(FraudScorer);
