//! An operator whose state expires and whose timers are due by the clock on the wall, beside the
//! same in event time: what it emits shows what it had when. `tests/wall_clock` holds that against
//! plain Rust.

use std::time::Duration;
use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Order {
    key: u64,
    number: u64,
    /// A timer of the wall's clock is to be due so many milliseconds from now; 0: none.
    wall_in: u64,
    /// A timer of event time is to be due so many milliseconds behind the row; 0: none.
    event_in: u64,
    at: EventTime,
}

/// The key: rows are `key-by: [key]`.
#[derive(Row)]
pub struct Key {
    key: u64,
}

/// What was there at a row or when a timer fired. Times are microseconds, since 1970.
#[derive(Row)]
pub struct Seen<'a> {
    key: u64,
    /// Of the row; 0 for a timer.
    number: u64,
    cause: &'a str,
    /// The time of the row or of the timer.
    at: i64,
    /// The clock on the wall.
    now: i64,
    /// The key's clock of event time.
    clock: i64,
    /// The row that wrote the state that expires by the wall's clock; 0 if that is gone.
    by_wall: u64,
    /// The row that wrote the state that expires by event time; 0 if that is gone.
    by_event: u64,
}

/// The timers.
#[derive(Timers, Clone, Copy)]
pub enum Timer {
    /// Counts the machine's time.
    #[timer(processing)]
    Wall,
    /// Counts event time.
    Event,
}

/// The states. A row writes those that are gone, and leaves the others as they are.
#[derive(States)]
#[states(key = Key, timer = Timer)]
pub struct States {
    #[state(ttl = "4s", ttl_time = "processing")]
    by_wall: Value<u64>,
    #[state(ttl = "4s")]
    by_event: Value<u64>,
}

/// The operator.
pub struct WallClock;

impl WallClock {
    fn emit(number: u64, cause: &str, at: Timestamp, cx: &mut Context<'_, Self>) {
        let seen = Seen {
            key: cx.key().key,
            number,
            cause,
            at: at.as_micros(),
            now: cx.processing_time().as_micros(),
            clock: cx.clock().as_micros(),
            by_wall: cx.state.by_wall.get_or_default(),
            by_event: cx.state.by_event.get_or_default(),
        };
        cx.emit(seen);
    }
}

impl Operator for WallClock {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Order;
    type Output<'a> = Seen<'a>;
    type State = States;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Order, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        Self::emit(row.number, "row", *row.at, cx);
        if cx.state.by_wall.get().is_none() {
            cx.state.by_wall.set(row.number);
        }
        if cx.state.by_event.get().is_none() {
            cx.state.by_event.set(row.number);
        }
        if row.wall_in > 0 {
            let due = cx.processing_time() + Duration::from_millis(row.wall_in);
            cx.set_timer(Timer::Wall, due);
        }
        if row.event_in > 0 {
            cx.set_timer(Timer::Event, *row.at + Duration::from_millis(row.event_in));
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, at: Timestamp, cx: &mut Context<'_, Self>) {
        let cause = match timer {
            Timer::Wall => "wall",
            Timer::Event => "event",
        };
        Self::emit(0, cause, at, cx);
    }
}

wasmill_sdk::export!(WallClock);
