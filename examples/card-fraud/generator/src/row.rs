//! A transaction as it is read back from the file.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Number;

/// One line of the file, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub(crate) id: String,
    pub(crate) account: u64,
    pub(crate) at_us: i64,
    pub(crate) amount_minor: i64,
    pub(crate) merchant: String,
    pub(crate) country: String,
    pub(crate) channel: String,
}

/// What keeps a line from being a transaction.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON that the generator writes.
    #[error("it is not a transaction as this program writes them")]
    Json(#[from] serde_json::Error),
    /// A time that is none.
    #[error("{0:?} is not a time in RFC 3339")]
    Time(String),
    /// An amount with other than two digits after the point.
    #[error("{0} is not an amount with two digits after the point")]
    Amount(String),
}

#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    account: u64,
    #[serde(borrow)]
    at: Cow<'a, str>,
    amount: Number,
    #[serde(borrow)]
    merchant: Cow<'a, str>,
    #[serde(borrow)]
    country: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

impl Row {
    /// Event time, in microseconds since 1970.
    #[must_use]
    pub fn at_us(&self) -> i64 {
        self.at_us
    }

    /// Decodes one line.
    ///
    /// # Errors
    /// If it is not a transaction as the generator writes them.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let line: Line<'_> = serde_json::from_str(line)?;
        let at = line
            .at
            .parse::<Timestamp>()
            .map_err(|_| Error::Time(line.at.to_string()))?;
        let amount = line.amount.to_string();
        Ok(Self {
            id: line.id.into_owned(),
            account: line.account,
            at_us: at.as_microsecond(),
            amount_minor: minor(&amount).ok_or(Error::Amount(amount))?,
            merchant: line.merchant.into_owned(),
            country: line.country.into_owned(),
            channel: line.channel.into_owned(),
        })
    }
}

/// Hundredths of an amount, from its text: no float lies in between.
fn minor(amount: &str) -> Option<i64> {
    let (whole, part) = amount.split_once('.')?;
    let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let minor = format!("{whole}{part}").parse().ok()?;
    digits.then_some(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(minor("12.05"), Some(1_205));
        assert_eq!(minor("-0.05"), Some(-5));
        assert_eq!(minor("90071992547409.93"), Some(9_007_199_254_740_993));
        for text in ["12", "12.5", "12.050", "1e2.00", "12.+5", ""] {
            assert_eq!(minor(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_gives_back_what_was_written() {
        let line = concat!(
            r#"{"id":"tx-1","account":7,"at":"2026-01-26T00:00:01.000002Z","amount":12.30,"#,
            r#""currency":"EUR","merchant":"Oak & Iron DE-0001","merchant_category":"household","#,
            r#""country":"DE","channel":"card"}"#,
        );
        let row = Row::parse(line).unwrap();
        assert_eq!((row.account, row.amount_minor), (7, 1_230));
        assert_eq!(row.at_us, 1_769_385_601_000_002);
        assert_eq!((&*row.country, &*row.channel), ("DE", "card"));
        assert!(Row::parse("{}").is_err());
    }
}
