//! Rows as Protobuf messages in a registry's wire format.

mod derive;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use wasmill_core::pipeline::document::EncodeRegistered;

use super::{Pieces, View, Viewed, avro::name_of, latest, print_decimal, registered};
use crate::format::{
    FormatError,
    protobuf::schema::Schema,
    registry::{Registration, RegistryError, SchemaText},
    time, wire,
};
use derive::{Field, Message, Of};

/// The schema's message is its first.
const FIRST_MESSAGE: u8 = 0;
const MICROS: i64 = 1_000_000;

/// How bytes of a value are laid out, as tags say it.
mod wire_type {
    pub(super) const VARINT: u32 = 0;
    pub(super) const EIGHT: u32 = 1;
    pub(super) const OCTETS: u32 = 2;
    pub(super) const FOUR: u32 = 5;
}

/// Writes a message a row, with the number of its schema before it.
#[derive(Debug)]
pub struct ProtobufEncoder {
    /// The schema's number in the registry.
    number: u32,
    message: Message,
}

impl ProtobufEncoder {
    /// Registers the schema of the rows. Its fields keep the numbers that they have in the newest
    /// version.
    ///
    /// # Errors
    /// If Protobuf has no such columns, or the registry does not take them.
    pub fn open(
        schema: &SchemaRef,
        options: &EncodeRegistered,
        topic: Option<&str>,
    ) -> Result<Self, FormatError> {
        let subject = options.subject_of(topic);
        let earlier = latest(&options.registry, &subject)?;
        let names = (options.name.as_deref(), name_of(topic.unwrap_or("row")));
        let (message, text) = derived(schema, names, (&subject, earlier.as_deref()))?;
        let registration = Registration {
            subject,
            language: "PROTOBUF",
            text,
            add: options.register,
        };
        let number = registered(&options.registry, registration)?;
        Ok(Self { number, message })
    }

    /// Appends every row by itself.
    pub fn encode_each(&self, rows: &RecordBatch, out: &mut Pieces) -> Result<(), FormatError> {
        let columns = super::view(rows)?;
        for row in 0..rows.num_rows() {
            wire::push_prefix(self.number, out.bytes());
            out.bytes().push(FIRST_MESSAGE);
            push_message(&self.message, Columns::Rows(&columns), row, out.bytes());
            out.end();
        }
        Ok(())
    }
}

/// The message of rows, and the text of its schema, which follows an earlier one.
fn derived(
    schema: &SchemaRef,
    (name, own): (Option<&str>, String),
    (subject, earlier): (&str, Option<&SchemaText>),
) -> Result<(Message, String), FormatError> {
    let explain = |reason| FormatError::Schema {
        path: subject.into(),
        reason,
    };
    let earlier = match earlier {
        None => None,
        Some(earlier) if earlier.language != "PROTOBUF" => {
            let error = RegistryError::Incompatible {
                subject: subject.into(),
                words: format!("that it is in {}", earlier.language),
            };
            return Err(error.into());
        }
        Some(earlier) => Some(Schema::parse(&earlier.text, &earlier.references).map_err(explain)?),
    };
    let first = earlier.and_then(|earlier| earlier.first());
    let (message, text) = derive::derive(schema, (name, &own), first.as_ref())?;
    // What the registry would refuse in its own words.
    Schema::parse(&text, &[]).map_err(explain)?;
    Ok((message, text))
}

/// Where the columns of a message's fields are.
#[derive(Clone, Copy)]
enum Columns<'a> {
    Rows(&'a [Viewed<'a>]),
    Struct(&'a [(Vec<u8>, Viewed<'a>)]),
}

impl<'a> Columns<'a> {
    fn get(self, at: usize) -> &'a Viewed<'a> {
        match self {
            Self::Rows(columns) => &columns[at],
            Self::Struct(children) => &children[at].1,
        }
    }
}

fn push_message(message: &Message, columns: Columns<'_>, row: usize, out: &mut Vec<u8>) {
    for field in &message.fields {
        let column = columns.get(field.column);
        if column.array.is_null(row) {
            continue;
        }
        match &column.view {
            View::List(list, items) => {
                let offsets = list.value_offsets();
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                push_list(field, items, range, out);
            }
            _ if !field.explicit && is_zero(column, row) => {}
            _ => {
                push_tag(field.number, wire_type_of(column), out);
                push(&field.of, column, row, out);
            }
        }
    }
}

/// Numbers stand in a row, other values each behind its tag.
fn push_list(field: &Field, items: &Viewed<'_>, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
    if range.is_empty() {
        return;
    }
    let wire = wire_type_of(items);
    if wire != wire_type::OCTETS {
        push_tag(field.number, wire_type::OCTETS, out);
        return delimited(out, |out| {
            for item in range {
                push(&field.of, items, item, out);
            }
        });
    }
    for item in range {
        push_tag(field.number, wire, out);
        push(&field.of, items, item, out);
    }
}

fn push_tag(number: u32, wire: u32, out: &mut Vec<u8>) {
    push_varint(u64::from(number << 3 | wire), out);
}

fn wire_type_of(column: &Viewed<'_>) -> u32 {
    match &column.view {
        View::F32(_) => wire_type::FOUR,
        View::F64(_) => wire_type::EIGHT,
        View::Bool(_) | View::I8(_) | View::I16(_) | View::I32(_) | View::I64(_) => {
            wire_type::VARINT
        }
        View::U8(_) | View::U16(_) | View::U32(_) | View::U64(_) => wire_type::VARINT,
        _ => wire_type::OCTETS,
    }
}

/// Whether a value is the one that is not written.
fn is_zero(column: &Viewed<'_>, row: usize) -> bool {
    match &column.view {
        View::Bool(values) => !values.value(row),
        View::I8(values) => values[row] == 0,
        View::I16(values) => values[row] == 0,
        View::I32(values) => values[row] == 0,
        View::I64(values) => values[row] == 0,
        View::U8(values) => values[row] == 0,
        View::U16(values) => values[row] == 0,
        View::U32(values) => values[row] == 0,
        View::U64(values) => values[row] == 0,
        // Minus zero is not zero.
        View::F32(values) => values[row].to_bits() == 0,
        View::F64(values) => values[row].to_bits() == 0,
        View::Text(values) => values.value(row).is_empty(),
        View::Octets(values) => values.value(row).is_empty(),
        _ => false,
    }
}

/// A value that is not null.
fn push(of: &Of, column: &Viewed<'_>, row: usize, out: &mut Vec<u8>) {
    match &column.view {
        View::Bool(values) => out.push(u8::from(values.value(row))),
        View::I8(values) => push_signed(values[row].into(), out),
        View::I16(values) => push_signed(values[row].into(), out),
        View::I32(values) => push_signed(values[row].into(), out),
        View::I64(values) => push_signed(values[row], out),
        View::U8(values) => push_varint(values[row].into(), out),
        View::U16(values) => push_varint(values[row].into(), out),
        View::U32(values) => push_varint(values[row].into(), out),
        View::U64(values) => push_varint(values[row], out),
        View::F32(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        View::F64(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        View::Decimal(values, scale) => {
            delimited(out, |out| print_decimal(values[row], *scale, out));
        }
        View::Date(values) => delimited(out, |out| time::print_date(values[row].into(), out)),
        View::Timestamp(values) => delimited(out, |out| push_time(values[row], out)),
        View::Text(values) => push_octets(values.value(row).as_bytes(), out),
        View::Octets(values) => push_octets(values.value(row), out),
        View::Fixed(values) => push_octets(values.value(row), out),
        View::Struct(children) => {
            if let Of::Message(message) = of {
                delimited(out, |out| {
                    push_message(message, Columns::Struct(children), row, out);
                });
            }
        }
        // Lists of lists were refused.
        View::List(..) => {}
    }
}

/// The seconds and nanoseconds of a time; the latter count forwards, also before 1970.
fn push_time(micros: i64, out: &mut Vec<u8>) {
    let (seconds, micros) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    for (number, value) in [(1, seconds), (2, micros * 1000)] {
        if value != 0 {
            push_tag(number, wire_type::VARINT, out);
            push_signed(value, out);
        }
    }
}

/// A number that may be negative: as many bits as 64.
fn push_signed(value: i64, out: &mut Vec<u8>) {
    push_varint(value as u64, out);
}

/// Seven bits a byte.
#[inline]
fn push_varint(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn push_octets(octets: &[u8], out: &mut Vec<u8>) {
    push_varint(octets.len() as u64, out);
    out.extend_from_slice(octets);
}

/// What is written, with its length before it.
fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    // Most lengths take one byte.
    out.push(0);
    write(out);
    let end = out.len();
    let len = end - at - 1;
    if let Ok(len @ 0..0x80) = u8::try_from(len) {
        out[at] = len;
        return;
    }
    let width = (usize::BITS - len.leading_zeros()).div_ceil(7) as usize;
    out.resize(end + width - 1, 0);
    out.copy_within(at + 1..end, at + width);
    let mut rest = len;
    for byte in &mut out[at..at + width] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[at + width - 1] &= 0x7F;
}

#[cfg(test)]
mod tests;
