//! One payment as the rules see it.

/// A row of the transactions stream, in plain values.
///
/// Money is an exact number of the currency's hundredths and never a float.
#[derive(Debug, Clone, Copy)]
pub struct Payment<'a> {
    /// Event time, in microseconds since 1970.
    pub at_us: i64,
    /// Hundredths of the account's currency.
    pub amount_minor: i64,
    /// The merchant's name.
    pub merchant: &'a str,
    /// ISO 3166 code of the country where the merchant is.
    pub country: &'a str,
    /// How it was paid: `atm`, `card`, `mobile`, `netbanking` or `upi`.
    pub channel: &'a str,
}

impl Payment<'_> {
    /// Whether the card's holder must have stood where the merchant is.
    ///
    /// An app or a bank transfer reaches any country from the sofa.
    #[must_use]
    pub fn in_person(&self) -> bool {
        matches!(self.channel, "atm" | "card")
    }
}

/// An amount as a person reads it: `-1234` hundredths are `-12.34`.
#[must_use]
pub fn amount_text(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        let cases = [(0, "0.00"), (5, "0.05"), (-1234, "-12.34"), (100, "1.00")];
        for (minor, text) in cases {
            assert_eq!(amount_text(minor), text);
        }
        assert_eq!(amount_text(i64::MIN), "-92233720368547758.08");
    }

    #[test]
    fn only_cards_and_machines_need_their_holder() {
        let row = Payment {
            at_us: 0,
            amount_minor: 0,
            merchant: "",
            country: "",
            channel: "",
        };
        let with = |channel| Payment { channel, ..row }.in_person();
        assert!(with("atm") && with("card"));
        assert!(!with("mobile") && !with("netbanking") && !with("upi") && !with(""));
    }
}
