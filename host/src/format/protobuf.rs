//! Protobuf: one message a row, only the declared fields, straight into columns.

mod plan;
mod read;
mod scan;
pub(crate) mod schema;
mod special;

use std::{collections::HashMap, sync::Arc};

use arrow_schema::SchemaRef;
use wasmill_core::{lineage::Chunk, pipeline::Format};

use super::{
    Decoded, FormatError, NO_ROW, ONE_ROW, Rows,
    column::Column,
    debezium::{self, Images},
    json::Blanks,
    layout::Layout,
    registry::SchemaText,
    schemas::{Numbered, Schemas, short},
    wire,
};
use plan::{Body, Program, Step};
use read::Reader;
use scan::{Cursor, Found, Raw, scan};
use schema::Schema;

/// Reads Protobuf messages into the declared columns.
#[derive(Debug)]
pub struct ProtobufDecoder {
    schemas: Numbered<Programs>,
    columns: Columns,
    /// The place of a record's message in its schema.
    indexes: Vec<u32>,
}

/// Where rows go.
#[derive(Debug)]
struct Columns {
    layout: Layout,
    columns: Vec<Column>,
    blanks: Blanks,
    is_changelog: bool,
    found: Found,
}

/// What to do with messages of one schema.
#[derive(Debug)]
enum Programs {
    /// All are of one type.
    One(Program),
    /// Each says of which type it is.
    Many(Many),
}

/// The place of a message in a schema, as records name it.
type Indexes = Box<[u32]>;

/// What to do with each type of message that came.
#[derive(Debug)]
struct Many {
    schema: Schema,
    /// Or why rows of that message do not fit.
    programs: Vec<(Indexes, Result<Program, String>)>,
    /// Where each stands there.
    places: HashMap<Indexes, usize>,
    /// That of the record before.
    last: usize,
}

impl Programs {
    fn new(
        text: &SchemaText,
        of: Option<&Option<String>>,
        columns: &Columns,
    ) -> Result<Self, String> {
        if text.language != "PROTOBUF" {
            return Err(format!(
                "it is written in {}, not in Protobuf",
                text.language
            ));
        }
        let schema = Schema::parse(&text.text, &text.references)?;
        let Some(name) = of else {
            return Ok(Self::Many(Many::new(schema)));
        };
        let message = schema.message(name.as_deref())?;
        let program = Program::new(&message, &columns.layout, columns.is_changelog)?;
        Ok(Self::One(program))
    }
}

impl Many {
    fn new(schema: Schema) -> Self {
        Self {
            schema,
            programs: Vec::new(),
            places: HashMap::new(),
            last: 0,
        }
    }

    fn program(&mut self, indexes: &[u32], columns: &Columns) -> Result<&Program, String> {
        // Mostly it is that of the record before.
        let last = self.programs.get(self.last);
        if last.is_none_or(|(of, _)| **of != *indexes) {
            self.last = self.place(indexes, columns)?;
        }
        let (_, program) = &self.programs[self.last];
        program.as_ref().map_err(Clone::clone)
    }

    /// Where the program of a message is; it is made if it is not there.
    fn place(&mut self, indexes: &[u32], columns: &Columns) -> Result<usize, String> {
        if let Some(place) = self.places.get(indexes) {
            return Ok(*place);
        }
        let message = self.schema.at(indexes)?;
        let program = Program::new(&message, &columns.layout, columns.is_changelog);
        let told = |reason| short(format!("the message `{}`: {reason}", message.full_name()));
        let place = self.programs.len();
        self.programs.push((indexes.into(), program.map_err(told)));
        self.places.insert(indexes.into(), place);
        Ok(place)
    }
}

impl ProtobufDecoder {
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
            found: Found::default(),
        };
        let message = match schemas {
            Schemas::One(given) => given.message.clone(),
            _ => None,
        };
        let make = |text: &SchemaText| Programs::new(text, Some(&message), &columns);
        Ok(Self {
            schemas: Numbered::new(schemas, make)?,
            columns,
            indexes: Vec::new(),
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
        let make = |text: &SchemaText| Programs::new(text, None, columns);
        self.schemas.prepare(chunk, make).await
    }

    /// The rows of a chunk.
    pub fn decode(&mut self, chunk: &Arc<Chunk>) -> Result<Decoded, FormatError> {
        for column in &mut self.columns.columns {
            column.reserve(chunk.spans.len());
        }
        let mut rows = Rows::of_bytes(chunk, self.columns.is_changelog);
        while let Some((row, record)) = rows.next_bytes() {
            let done = record.and_then(|record| self.record(record));
            if done.is_err() {
                let Columns {
                    layout, columns, ..
                } = &mut self.columns;
                layout.truncate(0, rows.kept_rows(), columns);
            }
            rows.came(row, done);
        }
        let Columns {
            layout, columns, ..
        } = &mut self.columns;
        let batch = layout.finish(rows.kept_rows(), columns)?;
        Ok(rows.into_decoded(batch))
    }

    fn record(&mut self, record: &[u8]) -> Result<Images, String> {
        // A tombstone, which follows a deletion for the sake of compacted topics.
        if record.is_empty() && self.columns.is_changelog {
            return Ok(NO_ROW);
        }
        let (programs, value) = self.schemas.split(record)?;
        let (program, message) = match programs {
            Programs::One(program) => (&*program, value),
            Programs::Many(many) => {
                let message = wire::split_indexes(value, &mut self.indexes)?;
                (many.program(&self.indexes, &self.columns)?, message)
            }
        };
        self.columns.message(program, message)
    }
}

impl Columns {
    /// The rows of a message.
    fn message(&mut self, program: &Program, bytes: &[u8]) -> Result<Images, String> {
        self.found.reset(program.slots);
        let cursor = Cursor::new(bytes, 0, bytes.len());
        scan(program, program.root, cursor, &mut self.found)?;
        let (op, forms) = match &program.body {
            Body::Row(step) => {
                self.row(program, step, bytes)?;
                return Ok(ONE_ROW);
            }
            Body::Change { op, forms } => (*op, forms),
        };
        let op = match self.found.slots[op] {
            Raw::Octets(start, end) => &bytes[start as usize..end as usize],
            _ => &[],
        };
        let [has_before, has_after] =
            [0, 1].map(|at: usize| self.found.slots[forms[at].1.slot] != Raw::Absent);
        let images = debezium::images(op, has_before, has_after)?;
        for (side, _) in images {
            for (_, form) in forms.iter().filter(|(own, _)| own == side) {
                let read = self.row(program, &form.step, bytes);
                read.map_err(|reason| side.explain(&reason))?;
            }
        }
        Ok(images)
    }

    fn row(&mut self, program: &Program, step: &Step, bytes: &[u8]) -> Result<(), String> {
        let mut reader = Reader {
            bytes,
            program,
            found: &mut self.found,
            layout: &self.layout,
            columns: &mut self.columns,
            blanks: &mut self.blanks,
        };
        reader.step(step)
    }
}

#[cfg(test)]
mod tests;
