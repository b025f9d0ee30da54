//! Burns CPU for each row: an honest operator whose rows are a lot of work.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Task {
    n: u64,
}

/// What is emitted, which the work almost never gives.
#[derive(Row)]
pub struct Found {
    n: u64,
}

/// The configuration.
#[derive(Config)]
pub struct Work {
    /// Turns of the loop for each row.
    turns: u64,
}

/// The operator.
pub struct Spin {
    turns: u64,
}

/// A chain of multiplications that nothing can shorten.
pub fn spin(seed: u64, turns: u64) -> u64 {
    let mut word = seed;
    for _ in 0..turns {
        word = std::hint::black_box(word.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    }
    word
}

impl Operator for Spin {
    const PLUGIN: Plugin = plugin!();
    type Config = Work;
    type Input<'a> = Task;
    type Output<'a> = Found;
    type State = ();

    fn open(config: Work, _start: &Start) -> Result<Self, Fault> {
        let turns = config.turns;
        Ok(Self { turns })
    }

    fn process(&mut self, row: Task, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        if spin(row.n, self.turns) == u64::MAX {
            let n = row.n;
            cx.emit(Found { n });
        }
        Ok(())
    }
}

wasmill_sdk::export!(Spin);
