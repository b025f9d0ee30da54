//! Passes payments of accounts that pay unusually often, with what the engine knows of them.
//!
//! * Configuration: `max-per-minute`, payments of an account within a minute that are usual.
//! * State: none: the rolling features are the pipeline's.
//! * Guarantees: rows that pass keep their order.

use wasmill_sdk::prelude::*;

/// What is read and, if it passes, emitted.
#[derive(Row, Clone, Copy, Debug, PartialEq)]
pub struct Payment {
    account: u64,
    amount: f64,
    /// Payments of the account within the last minute, this one included.
    count_1m: u64,
    /// The sum of its payments within the last hour.
    spent_1h: f64,
    /// The mean of its last three payments.
    mean_3: f64,
}

/// The configuration.
#[derive(Config)]
pub struct Limits {
    /// More payments within a minute are unusual.
    max_per_minute: u64,
}

/// The operator.
pub struct Unusual {
    max_per_minute: u64,
}

impl Operator for Unusual {
    const PLUGIN: Plugin = plugin!();
    type Config = Limits;
    type Input<'a> = Payment;
    type Output<'a> = Payment;
    type State = ();

    fn open(config: Limits, _start: &Start) -> Result<Self, Fault> {
        let max_per_minute = config.max_per_minute;
        Ok(Self { max_per_minute })
    }

    fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        if row.count_1m > self.max_per_minute {
            cx.emit(row);
        }
        Ok(())
    }
}

wasmill_sdk::export!(Unusual);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_pay_often_pass() {
        let payment = |count_1m| Payment {
            account: 1,
            amount: 1.0,
            count_1m,
            spent_1h: 3.0,
            mean_3: 1.0,
        };
        let mut unusual = Harness::<Unusual>::new(r#"{ "max-per-minute": 2 }"#);
        let rows = [payment(1), payment(2), payment(3)];
        assert_eq!(unusual.push(&rows).rows(), rows[2..]);
    }
}
