//! The one unit of rows: source, exchange, operator and sink all speak it.

use arrow_array::{RecordBatch, UInt32Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::ArrowError;
use arrow_select::{concat::concat_batches, take::take_record_batch};

use crate::lineage::Lineage;

/// A record batch with its engine columns. Every column has as many rows as `rows`.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns that the stream's schema names.
    pub rows: RecordBatch,
    /// Event time of each row in microseconds; none where the stream has no event time.
    pub times: Option<ScalarBuffer<i64>>,
    /// The split's watermark as of each row, the row itself included; a row is late iff its time
    /// lies before it.
    pub clocks: Option<ScalarBuffer<i64>>,
    /// Hash of each row's key, once a key-by has computed it.
    pub hashes: Option<ScalarBuffer<u64>>,
    /// Kind of change of each row ([`op`]); none where every row is an insert.
    pub ops: Option<ScalarBuffer<u8>>,
    /// Where each row came from.
    pub lineage: Lineage,
}

/// The kinds of change that a row of a changelog can be.
pub mod op {
    /// A new row.
    pub const INSERT: u8 = 0;
    /// The old form of a row that changes.
    pub const UPDATE_BEFORE: u8 = 1;
    /// The new form of a row that changed.
    pub const UPDATE_AFTER: u8 = 2;
    /// A row that is gone.
    pub const DELETE: u8 = 3;

    /// The kind's name, as documents write it.
    pub fn name(op: u8) -> &'static str {
        match op {
            UPDATE_BEFORE => "update-before",
            UPDATE_AFTER => "update-after",
            DELETE => "delete",
            _ => "insert",
        }
    }
}

impl Batch {
    /// Rows without event time, keys or changes.
    pub fn new(rows: RecordBatch, lineage: Lineage) -> Self {
        debug_assert_eq!(rows.num_rows(), lineage.len());
        Self {
            rows,
            times: None,
            clocks: None,
            hashes: None,
            ops: None,
            lineage,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows at `indices`, in that order; every index must be below [`Batch::len`].
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, ArrowError> {
        let at = indices.values();
        Ok(Self {
            rows: take_record_batch(&self.rows, indices)?,
            times: self.times.as_ref().map(|column| pick(column, at)),
            clocks: self.clocks.as_ref().map(|column| pick(column, at)),
            hashes: self.hashes.as_ref().map(|column| pick(column, at)),
            ops: self.ops.as_ref().map(|column| pick(column, at)),
            lineage: self.lineage.take(at),
        })
    }

    /// `len` rows from `offset` on, without copying columns.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            rows: self.rows.slice(offset, len),
            times: self.times.as_ref().map(|column| column.slice(offset, len)),
            clocks: self.clocks.as_ref().map(|column| column.slice(offset, len)),
            hashes: self.hashes.as_ref().map(|column| column.slice(offset, len)),
            ops: self.ops.as_ref().map(|column| column.slice(offset, len)),
            lineage: self.lineage.slice(offset, len),
        }
    }

    /// The rows of several batches of one stream, one after the other. The first says which engine
    /// columns there are.
    pub fn concat(parts: &[Batch]) -> Result<Self, ArrowError> {
        let first = parts.first().ok_or_else(|| {
            ArrowError::InvalidArgumentError("there is nothing to concatenate".into())
        })?;
        if parts.len() == 1 {
            return Ok(first.clone());
        }
        Ok(Self {
            rows: concat_batches(&first.rows.schema(), parts.iter().map(|part| &part.rows))?,
            times: join(parts, |part| part.times.as_ref()),
            clocks: join(parts, |part| part.clocks.as_ref()),
            hashes: join(parts, |part| part.hashes.as_ref()),
            ops: join(parts, |part| part.ops.as_ref()),
            lineage: Lineage::concat(parts.iter().map(|part| &part.lineage)),
        })
    }
}

fn pick<T: arrow_buffer::ArrowNativeType>(column: &ScalarBuffer<T>, at: &[u32]) -> ScalarBuffer<T> {
    at.iter().map(|row| column[*row as usize]).collect()
}

/// Joins an engine column; one that a part lacks is dropped, since its values cannot be told.
fn join<'a, T: arrow_buffer::ArrowNativeType>(
    parts: &'a [Batch],
    column: impl Fn(&'a Batch) -> Option<&'a ScalarBuffer<T>>,
) -> Option<ScalarBuffer<T>> {
    let mut joined = Vec::with_capacity(parts.iter().map(Batch::len).sum());
    for part in parts {
        joined.extend_from_slice(column(part)?);
    }
    Some(joined.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;
    use crate::lineage::{Ancestor, Chunk};

    fn batch(values: &[i64]) -> Batch {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
        let column = Arc::new(Int64Array::from(values.to_vec()));
        let rows = RecordBatch::try_new(schema, vec![column]).expect("the column fits the schema");
        let lineage = Lineage::whole(Ancestor::Chunk(Arc::new(Chunk::default())), values.len());
        Batch {
            times: Some(values.to_vec().into()),
            ..Batch::new(rows, lineage)
        }
    }

    #[test]
    fn engine_columns_follow_their_rows() {
        let both =
            Batch::concat(&[batch(&[1, 2, 3]), batch(&[4]).slice(0, 1)]).expect("one schema");
        let taken = both
            .take(&UInt32Array::from(vec![3, 1]))
            .expect("indices in range");
        assert_eq!(
            taken.rows.column(0).as_primitive::<Int64Type>().values(),
            &[4, 2]
        );
        assert_eq!(taken.times.as_deref(), Some(&[4, 2][..]));
        assert_eq!(taken.lineage.position(1), Some((0, 1)));
    }
}
