//! Which column types the host widens to what an operator declares, and how.

use arrow_array::{
    Array, ArrayRef, PrimitiveArray,
    cast::AsArray,
    types::{
        ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::DataType;
use std::sync::Arc;

/// Whether a column of type `from` can stand for a declared one of type `to` without losing
/// anything.
///
/// Integers and floats widen, an integer becomes a float that holds it exactly, a decimal gains
/// digits in front.
pub fn can_widen(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, List, Struct, UInt8, UInt16,
        UInt32, UInt64,
    };
    match (from, to) {
        (Decimal128(from, from_scale), Decimal128(to, to_scale)) => {
            from <= to && from_scale == to_scale
        }
        // The names of fields within a type do not cross: their places do.
        (List(from), List(to)) => {
            from.data_type() == to.data_type() && (to.is_nullable() || !from.is_nullable())
        }
        (Struct(from), Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| {
                    from.name() == to.name()
                        && from.data_type() == to.data_type()
                        && (to.is_nullable() || !from.is_nullable())
                })
        }
        (from, to) if from == to => true,
        (Int8, Int16 | Int32 | Int64 | Float32 | Float64) => true,
        (Int16, Int32 | Int64 | Float32 | Float64) => true,
        (Int32, Int64 | Float64) => true,
        (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64 | Float32 | Float64) => true,
        (UInt16, UInt32 | UInt64 | Int32 | Int64 | Float32 | Float64) => true,
        (UInt32, UInt64 | Int64 | Float64) => true,
        (Float32, Float64) => true,
        _ => false,
    }
}

/// Widens numbers; none if the types' values have the same layout already, or cannot be widened.
pub(super) fn widen(array: &dyn Array, to: &DataType) -> Option<ArrayRef> {
    match array.data_type() {
        from if from == to => None,
        DataType::Int8 => signed_or_small::<Int8Type>(array, to),
        DataType::Int16 => signed_or_small::<Int16Type>(array, to),
        DataType::UInt8 => unsigned_small::<UInt8Type>(array, to),
        DataType::UInt16 => unsigned_small::<UInt16Type>(array, to),
        DataType::Int32 => match to {
            DataType::Int64 => each::<Int32Type, Int64Type>(array),
            DataType::Float64 => each::<Int32Type, Float64Type>(array),
            _ => None,
        },
        DataType::UInt32 => match to {
            DataType::UInt64 => each::<UInt32Type, UInt64Type>(array),
            DataType::Int64 => each::<UInt32Type, Int64Type>(array),
            DataType::Float64 => each::<UInt32Type, Float64Type>(array),
            _ => None,
        },
        DataType::Float32 if *to == DataType::Float64 => each::<Float32Type, Float64Type>(array),
        _ => None,
    }
}

/// From i8 or i16, both of which every wider signed integer and every float holds exactly.
fn signed_or_small<F>(array: &dyn Array, to: &DataType) -> Option<ArrayRef>
where
    F: ArrowPrimitiveType,
    F::Native: Into<i16> + Into<i32> + Into<i64> + Into<f32> + Into<f64>,
{
    match to {
        DataType::Int16 => each::<F, Int16Type>(array),
        DataType::Int32 => each::<F, Int32Type>(array),
        DataType::Int64 => each::<F, Int64Type>(array),
        DataType::Float32 => each::<F, Float32Type>(array),
        DataType::Float64 => each::<F, Float64Type>(array),
        _ => None,
    }
}

/// From u8 or u16, which the next wider signed integer holds, too.
fn unsigned_small<F>(array: &dyn Array, to: &DataType) -> Option<ArrayRef>
where
    F: ArrowPrimitiveType,
    F::Native: Into<u16> + Into<u32> + Into<u64> + Into<i32> + Into<i64> + Into<f32> + Into<f64>,
{
    match to {
        DataType::UInt16 => each::<F, UInt16Type>(array),
        DataType::UInt32 => each::<F, UInt32Type>(array),
        DataType::UInt64 => each::<F, UInt64Type>(array),
        // Only u8 fits into i16, but the plan lets no u16 come here.
        DataType::Int16 => {
            let wide = each::<F, Int32Type>(array)?;
            let narrow = wide.as_primitive::<Int32Type>();
            let narrow: PrimitiveArray<Int16Type> = narrow.unary_opt(|v| i16::try_from(v).ok());
            Some(Arc::new(narrow))
        }
        DataType::Int32 => each::<F, Int32Type>(array),
        DataType::Int64 => each::<F, Int64Type>(array),
        DataType::Float32 => each::<F, Float32Type>(array),
        DataType::Float64 => each::<F, Float64Type>(array),
        _ => None,
    }
}

/// Each value as the wider type's; nulls stay where they are.
fn each<F, T>(array: &dyn Array) -> Option<ArrayRef>
where
    F: ArrowPrimitiveType,
    T: ArrowPrimitiveType,
    F::Native: Into<T::Native>,
{
    let array = array.as_primitive_opt::<F>()?;
    let wide: PrimitiveArray<T> = array.unary(Into::into);
    Some(Arc::new(wide))
}
