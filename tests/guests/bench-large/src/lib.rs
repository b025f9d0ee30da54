//! Lets payments above a million through, of which the benchmark has none: the work of `Large` in
//! `tests/peers/flink/Peer.java`.

use wasmill_sdk::prelude::*;

/// What is read and, if it passes, emitted.
#[derive(Row, Clone, Copy)]
pub struct Payment {
    account: u64,
    amount: f64,
    ts: i64,
    country: i32,
}

/// The operator.
pub struct Large;

impl Operator for Large {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Payment;
    type Output<'a> = Payment;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        if row.amount > 1e6 {
            cx.emit(row);
        }
        Ok(())
    }
}

wasmill_sdk::export!(Large);
