//! Columns about a row: when it happened, where it came from, who made it.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
    builder::StringBuilder,
};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use wasmill_core::{
    batch::{Batch, op},
    lineage::{Ancestor, row_id},
    pipeline::document::EngineColumn,
};

/// The columns of the engine that a sink adds behind the rows' own.
#[derive(Debug, Clone)]
pub struct Metadata {
    columns: Vec<EngineColumn>,
    schema: SchemaRef,
    job: String,
}

impl Metadata {
    /// These columns for rows of `schema`, which belong to this job.
    pub fn new(schema: &SchemaRef, include: &[(String, EngineColumn)], job: &str) -> Self {
        let mut fields: Vec<Field> = schema.fields().iter().map(|f| Field::clone(f)).collect();
        fields.extend(include.iter().map(|(name, column)| {
            let (data_type, nullable) = column.data_type();
            Field::new(name, data_type, nullable)
        }));
        Self {
            columns: include.iter().map(|(_, column)| *column).collect(),
            schema: Arc::new(Schema::new(fields)),
            job: job.into(),
        }
    }

    /// The rows' columns and the added ones.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows with the added columns.
    pub fn extend(&self, batch: &Batch) -> Result<RecordBatch, ArrowError> {
        if self.columns.is_empty() {
            return Ok(batch.rows.clone());
        }
        let mut columns = batch.rows.columns().to_vec();
        columns.extend(
            self.columns
                .iter()
                .map(|column| self.column(*column, batch)),
        );
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }

    fn column(&self, column: EngineColumn, batch: &Batch) -> ArrayRef {
        let lineage = &batch.lineage;
        let derived = |row| match lineage.origin(row) {
            Some((Ancestor::Derived(derived), _)) => Some(&**derived),
            _ => None,
        };
        let rows = 0..batch.len();
        let operator = |row| match lineage.origin(row) {
            Some((Ancestor::Derived(derived), _)) => Some(&*derived.operator),
            Some((Ancestor::Windows(windows), _)) => Some(&*windows.operator),
            _ => None,
        };
        match column {
            EngineColumn::EventTime => {
                let time = |row: usize| batch.times.as_ref().map(|times| times[row]);
                let times: TimestampMicrosecondArray = rows.map(time).collect();
                Arc::new(times.with_timezone("UTC"))
            }
            EngineColumn::Split => {
                let name = |row| lineage.source(row).map(|(chunk, _)| &*chunk.split_name);
                Arc::new(rows.map(name).collect::<StringArray>())
            }
            EngineColumn::Offset => {
                let offset = |row| lineage.position(row).map(|(_, offset)| offset);
                Arc::new(rows.map(offset).collect::<UInt64Array>())
            }
            EngineColumn::Operator => Arc::new(rows.map(operator).collect::<StringArray>()),
            EngineColumn::Plugin => {
                let plugin = |row| derived(row).map(|derived| &*derived.plugin);
                let plugins = rows.map(|row| plugin(row).filter(|text| !text.is_empty()));
                Arc::new(plugins.collect::<StringArray>())
            }
            EngineColumn::RowId => self.row_ids(batch),
            EngineColumn::Op => {
                let kind = |row| batch.ops.as_ref().map_or(op::INSERT, |ops| ops[row]);
                Arc::new(
                    rows.map(|row| Some(op::name(kind(row))))
                        .collect::<StringArray>(),
                )
            }
        }
    }

    fn row_ids(&self, batch: &Batch) -> ArrayRef {
        let (mut ids, mut id) = (StringBuilder::new(), Vec::new());
        for row in 0..batch.len() {
            id.clear();
            row_id(&self.job, &batch.lineage, row, &mut id);
            ids.append_value(String::from_utf8_lossy(&id));
        }
        Arc::new(ids.finish())
    }
}
