//! A bank transaction and its line in the file.

use crate::calendar;
use crate::market::Merchant;

/// How a payment was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Cash from a machine.
    Atm,
    /// The card itself, at a merchant's terminal.
    Card,
    /// The card's number in an app or a web shop.
    Mobile,
    /// A transfer through the bank's site.
    Netbanking,
    /// India's instant payments.
    Upi,
}

impl Channel {
    /// The name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Atm => "atm",
            Self::Card => "card",
            Self::Mobile => "mobile",
            Self::Netbanking => "netbanking",
            Self::Upi => "upi",
        }
    }
}

/// One transaction.
#[derive(Debug, Clone, Copy)]
pub struct Transaction {
    /// The bank's running number, in order of arrival.
    pub(crate) number: u64,
    pub(crate) account: u64,
    pub(crate) at_us: i64,
    pub(crate) amount_minor: i64,
    pub(crate) currency: &'static str,
    pub(crate) merchant: Merchant,
    pub(crate) channel: Channel,
}

impl Transaction {
    /// The number of the account.
    #[must_use]
    pub fn account(&self) -> u64 {
        self.account
    }

    /// Event time, in microseconds since 1970.
    #[must_use]
    pub fn at_us(&self) -> i64 {
        self.at_us
    }

    /// Appends the transaction as one line of JSON, about 200 bytes.
    ///
    /// `calendar` keeps the text of the day from one line to the next.
    pub fn write(&self, calendar: &mut calendar::Writer, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"tx-");
        write_digits(out, self.number, 10);
        out.extend_from_slice(b"\",\"account\":");
        write_number(out, self.account);
        out.extend_from_slice(b",\"at\":\"");
        calendar.write(self.at_us, out);
        out.extend_from_slice(b"\",\"amount\":");
        let minor = self.amount_minor.unsigned_abs();
        write_number(out, minor / 100);
        out.push(b'.');
        write_digits(out, minor % 100, 2);
        for (name, value) in [
            ("currency", self.currency),
            ("merchant", self.merchant.stem()),
        ] {
            write_member(out, name, value);
        }
        // The merchant's name goes on with its country and number.
        out.pop();
        out.push(b' ');
        out.extend_from_slice(self.merchant.country.as_bytes());
        out.push(b'-');
        write_digits(out, u64::from(self.merchant.number()), 4);
        out.push(b'"');
        write_member(out, "merchant_category", self.merchant.category());
        write_member(out, "country", self.merchant.country);
        write_member(out, "channel", self.channel.name());
        out.extend_from_slice(b"}\n");
    }
}

/// Appends `,"name":"value"`; neither holds a character that JSON escapes.
fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    let width = number
        .checked_ilog10()
        .map_or(1, |digits| digits as usize + 1);
    write_digits(out, number, width);
}

/// Appends the number in at least `width` digits, with zeros in front.
pub(crate) fn write_digits(out: &mut Vec<u8>, number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut left = number;
    let mut start = digits.len();
    while left > 0 {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    out.extend_from_slice(&digits[start.min(digits.len() - width)..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Trade;
    use crate::random::Random;

    #[test]
    fn a_line_is_json_with_every_field() {
        let merchant = Merchant::stranger(&mut Random::new(1), Trade::Shop, "DE");
        let transaction = Transaction {
            number: 42,
            account: 10_000_007,
            at_us: 1_769_385_600_000_120,
            amount_minor: 1_205,
            currency: "EUR",
            merchant,
            channel: Channel::Card,
        };
        let mut out = Vec::new();
        transaction.write(&mut calendar::Writer::default(), &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        let row: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let name = format!("{} DE-{:04}", merchant.stem(), merchant.number());
        assert_eq!(row["id"], "tx-0000000042");
        assert_eq!(row["account"], 10_000_007);
        assert_eq!(row["at"], "2026-01-26T00:00:00.000120Z");
        assert_eq!(row["amount"].to_string(), "12.05");
        assert_eq!(row["merchant"], name);
        assert_eq!(row["merchant_category"], merchant.category());
        assert_eq!(
            (&row["country"], &row["channel"]),
            (&"DE".into(), &"card".into())
        );
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (number, width, text) in [(0, 1, "0"), (7, 2, "07"), (123, 2, "123")] {
            let mut out = Vec::new();
            write_digits(&mut out, number, width);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        let mut out = Vec::new();
        write_number(&mut out, u64::MAX);
        assert_eq!(String::from_utf8(out).unwrap(), u64::MAX.to_string());
    }
}
