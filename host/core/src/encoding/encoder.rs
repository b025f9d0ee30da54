//! Rows of Arrow arrays as bytes.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, BooleanArray, FixedSizeBinaryArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};

use super::EncodingError;

/// What the bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A value to keep: NaN becomes the canonical one, -0.0 stays.
    State,
    /// A key: equal keys must have equal bytes, so -0.0 becomes +0.0 too.
    Key,
}

/// Writes any row of one array: the type is looked at once, not for each row.
pub struct Encoder<'a> {
    values: Values<'a>,
    /// `Some` exactly if the column is nullable; the inner is the array's own, which is missing if
    /// no row is null.
    nulls: Option<Option<&'a NullBuffer>>,
}

/// What the array's rows are read from. Offsets have one more entry than there are rows.
enum Values<'a> {
    Bool(&'a BooleanArray),
    /// Values of one byte.
    W1(&'a [u8]),
    I8(&'a [i8]),
    I16(&'a [i16]),
    U16(&'a [u16]),
    I32(&'a [i32]),
    U32(&'a [u32]),
    I64(&'a [i64]),
    U64(&'a [u64]),
    F32(&'a [f32], Form),
    F64(&'a [f64], Form),
    I128(&'a [i128]),
    Fixed(&'a FixedSizeBinaryArray),
    Bytes(&'a [i32], &'a [u8]),
    /// Where each row's items lie, and the encoder of all items.
    List(&'a [i32], Box<Encoder<'a>>),
    Struct(Vec<Encoder<'a>>),
}

impl<'a> Encoder<'a> {
    /// An encoder of an array's rows as `T?` if `nullable`, else as `T`; a null in a column that is
    /// not nullable is written as whatever stands in its place.
    pub fn new(array: &'a dyn Array, nullable: bool, form: Form) -> Result<Self, EncodingError> {
        let nulls = nullable.then(|| array.nulls());
        Ok(Self {
            values: Values::new(array, form)?,
            nulls,
        })
    }

    /// Appends one row's value.
    #[inline]
    pub fn push(&self, row: usize, out: &mut Vec<u8>) {
        if let Some(nulls) = &self.nulls {
            let present = nulls.is_none_or(|nulls| nulls.is_valid(row));
            out.push(u8::from(present));
            if !present {
                return;
            }
        }
        self.values.push(row, out);
    }
}

impl<'a> Values<'a> {
    fn new(array: &'a dyn Array, form: Form) -> Result<Self, EncodingError> {
        Ok(match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int8 => Self::I8(array.as_primitive::<Int8Type>().values()),
            DataType::UInt8 => Self::W1(array.as_primitive::<UInt8Type>().values()),
            DataType::Int16 => Self::I16(array.as_primitive::<Int16Type>().values()),
            DataType::UInt16 => Self::U16(array.as_primitive::<UInt16Type>().values()),
            DataType::Int32 => Self::I32(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Self::I32(array.as_primitive::<Date32Type>().values()),
            DataType::UInt32 => Self::U32(array.as_primitive::<UInt32Type>().values()),
            DataType::Int64 => Self::I64(array.as_primitive::<Int64Type>().values()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::I64(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::UInt64 => Self::U64(array.as_primitive::<UInt64Type>().values()),
            DataType::Float32 => Self::F32(array.as_primitive::<Float32Type>().values(), form),
            DataType::Float64 => Self::F64(array.as_primitive::<Float64Type>().values(), form),
            DataType::Decimal128(..) => Self::I128(array.as_primitive::<Decimal128Type>().values()),
            DataType::FixedSizeBinary(_) => Self::Fixed(array.as_fixed_size_binary()),
            DataType::Utf8 => {
                let text = array.as_string::<i32>();
                Self::Bytes(text.value_offsets(), text.value_data())
            }
            DataType::Binary => {
                let bytes = array.as_binary::<i32>();
                Self::Bytes(bytes.value_offsets(), bytes.value_data())
            }
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                let items = Encoder::new(list.values().as_ref(), item.is_nullable(), form)?;
                Self::List(list.value_offsets(), Box::new(items))
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let parts = fields.iter().zip(columns);
                let encoders =
                    parts.map(|(field, column)| Encoder::new(column, field.is_nullable(), form));
                Self::Struct(encoders.collect::<Result<_, _>>()?)
            }
            other => {
                return Err(EncodingError::Unsupported {
                    data_type: other.to_string(),
                });
            }
        })
    }

    /// Appends a value that is there: plain ones in little endian, others behind their length.
    #[inline]
    fn push(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Bool(values) => out.push(u8::from(values.value(row))),
            Self::W1(values) => out.push(values[row]),
            Self::I8(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::I16(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::U16(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::I32(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::U32(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::I64(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::U64(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::F32(values, form) => {
                out.extend_from_slice(&canonical_f32(values[row], *form).to_le_bytes());
            }
            Self::F64(values, form) => {
                out.extend_from_slice(&canonical_f64(values[row], *form).to_le_bytes());
            }
            Self::I128(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Self::Fixed(values) => out.extend_from_slice(values.value(row)),
            Self::Bytes(offsets, data) => {
                let bytes = &data[offsets[row] as usize..offsets[row + 1] as usize];
                out.extend_from_slice(&length(bytes.len()));
                out.extend_from_slice(bytes);
            }
            Self::List(offsets, items) => {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                out.extend_from_slice(&length(range.len()));
                range.for_each(|item| items.push(item, out));
            }
            Self::Struct(fields) => fields.iter().for_each(|field| field.push(row, out)),
        }
    }
}

/// Arrow's offsets are i32, so lengths fit.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("an arrow length fits into 31 bits")
        .to_le_bytes()
}

/// One NaN for all of them (quiet, positive, without payload): which of the many a sum gives
/// differs between machines, and state bytes must not.
#[inline]
fn canonical_f32(value: f32, form: Form) -> f32 {
    match form {
        _ if value.is_nan() => f32::from_bits(0x7fc0_0000),
        Form::Key if value == 0.0 => 0.0,
        _ => value,
    }
}

/// As [`canonical_f32`], in 64 bits.
#[inline]
fn canonical_f64(value: f64, form: Form) -> f64 {
    match form {
        _ if value.is_nan() => f64::from_bits(0x7ff8_0000_0000_0000),
        Form::Key if value == 0.0 => 0.0,
        _ => value,
    }
}
