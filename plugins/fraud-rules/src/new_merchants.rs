//! New merchants: a burst of purchases at shops that the account never used.
//!
//! A stolen card is spent quickly, at places its holder does not go. Holders try new shops too,
//! and on sale days several, so only a burst counts, and only once the account has habits.

use crate::payment::Payment;

/// Times that a [`Burst`] remembers, and so the most that `max_new` can ask for.
pub const TIMES: usize = 8;

/// What the rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMerchants {
    /// Most first purchases at new merchants within the window; at most `TIMES - 1`.
    pub max_new: usize,
    /// Length of the window, in microseconds.
    pub window_us: i64,
    /// Merchants that the account must know before a new one says anything.
    pub min_known: u32,
}

/// The account's latest first purchases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Burst {
    /// Merchants that the account has used so far.
    pub known: u32,
    /// Event times of the latest first purchases, in microseconds since 1970, in order of
    /// arrival and in turn: the n-th stands at `(n - 1) % TIMES`.
    pub times_us: [i64; TIMES],
}

impl NewMerchants {
    /// Judges one payment; `is_new` says that the account never used its merchant before.
    /// Returns the reasons for an alert.
    pub fn judge(&self, burst: &mut Burst, is_new: bool, payment: &Payment<'_>) -> Option<String> {
        if !is_new {
            return None;
        }
        let known = burst.known;
        burst.add(payment.at_us);
        let recent = burst.within(payment.at_us, self.window_us);
        (known >= self.min_known && recent > self.max_new).then(|| {
            format!(
                "{} is merchant {recent} new to the account within {} min, at most {} allowed",
                payment.merchant,
                self.window_us / 60_000_000,
                self.max_new,
            )
        })
    }
}

impl Burst {
    fn add(&mut self, at_us: i64) {
        self.times_us[self.known as usize % TIMES] = at_us;
        self.known = self.known.saturating_add(1);
    }

    /// First purchases in the window that ends at `at_us`, as far as they are remembered.
    fn within(&self, at_us: i64, window_us: i64) -> usize {
        let remembered = TIMES.min(self.known as usize);
        let window = at_us.saturating_sub(window_us)..=at_us;
        // The start itself lies outside, as in the engine's own windows.
        self.times_us[..remembered]
            .iter()
            .filter(|time| window.contains(time) && **time != *window.start())
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_US: i64 = 60_000_000;
    const RULE: NewMerchants = NewMerchants {
        max_new: 2,
        window_us: 30 * MINUTE_US,
        min_known: 3,
    };

    fn pay(minute: i64) -> Payment<'static> {
        let at_us = minute * MINUTE_US;
        Payment {
            at_us,
            amount_minor: 500,
            merchant: "Kiosk",
            country: "DE",
            channel: "card",
        }
    }

    fn customer() -> Burst {
        let mut burst = Burst::default();
        for day in 1..=3 {
            burst.add(-day * 1_440 * MINUTE_US);
        }
        burst
    }

    #[test]
    fn a_burst_of_new_merchants_is_flagged_from_the_first_too_many() {
        let mut burst = customer();
        assert_eq!(RULE.judge(&mut burst, true, &pay(0)), None);
        assert_eq!(RULE.judge(&mut burst, true, &pay(10)), None);
        let reasons = RULE.judge(&mut burst, true, &pay(20)).unwrap();
        assert_eq!(
            reasons,
            "Kiosk is merchant 3 new to the account within 30 min, at most 2 allowed"
        );
    }

    #[test]
    fn a_known_merchant_neither_counts_nor_is_flagged() {
        let mut burst = customer();
        for minute in 0..10 {
            assert_eq!(RULE.judge(&mut burst, false, &pay(minute)), None);
        }
        assert_eq!(burst, customer());
    }

    #[test]
    fn the_window_leaves_out_its_start() {
        let mut burst = customer();
        RULE.judge(&mut burst, true, &pay(0));
        RULE.judge(&mut burst, true, &pay(1));
        assert_eq!(RULE.judge(&mut burst, true, &pay(30)), None);
    }

    #[test]
    fn a_new_customer_meets_new_merchants_only() {
        let mut burst = Burst::default();
        for minute in 0..3 {
            assert_eq!(RULE.judge(&mut burst, true, &pay(minute)), None);
        }
        assert!(RULE.judge(&mut burst, true, &pay(3)).is_some());
    }

    #[test]
    fn the_count_stays_within_what_is_remembered() {
        let mut burst = Burst {
            known: u32::MAX,
            ..Burst::default()
        };
        burst.add(5);
        assert_eq!(burst.known, u32::MAX);
        assert!(burst.within(5, i64::MAX) <= TIMES);
    }
}
