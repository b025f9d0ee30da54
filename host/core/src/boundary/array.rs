//! Arrow arrays out of an arena: checked first, then copied, so that a queued output does not keep
//! its arena.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray,
    ListArray, PrimitiveArray, StringArray, StructArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field};

use super::{
    Kind,
    directory::{Cursor, DecodeError},
    validate,
};

/// Reads the column `number` and, depth first, its children; moves `number` behind them.
pub(super) fn read(
    cursor: &mut Cursor<'_, '_>,
    number: &mut u32,
    field: &Field,
    rows: usize,
) -> Result<ArrayRef, DecodeError> {
    let column = *number;
    *number += 1;
    let nulls = nulls(cursor, column, field, rows)?;
    match field.data_type() {
        DataType::List(item) => read_list(cursor, number, item, rows, nulls),
        DataType::Struct(fields) => {
            let children = fields
                .iter()
                .map(|child| read(cursor, number, child, rows))
                .collect::<Result<_, _>>()?;
            StructArray::try_new(fields.clone(), children, nulls)
                .map(|array| Arc::new(array) as ArrayRef)
                .map_err(|error| refused(cursor, column, error))
        }
        _ => read_leaf(cursor, column, field, rows, nulls),
    }
}

/// The validity of a column's rows; its bitmap is checked against them.
fn nulls(
    cursor: &mut Cursor<'_, '_>,
    column: u32,
    field: &Field,
    rows: usize,
) -> Result<Option<NullBuffer>, DecodeError> {
    let Some(bits) = cursor.validity(column, rows)? else {
        return Ok(None);
    };
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from(bits), 0, rows));
    if nulls.null_count() == 0 {
        return Ok(None);
    }
    if field.is_nullable() {
        return Ok(Some(nulls));
    }
    let row = (0..rows).find(|row| nulls.is_null(*row)).unwrap_or(rows);
    let reason = format!("null, but `{}` is not nullable", field.name());
    Err(cursor.wrong_row(column, row, &reason))
}

/// A list: offsets are checked before its items are read.
fn read_list(
    cursor: &mut Cursor<'_, '_>,
    number: &mut u32,
    item: &Arc<Field>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, DecodeError> {
    let column = *number - 1;
    let offsets = cursor.offsets(column, rows)?;
    let items = offsets[rows] as usize;
    let child = read(cursor, number, item, items)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets.to_vec()));
    ListArray::try_new(Arc::clone(item), offsets, child, nulls)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| refused(cursor, column, error))
}

/// A column without children.
fn read_leaf(
    cursor: &mut Cursor<'_, '_>,
    column: u32,
    field: &Field,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, DecodeError> {
    let data_type = field.data_type();
    Ok(match data_type {
        DataType::Boolean => {
            let bits = cursor.exact(column, Kind::Values, Some(rows.div_ceil(8)))?;
            let values = BooleanBuffer::new(Buffer::from(bits), 0, rows);
            Arc::new(BooleanArray::new(values, nulls))
        }
        DataType::Int8 => numbers::<Int8Type>(cursor, column, data_type, rows, nulls)?,
        DataType::Int16 => numbers::<Int16Type>(cursor, column, data_type, rows, nulls)?,
        DataType::Int32 => numbers::<Int32Type>(cursor, column, data_type, rows, nulls)?,
        DataType::Int64 => numbers::<Int64Type>(cursor, column, data_type, rows, nulls)?,
        DataType::UInt8 => numbers::<UInt8Type>(cursor, column, data_type, rows, nulls)?,
        DataType::UInt16 => numbers::<UInt16Type>(cursor, column, data_type, rows, nulls)?,
        DataType::UInt32 => numbers::<UInt32Type>(cursor, column, data_type, rows, nulls)?,
        DataType::UInt64 => numbers::<UInt64Type>(cursor, column, data_type, rows, nulls)?,
        DataType::Float32 => numbers::<Float32Type>(cursor, column, data_type, rows, nulls)?,
        DataType::Float64 => numbers::<Float64Type>(cursor, column, data_type, rows, nulls)?,
        DataType::Date32 => numbers::<Date32Type>(cursor, column, data_type, rows, nulls)?,
        DataType::Timestamp(..) => {
            numbers::<TimestampMicrosecondType>(cursor, column, data_type, rows, nulls)?
        }
        DataType::Decimal128(precision, _) => {
            decimals(cursor, column, (data_type, *precision), rows, nulls)?
        }
        DataType::FixedSizeBinary(width) => octets(cursor, column, *width, rows, nulls)?,
        DataType::Utf8 => {
            let (offsets, data) = text(cursor, column, rows)?;
            validate::utf8(offsets, data)
                .map_err(|row| cursor.wrong_row(column, row, "the text is not UTF-8"))?;
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets.to_vec()));
            let array = StringArray::try_new(offsets, Buffer::from(data), nulls);
            Arc::new(array.map_err(|error| refused(cursor, column, error))?)
        }
        DataType::Binary => {
            let (offsets, data) = text(cursor, column, rows)?;
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets.to_vec()));
            let array = BinaryArray::try_new(offsets, Buffer::from(data), nulls);
            Arc::new(array.map_err(|error| refused(cursor, column, error))?)
        }
        other => return Err(cursor.wrong(column, format!("columns of {other} cannot cross"))),
    })
}

/// Values of a fixed width, exactly one for each row.
fn numbers<T: ArrowPrimitiveType>(
    cursor: &mut Cursor<'_, '_>,
    column: u32,
    data_type: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, DecodeError> {
    let bytes = rows.checked_mul(size_of::<T::Native>());
    let bytes = cursor.exact(column, Kind::Values, bytes)?;
    // A fresh buffer is aligned for every type, so the cast inside cannot fail.
    let values = ScalarBuffer::<T::Native>::new(Buffer::from(bytes), 0, rows);
    PrimitiveArray::<T>::try_new(values, nulls)
        .map(|array| Arc::new(array.with_data_type(data_type.clone())) as ArrayRef)
        .map_err(|error| refused(cursor, column, error))
}

/// Decimals, none of which has more digits than its type.
fn decimals(
    cursor: &mut Cursor<'_, '_>,
    column: u32,
    (data_type, precision): (&DataType, u8),
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, DecodeError> {
    let bytes = cursor.exact(column, Kind::Values, rows.checked_mul(16))?;
    let values = ScalarBuffer::<i128>::new(Buffer::from(bytes), 0, rows);
    let most = validate::decimal_max(precision);
    // The values under nulls are nobody's and may be anything.
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let wrong = (0..rows).find(|row| values[*row].unsigned_abs() > most && !is_null(*row));
    if let Some(row) = wrong {
        let reason = format!("the decimal has more than {precision} digits");
        return Err(cursor.wrong_row(column, row, &reason));
    }
    Decimal128Array::try_new(values, nulls)
        .map(|array| Arc::new(array.with_data_type(data_type.clone())) as ArrayRef)
        .map_err(|error| refused(cursor, column, error))
}

/// Byte strings of one length.
fn octets(
    cursor: &mut Cursor<'_, '_>,
    column: u32,
    width: i32,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, DecodeError> {
    let bytes = usize::try_from(width).ok();
    let bytes = bytes.and_then(|width| rows.checked_mul(width));
    let bytes = cursor.exact(column, Kind::Values, bytes)?;
    FixedSizeBinaryArray::try_new(width, Buffer::from(bytes), nulls)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| refused(cursor, column, error))
}

/// Offsets and data of a text or binary column.
pub(super) fn text<'a>(
    cursor: &mut Cursor<'_, 'a>,
    column: u32,
    rows: usize,
) -> Result<(&'a [i32], &'a [u8]), DecodeError> {
    let offsets = cursor.offsets(column, rows)?;
    let data = cursor.data(column, offsets)?;
    Ok((offsets, data))
}

/// What Arrow says against an array, as an error at its column.
fn refused(cursor: &Cursor<'_, '_>, column: u32, error: ArrowError) -> DecodeError {
    cursor.wrong(column, error.to_string())
}
