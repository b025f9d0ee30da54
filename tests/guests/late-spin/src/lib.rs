//! An operator that emits each row's id when a timer fires, a second behind the row, and spins then
//! for some keys: `{ "spins-below": ID }`.

use std::hint::black_box;
use std::time::Duration;
use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Order {
    id: u64,
    at: EventTime,
}

/// The key: rows are `key-by: [id]`.
#[derive(Row)]
pub struct Key {
    id: u64,
}

/// What is emitted.
#[derive(Row)]
pub struct Done {
    id: u64,
}

/// The configuration.
#[derive(Config)]
pub struct Settings {
    /// It spins for keys below.
    spins_below: u64,
}

/// The timers.
#[derive(Timers, Clone, Copy)]
pub enum Timer {
    /// The row is done.
    Done,
}

/// What lasts.
#[derive(States)]
#[states(key = Key, timer = Timer)]
pub struct Memory {
    rows: Value<u64>,
}

/// The operator.
pub struct LateSpin {
    spins_below: u64,
}

impl Operator for LateSpin {
    const PLUGIN: Plugin = plugin!();
    type Config = Settings;
    type Input<'a> = Order;
    type Output<'a> = Done;
    type State = Memory;

    fn open(config: Settings, _start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            spins_below: config.spins_below,
        })
    }

    fn process(&mut self, row: Order, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        cx.state.rows.update(|rows| *rows += 1);
        cx.set_timer(Timer::Done, *row.at + Duration::from_secs(1));
        Ok(())
    }

    fn on_timer(&mut self, _timer: Timer, _at: Timestamp, cx: &mut Context<'_, Self>) {
        let id = cx.key().id;
        while black_box(id) < self.spins_below {}
        cx.emit(Done { id });
    }
}

wasmill_sdk::export!(LateSpin);
