//! Formats: bytes into columns, and rows back into bytes. Documented in `docs/formats/formats.md`.

pub mod avro;
pub(crate) mod base64;
mod column;
pub mod csv;
mod debezium;
pub mod encode;
pub mod framing;
pub mod json;
mod layout;
pub mod message;
mod number;
pub mod protobuf;
pub mod raw;
pub mod registry;
mod scalar;
mod schemas;
#[cfg(test)]
pub(crate) mod testing;
mod time;
mod wire;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Field, SchemaRef};
use wasmill_core::{
    batch::op,
    lineage::Chunk,
    pipeline::{ColumnSpec, Format, FormatKind, document::MessageParts},
};

use registry::RegistryError;

pub use schemas::{GivenSchema, Schemas};

/// Why a format cannot be set up, or its columns cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A column's type is none that a format reads.
    #[error("column `{place}`: the type {data_type} cannot be read from this format")]
    Type {
        /// The column, or the field within it.
        place: String,
        /// The Arrow type.
        data_type: String,
    },
    /// Two columns want the same field, or one wants a part of what the other takes whole.
    #[error(
        "column `{column}`: the field `{place}` is already read by another column; read it once"
    )]
    Taken {
        /// The second column.
        column: String,
        /// The field's path.
        place: String,
    },
    /// A default that is no value of its column.
    #[error("column `{column}`: its default does not fit: {reason}")]
    Default {
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A time zone that the database does not have.
    #[error("`{zone}` is not a time zone; use a name such as `Europe/Berlin` or `Asia/Kolkata`")]
    Zone {
        /// The name as it was given.
        zone: String,
    },
    /// A schema that is none, or none for the columns.
    #[error("the schema in `{path}`: {reason}")]
    Schema {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that the format does not have.
    #[error(
        "`{name}` is no {what} in {format}, which has letters, digits and `_`, no digit \
         first; choose another one"
    )]
    Name {
        /// The name.
        name: String,
        /// What it is to name.
        what: &'static str,
        /// The format.
        format: &'static str,
    },
    /// A column that the format cannot hold.
    #[error("column `{place}` cannot be written as {format}: {reason}")]
    Column {
        /// The column, or the field within it.
        place: String,
        /// The format.
        format: &'static str,
        /// Why not, and what to do.
        reason: String,
    },
    /// Rows that are no text, where lines are written: a mistake of ours.
    #[error("rows in this format are no lines")]
    Unframed,
    /// A registry does not help.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Columns that do not form a batch: a mistake of ours.
    #[error("the decoded columns do not form a batch")]
    Columns(#[from] ArrowError),
}

impl FormatError {
    /// Whether the same would happen again if it was tried later.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_lasting(),
            _ => true,
        }
    }
}

/// A row that does not fit its source's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its number in the chunk.
    pub row: u32,
    /// The field, and what is wrong with it.
    pub reason: String,
}

/// What a chunk's bytes meant.
#[derive(Debug)]
pub struct Decoded {
    /// The rows that fit.
    pub rows: RecordBatch,
    /// The chunk's row of each batch row; none where every row was kept.
    pub kept: Option<Vec<u32>>,
    /// The other rows.
    pub refused: Vec<Refused>,
    /// What kind of change each batch row is; none where every row is one by itself. A chunk's row
    /// may then be several of the batch, or none.
    pub ops: Option<Vec<u8>>,
}

/// Turns a source's chunks into columns. One decoder serves any number of splits; decoders share
/// nothing.
#[derive(Debug)]
pub enum Decoder {
    /// One JSON object a row.
    Json(json::JsonDecoder),
    /// One CSV record a row.
    Csv(csv::CsvDecoder),
    /// The row itself.
    Raw(raw::RawDecoder),
    /// One of these, and what stands beside the row.
    Message(Box<message::MessageDecoder>),
    /// One Avro datum a row.
    Avro(Box<avro::AvroDecoder>),
    /// One Protobuf message a row.
    Protobuf(Box<protobuf::ProtobufDecoder>),
}

impl Decoder {
    /// A decoder for the columns and options of a format that needs no schemas.
    pub fn new(format: &Format) -> Result<Self, FormatError> {
        Self::with(format, &Schemas::None)
    }

    /// A decoder for the columns and options of a format.
    pub fn with(format: &Format, schemas: &Schemas) -> Result<Self, FormatError> {
        Ok(match format.kind {
            FormatKind::Json => Self::Json(json::JsonDecoder::new(format)?),
            FormatKind::Csv => Self::Csv(csv::CsvDecoder::new(format)?),
            FormatKind::Raw => Self::Raw(raw::RawDecoder::new(format)?),
            FormatKind::Avro => Self::Avro(Box::new(avro::AvroDecoder::new(format, schemas)?)),
            FormatKind::Protobuf => {
                Self::Protobuf(Box::new(protobuf::ProtobufDecoder::new(format, schemas)?))
            }
        })
    }

    /// The same, with columns of what stands beside the rows.
    pub fn with_message(
        format: &Format,
        schemas: &Schemas,
        parts: &MessageParts,
    ) -> Result<Self, FormatError> {
        let values = Self::with(format, schemas)?;
        if parts.is_empty() {
            return Ok(values);
        }
        let decoder = message::MessageDecoder::new(values, parts);
        Ok(Self::Message(Box::new(decoder)))
    }

    /// Fetches what decoding a chunk needs. Nothing but this may wait.
    ///
    /// # Errors
    /// If a registry is away for too long, or is none.
    pub async fn prepare(&mut self, chunk: &Chunk) -> Result<(), FormatError> {
        match self {
            Self::Json(_) | Self::Csv(_) | Self::Raw(_) => Ok(()),
            Self::Avro(decoder) => decoder.prepare(chunk).await,
            Self::Protobuf(decoder) => decoder.prepare(chunk).await,
            Self::Message(decoder) => Box::pin(decoder.prepare(chunk)).await,
        }
    }

    /// The rows of a chunk. Rows that do not fit are listed, never an error.
    pub fn decode(&mut self, chunk: &Arc<Chunk>) -> Result<Decoded, FormatError> {
        match self {
            Self::Json(decoder) => decoder.decode(chunk),
            Self::Csv(decoder) => decoder.decode(chunk),
            Self::Raw(decoder) => decoder.decode(chunk),
            Self::Message(decoder) => decoder.decode(chunk),
            Self::Avro(decoder) => decoder.decode(chunk),
            Self::Protobuf(decoder) => decoder.decode(chunk),
        }
    }

    /// The columns of every batch that this decoder makes.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Json(decoder) => decoder.schema(),
            Self::Csv(decoder) => decoder.schema(),
            Self::Raw(decoder) => decoder.schema(),
            Self::Message(decoder) => decoder.schema(),
            Self::Avro(decoder) => decoder.schema(),
            Self::Protobuf(decoder) => decoder.schema(),
        }
    }
}

/// A value of a document as an array of one, as a column's type reads it.
pub(crate) fn constant(field: &Field, value: &serde_json::Value) -> Result<ArrayRef, FormatError> {
    let spec = ColumnSpec {
        field: field.clone(),
        path: vec![field.name().clone()],
        timestamp: None,
        default: Some(value.clone()),
    };
    json::default_array(&spec)
}

/// A chunk's rows on their way into columns.
struct Rows<'a> {
    chunk: &'a Chunk,
    /// The chunk's text, if all of it is UTF-8: checked once, which is several times faster than
    /// row by row.
    text: Option<&'a str>,
    next: u32,
    /// Rows that fit so far.
    fitting: usize,
    kept: Option<Vec<u32>>,
    refused: Vec<Refused>,
    ops: Option<Vec<u8>>,
}

/// A row that is one by itself.
const ONE_ROW: debezium::Images = &[(debezium::Side::After, op::INSERT)];
/// None at all.
const NO_ROW: debezium::Images = &[];

impl<'a> Rows<'a> {
    fn new(chunk: &'a Chunk) -> Self {
        Self {
            text: std::str::from_utf8(&chunk.bytes).ok(),
            ..Self::of_bytes(chunk, false)
        }
    }

    /// Rows that are no text.
    fn of_bytes(chunk: &'a Chunk, is_changelog: bool) -> Self {
        Self {
            chunk,
            text: None,
            next: 0,
            fitting: 0,
            kept: is_changelog.then(Vec::new),
            refused: Vec::new(),
            ops: is_changelog.then(Vec::new),
        }
    }

    /// The next row's number, and its bytes as they are, or why they cannot be read.
    fn next_bytes(&mut self) -> Option<(u32, Result<&'a [u8], String>)> {
        let row = self.next;
        self.chunk.spans.get(row as usize)?;
        self.next += 1;
        Some((row, row_bytes(self.chunk, row)))
    }

    /// The next row's number, and its bytes, which are UTF-8, or why they cannot be read.
    fn next(&mut self) -> Option<(u32, Result<&'a [u8], String>)> {
        let row = self.next;
        let (start, end) = *self.chunk.spans.get(row as usize)?;
        self.next += 1;
        if self.chunk.oversized.is_empty()
            && let Some(text) = self
                .text
                .and_then(|text| text.get(start as usize..end as usize))
        {
            return Some((row, Ok(text.as_bytes())));
        }
        let bytes = row_bytes(self.chunk, row);
        Some((
            row,
            bytes.and_then(|bytes| check_text(bytes).map(|()| bytes)),
        ))
    }

    /// Notes what became of a row.
    fn done(&mut self, row: u32, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.fitting += 1;
                if let Some(kept) = &mut self.kept {
                    kept.push(row);
                }
            }
            Err(reason) => {
                self.kept.get_or_insert_with(|| (0..row).collect());
                self.refused.push(Refused { row, reason });
            }
        }
    }

    /// Notes which rows of the batch became of a row.
    fn came(&mut self, row: u32, result: Result<debezium::Images, String>) {
        let (Some(ops), Some(kept), Ok(images)) = (&mut self.ops, &mut self.kept, &result) else {
            return self.done(row, result.map(|_| ()));
        };
        self.fitting += images.len();
        for (_, op) in *images {
            kept.push(row);
            ops.push(*op);
        }
    }

    /// How many rows fit so far.
    fn kept_rows(&self) -> usize {
        self.fitting
    }

    fn into_decoded(self, rows: RecordBatch) -> Decoded {
        Decoded {
            rows,
            kept: self.kept,
            refused: self.refused,
            ops: self.ops,
        }
    }
}

/// A row's bytes as they are.
fn row_bytes(chunk: &Chunk, row: u32) -> Result<&[u8], String> {
    let (start, end) = chunk.spans[row as usize];
    if let Some((_, len)) = chunk.oversized.iter().find(|(long, _)| *long == row) {
        return Err(format!(
            "the row is {len} bytes long, longer than its source accepts"
        ));
    }
    let bytes = chunk.bytes.get(start as usize..end as usize);
    bytes.ok_or_else(|| "the row lies outside its chunk".into())
}

fn check_text(bytes: &[u8]) -> Result<(), String> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "the row is not UTF-8 at byte {}",
            error.valid_up_to()
        )),
    }
}

#[cfg(test)]
mod tests;
