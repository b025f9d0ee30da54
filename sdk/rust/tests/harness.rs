//! What the harness promises of keys and of event-time order: what a pipeline does, or a panic that
//! says what is missing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use wasmill_sdk::prelude::*;

#[derive(Row, Clone)]
struct Click<'a> {
    page: &'a str,
    number: i64,
    at: EventTime,
}

fn click(page: &str, number: i64, second: i64) -> Click<'_> {
    let at = Timestamp::from_secs(second).into();
    Click { page, number, at }
}

/// Counts clicks, and keeps state for each key of the pipeline's.
struct Plain;

#[derive(Row, Debug, PartialEq)]
struct Count {
    count: u32,
}

#[derive(States)]
struct Counts {
    count: Value<u32>,
}

impl Operator for Plain {
    const PLUGIN: Plugin = plugin!("plain");
    type Config = ();
    type Input<'a> = Click<'a>;
    type Output<'a> = Count;
    type State = Counts;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, _row: Click<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let count = cx.state.count.update(|count| *count += 1);
        cx.emit(Count { count });
        Ok(())
    }
}

#[test]
fn a_key_that_nobody_names_is_a_mistake_of_the_test() {
    let mut plain = Harness::<Plain>::new("{}");
    assert!(
        plain.advance_to(Timestamp::EPOCH).rows().is_empty(),
        "no rows, no key"
    );
    let push = AssertUnwindSafe(|| plain.push(&[click("a", 1, 0)]));
    let panic = catch_unwind(push).err().expect("a panic");
    let message = panic.downcast_ref::<String>().expect("a text");
    assert_eq!(
        message,
        "`plain` keeps state for each key, and the test names no key: say which columns the rows \
         are keyed by, as in `Harness::new(\"{}\").keyed_by(&[\"COLUMN\"])`"
    );
    let clicks = [click("a", 1, 0), click("b", 2, 0)];
    let counts = |mut plain: Harness<Plain>| {
        let effects = plain.push(&clicks);
        effects
            .rows()
            .iter()
            .map(|row| row.count)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(Harness::new("{}").keyed_by(&["page"])), [1, 1]);
    assert_eq!(counts(Harness::new("{}").keyed_by(&[])), [1, 2]);
}

/// Tells what comes in event-time order, and when a second has passed; the key is declared.
struct Ordered;

#[derive(Row)]
struct Page<'a> {
    page: &'a str,
}

#[derive(Timers, Clone, Copy)]
enum Timer {
    Second,
}

#[derive(States)]
#[states(key = Page<'a>, timer = Timer)]
struct Numbers {
    last: Value<i64>,
}

#[derive(Row)]
struct Line<'a> {
    text: &'a str,
}

impl Operator for Ordered {
    const PLUGIN: Plugin = plugin!("ordered");
    const ORDER: Order = Order::EventTime;
    type Config = ();
    type Input<'a> = Click<'a>;
    type Output<'a> = Line<'a>;
    type State = Numbers;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Click<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        if row.number < 0 {
            return reject(row.number.to_string());
        }
        cx.state.last.set(row.number);
        cx.set_timer(Timer::Second, *row.at + Duration::from_secs(1));
        let text = format!("{} {}", row.page, row.number);
        cx.emit(Line { text: &text });
        Ok(())
    }

    fn on_timer(&mut self, _timer: Timer, at: Timestamp, cx: &mut Context<'_, Self>) {
        let text = format!("{} {at:?}", cx.key().page);
        cx.emit(Line { text: &text });
    }
}

#[test]
fn rows_of_a_push_come_in_event_time_order() {
    let mut ordered = Harness::<Ordered>::new("{}");
    let effects = ordered.push(&[
        click("a", 3, 3),
        click("b", -1, 9),
        click("a", 1, 0),
        click("a", -2, 1),
        click("a", 2, 3),
    ]);
    let lines: Vec<_> = effects
        .rows()
        .iter()
        .map(|row| row.text.to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            "a 1",
            "a 1970-01-01T00:00:01Z",
            "a 3",
            "a 2",
            "a 1970-01-01T00:00:04Z"
        ]
    );
    assert_eq!(effects.causes(), [Some(2), None, Some(0), Some(4), None]);
    let rejected = [(1, "-1".to_owned()), (3, "-2".to_owned())];
    assert_eq!(
        effects.rejected(),
        rejected,
        "by their positions in the push"
    );
    assert_eq!(
        ordered.value::<i64>("last", "a"),
        Some(2),
        "the key is the declared one"
    );
}

#[test]
fn rows_behind_the_clock_are_late_in_event_time_order() {
    let mut ordered = Harness::<Ordered>::new("{}");
    ordered.advance_to(Timestamp::from_secs(5));
    let effects = ordered.push(&[click("a", 1, 4), click("a", 2, 7), click("a", 3, 5)]);
    assert_eq!(effects.late(), [0]);
    assert_eq!(effects.causes(), [Some(2), None, Some(1)]);
    let effects = ordered.push(&[click("a", 4, 6), click("a", 5, 7)]);
    assert_eq!(effects.late(), [0]);
    assert_eq!(effects.causes(), [Some(1)]);
}
