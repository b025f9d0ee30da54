//! Counts the payments of each account and sums their amounts.
//!
//! * Configuration: none.
//! * State: `tally`, one value of 16 bytes a key.
//! * Guarantees: a row is emitted for each row, with count and sum as of it.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Payment {
    account: u64,
    amount: f64,
}

/// What is emitted.
#[derive(Row, Debug, PartialEq)]
pub struct Total {
    account: u64,
    count: u64,
    sum: f64,
}

/// What is kept for each account.
#[derive(State, Clone, Default)]
pub struct Tally {
    count: u64,
    sum: f64,
}

/// The states.
#[derive(States)]
pub struct Memory {
    tally: Value<Tally>,
}

/// The operator.
pub struct CountByKey;

impl Operator for CountByKey {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Payment;
    type Output<'a> = Total;
    type State = Memory;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Tally { count, sum } = cx.state.tally.update(|tally| {
            tally.count += 1;
            tally.sum += row.amount;
        });
        let account = row.account;
        cx.emit(Total {
            account,
            count,
            sum,
        });
        Ok(())
    }
}

wasmill_sdk::export!(CountByKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_its_own_count() {
        let mut counter = Harness::<CountByKey>::new("{}").keyed_by(&["account"]);
        let payment = |account, amount| Payment { account, amount };
        let total = |account, count, sum| Total {
            account,
            count,
            sum,
        };
        let effects = counter.push(&[payment(1, 5.0), payment(2, 7.0), payment(1, 1.5)]);
        assert_eq!(
            effects.rows(),
            [total(1, 1, 5.0), total(2, 1, 7.0), total(1, 2, 6.5)]
        );
        let effects = counter.push(&[payment(2, 1.0)]);
        assert_eq!(
            effects.rows(),
            [total(2, 2, 8.0)],
            "the count outlasts the batch"
        );
    }
}
