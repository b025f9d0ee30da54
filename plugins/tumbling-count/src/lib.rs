//! Counts the rows of each key in windows of event time.
//!
//! * Configuration: `size`, the length of a window, a minute by default.
//! * State: `open`, the windows of a key that are not over yet.
//! * Timers: `close`, at the end of each open window.
//! * Guarantees: a window is emitted once, when the key's clock has passed its end; a row that
//!   comes later is refused. The counts do not depend on how rows fall into batches.

use std::time::Duration;
use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Click<'a> {
    page: &'a str,
    at: EventTime,
}

/// The key: rows are `key-by: [page]`.
#[derive(Row)]
pub struct Page<'a> {
    page: &'a str,
}

/// A window that is over.
#[derive(Row, Debug, PartialEq)]
pub struct Count<'a> {
    page: &'a str,
    start: Timestamp,
    count: u64,
}

/// The configuration.
#[derive(Config)]
pub struct Settings {
    /// The length of a window.
    #[config(default = "1m")]
    size: Duration,
}

/// A window that is not over.
#[derive(State, Clone)]
pub struct Window {
    start: Timestamp,
    count: u64,
}

/// The timers.
#[derive(Timers, Clone, Copy)]
pub enum Timer {
    /// A window is over.
    Close,
}

/// The states.
#[derive(States)]
#[states(key = Page<'a>, timer = Timer)]
pub struct Memory {
    open: Value<Vec<Window>>,
}

/// The operator.
pub struct TumblingCount {
    size: Duration,
}

impl Operator for TumblingCount {
    const PLUGIN: Plugin = plugin!();
    type Config = Settings;
    type Input<'a> = Click<'a>;
    type Output<'a> = Count<'a>;
    type State = Memory;

    fn open(config: Settings, _start: &Start) -> Result<Self, Fault> {
        match config.size.is_zero() {
            true => Err(Fault::new("config.size must be longer than nothing")),
            false => Ok(Self { size: config.size }),
        }
    }

    fn process(&mut self, row: Click<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let start = row.at.floor(self.size);
        let end = start + self.size;
        if end < cx.clock() {
            return reject("the row's window is over");
        }
        let mut open = cx.state.open.get_or_default();
        match open.iter_mut().find(|window| window.start == start) {
            Some(window) => window.count += 1,
            None => {
                open.push(Window { start, count: 1 });
                cx.set_timer(Timer::Close, end);
            }
        }
        cx.state.open.set(open);
        Ok(())
    }

    fn on_timer(&mut self, _close: Timer, end: Timestamp, cx: &mut Context<'_, Self>) {
        let mut open = cx.state.open.get_or_default();
        let over = open.extract_if(.., |window| window.start + self.size == end);
        let page = cx.key().page;
        for Window { start, count } in over.collect::<Vec<_>>() {
            cx.emit(Count { page, start, count });
        }
        match open.is_empty() {
            true => cx.state.open.clear(),
            false => cx.state.open.set(open),
        }
    }
}

wasmill_sdk::export!(TumblingCount);

#[cfg(test)]
mod tests;
