//! CSV (RFC 4180): one record a row, by the header's names or in the declared order.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use bytes::Bytes;
use memchr::memchr;
use serde_json::Value;
use wasmill_core::{lineage::Chunk, pipeline::Format};

use super::{
    Decoded, FormatError, Rows,
    column::Column,
    layout::{Layout, Shape},
    scalar::{self, Kind, Rules, quote},
};

/// The byte around fields with delimiters, quotes or line ends.
pub(super) const QUOTE: u8 = b'"';

/// Reads CSV records into the declared columns.
#[derive(Debug)]
pub struct CsvDecoder {
    layout: Layout,
    columns: Vec<Column>,
    targets: Vec<Target>,
    rules: Rules,
    delimiter: u8,
    null: Vec<u8>,
    /// The last header, and which column each of its fields goes to. Without a header: the
    /// declared order.
    header: Bytes,
    order: Vec<Option<usize>>,
    has_header: bool,
    scratch: Vec<u8>,
}

/// A declared column.
#[derive(Debug)]
struct Target {
    /// Its node in the layout, which is also its builder.
    node: usize,
    kind: Kind,
    header_name: String,
    nullable: bool,
    default: Option<Value>,
}

impl CsvDecoder {
    /// A decoder for the columns and options of a format.
    pub fn new(format: &Format) -> Result<Self, FormatError> {
        // In CSV a path is the header's name, dots and all.
        let mut flat = format.columns.clone();
        for column in &mut flat {
            column.path = vec![column.path.join(".")];
        }
        let layout = Layout::new(&flat, format.timestamp)?;
        let targets: Result<Vec<_>, _> = layout
            .roots
            .iter()
            .zip(flat)
            .map(|(node, column)| match layout.nodes[*node].shape {
                Shape::Scalar(kind) => Ok(Target {
                    node: *node,
                    kind,
                    header_name: layout.nodes[*node].name.clone(),
                    nullable: column.field.is_nullable(),
                    default: column.default,
                }),
                _ => Err(FormatError::Type {
                    place: column.field.name().clone(),
                    data_type: column.field.data_type().to_string(),
                }),
            })
            .collect();
        let targets = targets?;
        let mut decoder = Self {
            columns: layout.columns(),
            layout,
            order: (0..targets.len()).map(Some).collect(),
            targets,
            rules: Rules::new(format, true)?,
            delimiter: format.csv.delimiter.bytes().next().unwrap_or(b','),
            null: format.csv.null.clone().into_bytes(),
            header: Bytes::new(),
            has_header: format.csv.header,
            scratch: Vec::new(),
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
        if self.has_header && self.header != chunk.header {
            self.read_header(&chunk.header);
        }
        let mut rows = Rows::new(chunk);
        while let Some((row, text)) = rows.next() {
            let done = text.and_then(|text| self.record(text));
            if done.is_err() {
                self.layout.truncate(0, rows.kept_rows(), &mut self.columns);
            }
            rows.done(row, done);
        }
        let batch = self.layout.finish(rows.kept_rows(), &mut self.columns)?;
        Ok(rows.into_decoded(batch))
    }

    fn read_header(&mut self, header: &Bytes) {
        self.header = header.clone();
        self.order.clear();
        if header.is_empty() {
            // Rows of a topic, which have none: perhaps behind files, which have one.
            self.order.extend((0..self.targets.len()).map(Some));
            return;
        }
        let mut at = Some(0);
        // A header that is no record names no further column: every row will say what is missing.
        while let Some(start) = at
            && let Ok((next, _)) = field(header, start, self.delimiter, &mut self.scratch)
        {
            let name = self.scratch.trim_ascii();
            let column = |target: &Target| target.header_name.as_bytes() == name;
            let found = self.targets.iter().position(column);
            let found = found.filter(|found| !self.order.contains(&Some(*found)));
            self.order.push(found);
            at = next;
        }
    }

    /// One record into the columns.
    fn record(&mut self, text: &[u8]) -> Result<(), String> {
        let (mut at, mut count) = (Some(0), 0);
        while let Some(start) = at {
            let (end, quoted) = field(text, start, self.delimiter, &mut self.scratch)?;
            if let Some(Some(column)) = self.order.get(count).copied() {
                self.value(column, quoted).map_err(|reason| {
                    format!(
                        "column `{}` at byte {start}: {reason}",
                        self.targets[column].header_name
                    )
                })?;
            }
            (at, count) = (end, count + 1);
        }
        if count != self.order.len() {
            let owner = match self.header.is_empty() {
                true => "declaration",
                false => "header",
            };
            return Err(format!(
                "the record has {count} fields, and the {owner} {}",
                self.order.len()
            ));
        }
        for column in 0..self.targets.len() {
            if !self.order.contains(&Some(column)) {
                self.absent(column)?;
            }
        }
        Ok(())
    }

    /// The field in `scratch` into a column.
    fn value(&mut self, column: usize, quoted: bool) -> Result<(), String> {
        let target = &self.targets[column];
        let text = match target.kind {
            Kind::Text => self.scratch.as_slice(),
            _ => self.scratch.trim_ascii(),
        };
        let builder = &mut self.columns[target.node];
        if !quoted && text == self.null {
            if target.nullable {
                builder.push_null();
                return Ok(());
            }
            if target.default.is_some() {
                return self.absent(column);
            }
            if target.kind != Kind::Text {
                return Err(format!(
                    "{} means null, but the column is not nullable",
                    quote(text)
                ));
            }
        }
        scalar::push_text(&mut builder.values, target.kind, text, &self.rules)?;
        builder.mark_valid();
        Ok(())
    }

    /// A column that the header does not name, or whose null has a default.
    fn absent(&mut self, column: usize) -> Result<(), String> {
        let target = &self.targets[column];
        let builder = &mut self.columns[target.node];
        match &target.default {
            None | Some(Value::Null) if target.nullable => {
                builder.push_null();
                return Ok(());
            }
            None => {
                return Err(format!(
                    "column `{}` is not in the header, and is neither nullable nor has a default",
                    target.header_name
                ));
            }
            Some(default) => push_default(builder, target.kind, default, &self.rules)?,
        }
        builder.mark_valid();
        Ok(())
    }

    /// Reads every default once, so that a wrong one is found before the first row.
    fn check_defaults(&mut self) -> Result<(), FormatError> {
        for column in 0..self.targets.len() {
            if self.targets[column].default.is_some() {
                let checked = self.absent(column);
                self.layout.truncate(0, 0, &mut self.columns);
                checked.map_err(|reason| FormatError::Default {
                    column: self.targets[column].header_name.clone(),
                    reason,
                })?;
            }
        }
        Ok(())
    }
}

fn push_default(
    builder: &mut Column,
    kind: Kind,
    default: &Value,
    rules: &Rules,
) -> Result<(), String> {
    let values = &mut builder.values;
    match default {
        Value::String(text) => scalar::push_text(values, kind, text.as_bytes(), rules),
        Value::Number(number) => {
            scalar::push_number(values, kind, number.to_string().as_bytes(), rules)
        }
        Value::Bool(value) => scalar::push_bool(values, kind, *value),
        other => Err(format!(
            "{} is not {}",
            quote(other.to_string().as_bytes()),
            kind.expected()
        )),
    }
}

/// Copies the field at `start` into `out`, without its quotes. Returns where the next one starts,
/// if there is one, and whether this one was quoted.
fn field(
    text: &[u8],
    start: usize,
    delimiter: u8,
    out: &mut Vec<u8>,
) -> Result<(Option<usize>, bool), String> {
    out.clear();
    let rest = &text[start..];
    if rest.first() != Some(&QUOTE) {
        let end = memchr(delimiter, rest);
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        return Ok((end.map(|end| start + end + 1), false));
    }
    let mut at = start + 1;
    loop {
        let len = memchr(QUOTE, &text[at..])
            .ok_or_else(|| format!("the quote at byte {start} is never closed"))?;
        out.extend_from_slice(&text[at..at + len]);
        at += len + 1;
        match text.get(at) {
            Some(&QUOTE) => out.push(QUOTE),
            None => return Ok((None, true)),
            Some(byte) if *byte == delimiter => return Ok((Some(at + 1), true)),
            Some(_) => return Err(format!("text stands behind the closing quote at byte {at}")),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests;
