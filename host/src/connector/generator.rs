//! Rows that are computed from their numbers: any stretch of them, in any order, by any number of
//! threads.

mod counter;
mod text;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use wasmill_core::{
    lineage::Chunk,
    pipeline::{self, GeneratorColumn, GeneratorValue, TextPart},
};

use crate::format::{self, FormatError};
use counter::Counting;
use text::Text;

/// Computes the rows of a generator source.
#[derive(Debug)]
pub struct Generator {
    spec: pipeline::Generator,
    schema: SchemaRef,
    /// For each constant column its value, [`CONSTANT_ROWS`] times: a batch takes a slice of it.
    constants: Vec<Option<ArrayRef>>,
    names: Vec<Arc<str>>,
}

/// Rows that share one array of a constant.
const CONSTANT_ROWS: usize = 8_192;

/// Rows of one split: row `k` of them has the number `first + k * stride`.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u64,
    stride: u64,
    rows: usize,
}

impl Generator {
    /// Checks the constants.
    pub fn new(spec: &pipeline::Generator) -> Result<Self, FormatError> {
        let fields: Vec<_> = spec
            .columns
            .iter()
            .map(|column| column.field.clone())
            .collect();
        let constants: Result<_, FormatError> = spec
            .columns
            .iter()
            .map(|column| match &column.value {
                GeneratorValue::Constant(value) => {
                    let value = format::constant(&column.field, value)?;
                    Ok(Some(repeat(&value, CONSTANT_ROWS)?))
                }
                _ => Ok(None),
            })
            .collect();
        Ok(Self {
            spec: spec.clone(),
            schema: Arc::new(Schema::new(fields)),
            constants: constants?,
            names: (0..spec.splits)
                .map(|split| format!("generator-{split}").into())
                .collect(),
        })
    }

    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What people call a split.
    pub fn split_name(&self, split: u32) -> Arc<str> {
        self.names.get(split as usize).cloned().unwrap_or_default()
    }

    /// How many rows a split has in all; none if it never ends.
    pub fn split_rows(&self, split: u32) -> Option<u64> {
        let (split, splits) = (u64::from(split), u64::from(self.spec.splits));
        let records = self.spec.records?;
        Some(records.saturating_sub(split).div_ceil(splits))
    }

    /// The rows of a split from offset `first` on.
    pub fn batch(&self, split: u32, first: u64, rows: usize) -> Result<RecordBatch, ArrowError> {
        let range = self.range(split, first, rows);
        let columns: Result<Vec<_>, _> = self
            .spec
            .columns
            .iter()
            .zip(&self.constants)
            .map(|(column, constant)| match constant {
                Some(values) if rows <= values.len() => Ok(values.slice(0, rows)),
                Some(values) => repeat(values, rows),
                None => self.column(column, range),
            })
            .collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns?)
    }

    /// Where rows of a split come from: a chunk without bytes.
    pub fn chunk(&self, split: u32, first: u64) -> Chunk {
        Chunk {
            split,
            split_name: self.split_name(split),
            first_offset: first,
            ..Chunk::default()
        }
    }

    /// The rows of a split as text, for a decoder to read: each is the value of the first text
    /// column.
    pub fn text_chunk(&self, split: u32, first: u64, rows: usize) -> Chunk {
        let range = self.range(split, first, rows);
        let text = |column: &GeneratorColumn| match &column.value {
            GeneratorValue::Text(parts) => Some(parts.clone()),
            _ => None,
        };
        let parts = self.spec.columns.iter().find_map(text).unwrap_or_default();
        let mut spans = Vec::with_capacity(rows);
        let text = Text::new(&parts, self.spec.seed);
        let bytes = text.write(range.numbers(), b"\n", |start, end| {
            spans.push((start as u32, end as u32));
        });
        Chunk {
            bytes: bytes.into(),
            spans,
            ..self.chunk(split, first)
        }
    }

    fn range(&self, split: u32, first: u64, rows: usize) -> Range {
        let stride = u64::from(self.spec.splits);
        Range {
            first: first.wrapping_mul(stride).wrapping_add(u64::from(split)),
            stride,
            rows,
        }
    }

    fn column(&self, column: &GeneratorColumn, range: Range) -> Result<ArrayRef, ArrowError> {
        let data_type = column.field.data_type();
        Ok(match &column.value {
            GeneratorValue::Number(counter, scale) => {
                let counted = Counting::new(*counter, self.spec.seed).all(range.numbers());
                return numbers(data_type, counted, *scale);
            }
            GeneratorValue::Time { start_us, step_us } => {
                let time = |i: u64| start_us.wrapping_add((i as i64).wrapping_mul(*step_us));
                let times: Vec<i64> = range.numbers().map(time).collect();
                Arc::new(
                    TimestampMicrosecondArray::new(times.into(), None)
                        .with_data_type(data_type.clone()),
                )
            }
            GeneratorValue::Text(parts) => texts(parts, self.spec.seed, range)?,
            GeneratorValue::Constant(value) => format::constant(&column.field, value)
                .map_err(|error| ArrowError::ExternalError(error.into()))?,
        })
    }
}

impl Range {
    fn numbers(self) -> impl Iterator<Item = u64> {
        let number = move |k| {
            self.first
                .wrapping_add((k as u64).wrapping_mul(self.stride))
        };
        (0..self.rows).map(number)
    }
}

/// Numbers as a type; integers wrap.
fn numbers(data_type: &DataType, values: Vec<u64>, scale: f64) -> Result<ArrayRef, ArrowError> {
    macro_rules! wrapped {
        ($array:ty, $native:ty) => {{
            let wrapped: Vec<$native> = values.into_iter().map(|value| value as $native).collect();
            <$array>::new(wrapped.into(), None)
        }};
    }
    Ok(match data_type {
        DataType::UInt64 => Arc::new(UInt64Array::new(values.into(), None)),
        DataType::Int64 => Arc::new(wrapped!(Int64Array, i64)),
        DataType::UInt32 => Arc::new(wrapped!(UInt32Array, u32)),
        DataType::Int32 => Arc::new(wrapped!(Int32Array, i32)),
        DataType::UInt16 => Arc::new(wrapped!(UInt16Array, u16)),
        DataType::Int16 => Arc::new(wrapped!(Int16Array, i16)),
        DataType::UInt8 => Arc::new(wrapped!(UInt8Array, u8)),
        DataType::Int8 => Arc::new(wrapped!(Int8Array, i8)),
        DataType::Date32 => Arc::new(wrapped!(Date32Array, i32)),
        DataType::Float64 => {
            let scaled: Vec<f64> = values
                .into_iter()
                .map(|value| value as f64 * scale)
                .collect();
            Arc::new(Float64Array::new(scaled.into(), None))
        }
        DataType::Float32 => {
            let scaled = values
                .into_iter()
                .map(|value| (value as f64 * scale) as f32);
            Arc::new(Float32Array::new(scaled.collect::<Vec<_>>().into(), None))
        }
        DataType::Decimal128(precision, places) => {
            let array = wrapped!(Decimal128Array, i128);
            Arc::new(array.with_precision_and_scale(*precision, *places)?)
        }
        DataType::Timestamp(..) => {
            let array = wrapped!(TimestampMicrosecondArray, i64);
            Arc::new(array.with_data_type(data_type.clone()))
        }
        other => return Err(ArrowError::SchemaError(format!("numbers of type {other}"))),
    })
}

fn texts(parts: &[TextPart], seed: u64, range: Range) -> Result<ArrayRef, ArrowError> {
    let mut offsets = vec![0];
    let text = Text::new(parts, seed);
    let bytes = text.write(range.numbers(), b"", |_, end| offsets.push(end as i32));
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(Arc::new(StringArray::try_new(
        offsets,
        Buffer::from(bytes),
        None,
    )?))
}

/// The first value of an array, so many times.
fn repeat(value: &ArrayRef, rows: usize) -> Result<ArrayRef, ArrowError> {
    let zeros = UInt32Array::from(vec![0; rows]);
    arrow_select::take::take(value.as_ref(), &zeros, None)
}

#[cfg(test)]
mod tests;
