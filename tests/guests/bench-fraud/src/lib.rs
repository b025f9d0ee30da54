//! Counts and sums an account's payments and tells of each so-manieth payment of an account: the
//! work of the programs in `tests/peers/kafka`. Which payments these are depends on nothing but
//! the payments, so that what comes out can be counted.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Payment {
    account: u64,
    amount: f64,
    ts: i64,
}

/// A payment that is told, with what its account has come to.
#[derive(Row)]
pub struct Alert<'a> {
    account: u64,
    amount: f64,
    payments: u64,
    total: f64,
    ts: i64,
    rule: &'a str,
}

/// What is kept for each account: 24 bytes.
#[derive(State, Clone, Default)]
pub struct Account {
    payments: u64,
    total: f64,
    last: i64,
}

/// The states.
#[derive(States)]
pub struct Memory {
    account: Value<Account>,
}

/// The configuration.
#[derive(Config)]
pub struct Rate {
    /// One of so many payments of an account is told.
    every: u64,
}

/// The operator.
pub struct Fraud {
    every: u64,
}

impl Operator for Fraud {
    const PLUGIN: Plugin = plugin!();
    type Config = Rate;
    type Input<'a> = Payment;
    type Output<'a> = Alert<'a>;
    type State = Memory;

    fn open(config: Rate, _start: &Start) -> Result<Self, Fault> {
        let every = config.every.max(1);
        Ok(Self { every })
    }

    fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Account {
            payments, total, ..
        } = cx.state.account.update(|account| {
            account.payments += 1;
            account.total += row.amount;
            account.last = row.ts;
        });
        if payments % self.every == 0 {
            cx.emit(Alert {
                account: row.account,
                amount: row.amount,
                payments,
                total,
                ts: row.ts,
                rule: "r1",
            });
        }
        Ok(())
    }
}

wasmill_sdk::export!(Fraud);
