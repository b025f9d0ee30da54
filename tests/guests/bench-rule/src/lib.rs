//! Counts and sums an account's payments and tells of accounts above a sum: the work of `Rule` in
//! `tests/peers/flink/Peer.java`, whose bound of 10^12 no benchmark reaches.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Payment {
    account: u64,
    amount: f64,
    ts: i64,
}

/// An account whose sum is above the bound.
#[derive(Row)]
pub struct Alert {
    account: u64,
    ts: i64,
}

/// What is kept for each account: 24 bytes.
#[derive(State, Clone, Default)]
pub struct Account {
    count: u64,
    sum: f64,
    last: i64,
}

/// The states.
#[derive(States)]
pub struct Memory {
    account: Value<Account>,
}

/// The configuration.
#[derive(Config)]
pub struct Bounds {
    /// Sums above it are told.
    sum_max: f64,
}

/// The operator.
pub struct Rule {
    sum_max: f64,
}

impl Operator for Rule {
    const PLUGIN: Plugin = plugin!();
    type Config = Bounds;
    type Input<'a> = Payment;
    type Output<'a> = Alert;
    type State = Memory;

    fn open(config: Bounds, _start: &Start) -> Result<Self, Fault> {
        let sum_max = config.sum_max;
        Ok(Self { sum_max })
    }

    // A component is optimised as a whole, and needs no such word. The native side of `sandbox-tax`
    // is not: without it that side would pay a call a row, and the sandbox look cheaper than it is.
    #[inline(always)]
    fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Account { sum, .. } = cx.state.account.update(|account| {
            account.count += 1;
            account.sum += row.amount;
            account.last = row.ts;
        });
        if sum > self.sum_max {
            let (account, ts) = (row.account, row.ts);
            cx.emit(Alert { account, ts });
        }
        Ok(())
    }
}

wasmill_sdk::export!(Rule);
