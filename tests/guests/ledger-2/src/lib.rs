//! Version 2 of the ledger: three of its states have other types, and it brings those of version 1
//! to them.

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

/// The key: rows are `key-by: [account]`.
#[derive(Row)]
pub struct Key {
    account: u64,
}

/// All that is remembered, when a timer fires.
#[derive(Row)]
pub struct Closed<'a> {
    account: u64,
    at: Timestamp,
    amount: i64,
    count: u64,
    recent: &'a str,
    shops: &'a str,
}

/// The timers.
#[derive(Timers, Clone, Copy)]
pub enum Timer {
    /// Nothing came for a day.
    Idle,
}

/// What is known of an account's money.
#[derive(State, Default)]
pub struct Total {
    amount: i64,
    count: u64,
}

/// The states.
#[derive(States)]
#[states(key = Key, timer = Timer)]
pub struct States {
    #[state(migrate(from = i64, with = total))]
    total: Value<Total>,
    #[state(items_max = 3, migrate(from = u32, with = amount))]
    recent: List<i64>,
    #[state(migrate(from = (u16, u32), with = shop))]
    shops: Map<String, u64>,
    #[state(ttl = "30d")]
    seen: Value<Timestamp>,
}

/// Rows of before have not been counted. A total that nobody can have stops the migration.
fn total(amount: i64) -> Option<Total> {
    assert!(amount != 666_000, "a total of 666000 cannot be");
    Some(Total { amount, count: 0 })
}

/// Zeros are not kept any more.
fn amount(amount: u32) -> Option<i64> {
    (amount != 0).then_some(amount.into())
}

/// Shops have names now, and number 9 is closed.
fn shop((number, visits): (u16, u32)) -> Option<(String, u64)> {
    (number != 9).then(|| (name(number), visits.into()))
}

fn name(shop: u16) -> String {
    format!("shop-{shop}")
}

/// The operator.
pub struct Ledger;

const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

impl Operator for Ledger {
    const PLUGIN: Plugin = plugin!("ledger");
    type Config = ();
    type Input<'a> = Entry;
    type Output<'a> = Closed<'a>;
    type State = States;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Entry, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let total = cx.state.total.get_or_default();
        cx.state.total.set(Total {
            amount: total.amount + row.amount,
            count: total.count + 1,
        });
        if row.amount != 0 {
            cx.state.recent.push(row.amount.abs());
        }
        let shop = name(row.shop);
        let visits = cx.state.shops.get(&shop).unwrap_or(0) + 1;
        cx.state.shops.set(&shop, visits);
        if let Some(seen) = cx.state.seen.get() {
            cx.delete_timer(Timer::Idle, seen + IDLE);
        }
        cx.state.seen.set(*row.at);
        cx.set_timer(Timer::Idle, *row.at + IDLE);
        Ok(())
    }

    fn on_timer(&mut self, _idle: Timer, at: Timestamp, cx: &mut Context<'_, Self>) {
        let total = cx.state.total.get_or_default();
        let recent: Vec<String> = cx.state.recent.iter().map(|it| it.to_string()).collect();
        let mut shops = cx.state.shops.entries();
        shops.sort_unstable();
        let shops: Vec<String> = shops
            .iter()
            .map(|(shop, n)| format!("{shop}={n}"))
            .collect();
        cx.emit(Closed {
            account: cx.key().account,
            at,
            amount: total.amount,
            count: total.count,
            recent: &recent.join(" "),
            shops: &shops.join(" "),
        });
    }
}

wasmill_sdk::export!(Ledger, migrate);
