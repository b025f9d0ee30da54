//! An operator with states that are folded, of fixed and of varying width, one of its subtask, and
//! a timer: what it emits shows all that it remembers. `tests/src/folds.rs` does the same in plain
//! Rust.

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
    greatest: Option<i64>,
    shops: Option<&'a str>,
    mean: Option<i64>,
    median: Option<i64>,
    refused: bool,
    /// The subtask, and the number of the row among all that it has emitted.
    subtask: u32,
    number: u64,
}

/// A number that is added to aggregates.
#[derive(Row, Clone, Copy)]
pub struct Amount {
    amount: i64,
}

/// How many amounts there were, and their sum.
#[derive(State)]
pub struct Tally {
    count: u64,
    sum: i64,
}

/// The mean of amounts, rounded down; -5 is refused.
pub struct Mean;

impl Aggregate for Mean {
    const PLUGIN: Plugin = plugin!("mean");
    type Config = ();
    type Row<'a> = Amount;
    type Accumulator = Tally;
    type Output = i64;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn create(&self) -> Tally {
        Tally { count: 0, sum: 0 }
    }

    fn add(&self, tally: &mut Tally, row: Amount) -> Result<(), Reject> {
        tally.count += 1;
        tally.sum += row.amount;
        match row.amount {
            -5 => reject("minus five"),
            _ => Ok(()),
        }
    }

    fn merge(&self, tally: &mut Tally, other: Tally) {
        tally.count += other.count;
        tally.sum += other.sum;
    }

    fn result(&self, tally: Tally) -> i64 {
        tally.sum.div_euclid(tally.count as i64)
    }
}

/// The amount in the middle.
pub struct Median;

impl Aggregate for Median {
    const PLUGIN: Plugin = plugin!("median");
    type Config = ();
    type Row<'a> = Amount;
    type Accumulator = Vec<i64>;
    type Output = i64;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn create(&self) -> Vec<i64> {
        Vec::new()
    }

    fn add(&self, amounts: &mut Vec<i64>, row: Amount) -> Result<(), Reject> {
        amounts.push(row.amount);
        Ok(())
    }

    fn merge(&self, amounts: &mut Vec<i64>, other: Vec<i64>) {
        amounts.extend(other);
    }

    fn result(&self, mut amounts: Vec<i64>) -> i64 {
        amounts.sort_unstable();
        amounts[amounts.len() / 2]
    }
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
    #[state(reduce = i64::max)]
    greatest: Reducing<i64>,
    #[state(reduce = all_of)]
    shops: Reducing<String>,
    tally: Aggregating<Mean>,
    amounts: Aggregating<Median>,
    last: Value<Timestamp>,
    emitted: OperatorState<u64>,
}

/// The letters of two texts, each once and in order.
fn all_of(some: String, others: String) -> String {
    let mut letters: Vec<char> = some.chars().chain(others.chars()).collect();
    letters.sort_unstable();
    letters.dedup();
    letters.into_iter().collect()
}

/// The operator.
pub struct FoldedState {
    subtask: u32,
}

const QUIET: Duration = Duration::from_secs(10);

impl FoldedState {
    fn show(&self, (at, cause, refused): (Timestamp, &str, bool), cx: &mut Context<'_, Self>) {
        let number = cx.state.emitted.update(|emitted| *emitted += 1);
        let shops = cx.state.shops.get();
        let memory = Memory {
            key: cx.key().key,
            at,
            cause,
            greatest: cx.state.greatest.get(),
            shops: shops.as_deref(),
            mean: cx.state.tally.result(&Mean),
            median: cx.state.amounts.result(&Median),
            refused,
            subtask: self.subtask,
            number,
        };
        cx.emit(memory);
    }
}

impl Operator for FoldedState {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Sale<'a>;
    type Output<'a> = Memory<'a>;
    type State = States;

    fn open(_config: (), start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            subtask: start.subtask(),
        })
    }

    fn process(&mut self, row: Sale<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let amount = Amount { amount: row.amount };
        let mut refused = false;
        match row.amount {
            // Selling nothing forgets what is kept for ever otherwise.
            0 => {
                cx.state.greatest.clear();
                cx.state.tally.clear();
            }
            _ => {
                cx.state.greatest.add(row.amount);
                refused = cx.state.tally.add(&Mean, amount).is_err();
            }
        }
        cx.state.shops.add(row.shop.to_owned());
        cx.state.amounts.add(&Median, amount)?;
        if let Some(last) = cx.state.last.get() {
            cx.delete_timer(Timer::Quiet, last + QUIET);
        }
        cx.set_timer(Timer::Quiet, *row.at + QUIET);
        cx.state.last.set(*row.at);
        self.show((*row.at, "row", refused), cx);
        Ok(())
    }

    fn on_timer(&mut self, _quiet: Timer, at: Timestamp, cx: &mut Context<'_, Self>) {
        self.show((at, "timer", false), cx);
        cx.state.shops.clear();
        cx.state.amounts.clear();
        cx.state.last.clear();
    }
}

wasmill_sdk::export!(FoldedState);
