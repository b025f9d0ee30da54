//! JSON: one object a row, only the declared fields, straight into columns.

mod cursor;
mod envelope;
mod reader;
mod template;

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use wasmill_core::{
    lineage::Chunk,
    pipeline::{
        ColumnSpec, Format, FormatKind,
        document::{DuplicateFields, UnknownFields},
    },
};

use super::{
    Decoded, FormatError, Rows, column::Column, debezium::Images, layout::Layout, scalar::Rules,
};
use envelope::Envelope;
use reader::Reader;
use template::Templates;

/// Reads JSON objects into the declared columns.
#[derive(Debug)]
pub struct JsonDecoder {
    layout: Layout,
    columns: Vec<Column>,
    /// For each node that is an object: which of its fields stand in the current one.
    seen: Vec<Vec<bool>>,
    policy: Policy,
    templates: Templates,
    /// Whether rows come in Debezium's envelope.
    is_changelog: bool,
}

/// The options as the reader needs them.
#[derive(Debug)]
struct Policy {
    duplicates: DuplicateFields,
    unknown: UnknownFields,
    rules: Rules,
}

impl JsonDecoder {
    /// A decoder for the columns and options of a format.
    pub fn new(format: &Format) -> Result<Self, FormatError> {
        let layout = Layout::new(&format.columns, format.timestamp)?;
        let policy = Policy {
            duplicates: format.duplicate_fields,
            unknown: format.unknown_fields,
            rules: Rules::new(format, false)?,
        };
        let mut decoder = Self {
            columns: layout.columns(),
            seen: reader::seen(&layout),
            layout,
            policy,
            templates: Templates::default(),
            is_changelog: format.is_changelog(),
        };
        decoder.check_defaults()?;
        Ok(decoder)
    }

    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    /// The rows of a chunk.
    pub fn decode(&mut self, chunk: &Arc<Chunk>) -> Result<Decoded, FormatError> {
        for column in &mut self.columns {
            column.reserve(chunk.spans.len());
        }
        if self.is_changelog {
            return self.decode_changes(chunk);
        }
        let mut rows = Rows::new(chunk);
        while let Some((row, text)) = rows.next() {
            let done = text.and_then(|text| self.record(text, rows.kept_rows()));
            if done.is_err() {
                self.layout.truncate(0, rows.kept_rows(), &mut self.columns);
            }
            rows.done(row, done);
        }
        let batch = self.layout.finish(rows.kept_rows(), &mut self.columns)?;
        Ok(rows.into_decoded(batch))
    }

    /// The rows of a chunk of changes.
    fn decode_changes(&mut self, chunk: &Chunk) -> Result<Decoded, FormatError> {
        let mut rows = Rows::of_bytes(chunk, true);
        rows.text = std::str::from_utf8(&chunk.bytes).ok();
        while let Some((row, text)) = rows.next() {
            let came = text.and_then(|text| self.change(text, rows.kept_rows()));
            if came.is_err() {
                self.layout.truncate(0, rows.kept_rows(), &mut self.columns);
            }
            rows.came(row, came);
        }
        let batch = self.layout.finish(rows.kept_rows(), &mut self.columns)?;
        Ok(rows.into_decoded(batch))
    }

    /// The rows of one change into the columns, which have `len` rows.
    fn change(&mut self, text: &[u8], len: usize) -> Result<Images, String> {
        let envelope = Envelope::scan(text)?;
        let images = envelope.images()?;
        for (index, (side, _)) in images.iter().enumerate() {
            let read = self.record(envelope.form(*side), len + index);
            read.map_err(|reason| side.explain(&reason))?;
        }
        Ok(images)
    }

    /// One record into the columns, which have `len` rows.
    fn record(&mut self, text: &[u8], len: usize) -> Result<(), String> {
        let mut reader = Reader::new(
            text,
            &self.layout,
            &mut self.columns,
            &mut self.seen,
            &self.policy,
        );
        if self.templates.follow(&mut reader, len) {
            return Ok(());
        }
        reader.record()?;
        self.templates.learn(&self.layout, text);
        Ok(())
    }

    fn reader<'a>(&'a mut self, text: &'a [u8]) -> Reader<'a> {
        Reader::new(
            text,
            &self.layout,
            &mut self.columns,
            &mut self.seen,
            &self.policy,
        )
    }

    /// Reads every default once, so that a wrong one is found before the first row.
    fn check_defaults(&mut self) -> Result<(), FormatError> {
        for root in self.layout.roots.clone() {
            let Some(default) = self.layout.nodes[root].default.clone() else {
                continue;
            };
            let checked = self.reader(&default).whole_value(root);
            self.layout.truncate(root, 0, &mut self.columns);
            checked.map_err(|reason| FormatError::Default {
                column: self.layout.nodes[root].place.clone(),
                reason,
            })?;
        }
        Ok(())
    }
}

/// What goes into a column where its field is absent or null: the rules of JSON, for every format.
#[derive(Debug)]
pub(super) struct Blanks {
    policy: Policy,
    seen: Vec<Vec<bool>>,
}

impl Blanks {
    pub(super) fn new(format: &Format, layout: &Layout) -> Result<Self, FormatError> {
        // The defaults are checked in columns of their own.
        JsonDecoder::new(format)?;
        Ok(Self {
            policy: Policy {
                duplicates: DuplicateFields::Refuse,
                unknown: UnknownFields::Refuse,
                rules: Rules::new(format, false)?,
            },
            seen: reader::seen(layout),
        })
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.policy.rules
    }

    /// For a field that does not stand in its object.
    pub(super) fn missing(
        &mut self,
        layout: &Layout,
        columns: &mut [Column],
        node: usize,
    ) -> Result<(), String> {
        self.reader(layout, columns).missing(node)
    }

    /// For a field that is null.
    pub(super) fn null(
        &mut self,
        layout: &Layout,
        columns: &mut [Column],
        node: usize,
    ) -> Result<(), String> {
        self.reader(layout, columns).null(node)
    }

    fn reader<'a>(&'a mut self, layout: &'a Layout, columns: &'a mut [Column]) -> Reader<'a> {
        Reader::new(b"", layout, columns, &mut self.seen, &self.policy)
    }
}

/// The default of a column as an array of one.
pub(super) fn default_array(column: &ColumnSpec) -> Result<ArrayRef, FormatError> {
    let format = Format::plain(FormatKind::Json, vec![column.clone()]);
    let row = Chunk {
        bytes: "{}".into(),
        spans: vec![(0, 2)],
        ..Chunk::default()
    };
    let decoded = JsonDecoder::new(&format)?.decode(&Arc::new(row))?;
    Ok(Arc::clone(decoded.rows.column(0)))
}

#[cfg(test)]
mod tests;
