//! Four rules that look for card fraud, one file each.
//!
//! The rules are plain functions over plain state; this file joins them to the stream. They are
//! keyed by account and decide about each payment as it comes.

pub mod amount_history;
pub mod config;
pub mod countries;
pub mod impossible_travel;
pub mod new_merchants;
pub mod payment;
mod rows;
pub mod velocity;

use wasmill_sdk::prelude::*;

use amount_history::History;
use config::{Rules, Thresholds};
use impossible_travel::Place;
use payment::Payment;
pub use rows::{Alert, Transaction};

/// What the rules keep of an account.
#[derive(States)]
pub struct Memory {
    /// Where it was last believed to be.
    place: Value<Place>,
    /// Its earlier amounts.
    history: Value<History>,
    /// How many merchants it has used.
    known: Value<u32>,
    /// When it first paid at its latest new merchants.
    #[state(items_max = 8)]
    firsts: List<Timestamp>,
    /// When it first paid at each merchant.
    #[state(column = "merchant")]
    merchants: Map<String, Timestamp>,
}

/// The operator.
pub struct FraudRules {
    rules: Rules,
}

impl Operator for FraudRules {
    const PLUGIN: Plugin = plugin!();
    type Config = Thresholds;
    type Input<'a> = Transaction<'a>;
    type Output<'a> = Alert<'a>;
    type State = Memory;

    fn open(config: Thresholds, _start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            rules: Rules::new(&config)?,
        })
    }

    fn process(&mut self, row: Transaction<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let payment = row.payment()?;
        let Rules {
            velocity,
            impossible_travel,
            amount_history,
            ..
        } = self.rules;
        let mut place = cx.state.place.get_or_default();
        let mut history = cx.state.history.get_or_default();
        let found = [
            ("velocity", velocity.judge(row.count_1m)),
            (
                "impossible_travel",
                impossible_travel.judge(&mut place, &payment),
            ),
            (
                "amount_history",
                amount_history.judge(&mut history, &payment),
            ),
            ("new_merchants", self.new_merchant(&row, &payment, cx.state)),
        ];
        cx.state.place.set(place);
        cx.state.history.set(history);
        for (rule, reasons) in found {
            if let Some(reasons) = reasons {
                cx.emit(row.alert(rule, &reasons));
            }
        }
        Ok(())
    }
}

impl FraudRules {
    fn new_merchant(
        &self,
        row: &Transaction<'_>,
        payment: &Payment<'_>,
        state: &mut Memory,
    ) -> Option<String> {
        if state.merchants.contains(row.merchant) {
            return None;
        }
        let known = state.known.get_or_default();
        state.merchants.set(row.merchant, row.at);
        state.known.set(known.saturating_add(1));
        state.firsts.push(row.at);
        let times_us = state.firsts.iter().map(Timestamp::as_micros);
        self.rules.new_merchants.judge(known, times_us, payment)
    }
}

wasmill_sdk::export!(FraudRules);

#[cfg(test)]
mod tests;
