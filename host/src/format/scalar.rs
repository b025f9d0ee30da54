//! Single values from text into column builders: the same rules for every format.

use arrow_schema::DataType;
use jiff::tz::TimeZone;
use wasmill_core::pipeline::{Format, document::TimestampStyle};

mod binary;

use super::{
    FormatError, base64,
    column::Values,
    number::{Number, NumberError},
    time,
};

pub(crate) use binary::{
    push_double, push_f32, push_octets, push_rescaled, push_time, push_unscaled, push_utf8,
    push_uuid, push_whole, unscaled,
};

/// What a scalar column holds, and how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Integer,
    Float,
    Decimal { precision: u8, scale: u8 },
    Date,
    Timestamp(TimestampStyle),
    Text,
    Octets,
    FixedOctets(usize),
}

/// Options of a source that every value follows.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The zone of times without offset.
    zone: TimeZone,
    round: bool,
    /// CSV's wider number grammar and more words for truth.
    loose: bool,
    /// Days since 1970 are a date: Debezium writes them so.
    days: bool,
}

impl Rules {
    pub(crate) fn new(format: &Format, loose: bool) -> Result<Self, FormatError> {
        let zone = match &format.zone {
            None => TimeZone::UTC,
            Some(name) => {
                TimeZone::get(name).map_err(|_| FormatError::Zone { zone: name.clone() })?
            }
        };
        Ok(Self {
            zone,
            round: format.round_decimals,
            loose,
            days: format.is_changelog(),
        })
    }

    /// The zone of times without offset.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl Kind {
    /// The kind of an Arrow type; none for lists and structs.
    pub(crate) fn of(data_type: &DataType, timestamps: TimestampStyle) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Kind::Bool,
            DataType::Float32 | DataType::Float64 => Kind::Float,
            DataType::Decimal128(precision, scale) => Kind::Decimal {
                precision: *precision,
                scale: u8::try_from(*scale).ok()?,
            },
            DataType::Date32 => Kind::Date,
            DataType::Timestamp(..) => Kind::Timestamp(timestamps),
            DataType::Utf8 => Kind::Text,
            DataType::Binary => Kind::Octets,
            DataType::FixedSizeBinary(width) => Kind::FixedOctets(usize::try_from(*width).ok()?),
            other if other.is_integer() => Kind::Integer,
            _ => return None,
        })
    }

    /// What the reader expects, in a message's words.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Integer => "an integer",
            Kind::Float => "a number",
            Kind::Decimal { .. } => "a decimal number",
            Kind::Date => "a date such as \"2026-01-31\"",
            Kind::Timestamp(TimestampStyle::Rfc3339) => "a time such as \"2026-01-31T09:30:00Z\"",
            Kind::Timestamp(_) => "a time",
            Kind::Text => "a string",
            Kind::Octets | Kind::FixedOctets(_) => "a string in base64",
        }
    }
}

/// How many units of a style are a second.
pub(crate) fn units(style: TimestampStyle) -> Option<i64> {
    match style {
        TimestampStyle::Rfc3339 => None,
        TimestampStyle::Seconds => Some(1),
        TimestampStyle::Milliseconds => Some(1_000),
        TimestampStyle::Microseconds => Some(1_000_000),
    }
}

/// Pushes the value that a number's text stands for.
pub(crate) fn push_number(
    values: &mut Values,
    kind: Kind,
    text: &[u8],
    rules: &Rules,
) -> Result<(), String> {
    let number = || {
        Number::parse(text, rules.loose)
            .ok_or_else(|| format!("{} is not {}", quote(text), kind.expected()))
    };
    match kind {
        Kind::Integer => {
            let value = number()?.scaled(0, false).map_err(|error| match error {
                NumberError::Excess => format!("{} is not a whole number", quote(text)),
                NumberError::TooLarge => out_of_range(values, text),
            })?;
            push_integer(values, value).ok_or_else(|| out_of_range(values, text))
        }
        Kind::Decimal { precision, scale } => {
            let value = number()?.scaled(u32::from(scale), rules.round);
            let value = value.map_err(|error| decimal_error(error, text, precision, scale))?;
            push_decimal(values, value, precision)
                .ok_or_else(|| decimal_error(NumberError::TooLarge, text, precision, scale))
        }
        Kind::Float => number().and_then(|_| push_float(values, text)),
        Kind::Date if rules.days => {
            let days = number()?.scaled(0, false).ok();
            days.and_then(|days| push_integer(values, days))
                .ok_or_else(|| format!("{} is no number of days", quote(text)))
        }
        Kind::Timestamp(unit) => {
            let places = match unit {
                TimestampStyle::Seconds => 6,
                TimestampStyle::Milliseconds => 3,
                TimestampStyle::Microseconds => 0,
                TimestampStyle::Rfc3339 => {
                    return Err(format!(
                        "{} is a number without a unit: declare `timestamp: seconds`, \
                         `milliseconds` or `microseconds`",
                        quote(text)
                    ));
                }
            };
            let micros = number()?
                .scaled(places, rules.round)
                .map_err(|error| match error {
                    NumberError::Excess => format!("{} is finer than a microsecond", quote(text)),
                    NumberError::TooLarge => {
                        format!("{} is beyond the range of timestamps", quote(text))
                    }
                })?;
            push_integer(values, micros)
                .ok_or_else(|| format!("{} is beyond the range of timestamps", quote(text)))
        }
        _ => Err(format!(
            "the number {} stands where {} belongs",
            quote(text),
            kind.expected()
        )),
    }
}

/// Pushes the value that a text stands for; the text is UTF-8.
pub(crate) fn push_text(
    values: &mut Values,
    kind: Kind,
    text: &[u8],
    rules: &Rules,
) -> Result<(), String> {
    match kind {
        Kind::Text => push_bytes(values, text),
        Kind::Octets | Kind::FixedOctets(_) => push_base64(values, text),
        Kind::Date => {
            let days = time::parse_date(text)
                .ok_or_else(|| format!("{} is not {}", quote(text), kind.expected()))?;
            push_integer(values, i128::from(days)).ok_or_else(|| out_of_range(values, text))
        }
        Kind::Timestamp(unit) => {
            if unit != TimestampStyle::Rfc3339 && Number::parse(text, rules.loose).is_some() {
                return push_number(values, kind, text, rules);
            }
            let micros = time::parse_timestamp(text, &rules.zone)
                .map_err(|reason| format!("{} {reason}", quote(text)))?;
            push_integer(values, i128::from(micros)).ok_or_else(|| out_of_range(values, text))
        }
        Kind::Integer | Kind::Decimal { .. } => push_number(values, kind, text, rules),
        Kind::Float => match special_float(text) {
            Some(value) => push_f64(values, value),
            None => push_number(values, kind, text, rules),
        },
        Kind::Bool if rules.loose => match text {
            b"true" | b"TRUE" | b"True" | b"1" => push_bool(values, kind, true),
            b"false" | b"FALSE" | b"False" | b"0" => push_bool(values, kind, false),
            _ => Err(format!("{} is not true or false", quote(text))),
        },
        Kind::Bool => Err(format!(
            "the string {} stands where true or false belongs",
            quote(text)
        )),
    }
}

/// Pushes a truth value.
pub(crate) fn push_bool(values: &mut Values, kind: Kind, value: bool) -> Result<(), String> {
    match values {
        Values::Bool(values) => values.push(value),
        _ => {
            return Err(format!(
                "`{value}` stands where {} belongs",
                kind.expected()
            ));
        }
    }
    Ok(())
}

fn push_bytes(values: &mut Values, text: &[u8]) -> Result<(), String> {
    let Values::Bytes(bytes, ends) = values else {
        return Err("a string stands where none belongs".into());
    };
    let end = i32::try_from(bytes.len() + text.len())
        .map_err(|_| "the batch's text is longer than 2 GiB".to_string())?;
    bytes.extend_from_slice(text);
    ends.push(end);
    Ok(())
}

fn push_base64(values: &mut Values, text: &[u8]) -> Result<(), String> {
    let octets = base64::decode(text).ok_or_else(|| format!("{} is not base64", quote(text)))?;
    push_octets(values, &octets)
}

/// Pushes into any integer column; none where the value does not fit.
#[inline]
pub(crate) fn push_integer(values: &mut Values, value: i128) -> Option<()> {
    match values {
        Values::I8(values) => values.push(value.try_into().ok()?),
        Values::I16(values) => values.push(value.try_into().ok()?),
        Values::I32(values) => values.push(value.try_into().ok()?),
        Values::I64(values) => values.push(value.try_into().ok()?),
        Values::U8(values) => values.push(value.try_into().ok()?),
        Values::U16(values) => values.push(value.try_into().ok()?),
        Values::U32(values) => values.push(value.try_into().ok()?),
        Values::U64(values) => values.push(value.try_into().ok()?),
        _ => return None,
    }
    Some(())
}

/// Pushes an unscaled decimal; none where it has more digits than the type.
pub(crate) fn push_decimal(values: &mut Values, value: i128, precision: u8) -> Option<()> {
    let Values::Decimal(values) = values else {
        return None;
    };
    let limit = 10_u128.checked_pow(u32::from(precision))?;
    (value.unsigned_abs() < limit).then(|| values.push(value))
}

fn push_float(values: &mut Values, text: &[u8]) -> Result<(), String> {
    let read = std::str::from_utf8(text).ok();
    match values {
        Values::F32(values) => {
            let value = read.and_then(|text| text.parse::<f32>().ok());
            values.push(
                value
                    .filter(|value| value.is_finite())
                    .ok_or_else(|| too_large(text))?,
            );
        }
        Values::F64(values) => {
            let value = read.and_then(|text| text.parse::<f64>().ok());
            values.push(
                value
                    .filter(|value| value.is_finite())
                    .ok_or_else(|| too_large(text))?,
            );
        }
        _ => return Err("a float stands where none belongs".into()),
    }
    Ok(())
}

pub(crate) fn push_f64(values: &mut Values, value: f64) -> Result<(), String> {
    match values {
        Values::F32(values) => values.push(value as f32),
        Values::F64(values) => values.push(value),
        _ => return Err("a float stands where none belongs".into()),
    }
    Ok(())
}

fn special_float(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn too_large(text: &[u8]) -> String {
    format!("{} is beyond the range of the float", quote(text))
}

fn out_of_range(values: &Values, text: &[u8]) -> String {
    format!(
        "{} is beyond the range of {}",
        quote(text),
        integer_name(values)
    )
}

fn integer_name(values: &Values) -> &'static str {
    match values {
        Values::I8(_) => "i8",
        Values::I16(_) => "i16",
        Values::I32(_) => "i32",
        Values::I64(_) => "i64",
        Values::U8(_) => "u8",
        Values::U16(_) => "u16",
        Values::U32(_) => "u32",
        Values::U64(_) => "u64",
        _ => "the column",
    }
}

fn decimal_error(error: NumberError, text: &[u8], precision: u8, scale: u8) -> String {
    match error {
        NumberError::Excess => format!(
            "{} has more than {scale} places: declare more, or `round-decimals: true`",
            quote(text)
        ),
        NumberError::TooLarge => format!(
            "{} has too many digits for decimal({precision},{scale})",
            quote(text)
        ),
    }
}

/// A value for a message: quoted, on one line, and short.
pub(crate) fn quote(text: &[u8]) -> String {
    const CHARS_MAX: usize = 60;
    let text = String::from_utf8_lossy(text);
    let short: String = text
        .chars()
        .take(CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    let rest = if text.chars().nth(CHARS_MAX).is_some() {
        "..."
    } else {
        ""
    };
    format!("`{short}{rest}`")
}
