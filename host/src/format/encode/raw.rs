//! Bytes as they are.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use wasmill_core::pipeline::document::EncodeRaw;

use super::{Pieces, View, Viewed};
use crate::format::FormatError;

/// Writes a column's bytes as they are; of several columns the first that is not null.
#[derive(Debug)]
pub struct RawEncoder {
    columns: Vec<usize>,
}

impl RawEncoder {
    /// An encoder for rows of this schema.
    pub fn new(schema: &SchemaRef, raw: &EncodeRaw) -> Self {
        let columns = raw.column.iter().map(|name| schema.index_of(name));
        Self {
            columns: columns
                .map(|index| index.expect("the document was checked"))
                .collect(),
        }
    }

    /// Appends every row and a line end behind each. What is null is an empty line.
    pub fn encode(&self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let columns = super::view(rows)?;
        for row in 0..rows.num_rows() {
            out.extend_from_slice(self.value(&columns, row).unwrap_or_default());
            out.push(b'\n');
        }
        Ok(())
    }

    /// Appends every row by itself. What is null has no bytes.
    pub fn encode_each(&self, rows: &RecordBatch, out: &mut Pieces) -> Result<(), FormatError> {
        let columns = super::view(rows)?;
        for row in 0..rows.num_rows() {
            match self.value(&columns, row) {
                Some(value) => {
                    out.bytes().extend_from_slice(value);
                    out.end();
                }
                None => out.nothing(),
            }
        }
        Ok(())
    }

    fn value<'a>(&self, columns: &[Viewed<'a>], row: usize) -> Option<&'a [u8]> {
        let mut columns = self.columns.iter().map(|index| &columns[*index]);
        let column = columns.find(|column| !column.array.is_null(row))?;
        match &column.view {
            View::Text(values) => Some(values.value(row).as_bytes()),
            View::Octets(values) => Some(values.value(row)),
            _ => None,
        }
    }
}
