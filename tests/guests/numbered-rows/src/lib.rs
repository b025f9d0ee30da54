//! An operator without a key that numbers the rows of its subtask, from 1 and without a gap. It
//! counts them, throws a coin for each, and says something about the first one.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Sale {
    key: u64,
    amount: i64,
}

/// What is read, with its number.
#[derive(Row)]
pub struct Numbered {
    key: u64,
    amount: i64,
    subtask: u32,
    number: u64,
}

/// The states.
#[derive(States)]
pub struct States {
    last: OperatorState<u64>,
}

/// The operator.
pub struct Numbers {
    subtask: u32,
}

impl Operator for Numbers {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Sale;
    type Output<'a> = Numbered;
    type State = States;

    fn open(_config: (), start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            subtask: start.subtask(),
        })
    }

    fn process(&mut self, row: Sale, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let number = cx.state.last.update(|last| *last += 1);
        cx.count("rows", 1);
        cx.count("heads", cx.random().bits() & 1);
        if number == 1 {
            cx.log(Level::Warn, format_args!("the first row is here"));
        }
        let (subtask, Sale { key, amount }) = (self.subtask, row);
        cx.emit(Numbered {
            key,
            amount,
            subtask,
            number,
        });
        Ok(())
    }
}

wasmill_sdk::export!(Numbers);
