//! Formats: bytes into columns, and rows back into bytes. Documented in `docs/formats/formats.md`.

pub(crate) mod base64;
mod column;
pub mod csv;
pub mod encode;
pub mod framing;
pub mod json;
mod layout;
pub mod message;
mod number;
pub mod raw;
mod scalar;
#[cfg(test)]
pub(crate) mod testing;
mod time;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Field, SchemaRef};
use wasmill_core::{
    lineage::Chunk,
    pipeline::{ColumnSpec, Format, FormatKind, document::MessageParts},
};

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
    /// Columns that do not form a batch: a mistake of ours.
    #[error("the decoded columns do not form a batch")]
    Columns(#[from] ArrowError),
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
}

impl Decoder {
    /// A decoder for the columns and options of a format.
    pub fn new(format: &Format) -> Result<Self, FormatError> {
        Ok(match format.kind {
            FormatKind::Json => Self::Json(json::JsonDecoder::new(format)?),
            FormatKind::Csv => Self::Csv(csv::CsvDecoder::new(format)?),
            FormatKind::Raw => Self::Raw(raw::RawDecoder::new(format)?),
        })
    }

    /// The same, with columns of what stands beside the rows.
    pub fn with_message(format: &Format, parts: &MessageParts) -> Result<Self, FormatError> {
        let values = Self::new(format)?;
        if parts.is_empty() {
            return Ok(values);
        }
        let decoder = message::MessageDecoder::new(values, parts);
        Ok(Self::Message(Box::new(decoder)))
    }

    /// The rows of a chunk. Rows that do not fit are listed, never an error.
    pub fn decode(&mut self, chunk: &Arc<Chunk>) -> Result<Decoded, FormatError> {
        match self {
            Self::Json(decoder) => decoder.decode(chunk),
            Self::Csv(decoder) => decoder.decode(chunk),
            Self::Raw(decoder) => decoder.decode(chunk),
            Self::Message(decoder) => decoder.decode(chunk),
        }
    }

    /// The columns of every batch that this decoder makes.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Json(decoder) => decoder.schema(),
            Self::Csv(decoder) => decoder.schema(),
            Self::Raw(decoder) => decoder.schema(),
            Self::Message(decoder) => decoder.schema(),
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
}

impl<'a> Rows<'a> {
    fn new(chunk: &'a Chunk) -> Self {
        Self {
            chunk,
            text: std::str::from_utf8(&chunk.bytes).ok(),
            next: 0,
            fitting: 0,
            kept: None,
            refused: Vec::new(),
        }
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

    /// How many rows fit so far.
    fn kept_rows(&self) -> usize {
        self.fitting
    }

    fn into_decoded(self, rows: RecordBatch) -> Decoded {
        Decoded {
            rows,
            kept: self.kept,
            refused: self.refused,
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
