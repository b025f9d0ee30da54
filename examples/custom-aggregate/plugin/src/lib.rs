//! The median time between the rows of a window: an aggregate that the engine does not have.
//!
//! * Of: an amount, and a time.
//! * Configuration: `at-least`, the amount of rows that count.
//! * Accumulator: the times of all rows that count, which is what makes it independent of the order
//!   in which they come.
//! * Result: seconds; null where fewer than two rows count.

use wasmill_sdk::prelude::*;

/// The columns that it is of.
#[derive(Row, Clone, Copy)]
pub struct Payment {
    amount: f64,
    at: Timestamp,
}

/// The configuration.
#[derive(Config)]
pub struct Counted {
    /// Smaller amounts do not count.
    #[config(default = 0.0)]
    at_least: f64,
}

/// The aggregate.
pub struct MedianGap {
    at_least: f64,
}

impl Aggregate for MedianGap {
    const PLUGIN: Plugin = plugin!();
    type Config = Counted;
    type Row<'a> = Payment;
    type Accumulator = Vec<Timestamp>;
    type Output = Option<f64>;

    fn open(config: Counted, _start: &Start) -> Result<Self, Fault> {
        let at_least = config.at_least;
        Ok(Self { at_least })
    }

    fn create(&self) -> Vec<Timestamp> {
        Vec::new()
    }

    fn add(&self, times: &mut Vec<Timestamp>, row: Payment) -> Result<(), Reject> {
        if !row.amount.is_finite() {
            return reject("the amount is not a number");
        }
        if row.amount >= self.at_least {
            times.push(row.at);
        }
        Ok(())
    }

    fn merge(&self, times: &mut Vec<Timestamp>, mut other: Vec<Timestamp>) {
        times.append(&mut other);
    }

    fn result(&self, mut times: Vec<Timestamp>) -> Option<f64> {
        times.sort_unstable();
        let gap = |pair: &[Timestamp]| pair[1].as_micros() - pair[0].as_micros();
        let mut gaps: Vec<i64> = times.windows(2).map(gap).collect();
        gaps.sort_unstable();
        let middle = gaps.len().checked_sub(1)? / 2;
        Some(gaps[middle] as f64 / 1_000_000.0)
    }
}

wasmill_sdk::export_aggregate!(MedianGap);

#[cfg(test)]
mod tests {
    use super::*;

    fn payments(seconds: &[i64]) -> Vec<Payment> {
        let at = |second: &i64| Timestamp::from_secs(*second);
        let payment = |second| Payment {
            amount: 1.0,
            at: at(second),
        };
        seconds.iter().map(payment).collect()
    }

    #[test]
    fn the_order_and_the_parts_do_not_matter() {
        let mut median = AggregateHarness::<MedianGap>::new("{}");
        let all = payments(&[0, 10, 12, 40]);
        assert_eq!(median.result_of(&all), Some(10.0));
        let (first, second) = (payments(&[40, 0]), payments(&[12, 10]));
        assert_eq!(median.result_of_parts(&[&first, &second]), Some(10.0));
        assert_eq!(median.result_of(&all[..1]), None);
    }

    #[test]
    fn small_amounts_do_not_count() {
        let mut median = AggregateHarness::<MedianGap>::new(r#"{ "at-least": 5 }"#);
        assert_eq!(median.result_of(&payments(&[0, 10])), None);
        let mut payment = payments(&[0])[0];
        payment.amount = f64::NAN;
        let added = median.add(None, &[payment]);
        assert_eq!(
            added.rejected,
            [(0, "the amount is not a number".to_string())]
        );
    }
}
