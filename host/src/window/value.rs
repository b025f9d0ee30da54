//! Values of columns, as aggregates compare and keep them.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use wasmill_core::encoding::{Encoder, Form};

use super::folded::{Folded, Folds};

/// A value that is not null.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Whole numbers, decimals without their point, dates, times, truth values: an i128, low word
    /// first.
    Int([u64; 2]),
    /// Floats.
    Float(f64),
    /// Text and octets.
    Bytes(Box<[u8]>),
}

impl Value {
    pub(super) fn int(value: i128) -> Self {
        Self::Int(split(value))
    }

    /// Whether it is a value of a type: one from a store may be anything.
    pub(super) fn is_of(&self, data_type: &DataType) -> bool {
        let is_of_bytes = matches!(
            data_type,
            DataType::Utf8 | DataType::Binary | DataType::FixedSizeBinary(_)
        );
        let is_right = match self {
            Self::Int(words) => !is_of_bytes && is_within(join(*words), data_type),
            Self::Float(_) => data_type.is_floating(),
            Self::Bytes(_) => is_of_bytes,
        };
        let is_valid = || {
            let mut bytes = Vec::new();
            self.encode(data_type, &mut bytes);
            wasmill_core::encoding::validate(data_type, false, &bytes).is_ok()
        };
        is_right && is_valid()
    }

    /// Appends the value in the state encoding of its type.
    pub(super) fn encode(&self, data_type: &DataType, out: &mut Vec<u8>) {
        match (self, data_type) {
            (Self::Int(words), _) => {
                let width = wasmill_core::data_type::fixed_width(data_type, false);
                let bytes = join(*words).to_le_bytes();
                out.extend_from_slice(&bytes[..width.unwrap_or(bytes.len())]);
            }
            (Self::Float(value), DataType::Float32) => {
                out.extend_from_slice(&(*value as f32).to_le_bytes());
            }
            (Self::Float(value), _) => out.extend_from_slice(&value.to_le_bytes()),
            (Self::Bytes(bytes), DataType::FixedSizeBinary(_)) => out.extend_from_slice(bytes),
            (Self::Bytes(bytes), _) => {
                out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
}

impl Ord for Value {
    /// Floats in the order of their bits, so that -0.0 is less than 0.0 and NaN greater than all.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => join(*a).cmp(&join(*b)),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

/// Whether a number is one of a type of whole numbers.
fn is_within(value: i128, data_type: &DataType) -> bool {
    let width = wasmill_core::data_type::fixed_width(data_type, false);
    let bits = match width {
        Some(width @ ..16) => 8 * width,
        // Decimals are looked at digit by digit.
        _ => return matches!(data_type, DataType::Decimal128(..)),
    };
    match data_type {
        DataType::Float32 | DataType::Float64 => false,
        DataType::Boolean => (0..2).contains(&value),
        of if of.is_unsigned_integer() => (0..1 << bits).contains(&value),
        _ => (-1 << (bits - 1)..1 << (bits - 1)).contains(&value),
    }
}

pub(super) fn split(value: i128) -> [u64; 2] {
    [value as u64, (value as u128 >> 64) as u64]
}

pub(super) fn join([low, high]: [u64; 2]) -> i128 {
    (u128::from(high) << 64 | u128::from(low)) as i128
}

/// One column's values of a batch.
pub(super) struct Column<'a> {
    array: &'a dyn Array,
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
    /// What a decimal's unscaled values are divided by.
    divisor: f64,
}

enum Values<'a> {
    Words(&'a [i64]),
    Unsigned(&'a [u64]),
    Decimals(&'a [i128]),
    Floats(&'a [f64]),
    /// Narrow whole numbers, widened once a batch.
    Widened(Vec<i64>),
    WidenedFloats(Vec<f64>),
    Bytes,
    /// What a plugin has made of the rows.
    Folds(&'a Folds),
}

/// The canonical NaN: equal values have equal bytes.
#[inline]
fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

impl<'a> Column<'a> {
    /// A column of what a plugin has made of the rows.
    pub(super) fn folds(folds: &'a Folds) -> Self {
        Self {
            array: folds.array(),
            nulls: None,
            values: Values::Folds(folds),
            divisor: 1.0,
        }
    }

    /// Adds a row to a plugin's accumulator.
    pub(super) fn fold(&self, row: usize, accumulator: &mut Option<Arc<Folded>>) {
        if let Values::Folds(folds) = &self.values {
            folds.fold(row, accumulator);
        }
    }

    pub(super) fn new(array: &'a ArrayRef) -> Self {
        macro_rules! widened {
            ($type:ty) => {
                Values::Widened(
                    array
                        .as_primitive::<$type>()
                        .values()
                        .iter()
                        .map(|value| i64::from(*value))
                        .collect(),
                )
            };
        }
        let mut divisor = 1.0;
        let values = match array.data_type() {
            DataType::Int64 => Values::Words(array.as_primitive::<Int64Type>().values()),
            DataType::Timestamp(..) => {
                Values::Words(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::UInt64 => Values::Unsigned(array.as_primitive::<UInt64Type>().values()),
            DataType::Decimal128(_, scale) => {
                divisor = 10_f64.powi(i32::from(*scale));
                Values::Decimals(array.as_primitive::<Decimal128Type>().values())
            }
            DataType::Float64 => Values::Floats(array.as_primitive::<Float64Type>().values()),
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>().values();
                Values::WidenedFloats(values.iter().map(|value| f64::from(*value)).collect())
            }
            DataType::Int8 => widened!(Int8Type),
            DataType::Int16 => widened!(Int16Type),
            DataType::Int32 => widened!(Int32Type),
            DataType::Date32 => widened!(Date32Type),
            DataType::UInt8 => widened!(UInt8Type),
            DataType::UInt16 => widened!(UInt16Type),
            DataType::UInt32 => widened!(UInt32Type),
            DataType::Boolean => {
                let values = array.as_boolean().values().iter();
                Values::Widened(values.map(i64::from).collect())
            }
            _ => Values::Bytes,
        };
        Self {
            array: array.as_ref(),
            nulls: array.nulls(),
            values,
            divisor,
        }
    }

    #[inline]
    pub(super) fn is_valid(&self, row: usize) -> bool {
        self.nulls.is_none_or(|nulls| nulls.is_valid(row))
    }

    /// A whole number, or a decimal without its point.
    #[inline]
    pub(super) fn whole(&self, row: usize) -> i128 {
        match &self.values {
            Values::Words(values) => i128::from(values[row]),
            Values::Unsigned(values) => i128::from(values[row]),
            Values::Decimals(values) => values[row],
            Values::Widened(values) => i128::from(values[row]),
            Values::Floats(_) | Values::WidenedFloats(_) | Values::Bytes | Values::Folds(_) => 0,
        }
    }

    /// A number as a float.
    #[inline]
    pub(super) fn float(&self, row: usize) -> f64 {
        match &self.values {
            Values::Floats(values) => values[row],
            Values::WidenedFloats(values) => values[row],
            Values::Unsigned(values) => values[row] as f64,
            Values::Decimals(values) => values[row] as f64 / self.divisor,
            _ => self.whole(row) as f64,
        }
    }

    pub(super) fn value(&self, row: usize) -> Value {
        match &self.values {
            Values::Floats(values) => Value::Float(canonical(values[row])),
            Values::WidenedFloats(values) => Value::Float(canonical(values[row])),
            Values::Bytes => {
                let bytes: &[u8] = match self.array.data_type() {
                    DataType::Utf8 => self.array.as_string::<i32>().value(row).as_bytes(),
                    DataType::Binary => self.array.as_binary::<i32>().value(row),
                    _ => self.array.as_fixed_size_binary().value(row),
                };
                Value::Bytes(bytes.into())
            }
            _ => Value::int(self.whole(row)),
        }
    }

    /// The value's bytes as a key: equal values have equal bytes.
    pub(super) fn key_bytes(&self, row: usize, out: &mut Vec<u8>) {
        let encoder = Encoder::new(self.array, false, Form::Key);
        encoder
            .expect("aggregates bind to plain columns")
            .push(row, out);
    }
}
