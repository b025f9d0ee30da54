//! Column builders that can take a row back: a row that turns out not to fit leaves no trace.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray,
    StringArray, StructArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef};

/// The values of a column so far, without regard to null.
#[derive(Debug)]
pub(crate) enum Values {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    /// Also dates.
    I32(Vec<i32>),
    /// Also timestamps.
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Decimal(Vec<i128>),
    /// Text and octets: all bytes, and where each value ends.
    Bytes(Vec<u8>, Vec<i32>),
    Fixed(Vec<u8>, usize),
    /// Where each list ends in the column of its items.
    List(Vec<i32>),
    /// How many objects; their fields are columns of their own.
    Object(usize),
}

/// A column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) values: Values,
    /// Which values are not null; absent as long as none is.
    valid: Option<Vec<bool>>,
}

/// Does the same to whatever vector holds the values.
macro_rules! each {
    ($values:expr, $vec:ident => $vector:expr, $bytes:ident, $ends:ident => $text:expr,
     $fixed:ident, $width:ident => $wide:expr, $len:ident => $object:expr) => {
        match $values {
            Values::Bool($vec) => $vector,
            Values::I8($vec) => $vector,
            Values::I16($vec) => $vector,
            Values::I32($vec) => $vector,
            Values::I64($vec) => $vector,
            Values::U8($vec) => $vector,
            Values::U16($vec) => $vector,
            Values::U32($vec) => $vector,
            Values::U64($vec) => $vector,
            Values::F32($vec) => $vector,
            Values::F64($vec) => $vector,
            Values::Decimal($vec) => $vector,
            Values::List($vec) => $vector,
            Values::Bytes($bytes, $ends) => $text,
            Values::Fixed($fixed, $width) => $wide,
            Values::Object($len) => $object,
        }
    };
}

impl Column {
    /// An empty column of an Arrow type; none where the type is none of ours.
    pub(crate) fn new(data_type: &DataType) -> Option<Self> {
        let values = match data_type {
            DataType::Boolean => Values::Bool(Vec::new()),
            DataType::Int8 => Values::I8(Vec::new()),
            DataType::Int16 => Values::I16(Vec::new()),
            DataType::Int32 | DataType::Date32 => Values::I32(Vec::new()),
            DataType::Int64 | DataType::Timestamp(..) => Values::I64(Vec::new()),
            DataType::UInt8 => Values::U8(Vec::new()),
            DataType::UInt16 => Values::U16(Vec::new()),
            DataType::UInt32 => Values::U32(Vec::new()),
            DataType::UInt64 => Values::U64(Vec::new()),
            DataType::Float32 => Values::F32(Vec::new()),
            DataType::Float64 => Values::F64(Vec::new()),
            DataType::Decimal128(..) => Values::Decimal(Vec::new()),
            DataType::Utf8 | DataType::Binary => Values::Bytes(Vec::new(), Vec::new()),
            DataType::FixedSizeBinary(width) => {
                Values::Fixed(Vec::new(), usize::try_from(*width).ok()?)
            }
            DataType::List(_) => Values::List(Vec::new()),
            DataType::Struct(_) => Values::Object(0),
            _ => return None,
        };
        Some(Self {
            values,
            valid: None,
        })
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        each!(&self.values, vec => vec.len(), _bytes, ends => ends.len(),
            fixed, width => fixed.len() / width, len => *len)
    }

    /// Makes room for so many more values.
    pub(crate) fn reserve(&mut self, rows: usize) {
        each!(&mut self.values, vec => vec.reserve(rows),
            bytes, ends => { bytes.reserve(rows * 8); ends.reserve(rows) },
            fixed, width => fixed.reserve(rows * *width), _len => ());
    }

    /// Notes that the value just pushed is not null.
    #[inline]
    pub(crate) fn mark_valid(&mut self) {
        if let Some(valid) = &mut self.valid {
            valid.push(true);
        }
    }

    /// Counts an object whose fields were pushed into their own columns.
    pub(crate) fn push_object(&mut self) {
        self.mark_valid();
        if let Values::Object(len) = &mut self.values {
            *len += 1;
        }
    }

    /// Pushes null (and a filler value).
    pub(crate) fn push_null(&mut self) {
        let len = self.len();
        self.valid
            .get_or_insert_with(|| vec![true; len])
            .push(false);
        self.filler();
    }

    /// Pushes a value that nobody will see.
    pub(crate) fn push_filler(&mut self) {
        self.mark_valid();
        self.filler();
    }

    fn filler(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.push(false),
            Values::I8(values) => values.push(0),
            Values::I16(values) => values.push(0),
            Values::I32(values) => values.push(0),
            Values::I64(values) => values.push(0),
            Values::U8(values) => values.push(0),
            Values::U16(values) => values.push(0),
            Values::U32(values) => values.push(0),
            Values::U64(values) => values.push(0),
            Values::F32(values) => values.push(0.0),
            Values::F64(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Bytes(_, ends) | Values::List(ends) => {
                ends.push(ends.last().copied().unwrap_or(0))
            }
            Values::Fixed(bytes, width) => bytes.resize(bytes.len() + *width, 0),
            Values::Object(len) => *len += 1,
        }
    }

    /// Forgets all values from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if let Some(valid) = &mut self.valid {
            valid.truncate(len);
        }
        each!(&mut self.values, vec => vec.truncate(len),
            bytes, ends => {
                ends.truncate(len);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            },
            fixed, width => fixed.truncate(len * *width),
            count => *count = len.min(*count));
    }

    /// The finished array; the column is empty afterwards. `children` are a struct's fields or a
    /// list's items.
    pub(crate) fn finish(
        &mut self,
        data_type: &DataType,
        mut children: Vec<ArrayRef>,
    ) -> Result<ArrayRef, ArrowError> {
        let nulls = self.valid.take().map(NullBuffer::from);
        macro_rules! primitive {
            ($array:ty, $values:expr) => {
                Arc::new(<$array>::try_new(std::mem::take($values).into(), nulls)?)
            };
        }
        Ok(match (&mut self.values, data_type) {
            (Values::Bool(values), _) => {
                Arc::new(BooleanArray::new(std::mem::take(values).into(), nulls))
            }
            (Values::I8(values), _) => primitive!(Int8Array, values),
            (Values::I16(values), _) => primitive!(Int16Array, values),
            (Values::I32(values), DataType::Date32) => primitive!(Date32Array, values),
            (Values::I32(values), _) => primitive!(Int32Array, values),
            (Values::I64(values), DataType::Timestamp(_, zone)) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                let array = TimestampMicrosecondArray::try_new(values, nulls)?;
                Arc::new(array.with_timezone_opt(zone.clone()))
            }
            (Values::I64(values), _) => primitive!(Int64Array, values),
            (Values::U8(values), _) => primitive!(UInt8Array, values),
            (Values::U16(values), _) => primitive!(UInt16Array, values),
            (Values::U32(values), _) => primitive!(UInt32Array, values),
            (Values::U64(values), _) => primitive!(UInt64Array, values),
            (Values::F32(values), _) => primitive!(Float32Array, values),
            (Values::F64(values), _) => primitive!(Float64Array, values),
            (Values::Decimal(values), _) => {
                let array = Decimal128Array::try_new(std::mem::take(values).into(), nulls)?;
                Arc::new(array.with_data_type(data_type.clone()))
            }
            (Values::Bytes(bytes, ends), DataType::Utf8) => Arc::new(StringArray::try_new(
                offsets(ends),
                Buffer::from(std::mem::take(bytes)),
                nulls,
            )?),
            (Values::Bytes(bytes, ends), _) => Arc::new(BinaryArray::try_new(
                offsets(ends),
                Buffer::from(std::mem::take(bytes)),
                nulls,
            )?),
            (Values::Fixed(bytes, width), _) => Arc::new(FixedSizeBinaryArray::try_new(
                *width as i32,
                Buffer::from(std::mem::take(bytes)),
                nulls,
            )?),
            (Values::List(ends), DataType::List(item)) => {
                let items = children.pop().ok_or_else(|| incomplete(item))?;
                let ends = offsets(ends);
                Arc::new(ListArray::try_new(Arc::clone(item), ends, items, nulls)?)
            }
            (Values::Object(len), DataType::Struct(fields)) => {
                let len = std::mem::take(len);
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    children,
                    nulls,
                    len,
                )?)
            }
            (_, other) => return Err(mismatch(other)),
        })
    }
}

fn mismatch(other: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a builder of another type than {other}"))
}

fn incomplete(item: &FieldRef) -> ArrowError {
    ArrowError::SchemaError(format!("a list of `{}` without its items", item.name()))
}

/// Arrow's offsets: a zero, then where each value ends.
fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    OffsetBuffer::new(offsets.into())
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;

    #[test]
    fn truncation_takes_values_and_nulls_back() {
        let mut column = Column::new(&DataType::Utf8).expect("a known type");
        for text in ["a", "bcd"] {
            if let Values::Bytes(bytes, ends) = &mut column.values {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len() as i32);
            }
            column.mark_valid();
        }
        column.push_null();
        column.truncate(1);
        column.push_null();
        let array = column
            .finish(&DataType::Utf8, Vec::new())
            .expect("well formed");
        let array = array.as_string::<i32>();
        assert_eq!(array.iter().collect::<Vec<_>>(), [Some("a"), None]);
        assert_eq!(column.len(), 0);
        assert_eq!(array.value_data(), b"a");
    }
}
