//! Whether bytes are what their type says.

use std::str;

use arrow_schema::DataType;

use super::layout::ValueType;

/// The largest magnitude of a decimal with that many digits.
pub(super) fn decimal_max(precision: u8) -> u128 {
    // 38 digits fit into 127 bits; a descriptor allows no more.
    10u128.saturating_pow(u32::from(precision)) - 1
}

/// Checks text row by row; `offsets` were checked against `data` before. The error is the row that
/// is wrong.
pub(super) fn utf8(offsets: &[i32], data: &[u8]) -> Result<(), usize> {
    // One pass over all of it is fast; ASCII needs no look at the borders between rows.
    if data.is_ascii() {
        return Ok(());
    }
    let wrong = |row: &[i32]| str::from_utf8(&data[row[0] as usize..row[1] as usize]).is_err();
    match offsets.windows(2).position(wrong) {
        None => Ok(()),
        Some(row) => Err(row),
    }
}

/// Checks that `bytes` are exactly one value of the type.
pub(super) fn value(value_type: &ValueType, bytes: &[u8]) -> Result<(), String> {
    let rest = skip(&value_type.data_type, value_type.nullable, bytes)?;
    match rest.len() {
        0 => Ok(()),
        left => Err(format!("{left} bytes are left over")),
    }
}

/// Skips one value; the type's depth is bounded by its parser, the count of a list by the bytes.
fn skip<'a>(data_type: &DataType, nullable: bool, bytes: &'a [u8]) -> Result<&'a [u8], String> {
    if nullable {
        return match take(bytes, 1)? {
            ([0], rest) => Ok(rest),
            ([1], rest) => skip(data_type, false, rest),
            (other, _) => Err(format!(
                "a value that may be missing begins with {}",
                other[0]
            )),
        };
    }
    match data_type {
        DataType::Boolean => match take(bytes, 1)? {
            ([0 | 1], rest) => Ok(rest),
            (other, _) => Err(format!("a bool is 0 or 1, not {}", other[0])),
        },
        DataType::Decimal128(precision, _) => {
            let (digits, rest) = bytes.split_first_chunk::<16>().ok_or_else(cut)?;
            if i128::from_le_bytes(*digits).unsigned_abs() > decimal_max(*precision) {
                return Err(format!("a decimal has more than {precision} digits"));
            }
            Ok(rest)
        }
        DataType::Utf8 => {
            let (text, rest) = sized(bytes)?;
            str::from_utf8(text).map_err(|_| "a text is not UTF-8".to_owned())?;
            Ok(rest)
        }
        DataType::Binary => sized(bytes).map(|(_, rest)| rest),
        DataType::Struct(fields) => fields.iter().try_fold(bytes, |rest, field| {
            skip(field.data_type(), field.is_nullable(), rest)
        }),
        DataType::List(item) => {
            let (count, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
            let count = u32::from_le_bytes(*count);
            // Every item takes a byte at least, so the loop ends with the bytes.
            (0..count).try_fold(rest, |rest, _| {
                skip(item.data_type(), item.is_nullable(), rest)
            })
        }
        other => {
            let width = crate::data_type::fixed_width(other, false);
            let width = width.ok_or_else(|| format!("{other} has no encoding"))?;
            take(bytes, width).map(|(_, rest)| rest)
        }
    }
}

fn sized(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    take(rest, u32::from_le_bytes(*length) as usize)
}

fn take(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), String> {
    bytes.split_at_checked(length).ok_or_else(cut)
}

fn cut() -> String {
    "the bytes end within a value".into()
}
