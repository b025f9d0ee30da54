// The operator that this crate's examples test: counts the visits of each user.

use std::time::Duration;
use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row, Clone, Debug, PartialEq)]
pub struct Visit<'a> {
    pub user: u64,
    pub page: &'a str,
    pub at: EventTime,
}

/// A visit at a second of the first day.
pub fn visit(user: u64, page: &str, second: i64) -> Visit<'_> {
    let at = Timestamp::from_secs(second).into();
    Visit { user, page, at }
}

/// What is emitted: how many visits a user has made; 0 when a timer has fired.
#[derive(Row, Clone, Debug, PartialEq)]
pub struct Visits {
    pub user: u64,
    pub count: u64,
}

/// The key.
#[derive(Row, Clone, Debug, PartialEq)]
pub struct User {
    pub user: u64,
}

/// The timers.
#[derive(Timers, Clone, Copy, Debug, PartialEq)]
pub enum Timer {
    /// A minute of event time after each visit.
    Over,
    /// Five seconds of the machine's time after a visit of `/wait`.
    #[timer(processing)]
    Waited,
}

/// The states.
#[derive(States)]
#[states(key = User, timer = Timer)]
pub struct Memory {
    pub count: Value<u64>,
    #[state(items_max = 8)]
    pub pages: List<String>,
    pub last: Map<String, Timestamp>,
}

/// The operator.
pub struct Counter;

impl Operator for Counter {
    const PLUGIN: Plugin = plugin!("counter");
    type Config = ();
    type Input<'a> = Visit<'a>;
    type Output<'a> = Visits;
    type State = Memory;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn begin_batch(&mut self, rows: BatchRows<'_, '_, Self>) -> Result<(), Fault> {
        match rows.len() {
            0..=100 => Ok(()),
            many => Err(Fault::new(format!("{many} rows are too many"))),
        }
    }

    fn prefetch(&self, row: &Visit<'_>, state: &mut Memory) {
        state.last.prefetch(row.page);
    }

    fn process(&mut self, row: Visit<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        if row.page.is_empty() {
            return reject("no page");
        }
        if cx.state.last.contains(row.page) {
            cx.log(Level::Info, format_args!("again {}", row.page));
        }
        cx.state.last.set(row.page, *row.at);
        cx.state.pages.push(row.page.to_owned());
        let count = cx.state.count.update(|count| *count += 1);
        cx.set_timer(Timer::Over, *row.at + Duration::from_secs(60));
        if row.page == "/wait" {
            let at = cx.processing_time() + Duration::from_secs(5);
            cx.set_timer(Timer::Waited, at);
        }
        let user = row.user;
        cx.emit(Visits { user, count });
        Ok(())
    }

    fn on_timer(&mut self, _timer: Timer, _at: Timestamp, cx: &mut Context<'_, Self>) {
        let user = cx.key().user;
        cx.emit(Visits { user, count: 0 });
    }
}
