//! Scores payments by a neural net that runs inside the sandbox.
//!
//! The engine computes the features, the model sees a whole batch at once, and payments whose
//! score is high enough become alerts. The operator itself keeps no state.

mod amount;
pub mod inputs;
pub mod model;
pub mod reasons;
mod rows;

use std::vec::IntoIter;

use wasmill_sdk::prelude::*;

use inputs::inputs;
use model::Scorer;
use reasons::reasons;
pub use rows::{Alert, Payment};

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
            return Err(Fault::new(format!(
                "score-min is {score_min}, it must be from 0 to 1"
            )));
        }
        let scorer = Scorer::load().map_err(|error| Fault::new(error.to_string()))?;
        Ok(Self {
            score_min,
            scorer,
            scores: Vec::new().into_iter(),
        })
    }

    fn begin_batch(&mut self, rows: BatchRows<'_, '_, Self>) -> Result<(), Fault> {
        for row in rows {
            self.scorer.push(&inputs(&row.features()));
        }
        let scores = self
            .scorer
            .score()
            .map_err(|error| Fault::new(error.to_string()))?;
        self.scores = scores.into_iter();
        Ok(())
    }

    fn process(&mut self, row: Payment<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Some(score) = self.scores.next().map(f64::from) else {
            return reject("the model gave no score");
        };
        if score >= self.score_min {
            let Payment {
                account,
                at,
                id: transaction,
                amount,
                ..
            } = row;
            let reasons = &reasons(&row.features());
            cx.emit(Alert {
                account,
                at,
                transaction,
                rule: "score",
                score,
                reasons,
                amount,
            });
        }
        Ok(())
    }
}

wasmill_sdk::export!(FraudScorer);

#[cfg(test)]
mod tests;
