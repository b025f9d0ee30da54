//! Avro: one datum a row, only the declared fields, straight into columns.

mod envelope;
mod plan;
mod read;
mod schema;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use wasmill_core::{lineage::Chunk, pipeline::Format};

use super::{
    Decoded, FormatError, NO_ROW, ONE_ROW, Rows,
    column::Column,
    debezium::Images,
    json::Blanks,
    layout::Layout,
    registry::SchemaText,
    schemas::{Numbered, Schemas},
};
use envelope::{Envelope, Form};
use plan::Step;
use read::{Cursor, Reader};
use schema::Schema;

/// Reads Avro data into the declared columns.
#[derive(Debug)]
pub struct AvroDecoder {
    schemas: Numbered<Program>,
    columns: Columns,
}

/// Where rows go.
#[derive(Debug)]
struct Columns {
    layout: Layout,
    columns: Vec<Column>,
    blanks: Blanks,
    is_changelog: bool,
}

/// What to do with data of one schema.
#[derive(Debug)]
struct Program {
    schema: Schema,
    body: Body,
}

/// What a datum is.
#[derive(Debug)]
enum Body {
    Row(Step),
    Change(Envelope),
}

impl Program {
    /// Works out how data of a schema become the columns.
    fn new(text: &SchemaText, columns: &Columns) -> Result<Self, String> {
        if text.language != "AVRO" {
            return Err(format!("it is written in {}, not in Avro", text.language));
        }
        let others: Vec<String> = text.references.iter().map(|it| it.1.clone()).collect();
        let schema = Schema::parse(&text.text, &others)?;
        let body = match columns.is_changelog {
            true => Body::Change(Envelope::new(&schema, &columns.layout)?),
            false => Body::Row(Step::new(&schema, &columns.layout)?),
        };
        Ok(Self { schema, body })
    }
}

impl AvroDecoder {
    /// A decoder for the columns of a format.
    ///
    /// # Errors
    /// If there is one schema, and the columns cannot be read from it.
    pub fn new(format: &Format, schemas: &Schemas) -> Result<Self, FormatError> {
        let layout = Layout::new(&format.columns, format.timestamp)?;
        let columns = Columns {
            columns: layout.columns(),
            blanks: Blanks::new(format, &layout)?,
            layout,
            is_changelog: format.is_changelog(),
        };
        Ok(Self {
            schemas: Numbered::new(schemas, |text| Program::new(text, &columns))?,
            columns,
        })
    }

    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.columns.layout.schema
    }

    /// Fetches the schemas that a chunk needs.
    ///
    /// # Errors
    /// If the registry is away for too long, or is none.
    pub async fn prepare(&mut self, chunk: &Chunk) -> Result<(), FormatError> {
        let columns = &self.columns;
        let make = |text: &SchemaText| Program::new(text, columns);
        self.schemas.prepare(chunk, make).await
    }

    /// The rows of a chunk.
    pub fn decode(&mut self, chunk: &Arc<Chunk>) -> Result<Decoded, FormatError> {
        let Self { schemas, columns } = self;
        for column in &mut columns.columns {
            column.reserve(chunk.spans.len());
        }
        let mut rows = Rows::of_bytes(chunk, columns.is_changelog);
        while let Some((row, record)) = rows.next_bytes() {
            let done = record.and_then(|record| {
                // A tombstone, which follows a deletion for the sake of compacted topics.
                if record.is_empty() && columns.is_changelog {
                    return Ok(NO_ROW);
                }
                let (program, datum) = schemas.split(record)?;
                columns.record(program, datum)
            });
            if done.is_err() {
                let len = rows.kept_rows();
                columns.layout.truncate(0, len, &mut columns.columns);
            }
            rows.came(row, done);
        }
        let batch = columns
            .layout
            .finish(rows.kept_rows(), &mut columns.columns)?;
        Ok(rows.into_decoded(batch))
    }
}

impl Columns {
    /// The rows of a record.
    fn record(&mut self, program: &Program, datum: &[u8]) -> Result<Images, String> {
        let envelope = match &program.body {
            Body::Row(step) => {
                self.row(&program.schema, step, datum)?;
                return Ok(ONE_ROW);
            }
            Body::Change(envelope) => envelope,
        };
        let forms = envelope.scan(&program.schema, datum)?;
        let images = forms.images()?;
        for (side, _) in images {
            let Some(Form { step, datum }) = forms.form(*side) else {
                return Err(side.explain("nothing stands there"));
            };
            let read = self.row(&program.schema, step, datum);
            read.map_err(|reason| side.explain(&reason))?;
        }
        Ok(images)
    }

    fn row(&mut self, schema: &Schema, step: &Step, datum: &[u8]) -> Result<(), String> {
        let mut reader = Reader {
            cursor: Cursor::new(datum),
            schema,
            layout: &self.layout,
            columns: &mut self.columns,
            blanks: &mut self.blanks,
        };
        reader.value(step)?;
        reader.cursor.end()
    }
}

#[cfg(test)]
mod tests;
