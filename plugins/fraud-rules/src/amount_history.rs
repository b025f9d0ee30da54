//! Amount history: a payment far above what its account ever spends.
//!
//! Someone who has taken an account over empties it in large steps. Each amount is compared with
//! the mean of the account's own earlier amounts, in exact integers: `amount * count > factor *
//! sum`. An amount that is flagged does not enter the history, so a theft does not make the
//! next one look usual.

use crate::payment::{Payment, amount_text};
use wasmill_sdk::State;

/// Rows after which the past counts half, so that a history follows its owner's life.
const COUNT_MAX: i64 = 64;

/// What the rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmountHistory {
    /// How many times the account's mean an amount may be.
    pub max_times_mean: i64,
    /// Payments that an account must have made before its mean says anything.
    pub min_payments: i64,
}

/// The earlier amounts of an account; the past fades by halves.
#[derive(State, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Payments in the sum.
    pub count: i64,
    /// Sum of their amounts, in hundredths of the account's currency.
    pub sum_minor: i64,
}

impl AmountHistory {
    /// Judges one payment and adds it to the account's history. Returns the reasons for an
    /// alert.
    pub fn judge(&self, history: &mut History, payment: &Payment<'_>) -> Option<String> {
        let amount = payment.amount_minor;
        if self.is_far_above(history, amount) {
            let mean = amount_text(history.sum_minor / history.count);
            return Some(format!(
                "{} is over {} times the mean of {mean}",
                amount_text(amount),
                self.max_times_mean,
            ));
        }
        history.add(amount);
        None
    }

    fn is_far_above(&self, history: &History, amount: i64) -> bool {
        // Wide integers: no amount, however absurd, overflows the comparison.
        let scaled = i128::from(amount) * i128::from(history.count);
        let allowed = i128::from(self.max_times_mean) * i128::from(history.sum_minor);
        history.count >= self.min_payments.max(1) && scaled > allowed
    }
}

impl History {
    fn add(&mut self, amount: i64) {
        if self.count >= COUNT_MAX {
            self.count /= 2;
            self.sum_minor /= 2;
        }
        self.count += 1;
        self.sum_minor = self.sum_minor.saturating_add(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: AmountHistory = AmountHistory {
        max_times_mean: 8,
        min_payments: 3,
    };

    fn pay(amount_minor: i64) -> Payment<'static> {
        Payment {
            at_us: 0,
            amount_minor,
            merchant: "Kiosk",
            country: "DE",
            channel: "card",
        }
    }

    #[test]
    fn far_above_the_mean_is_flagged_and_stays_out_of_the_history() {
        let mut history = History {
            count: 4,
            sum_minor: 4_000,
        };
        assert_eq!(
            RULE.judge(&mut history, &pay(8_001)).unwrap(),
            "80.01 is over 8 times the mean of 10.00"
        );
        assert_eq!(
            history,
            History {
                count: 4,
                sum_minor: 4_000
            }
        );
    }

    #[test]
    fn the_allowed_multiple_passes_and_enters_the_history() {
        let mut history = History {
            count: 4,
            sum_minor: 4_000,
        };
        assert_eq!(RULE.judge(&mut history, &pay(8_000)), None);
        assert_eq!(
            history,
            History {
                count: 5,
                sum_minor: 12_000
            }
        );
    }

    #[test]
    fn a_new_account_has_no_mean_yet() {
        let mut history = History {
            count: 2,
            sum_minor: 200,
        };
        assert_eq!(RULE.judge(&mut history, &pay(1_000_000)), None);
        let eager = AmountHistory {
            min_payments: 0,
            ..RULE
        };
        assert_eq!(eager.judge(&mut History::default(), &pay(1)), None);
    }

    #[test]
    fn the_past_fades_by_halves() {
        let mut history = History {
            count: COUNT_MAX,
            sum_minor: 64_000,
        };
        RULE.judge(&mut history, &pay(1_000));
        assert_eq!(
            history,
            History {
                count: 33,
                sum_minor: 33_000
            }
        );
    }

    #[test]
    fn absurd_amounts_do_not_overflow() {
        let mut history = History {
            count: 3,
            sum_minor: i64::MAX,
        };
        assert_eq!(RULE.judge(&mut history, &pay(i64::MAX)), None);
        assert_eq!(history.sum_minor, i64::MAX);
    }
}
