//! The state encoding of `docs/formats/state.md`: one byte string for a value, the same in every
//! language.
//!
//! [`Encoder`] writes rows of Arrow arrays, [`decode`] reads them back, [`validate`] judges bytes
//! that a guest wrote, and [`to_json`] and [`from_json`] translate for people: fixtures of `wasmill
//! plugin test` and listings of state.

mod decoder;
mod encoder;
mod json;
mod reader;

use arrow_schema::DataType;

pub use decoder::decode;
pub use encoder::{Encoder, Form};
pub use json::{JsonError, from_json, to_json};

use reader::Reader;

/// Why bytes are no value of their type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// The value ends before its type does.
    #[error(
        "the value ends at byte {at}, where {wanted} more bytes of `{data_type}` should follow"
    )]
    Truncated {
        /// Where in the value.
        at: usize,
        /// How many bytes are missing at least.
        wanted: usize,
        /// The part of the type that was being read.
        data_type: String,
    },
    /// The type ends before the value does.
    #[error("{count} bytes are left over at byte {at}")]
    LeftOver {
        /// Where in the value.
        at: usize,
        /// How many there are.
        count: usize,
    },
    /// A truth value or a presence byte that is neither 0 nor 1.
    #[error("byte {at} is {byte}, it must be 0 or 1")]
    NotBool {
        /// Where in the value.
        at: usize,
        /// What stands there.
        byte: u8,
    },
    /// Text that is not UTF-8.
    #[error("the text at byte {at} is not utf-8")]
    NotUtf8 {
        /// Where in the value.
        at: usize,
    },
    /// A decimal with more digits than its type allows.
    #[error("the decimal at byte {at} has more than {precision} digits")]
    Digits {
        /// Where in the value.
        at: usize,
        /// How many it may have.
        precision: u8,
    },
    /// More than one array can hold.
    #[error("the values take more than 2 GiB, decode fewer at once")]
    TooLarge,
    /// A type that has no encoding.
    #[error("values of `{data_type}` have no encoding, use a type of docs/formats/state.md")]
    Unsupported {
        /// Arrow's name of it.
        data_type: String,
    },
}

/// Judges bytes that somebody else wrote: `Ok` exactly if [`decode`] would take them.
///
/// Allocates nothing; work is linear in the bytes, whatever counts they claim.
pub fn validate(data_type: &DataType, nullable: bool, bytes: &[u8]) -> Result<(), EncodingError> {
    let mut reader = Reader::new(bytes);
    check(&mut reader, data_type, nullable)?;
    reader.finish()
}

/// The width of the type's values, if every byte string of that width is one: nothing but the
/// length needs a look.
pub fn width_if_any_bytes(data_type: &DataType, nullable: bool) -> Option<usize> {
    if nullable {
        return None;
    }
    match data_type {
        DataType::Boolean | DataType::Decimal128(..) => None,
        DataType::Struct(fields) => fields
            .iter()
            .map(|field| width_if_any_bytes(field.data_type(), field.is_nullable()))
            .sum(),
        plain => crate::data_type::fixed_width(plain, false),
    }
}

/// Walks over one value.
fn check(
    reader: &mut Reader<'_>,
    data_type: &DataType,
    nullable: bool,
) -> Result<(), EncodingError> {
    if nullable && !reader.bool()? {
        return Ok(());
    }
    match data_type {
        DataType::Boolean => reader.bool().map(drop),
        DataType::Decimal128(precision, _) => reader.decimal(*precision).map(drop),
        DataType::Utf8 => reader.text().map(drop),
        DataType::Binary => reader.bytes(data_type).map(drop),
        DataType::List(item) => {
            for _ in 0..reader.count(data_type)? {
                check(reader, item.data_type(), item.is_nullable())?;
            }
            Ok(())
        }
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| check(reader, field.data_type(), field.is_nullable())),
        plain => reader.take(width_of(plain)?, plain).map(drop),
    }
}

/// The width of a type that has one and no parts.
fn width_of(data_type: &DataType) -> Result<usize, EncodingError> {
    crate::data_type::fixed_width(data_type, false).ok_or_else(|| EncodingError::Unsupported {
        data_type: data_type.to_string(),
    })
}

#[cfg(test)]
mod tests;
