//! Rows as Avro data in a registry's wire format.

mod derive;

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use wasmill_core::pipeline::document::EncodeRegistered;

use super::{Pieces, View, Viewed, registered};
use crate::format::{FormatError, registry::Registration, wire};

pub(crate) use derive::{is_name, name_of, schema_text};

/// Writes a datum a row, with the number of its schema before it.
#[derive(Debug)]
pub struct AvroEncoder {
    /// The schema's number in the registry.
    number: u32,
}

impl AvroEncoder {
    /// Registers the schema of the rows.
    ///
    /// # Errors
    /// If Avro has no such columns, or the registry does not take them.
    pub fn open(
        schema: &SchemaRef,
        options: &EncodeRegistered,
        topic: Option<&str>,
    ) -> Result<Self, FormatError> {
        let name = options.name.as_deref();
        let name = name.map_or_else(|| name_of(topic.unwrap_or("row")), str::to_owned);
        let registration = Registration {
            subject: options.subject_of(topic),
            language: "AVRO",
            text: schema_text(schema, &name)?,
            add: options.register,
        };
        let number = registered(&options.registry, registration)?;
        Ok(Self { number })
    }

    /// Appends every row by itself.
    pub fn encode_each(&self, rows: &RecordBatch, out: &mut Pieces) -> Result<(), FormatError> {
        let columns = super::view(rows)?;
        let fields = rows.schema_ref().fields();
        for row in 0..rows.num_rows() {
            wire::push_prefix(self.number, out.bytes());
            for (column, field) in columns.iter().zip(fields) {
                push(column, field.is_nullable(), row, out.bytes());
            }
            out.end();
        }
        Ok(())
    }
}

/// Appends a value, behind the branch of its union where it may be null.
fn push(column: &Viewed<'_>, nullable: bool, row: usize, out: &mut Vec<u8>) {
    if nullable {
        let is_null = column.array.is_null(row);
        push_long(i64::from(!is_null), out);
        if is_null {
            return;
        }
    }
    match &column.view {
        View::Bool(values) => out.push(u8::from(values.value(row))),
        View::I8(values) => push_long(values[row].into(), out),
        View::I16(values) => push_long(values[row].into(), out),
        View::I32(values) | View::Date(values) => push_long(values[row].into(), out),
        View::I64(values) | View::Timestamp(values) => push_long(values[row], out),
        View::U8(values) => push_long(values[row].into(), out),
        View::U16(values) => push_long(values[row].into(), out),
        View::U32(values) => push_long(values[row].into(), out),
        // Beyond what a long holds: a decimal without places.
        View::U64(values) => push_unscaled(values[row].into(), out),
        View::F32(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        View::F64(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        View::Decimal(values, _) => push_unscaled(values[row], out),
        View::Text(values) => push_octets(values.value(row).as_bytes(), out),
        View::Octets(values) => push_octets(values.value(row), out),
        View::Fixed(values) => out.extend_from_slice(values.value(row)),
        View::List(list, items) => {
            let offsets = list.value_offsets();
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            if start < end {
                push_long((end - start) as i64, out);
            }
            let nullable = match list.data_type() {
                arrow_schema::DataType::List(item) => item.is_nullable(),
                _ => false,
            };
            for item in start..end {
                push(items, nullable, item, out);
            }
            push_long(0, out);
        }
        View::Struct(children) => {
            let arrow_schema::DataType::Struct(fields) = column.array.data_type() else {
                return;
            };
            for ((_, child), field) in children.iter().zip(fields) {
                push(child, field.is_nullable(), row, out);
            }
        }
    }
}

/// A whole number: zigzag, seven bits a byte.
#[inline]
fn push_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn push_octets(octets: &[u8], out: &mut Vec<u8>) {
    push_long(octets.len() as i64, out);
    out.extend_from_slice(octets);
}

/// A number in as few bytes as hold it, the highest first.
fn push_unscaled(value: i128, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xFF } else { 0 };
    let is_needed = |at: usize| bytes[at] != sign || (bytes[at + 1] ^ sign) & 0x80 != 0;
    let start = (0..bytes.len() - 1).find(|at| is_needed(*at));
    push_octets(&bytes[start.unwrap_or(bytes.len() - 1)..], out);
}

#[cfg(test)]
mod tests;
