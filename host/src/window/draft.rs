//! Results of which plugins have to compute some columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, SchemaRef};
use wasmill_core::batch::Batch;
use wasmill_core::lineage::Lineage;

use super::folded::Folded;

/// Results on their way out.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) schema: SchemaRef,
    pub(super) columns: Vec<Ready>,
    pub(super) lineage: Lineage,
    pub(super) times: Option<ScalarBuffer<i64>>,
    pub(super) clocks: Option<ScalarBuffer<i64>>,
    pub(super) ops: Option<ScalarBuffer<u8>>,
}

/// A column, or the accumulators of which a plugin computes it.
#[derive(Debug)]
pub(super) enum Ready {
    Column(ArrayRef),
    Plugin(Vec<Option<Arc<Folded>>>),
}

impl Draft {
    /// How many results there are.
    pub(super) fn len(&self) -> usize {
        self.lineage.len()
    }

    /// Whether a plugin has to be asked.
    pub(super) fn waits(&self) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| matches!(column, Ready::Plugin(_)))
    }

    /// The accumulators of the plugins' columns, a list each.
    pub(super) fn take_waiting(&mut self) -> Vec<Vec<Option<Arc<Folded>>>> {
        let waiting = self.columns.iter_mut().filter_map(|column| match column {
            Ready::Plugin(all) => Some(std::mem::take(all)),
            Ready::Column(_) => None,
        });
        waiting.collect()
    }

    /// The results as a batch, if no column waits.
    pub(super) fn batch(self) -> Result<Batch, ArrowError> {
        self.batch_with(Vec::new())
    }

    /// The results with what the plugins computed, in their order.
    pub(super) fn batch_with(self, computed: Vec<ArrayRef>) -> Result<Batch, ArrowError> {
        let mut computed = computed.into_iter();
        let columns = self.columns.into_iter().filter_map(|column| match column {
            Ready::Column(column) => Some(column),
            Ready::Plugin(_) => computed.next(),
        });
        let rows = RecordBatch::try_new(self.schema, columns.collect())?;
        Ok(Batch {
            times: self.times,
            clocks: self.clocks,
            ops: self.ops,
            ..Batch::new(rows, self.lineage)
        })
    }

    /// The results without the columns that plugins compute.
    pub(super) fn plain(&self) -> Result<Batch, ArrowError> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (field, column) in self.schema.fields().iter().zip(&self.columns) {
            if let Ready::Column(column) = column {
                fields.push(field.clone());
                columns.push(column.clone());
            }
        }
        let schema = Arc::new(arrow_schema::Schema::new(fields));
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(self.len()));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok(Batch::new(rows, self.lineage.clone()))
    }

    /// The results at these positions, of which no column waits any more but those that are given.
    pub(super) fn take(self, rows: &arrow_array::UInt32Array) -> Result<Self, ArrowError> {
        let at = rows.values();
        let mut columns = Vec::new();
        for column in self.columns {
            columns.push(match column {
                Ready::Column(column) => {
                    Ready::Column(arrow_select::take::take(column.as_ref(), rows, None)?)
                }
                waiting => waiting,
            });
        }
        let pick = |column: Option<ScalarBuffer<i64>>| {
            column.map(|column| at.iter().map(|row| column[*row as usize]).collect())
        };
        Ok(Self {
            schema: self.schema,
            columns,
            lineage: self.lineage.take(at),
            times: pick(self.times),
            clocks: pick(self.clocks),
            ops: self
                .ops
                .map(|column| at.iter().map(|row| column[*row as usize]).collect()),
        })
    }
}
