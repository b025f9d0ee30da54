//! Velocity: more payments in a minute than a person makes.
//!
//! Stolen card numbers are tried out by machines: a dozen tiny payments within two minutes. The
//! count is a feature that the engine computes, so the rule itself keeps nothing.

/// What the rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Velocity {
    /// Most payments of one account within a minute.
    pub max_per_minute: u64,
}

impl Velocity {
    /// Judges one payment by the number of payments in the minute that ends with it, itself
    /// included. Returns the reasons for an alert.
    #[must_use]
    pub fn judge(&self, count_1m: u64) -> Option<String> {
        let max = self.max_per_minute;
        (count_1m > max)
            .then(|| format!("{count_1m} payments within a minute, at most {max} allowed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowed_number_passes_and_one_more_does_not() {
        let rule = Velocity { max_per_minute: 5 };
        assert_eq!(rule.judge(5), None);
        let reasons = rule.judge(6).unwrap();
        assert_eq!(reasons, "6 payments within a minute, at most 5 allowed");
    }
}
