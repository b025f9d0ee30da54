//! Values as JSON, for people: fixtures of `wasmill plugin test`, listings of state.
//!
//! Integers, truth values, text, lists and structs are what JSON calls them. Decimals are text
//! (`"12.50"`), dates and timestamps ISO 8601 (`"2026-01-31"`, `"2026-01-31T08:00:00.000001Z"`),
//! octets lower-case hexadecimal; floats that JSON cannot write are `"NaN"`, `"Infinity"` and
//! `"-Infinity"`. A missing value is null.

mod civil;

use arrow_schema::{DataType, Fields};
use serde_json::{Map, Number, Value};

use super::reader::Reader;
use super::{EncodingError, width_of};

/// Why a JSON value is no value of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}{}`{found}` is not {wanted}", if path.is_empty() { "" } else { ": " })]
pub struct JsonError {
    /// The way to the place, such as `a.items[2]`; empty for the value itself.
    pub path: String,
    /// What stands there, shortened.
    pub found: String,
    /// What should stand there.
    pub wanted: String,
}

/// An encoded value as JSON.
pub fn to_json(data_type: &DataType, nullable: bool, bytes: &[u8]) -> Result<Value, EncodingError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader, data_type, nullable)?;
    reader.finish()?;
    Ok(value)
}

/// A JSON value in the state encoding.
pub fn from_json(
    data_type: &DataType,
    nullable: bool,
    value: &Value,
) -> Result<Vec<u8>, JsonError> {
    let mut bytes = Vec::new();
    write(data_type, nullable, value, &mut bytes)?;
    Ok(bytes)
}

/// Reads one value from its bytes, and those of its parts.
fn read(
    reader: &mut Reader<'_>,
    data_type: &DataType,
    nullable: bool,
) -> Result<Value, EncodingError> {
    if nullable && !reader.bool()? {
        return Ok(Value::Null);
    }
    Ok(match data_type {
        DataType::Boolean => reader.bool()?.into(),
        DataType::Decimal128(precision, scale) => {
            decimal_text(reader.decimal(*precision)?, *scale as usize).into()
        }
        DataType::Utf8 => reader.text()?.into(),
        DataType::Binary => hex(reader.bytes(data_type)?).into(),
        DataType::FixedSizeBinary(_) => hex(reader.take(width_of(data_type)?, data_type)?).into(),
        DataType::List(item) => {
            let count = reader.count(data_type)?;
            let items = (0..count).map(|_| read(reader, item.data_type(), item.is_nullable()));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DataType::Struct(fields) => {
            let mut object = Map::new();
            for field in fields {
                let value = read(reader, field.data_type(), field.is_nullable())?;
                object.insert(field.name().clone(), value);
            }
            Value::Object(object)
        }
        plain => number(plain, reader.take(width_of(plain)?, plain)?),
    })
}

/// A value of a primitive type; `bytes` has the type's width.
fn number(data_type: &DataType, bytes: &[u8]) -> Value {
    macro_rules! from_bytes {
        ($number:ty) => {
            <$number>::from_le_bytes(bytes.try_into().expect("as many bytes as the type is wide"))
        };
    }
    match data_type {
        DataType::Int8 => from_bytes!(i8).into(),
        DataType::Int16 => from_bytes!(i16).into(),
        DataType::Int32 => from_bytes!(i32).into(),
        DataType::Int64 => from_bytes!(i64).into(),
        DataType::UInt8 => from_bytes!(u8).into(),
        DataType::UInt16 => from_bytes!(u16).into(),
        DataType::UInt32 => from_bytes!(u32).into(),
        DataType::UInt64 => from_bytes!(u64).into(),
        DataType::Date32 => civil::date_text(from_bytes!(i32)).into(),
        DataType::Timestamp(..) => civil::timestamp_text(from_bytes!(i64)).into(),
        DataType::Float32 => {
            let value = from_bytes!(f32);
            let shortest = value
                .to_string()
                .parse()
                .expect("a float's own text is a float");
            float(if value.is_finite() {
                shortest
            } else {
                f64::from(value)
            })
        }
        _ => float(from_bytes!(f64)),
    }
}

/// A float as JSON; what JSON has no number for is text.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(
        || match value {
            f64::INFINITY => "Infinity".into(),
            f64::NEG_INFINITY => "-Infinity".into(),
            _ => "NaN".into(),
        },
        Value::Number,
    )
}

/// Writes one value in the state encoding.
fn write(
    data_type: &DataType,
    nullable: bool,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    if nullable {
        out.push(u8::from(!value.is_null()));
        if value.is_null() {
            return Ok(());
        }
    }
    let wrong = || wrong(value, data_type);
    match data_type {
        DataType::Boolean => out.push(u8::from(value.as_bool().ok_or_else(wrong)?)),
        DataType::Utf8 => push_bytes(value.as_str().ok_or_else(wrong)?.as_bytes(), out),
        DataType::Binary => push_bytes(&unhex(value).ok_or_else(wrong)?, out),
        DataType::FixedSizeBinary(width) => {
            let bytes = unhex(value).filter(|bytes| i32::try_from(bytes.len()) == Ok(*width));
            out.extend_from_slice(&bytes.ok_or_else(wrong)?);
        }
        DataType::List(item) => {
            let items = value.as_array().ok_or_else(wrong)?;
            out.extend_from_slice(&count(items.len()));
            for (i, each) in items.iter().enumerate() {
                write(item.data_type(), item.is_nullable(), each, out)
                    .map_err(|error| error.inside(&format!("[{i}]")))?;
            }
        }
        DataType::Struct(fields) => {
            write_fields(fields, value.as_object().ok_or_else(wrong)?, out)?;
        }
        plain => write_number(plain, value, out).ok_or_else(wrong)?,
    }
    Ok(())
}

/// Writes a struct's fields in their order; an unknown one is refused.
fn write_fields(
    fields: &Fields,
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let unknown = object.keys().find(|key| fields.find(key).is_none());
    if let Some(unknown) = unknown {
        let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
        return Err(JsonError {
            path: String::new(),
            found: unknown.clone(),
            wanted: format!("a field, they are {}", names.join(", ")),
        });
    }
    for field in fields {
        let value = object.get(field.name()).unwrap_or(&Value::Null);
        write(field.data_type(), field.is_nullable(), value, out)
            .map_err(|error| error.inside(field.name()))?;
    }
    Ok(())
}

/// Writes a number if it fits its type exactly.
fn write_number(data_type: &DataType, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    macro_rules! to_bytes {
        ($number:ty) => {
            out.extend_from_slice(&value.to_string().parse::<$number>().ok()?.to_le_bytes())
        };
    }
    match data_type {
        DataType::Int8 => to_bytes!(i8),
        DataType::Int16 => to_bytes!(i16),
        DataType::Int32 => to_bytes!(i32),
        DataType::Int64 => to_bytes!(i64),
        DataType::UInt8 => to_bytes!(u8),
        DataType::UInt16 => to_bytes!(u16),
        DataType::UInt32 => to_bytes!(u32),
        DataType::UInt64 => to_bytes!(u64),
        DataType::Float32 => out.extend_from_slice(&(parse_float(value)? as f32).to_le_bytes()),
        DataType::Float64 => out.extend_from_slice(&parse_float(value)?.to_le_bytes()),
        DataType::Decimal128(precision, scale) => {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let unscaled = parse_decimal(&text, *precision, *scale as usize)?;
            out.extend_from_slice(&unscaled.to_le_bytes());
        }
        DataType::Date32 => {
            out.extend_from_slice(&civil::parse_date(value.as_str()?)?.to_le_bytes());
        }
        DataType::Timestamp(..) => {
            out.extend_from_slice(&civil::parse_timestamp(value.as_str()?)?.to_le_bytes());
        }
        _ => return None,
    }
    Some(())
}

/// A float from a number, or from the text of those that JSON has no number for.
fn parse_float(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::from_bits(0x7ff8_0000_0000_0000)),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}

/// `1250` with scale 2 is `12.50`.
fn decimal_text(unscaled: i128, scale: usize) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part}")
    }
}

/// Exact: digits that the type cannot hold are refused, never rounded.
fn parse_decimal(text: &str, precision: u8, scale: usize) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(part) || part.len() > scale {
        return None;
    }
    let unscaled: i128 = format!("{whole}{part:0<scale$}").parse().ok()?;
    let fits = unscaled.unsigned_abs() < 10_u128.pow(u32::from(precision));
    fits.then_some(if negative { -unscaled } else { unscaled })
}

/// Bytes as hexadecimal text.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal text.
fn unhex(value: &Value) -> Option<Vec<u8>> {
    let digits = value.as_str()?.as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

/// A length and the bytes.
fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&count(bytes.len()));
    out.extend_from_slice(bytes);
}

/// A document of 4 GiB is refused long before.
fn count(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("a fixture is smaller than 4 GiB")
        .to_le_bytes()
}

/// A value that does not fit its type.
fn wrong(value: &Value, data_type: &DataType) -> JsonError {
    let mut found = value.to_string();
    if let Some((end, _)) = found.char_indices().nth(40) {
        found.truncate(end);
        found.push_str("...");
    }
    let name = crate::data_type::print(data_type, false);
    let example = match data_type {
        DataType::Date32 => ", such as \"2026-01-31\"",
        DataType::Timestamp(..) => ", such as \"2026-01-31T08:00:00Z\"",
        DataType::Decimal128(..) => ", such as \"12.50\"",
        DataType::Binary | DataType::FixedSizeBinary(_) => ", such as \"00ff\"",
        _ => "",
    };
    JsonError {
        path: String::new(),
        found,
        wanted: format!("a value of type `{name}`{example}"),
    }
}

impl JsonError {
    /// The same error, seen from one level further out.
    fn inside(mut self, part: &str) -> Self {
        let joint = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{part}{joint}{}", self.path);
        self
    }
}
