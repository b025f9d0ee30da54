//! Passes the rows whose amount is at least the configured one.

use wasmill_sdk::prelude::*;

/// What is read and, if it passes, emitted.
#[derive(Row, Clone, Copy, Debug, PartialEq)]
pub struct Payment<'a> {
    account: u64,
    amount: f64,
    merchant: Option<&'a str>,
}

/// The configuration.
#[derive(Config)]
pub struct Limits {
    /// Rows with a smaller amount are dropped.
    min_amount: f64,
}

/// The operator.
pub struct Filter {
    min_amount: f64,
}

impl Operator for Filter {
    const PLUGIN: Plugin = plugin!();
    type Config = Limits;
    type Input<'a> = Payment<'a>;
    type Output<'a> = Payment<'a>;
    type State = ();

    fn open(config: Limits, _start: &Start) -> Result<Self, Fault> {
        let min_amount = config.min_amount;
        Ok(Self { min_amount })
    }

    fn process(&mut self, row: Payment<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        if row.amount >= self.min_amount {
            cx.emit(row);
        }
        Ok(())
    }
}

wasmill_sdk::export!(Filter);
