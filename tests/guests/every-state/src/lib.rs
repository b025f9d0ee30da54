//! An operator with every kind of keyed state and a timer: what it emits shows all that it
//! remembers. `tests/state.rs` does the same in plain Rust.

use std::time::Duration;
use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Sale<'a> {
    key: u64,
    shop: &'a str,
    amount: i64,
    at: EventTime,
}

/// The key: rows are `key-by: [key]`.
#[derive(Row)]
pub struct Key {
    key: u64,
}

/// All that is remembered, after a row or when a timer fires.
#[derive(Row)]
pub struct Memory<'a> {
    key: u64,
    at: Timestamp,
    cause: &'a str,
    sum: i64,
    last_amounts: i64,
    at_shop: u64,
    shops: u64,
    by_digit: i64,
    digits: u64,
}

/// The timers.
#[derive(Timers, Clone, Copy)]
pub enum Timer {
    /// Nothing was sold for ten seconds.
    Quiet,
}

/// The states.
#[derive(States)]
#[states(key = Key, timer = Timer)]
pub struct States {
    sum: Value<i64>,
    last: Value<Timestamp>,
    #[state(items_max = 3)]
    amounts: List<i64>,
    /// Its entries come with the rows that name them.
    #[state(column = "shop")]
    shops: Map<String, u64>,
    /// No column names its entries: they are asked for.
    digits: Map<u64, i64>,
}

/// The operator.
pub struct EveryState;

const QUIET: Duration = Duration::from_secs(10);

impl Operator for EveryState {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Sale<'a>;
    type Output<'a> = Memory<'a>;
    type State = States;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn prefetch(&self, row: &Sale<'_>, state: &mut States) {
        state.digits.prefetch(&digit(row.amount));
    }

    fn process(&mut self, row: Sale<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let sum = cx.state.sum.get_or_default() + row.amount;
        match row.amount {
            // Selling nothing forgets the sum.
            0 => cx.state.sum.clear(),
            _ => cx.state.sum.set(sum),
        }
        cx.state.amounts.push(row.amount);
        let at_shop = cx.state.shops.get(row.shop).unwrap_or(0) + 1;
        match at_shop {
            // The fourth sale at a shop is the last that counts.
            4 => cx.state.shops.remove(row.shop),
            _ => cx.state.shops.set(row.shop, at_shop),
        }
        let by_digit = cx.state.digits.get(&digit(row.amount)).unwrap_or(0) + row.amount;
        cx.state.digits.set(&digit(row.amount), by_digit);
        if let Some(last) = cx.state.last.get() {
            cx.delete_timer(Timer::Quiet, last + QUIET);
        }
        cx.set_timer(Timer::Quiet, *row.at + QUIET);
        cx.state.last.set(*row.at);
        let last_amounts = cx.state.amounts.iter().sum();
        cx.emit(Memory {
            key: row.key,
            at: *row.at,
            cause: "row",
            sum,
            last_amounts,
            at_shop,
            shops: 0,
            by_digit,
            digits: 0,
        });
        Ok(())
    }

    fn on_timer(&mut self, _quiet: Timer, at: Timestamp, cx: &mut Context<'_, Self>) {
        cx.count("timers", 1);
        cx.count("heads", cx.random().bits() & 1);
        let shops = cx.state.shops.entries();
        let digits = cx.state.digits.entries();
        let memory = Memory {
            key: cx.key().key,
            at,
            cause: "timer",
            sum: cx.state.sum.get_or_default(),
            last_amounts: cx.state.amounts.iter().sum(),
            at_shop: shops.iter().map(|(_, sales)| sales).sum(),
            shops: shops.len() as u64,
            by_digit: digits.iter().map(|(_, sum)| sum).sum(),
            digits: digits.len() as u64,
        };
        cx.state.sum.clear();
        cx.state.last.clear();
        cx.state.amounts.clear();
        cx.state.shops.clear();
        cx.state.digits.clear();
        cx.emit(memory);
    }
}

fn digit(amount: i64) -> u64 {
    amount.unsigned_abs() % 10
}

wasmill_sdk::export!(EveryState);
