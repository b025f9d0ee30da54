//! Arrays of any type from a seed.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, ListArray,
    StringArray, StructArray, make_array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};

/// A step of SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub(super) fn array(field: &Field, rows: usize, seed: &mut u64) -> ArrayRef {
    let nulls = field
        .is_nullable()
        .then(|| NullBuffer::from_iter((0..rows).map(|_| !next(seed).is_multiple_of(3))));
    let text = |seed: &mut u64| {
        "aß€😀"
            .chars()
            .take((next(seed) % 5) as usize)
            .collect::<String>()
    };
    match field.data_type() {
        DataType::Boolean => Arc::new(BooleanArray::new(
            (0..rows).map(|_| next(seed).is_multiple_of(2)).collect(),
            nulls,
        )),
        DataType::Utf8 => {
            let texts: Vec<String> = (0..rows).map(|_| text(seed)).collect();
            let (offsets, data, _) = StringArray::from(texts).into_parts();
            Arc::new(StringArray::new(offsets, data, nulls))
        }
        DataType::Binary => {
            let bytes: Vec<Vec<u8>> = (0..rows).map(|_| text(seed).into_bytes()).collect();
            let bytes = bytes.iter().map(Vec::as_slice).collect();
            let (offsets, data, _) = BinaryArray::from_vec(bytes).into_parts();
            Arc::new(BinaryArray::new(offsets, data, nulls))
        }
        DataType::List(item) => {
            let lengths: Vec<usize> = (0..rows).map(|_| (next(seed) % 4) as usize).collect();
            let items = array(item, lengths.iter().sum(), seed);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(Arc::clone(item), offsets, items, nulls))
        }
        DataType::Struct(fields) => {
            let children = fields.iter().map(|f| array(f, rows, seed)).collect();
            Arc::new(StructArray::new(fields.clone(), children, nulls))
        }
        DataType::Decimal128(precision, _) => {
            let most = 10i128.pow(u32::from(*precision));
            let values = (0..rows)
                .map(|_| i128::from(next(seed) as i64) % most)
                .collect();
            let array = Decimal128Array::new(values, nulls);
            Arc::new(array.with_data_type(field.data_type().clone()))
        }
        DataType::FixedSizeBinary(width) => {
            let bytes: Vec<u8> = (0..rows * *width as usize)
                .map(|_| next(seed) as u8)
                .collect();
            Arc::new(FixedSizeBinaryArray::new(*width, bytes.into(), nulls))
        }
        other => {
            let width = crate::data_type::fixed_width(other, false).expect("fixed width");
            // Small integers are no NaN in any float type, so that arrays compare equal.
            let byte = |seed: &mut u64| (next(seed) % 100) as u8;
            let bytes: Vec<u8> = (0..rows * width).map(|_| byte(seed)).collect();
            let data = arrow_array::Int8Array::from(Vec::<i8>::new())
                .into_data()
                .into_builder();
            let data = data
                .data_type(other.clone())
                .len(rows)
                // A copy: a vector of bytes is aligned to one.
                .buffers(vec![Buffer::from_slice_ref(&bytes)])
                .nulls(nulls);
            make_array(data.build().expect("a valid array"))
        }
    }
}
