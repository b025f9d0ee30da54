//! Calls of an operator with a broadcast input, with timers of both clocks, with a time to live,
//! and with map entries that no column names.

use super::batches::case;
use crate::prelude::*;
use crate::testing::Harness;
use serde_json::Value as Json;
use std::time::Duration;

#[derive(Row, Clone, Copy)]
#[row(name = "payments")]
struct Payment {
    account: u32,
    cents: i64,
    at: EventTime,
}

/// A limit, or the news that there is none of that name any more.
#[derive(Row, Clone, Copy)]
#[row(name = "limits")]
struct Limit<'a> {
    name: &'a str,
    cents: Option<i64>,
    at: EventTime,
}

#[derive(Row)]
struct Account {
    account: u32,
}

#[derive(Row)]
struct Over {
    account: u32,
    limits: u64,
}

#[derive(Timers, Clone, Copy)]
enum Bell {
    Close,
    #[timer(processing)]
    Rest,
}

#[derive(States)]
#[states(key = Account, timer = Bell)]
struct Watched {
    limits: Broadcast<String, i64>,
    #[state(ttl = "1m")]
    sum: Value<i64>,
    /// No column names its entries.
    #[state(ttl = "1h", ttl_time = "processing")]
    digits: Map<u8, Option<i64>>,
}

/// Counts for each payment the limits that its account's sum is over.
struct Watch;

impl Operator for Watch {
    const PLUGIN: Plugin = Plugin {
        name: "watch",
        version: "0.1.0",
        doc: "Watches limits.",
    };
    const ORDER: Order = Order::EventTime;
    type Config = ();
    type Input<'a> = WithBroadcast<Payment, Limit<'a>>;
    type Output<'a> = Over;
    type State = Watched;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn prefetch(&self, row: &WithBroadcast<Payment, Limit<'_>>, state: &mut Watched) {
        if let WithBroadcast::Row(payment) = row {
            state.digits.prefetch(&digit(payment.cents));
        }
    }

    fn process(
        &mut self,
        row: WithBroadcast<Payment, Limit<'_>>,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Reject> {
        let payment = match row {
            WithBroadcast::Row(payment) => payment,
            WithBroadcast::Broadcast(limit) => {
                match limit.cents {
                    Some(cents) => cx.state.limits.set(limit.name, cents),
                    None => cx.state.limits.remove(limit.name),
                }
                return Ok(());
            }
        };
        let Payment { account, cents, at } = payment;
        let sum = cx.state.sum.update(|sum| *sum += cents);
        match cents {
            0 => cx.state.digits.set(&digit(cents), None),
            _ => cx.state.digits.set(&digit(cents), Some(cents)),
        }
        cx.set_timer(Bell::Close, *at + Duration::from_millis(100));
        let rest = cx.processing_time() + Duration::from_secs(5);
        cx.set_timer(Bell::Rest, rest);
        let limits = cx.state.limits.entries();
        let limits = limits.iter().filter(|(_, limit)| sum > *limit).count() as u64;
        cx.emit(Over { account, limits });
        Ok(())
    }

    fn on_timer(&mut self, bell: Bell, _at: Timestamp, cx: &mut Context<'_, Self>) {
        let account = cx.key().account;
        match bell {
            Bell::Close => cx.state.sum.clear(),
            Bell::Rest => cx.state.digits.clear(),
        }
        cx.emit(Over { account, limits: 0 });
    }
}

fn digit(cents: i64) -> u8 {
    (cents.unsigned_abs() % 10) as u8
}

fn payment(account: u32, cents: i64, millis: i64) -> WithBroadcast<Payment, Limit<'static>> {
    let at = Timestamp::from_millis(millis).into();
    WithBroadcast::Row(Payment { account, cents, at })
}

fn limit(name: &str, cents: Option<i64>, millis: i64) -> WithBroadcast<Payment, Limit<'_>> {
    let at = Timestamp::from_millis(millis).into();
    WithBroadcast::Broadcast(Limit { name, cents, at })
}

/// What it says about itself.
pub(super) fn descriptor() -> Json {
    Harness::<Watch>::new("{}").descriptor()
}

pub(super) fn cases() -> Vec<Json> {
    let mut cases = Vec::new();
    let mut watch = Harness::<Watch>::new("{}").keyed_by(&["account"]);
    watch.push(&[limit("high", Some(9), 5), limit("low", Some(2), 5)]);
    cases.push(case(
        "rows of a broadcast input write what all have alike",
        &watch,
    ));
    watch.push(&[payment(7, 5, 10), payment(8, 1, 10), payment(7, 10, 20)]);
    cases.push(case(
        "rows by key beside it, timers of both clocks, and entries of a map that were asked for",
        &watch,
    ));
    watch.push(&[limit("high", None, 30), limit("none", Some(0), 31)]);
    cases.push(case("an entry that is withdrawn, and a new one", &watch));
    watch.push(&[payment(7, 0, 200)]);
    cases.push(case(
        "a timer of event time that is due before its row",
        &watch,
    ));
    watch.advance_processing_time_to(Timestamp::from_secs(5));
    cases.push(case(
        "timers of the machine's clock, of keys without rows",
        &watch,
    ));
    watch.restart();
    watch.push(&[payment(9, 1, 210)]);
    cases.push(case("a new instance is told all entries", &watch));
    cases
}
