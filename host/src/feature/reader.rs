//! Columns as the words that rings keep.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema};
use wasmill_core::encoding::{Encoder, Form};
use wasmill_core::feature::{Aggregate, Feature};

/// Values of decimals with so many digits fit into one word.
const WORD_DIGITS: u8 = 18;

/// A column of the stream, and how its values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) column: usize,
    pub(super) kind: Kind,
}

/// What the words of a value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An i64, in one word.
    Signed,
    /// A u64, in one word.
    Unsigned,
    /// An f64's bits, in one word.
    Float,
    /// An i128, in two words, low one first.
    Wide,
    /// A number from the key's dictionary of encoded values.
    Dictionary,
}

impl Slot {
    /// The column a feature reads; none if it counts rows.
    pub(super) fn of(feature: &Feature, schema: &Schema) -> Option<Self> {
        let column = feature.column?;
        let kind = match feature.aggregate {
            Aggregate::Distinct => Kind::Dictionary,
            _ => kind(schema.field(column).data_type()),
        };
        Some(Self { column, kind })
    }

    /// Whether values are kept in a dictionary, as their encoding.
    pub(super) fn is_encoded(self) -> bool {
        self.kind == Kind::Dictionary
    }

    /// Words of one value.
    pub(super) fn width(self) -> usize {
        if self.kind == Kind::Wide { 2 } else { 1 }
    }
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Decimal128(precision, _) if *precision > WORD_DIGITS => Kind::Wide,
        DataType::Float32 | DataType::Float64 => Kind::Float,
        DataType::Boolean
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => Kind::Unsigned,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Decimal128(..) => Kind::Signed,
        _ => Kind::Dictionary,
    }
}

/// One slot's values of a batch.
pub(super) struct Reader<'a> {
    pub(super) slot: Slot,
    array: &'a dyn Array,
    values: Values<'a>,
}

enum Values<'a> {
    /// Columns that are words already.
    Words(&'a [i64]),
    Unsigned(&'a [u64]),
    Floats(&'a [f64]),
    Decimals(&'a [i128]),
    /// Narrow columns, widened once a batch.
    Widened(Vec<u64>),
    Encoded(Encoder<'a>),
}

impl<'a> Reader<'a> {
    pub(super) fn all(slots: &[Slot], rows: &'a RecordBatch) -> Vec<Self> {
        slots.iter().map(|slot| Self::new(*slot, rows)).collect()
    }

    pub(super) fn new(slot: Slot, rows: &'a RecordBatch) -> Self {
        let array = rows.column(slot.column).as_ref();
        let values = match (slot.kind, array.data_type()) {
            (Kind::Dictionary, _) => Values::Encoded(
                Encoder::new(array, false, Form::Key).expect("features bind to plain columns"),
            ),
            (_, DataType::Int64) => Values::Words(array.as_primitive::<Int64Type>().values()),
            (_, DataType::Timestamp(..)) => {
                Values::Words(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            (_, DataType::UInt64) => Values::Unsigned(array.as_primitive::<UInt64Type>().values()),
            (_, DataType::Float64) => Values::Floats(array.as_primitive::<Float64Type>().values()),
            (_, DataType::Decimal128(..)) => {
                Values::Decimals(array.as_primitive::<Decimal128Type>().values())
            }
            _ => Values::Widened(widen(array)),
        };
        Self {
            slot,
            array,
            values,
        }
    }

    pub(super) fn is_valid(&self, row: usize) -> bool {
        self.array.is_valid(row)
    }

    /// A row's value as its slot's words, the second 0 unless the slot is wide; for a dictionary
    /// the caller asks for the bytes.
    #[inline]
    pub(super) fn words(&self, row: usize) -> [u64; 2] {
        match &self.values {
            Values::Words(values) => [values[row] as u64, 0],
            Values::Unsigned(values) => [values[row], 0],
            Values::Floats(values) => [values[row].to_bits(), 0],
            Values::Decimals(values) => {
                let value = values[row] as u128;
                [value as u64, (value >> 64) as u64]
            }
            Values::Widened(values) => [values[row], 0],
            Values::Encoded(_) => [0, 0],
        }
    }

    /// A row's value in the encoding that keys have, behind `out`.
    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        if let Values::Encoded(encoder) = &self.values {
            encoder.push(row, out);
        }
    }
}

/// A column of narrow values as words: sign extended, or as an f64.
fn widen(array: &dyn Array) -> Vec<u64> {
    macro_rules! signed {
        ($type:ty) => {
            array
                .as_primitive::<$type>()
                .values()
                .iter()
                .map(|v| i64::from(*v) as u64)
                .collect()
        };
    }
    macro_rules! unsigned {
        ($type:ty) => {
            array
                .as_primitive::<$type>()
                .values()
                .iter()
                .map(|v| u64::from(*v))
                .collect()
        };
    }
    match array.data_type() {
        DataType::Int8 => signed!(Int8Type),
        DataType::Int16 => signed!(Int16Type),
        DataType::Int32 => signed!(Int32Type),
        DataType::Date32 => signed!(Date32Type),
        DataType::UInt8 => unsigned!(UInt8Type),
        DataType::UInt16 => unsigned!(UInt16Type),
        DataType::UInt32 => unsigned!(UInt32Type),
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values();
            values
                .iter()
                .map(|value| f64::from(*value).to_bits())
                .collect()
        }
        DataType::Boolean => {
            let values = array.as_boolean().values();
            values.iter().map(u64::from).collect()
        }
        other => unreachable!("{other} is kept in a dictionary"),
    }
}
