//! Counts and sums the amounts of each key.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Payment {
    account: u64,
    amount: f64,
}

/// What is emitted for each row.
#[derive(Row, Debug, PartialEq)]
pub struct Total {
    account: u64,
    count: u64,
    sum: f64,
}

/// What is kept for each key.
#[derive(State, Clone, Default)]
pub struct Tally {
    count: u64,
    sum: f64,
}

/// The states.
#[derive(States)]
pub struct Memory {
    tally: Value<Tally>,
}

/// The operator.
pub struct CountByKey;

impl Operator for CountByKey {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Payment;
    type Output<'a> = Total;
    type State = Memory;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Tally { count, sum } = cx.state.tally.update(|tally| {
            tally.count += 1;
            tally.sum += row.amount;
        });
        let account = row.account;
        cx.emit(Total {
            account,
            count,
            sum,
        });
        Ok(())
    }
}

wasmill_sdk::export!(CountByKey);
