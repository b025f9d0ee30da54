//! Amounts of memory as people write them: `64MiB`, `512KiB`, `10MB`, `4096B`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The name of the text form in JSON Schemas.
pub const FORMAT: &str = "wasmill-bytes";

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Why a text is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an amount of memory: write a whole number and a unit, such as 64MiB or 512KiB"
)]
pub struct ByteSizeError(pub String);

/// An amount of memory in a document, written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

impl TryFrom<String> for ByteSize {
    type Error = ByteSizeError;

    fn try_from(text: String) -> Result<Self, ByteSizeError> {
        parse(&text).map(Self)
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        print(size.0)
    }
}

impl schemars::JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": FORMAT })
    }
}

/// Reads an amount in bytes.
///
/// ```
/// use wasmill_core::byte_size;
///
/// assert_eq!(byte_size::parse("64MiB"), Ok(64 << 20));
/// assert_eq!(byte_size::parse("10MB"), Ok(10_000_000));
/// ```
pub fn parse(text: &str) -> Result<u64, ByteSizeError> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let refuse = || ByteSizeError(text.into());
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let unit = unit.trim_start();
    let (_, bytes) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(refuse)?;
    number.checked_mul(*bytes).ok_or_else(refuse)
}

/// The shortest text with one whole number and a binary unit.
pub fn print(bytes: u64) -> String {
    let binary = UNITS.iter().take(3);
    let (unit, size) = binary
        .copied()
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size))
        .unwrap_or(("B", 1));
    format!("{}{unit}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_printed() {
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert_eq!(parse("10 MB"), Ok(10_000_000));
        assert_eq!(print(64 << 20), "64MiB");
        assert_eq!(print(1500), "1500B");
        for text in ["64", "64Mb", "-1B", "99999999999GiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
