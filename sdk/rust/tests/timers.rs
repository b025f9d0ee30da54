//! An operator that keeps timers and nothing else.

use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::Harness;

#[derive(Row, Clone, Copy)]
struct Order {
    number: u64,
    at: EventTime,
}

#[derive(Row, Debug, PartialEq)]
struct Reminder {
    number: u64,
    due: Timestamp,
}

#[derive(Timers, Clone, Copy)]
enum Timer {
    Remind,
}

#[derive(States)]
#[states(key = Number, timer = Timer)]
struct Pending;

#[derive(Row)]
struct Number {
    number: u64,
}

struct Reminders;

impl Operator for Reminders {
    const PLUGIN: Plugin = plugin!("reminders");
    type Config = ();
    type Input<'a> = Order;
    type Output<'a> = Reminder;
    type State = Pending;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Order, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let due = row.at.as_micros() + 10;
        cx.set_timer(Timer::Remind, Timestamp::from_micros(due));
        match row.number {
            13 => reject("unlucky"),
            _ => Ok(()),
        }
    }

    fn on_timer(&mut self, _timer: Timer, due: Timestamp, cx: &mut Context<'_, Self>) {
        let number = cx.key().number;
        cx.emit(Reminder { number, due });
    }
}

#[test]
fn timers_need_no_state_beside_them() {
    let mut reminders = Harness::<Reminders>::new("{}").keyed_by(&["number"]);
    let order = |number, at| Order {
        number,
        at: Timestamp::from_micros(at).into(),
    };
    reminders.push(&[order(7, 1), order(13, 2), order(8, 3)]);
    assert!(
        reminders.timers(&13u64).is_empty(),
        "a refused row sets none"
    );
    let effects = reminders.advance_to(Timestamp::from_micros(12));
    let due = Timestamp::from_micros(11);
    assert_eq!(effects.rows(), [Reminder { number: 7, due }]);
    assert_eq!(reminders.timers(&8u64).len(), 1);
    let descriptor = reminders.descriptor();
    assert!(descriptor.get("states").is_none(), "{descriptor}");
}
