//! Comma-separated values (RFC 4180).

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use wasmill_core::pipeline::document::{EncodeCsv, EncodeJson};

use super::{Pieces, View, Viewed};
use crate::format::FormatError;

/// Writes rows as CSV records.
#[derive(Debug)]
pub struct CsvEncoder {
    names: Vec<String>,
    delimiter: u8,
    has_header: bool,
    null: Vec<u8>,
    /// How values look before they are quoted: as in JSON.
    values: EncodeJson,
}

impl CsvEncoder {
    /// An encoder for rows of this schema.
    pub fn new(schema: &SchemaRef, options: &EncodeCsv) -> Self {
        Self {
            names: schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
            delimiter: options.options.delimiter.bytes().next().unwrap_or(b','),
            has_header: options.options.header,
            null: options.options.null.clone().into_bytes(),
            values: EncodeJson {
                timestamps: options.timestamps,
                ..EncodeJson::default()
            },
        }
    }

    /// Appends the names of the columns, if the options want them.
    pub fn header(&self, out: &mut Vec<u8>) {
        if !self.has_header {
            return;
        }
        let begin = out.len();
        for (index, name) in self.names.iter().enumerate() {
            self.delimit(index, out);
            self.field(name.as_bytes(), out);
        }
        fill(begin, out);
        out.push(b'\n');
    }

    /// Appends every row and a line end behind each.
    pub fn encode(&self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let columns = super::view(rows)?;
        let mut scratch = Vec::new();
        for row in 0..rows.num_rows() {
            self.record(&columns, row, &mut scratch, out);
            out.push(b'\n');
        }
        Ok(())
    }

    /// Appends every row by itself.
    pub fn encode_each(&self, rows: &RecordBatch, out: &mut Pieces) -> Result<(), FormatError> {
        let columns = super::view(rows)?;
        let mut scratch = Vec::new();
        for row in 0..rows.num_rows() {
            self.record(&columns, row, &mut scratch, out.bytes());
            out.end();
        }
        Ok(())
    }

    fn record(&self, columns: &[Viewed<'_>], row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        let begin = out.len();
        for (index, column) in columns.iter().enumerate() {
            self.delimit(index, out);
            self.value(column, row, scratch, out);
        }
        fill(begin, out);
    }

    fn value(&self, column: &Viewed<'_>, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        if column.array.is_null(row) {
            out.extend_from_slice(&self.null);
            return;
        }
        if let View::Text(values) = &column.view {
            return self.field(values.value(row).as_bytes(), out);
        }
        scratch.clear();
        column.write(row, &self.values, scratch);
        let nested = matches!(column.view, View::List(..) | View::Struct(_));
        let inner = scratch
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""));
        self.field(
            if nested {
                scratch
            } else {
                inner.unwrap_or(scratch)
            },
            out,
        );
    }

    /// A field, quoted where it holds a special character or would be read as null.
    fn field(&self, text: &[u8], out: &mut Vec<u8>) {
        let special = |byte: &u8| matches!(byte, b'"' | b'\n' | b'\r') || *byte == self.delimiter;
        if text != self.null && !text.iter().any(special) {
            out.extend_from_slice(text);
            return;
        }
        out.push(b'"');
        for part in text.split_inclusive(|byte| *byte == b'"') {
            out.extend_from_slice(part);
            if part.ends_with(b"\"") {
                out.push(b'"');
            }
        }
        out.push(b'"');
    }

    fn delimit(&self, index: usize, out: &mut Vec<u8>) {
        if index > 0 {
            out.push(self.delimiter);
        }
    }
}

/// A record of a single empty field would be a blank line, which is no record.
fn fill(begin: usize, out: &mut Vec<u8>) {
    if out.len() == begin {
        out.extend_from_slice(b"\"\"");
    }
}
