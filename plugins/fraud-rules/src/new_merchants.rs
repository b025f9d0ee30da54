//! New merchants: a burst of purchases at shops that the account never used.
//!
//! A stolen card is spent quickly, at places its holder does not go. Holders try new shops too,
//! and on sale days several, so only a burst counts, and only once the account has habits.

use crate::payment::Payment;

/// First purchases that an account remembers; at most as many can be asked for.
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

impl NewMerchants {
    /// Judges a first purchase at a merchant. Returns the reasons for an alert.
    ///
    /// `known` is the number of merchants that the account used before, `times_us` are the event
    /// times of its latest first purchases, this one included, in any order.
    pub fn judge(
        &self,
        known: u32,
        times_us: impl IntoIterator<Item = i64>,
        payment: &Payment<'_>,
    ) -> Option<String> {
        if known < self.min_known {
            return None;
        }
        let end = payment.at_us;
        let start = end.saturating_sub(self.window_us);
        // The start itself lies outside, as in the engine's own windows.
        let recent = times_us
            .into_iter()
            .filter(|time| start < *time && *time <= end)
            .count();
        (recent > self.max_new).then(|| {
            format!(
                "{} is merchant {recent} new to the account within {} min, at most {} allowed",
                payment.merchant,
                self.window_us / 60_000_000,
                self.max_new,
            )
        })
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

    /// What the rule says at minute 100, after first purchases at these minutes.
    fn judge(known: u32, minutes: &[i64]) -> Option<String> {
        let at_us = 100 * MINUTE_US;
        let country = "DE";
        let payment = Payment {
            at_us,
            amount_minor: 500,
            merchant: "Kiosk",
            country,
            channel: "card",
        };
        RULE.judge(
            known,
            minutes.iter().map(|minute| minute * MINUTE_US),
            &payment,
        )
    }

    #[test]
    fn one_too_many_within_the_window_is_flagged() {
        assert_eq!(judge(9, &[1, 2, 90, 100]), None);
        let reasons = judge(9, &[1, 80, 90, 100]).unwrap();
        assert_eq!(
            reasons,
            "Kiosk is merchant 3 new to the account within 30 min, at most 2 allowed"
        );
    }

    #[test]
    fn the_window_leaves_out_its_start_and_what_comes_later() {
        assert_eq!(judge(9, &[70, 90, 100]), None);
        assert_eq!(judge(9, &[101, 90, 100]), None);
        assert!(judge(9, &[71, 90, 100]).is_some());
    }

    #[test]
    fn a_new_customer_meets_new_merchants_only() {
        assert_eq!(judge(2, &[98, 99, 100]), None);
        assert!(judge(3, &[98, 99, 100]).is_some());
    }
}
