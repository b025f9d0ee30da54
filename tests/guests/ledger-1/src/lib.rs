//! Version 1 of a ledger: its state is what `tests/inspect` computes in plain Rust.

use std::time::Duration;
use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Entry {
    account: u64,
    shop: u16,
    amount: i64,
    at: EventTime,
}

/// What is emitted for each row.
#[derive(Row)]
pub struct Balance {
    account: u64,
    total: i64,
    visits: u32,
}

/// The timers.
#[derive(Timers, Clone, Copy)]
pub enum Timer {
    /// Nothing came for a day.
    Idle,
}

/// The states.
#[derive(States)]
#[states(timer = Timer)]
pub struct States {
    total: Value<i64>,
    #[state(items_max = 3)]
    recent: List<u32>,
    shops: Map<u16, u32>,
    #[state(ttl = "30d")]
    seen: Value<Timestamp>,
}

/// The operator.
pub struct Ledger;

const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

impl Operator for Ledger {
    const PLUGIN: Plugin = plugin!("ledger");
    type Config = ();
    type Input<'a> = Entry;
    type Output<'a> = Balance;
    type State = States;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn prefetch(&self, row: &Entry, state: &mut States) {
        state.shops.prefetch(&row.shop);
    }

    fn process(&mut self, row: Entry, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let total = cx.state.total.get_or_default() + row.amount;
        cx.state.total.set(total);
        cx.state.recent.push(row.amount.unsigned_abs() as u32);
        let visits = cx.state.shops.get(&row.shop).unwrap_or(0) + 1;
        cx.state.shops.set(&row.shop, visits);
        if let Some(seen) = cx.state.seen.get() {
            cx.delete_timer(Timer::Idle, seen + IDLE);
        }
        cx.state.seen.set(*row.at);
        cx.set_timer(Timer::Idle, *row.at + IDLE);
        let account = row.account;
        cx.emit(Balance {
            account,
            total,
            visits,
        });
        Ok(())
    }
}

wasmill_sdk::export!(Ledger);
