//! Passes the payments whose amount is at least the configured one.
//!
//! * Configuration: `min-amount`, a number.
//! * State: none.
//! * Guarantees: rows that pass are unchanged and keep their order.

use wasmill_sdk::prelude::*;

/// What is read and, if it passes, emitted.
#[derive(Row, Clone, Copy, Debug, PartialEq)]
pub struct Payment<'a> {
    account: u64,
    amount: f64,
    merchant: Option<&'a str>,
}

/// The configuration.
#[derive(Config)]
pub struct Limits {
    /// Payments of a smaller amount are dropped.
    min_amount: f64,
}

/// The operator.
pub struct Filter {
    min_amount: f64,
}

impl Operator for Filter {
    const PLUGIN: Plugin = plugin!();
    type Config = Limits;
    type Input<'a> = Payment<'a>;
    type Output<'a> = Payment<'a>;
    type State = ();

    fn open(config: Limits, _start: &Start) -> Result<Self, Fault> {
        let min_amount = config.min_amount;
        Ok(Self { min_amount })
    }

    fn process(&mut self, row: Payment<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        if row.amount >= self.min_amount {
            cx.emit(row);
        }
        Ok(())
    }
}

wasmill_sdk::export!(Filter);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_are_dropped() {
        let mut filter = Harness::<Filter>::new(r#"{ "min-amount": 10 }"#);
        let payment = |amount, merchant| Payment {
            account: 1,
            amount,
            merchant,
        };
        let rows = [
            payment(9.99, None),
            payment(10.0, Some("kiosk")),
            payment(11.0, None),
        ];
        assert_eq!(filter.push(&rows).rows(), rows[1..]);
    }

    #[test]
    fn the_configuration_is_checked() {
        let fault = Harness::<Filter>::open("{}")
            .err()
            .expect("the limit is missing");
        assert_eq!(fault.message, "config needs `min-amount`");
    }
}
