//! Durations as people write them: `500ms`, `30s`, `5m`, `1h`, `7d`.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The name of the text form in JSON Schemas.
pub const FORMAT: &str = "wasmill-duration";

/// The name of the text form with a sign in JSON Schemas.
pub const SIGNED_FORMAT: &str = "wasmill-signed-duration";

/// Units from the longest to the shortest, in microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration: write a whole number and a unit, such as 500ms, 30s, 5m, 1h or 7d"
)]
pub struct DurationError(pub String);

/// A duration in a document, written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DurationText(pub Duration);

impl DurationText {
    /// Microseconds; what [`parse`] accepts always fits.
    pub fn as_us(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl TryFrom<String> for DurationText {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        parse(&text).map(Self)
    }
}

impl From<DurationText> for String {
    fn from(duration: DurationText) -> Self {
        print(duration.0)
    }
}

impl schemars::JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": FORMAT })
    }
}

/// A duration that may lie before as well as after something: `-5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignedDurationText {
    /// Microseconds.
    pub us: i64,
}

impl TryFrom<String> for SignedDurationText {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        parse_signed(&text).map(|us| Self { us })
    }
}

impl From<SignedDurationText> for String {
    fn from(duration: SignedDurationText) -> Self {
        print_signed(duration.us)
    }
}

impl schemars::JsonSchema for SignedDurationText {
    fn schema_name() -> Cow<'static, str> {
        "SignedDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": SIGNED_FORMAT })
    }
}

/// Reads a duration that may have a sign, in microseconds.
///
/// ```
/// use wasmill_core::duration;
///
/// assert_eq!(duration::parse_signed("-5m"), Ok(-300_000_000));
/// assert_eq!(duration::print_signed(-300_000_000), "-5m");
/// ```
pub fn parse_signed(text: &str) -> Result<i64, DurationError> {
    let trimmed = text.trim();
    let (sign, length) = match trimmed.strip_prefix('-') {
        Some(length) => (-1, length),
        None => (1, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let length = parse(length).map_err(|_| DurationError(text.into()))?;
    Ok(sign * DurationText(length).as_us())
}

/// The text that [`parse_signed`] reads.
pub fn print_signed(us: i64) -> String {
    let sign = if us < 0 { "-" } else { "" };
    format!("{sign}{}", print(Duration::from_micros(us.unsigned_abs())))
}

/// Reads a duration; at most about 292,000 years, so that it fits 64-bit microseconds.
///
/// ```
/// use std::time::Duration;
/// use wasmill_core::duration;
///
/// assert_eq!(duration::parse("90s"), Ok(Duration::from_secs(90)));
/// assert!(duration::parse("90").is_err(), "a number has no unit");
/// ```
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let refuse = || DurationError(text.into());
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let unit = unit.trim_start();
    let (_, us) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(refuse)?;
    let total = number.checked_mul(*us).ok_or_else(refuse)?;
    i64::try_from(total).map_err(|_| refuse())?;
    Ok(Duration::from_micros(total))
}

/// The shortest text with one whole number; what lies below a microsecond is dropped.
///
/// ```
/// use std::time::Duration;
/// use wasmill_core::duration;
///
/// assert_eq!(duration::print(Duration::from_secs(3600)), "1h");
/// ```
pub fn print(duration: Duration) -> String {
    let us = duration.as_micros();
    let (unit, size) = UNITS
        .iter()
        .find(|(_, size)| us > 0 && us.is_multiple_of(u128::from(*size)))
        .unwrap_or(&("s", 1_000_000));
    format!("{}{unit}", us / u128::from(*size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_they_were_read() {
        for text in ["500ms", "30s", "5m", "1h", "7d", "250us", "0s", "90s"] {
            let duration = parse(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(print(duration), text);
        }
        assert_eq!(print(parse("120s").expect("a duration")), "2m");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1.5s",
            "5 weeks",
            "99999999999999999999s",
            "9999999999d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
