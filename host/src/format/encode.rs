//! Rows back into bytes: JSON lines, CSV, a column as it is.

mod avro;
mod csv;
mod json;
mod metadata;
mod protobuf;
mod raw;

use std::sync::Arc;

use arrow_array::{
    Array, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray,
    StructArray,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, SchemaRef};
use wasmill_core::pipeline::{
    EncodeSpec,
    document::{RegistryDocument, TimestampStyle},
};

use super::{
    FormatError,
    registry::{Registration, Registry, RegistryError, SchemaText},
};
use crate::spawn;

pub use avro::AvroEncoder;
pub use csv::CsvEncoder;
pub use json::JsonEncoder;
pub use metadata::Metadata;
pub use protobuf::ProtobufEncoder;
pub use raw::RawEncoder;

/// Turns rows into text.
#[derive(Debug)]
pub enum Encoder {
    /// A JSON object a line.
    Json(JsonEncoder),
    /// Comma-separated values, a record a line.
    Csv(CsvEncoder),
    /// A column's bytes as they are.
    Raw(RawEncoder),
    /// Avro data in a registry's wire format.
    Avro(AvroEncoder),
    /// Protobuf messages in a registry's wire format.
    Protobuf(ProtobufEncoder),
}

impl Encoder {
    /// An encoder for rows of this schema, of any format, for a topic if it is one. Schemas are
    /// registered.
    ///
    /// # Errors
    /// If the registry does not take the schema, or does not answer.
    pub fn open(
        schema: &SchemaRef,
        spec: &EncodeSpec,
        topic: Option<&str>,
    ) -> Result<Self, FormatError> {
        Ok(match spec {
            EncodeSpec::Avro(options) => Self::Avro(AvroEncoder::open(schema, options, topic)?),
            EncodeSpec::Protobuf(options) => {
                Self::Protobuf(ProtobufEncoder::open(schema, options, topic)?)
            }
            text => Self::new(schema, text),
        })
    }

    /// An encoder for rows of this schema as text.
    ///
    /// # Panics
    /// If the format is none: only topics have such, and the document was checked.
    pub fn new(schema: &SchemaRef, spec: &EncodeSpec) -> Self {
        match spec {
            EncodeSpec::Json(options) => Self::Json(JsonEncoder::new(schema, options.clone())),
            EncodeSpec::Csv(options) => Self::Csv(CsvEncoder::new(schema, options)),
            EncodeSpec::Raw(raw) => Self::Raw(RawEncoder::new(schema, raw)),
            EncodeSpec::Avro(_) | EncodeSpec::Protobuf(_) => {
                unreachable!("the document was checked")
            }
        }
    }

    /// Appends what stands before the first row.
    pub fn start(&self, out: &mut Vec<u8>) {
        if let Self::Csv(encoder) = self {
            encoder.header(out);
        }
    }

    /// Appends every row and a line end behind each.
    pub fn encode(&self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            Self::Json(encoder) => encoder.encode(rows, out),
            Self::Csv(encoder) => encoder.encode(rows, out),
            Self::Raw(encoder) => encoder.encode(rows, out),
            Self::Avro(_) | Self::Protobuf(_) => Err(FormatError::Unframed),
        }
    }

    /// Appends every row by itself, without what would stand between rows.
    pub fn encode_each(&self, rows: &RecordBatch, out: &mut Pieces) -> Result<(), FormatError> {
        match self {
            Self::Json(encoder) => encoder.encode_each(rows, out),
            Self::Csv(encoder) => encoder.encode_each(rows, out),
            Self::Raw(encoder) => encoder.encode_each(rows, out),
            Self::Avro(encoder) => encoder.encode_each(rows, out),
            Self::Protobuf(encoder) => encoder.encode_each(rows, out),
        }
    }
}

/// The number of a schema in a registry.
fn registered(registry: &RegistryDocument, registration: Registration) -> Result<u32, FormatError> {
    let registry = Registry::open(registry)?;
    waited(registry.register(registration))
}

/// The newest version of a subject, if it has any.
fn latest(
    registry: &RegistryDocument,
    subject: &str,
) -> Result<Option<Arc<SchemaText>>, FormatError> {
    let registry = Registry::open(registry)?;
    waited(registry.latest(subject.into()))
}

/// Waits for an answer: a sink begins on a thread that may.
fn waited<T: Send>(
    answer: impl Future<Output = Result<T, RegistryError>> + Send,
) -> Result<T, FormatError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| RegistryError::System(error.to_string()))?;
    Ok(spawn::aside("registering", || runtime.block_on(answer))?)
}

/// Rows as bytes, each by itself.
#[derive(Debug, Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    /// Where each ends, and whether there is anything at all.
    ends: Vec<(usize, bool)>,
}

impl Pieces {
    /// Forgets all of them, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The bytes of a row; none where it has none, which is less than empty ones.
    ///
    /// # Panics
    /// If there are not so many rows.
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let begin = row.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (end, is_there) = self.ends[row];
        is_there.then(|| &self.bytes[begin..end])
    }

    /// Where the bytes of the next row are appended; [`Pieces::end`] follows.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The row is complete.
    pub(super) fn end(&mut self) {
        self.ends.push((self.bytes.len(), true));
    }

    /// The next row has no bytes.
    pub(super) fn nothing(&mut self) {
        self.ends.push((self.bytes.len(), false));
    }
}

/// The columns of some rows.
pub(crate) fn view(rows: &RecordBatch) -> Result<Vec<Viewed<'_>>, FormatError> {
    let columns = rows.columns().iter();
    columns.map(|column| Viewed::new(column.as_ref())).collect()
}

/// A column, its type known, so that a row costs one match a value.
pub(crate) enum View<'a> {
    Bool(&'a BooleanArray),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    Decimal(&'a [i128], u32),
    Date(&'a [i32]),
    Timestamp(&'a [i64]),
    Text(&'a StringArray),
    Octets(&'a BinaryArray),
    Fixed(&'a FixedSizeBinaryArray),
    List(&'a ListArray, Box<Viewed<'a>>),
    Struct(Vec<(Vec<u8>, Viewed<'a>)>),
}

/// A column's values with their nulls.
pub(crate) struct Viewed<'a> {
    pub(crate) array: &'a dyn Array,
    pub(crate) view: View<'a>,
}

impl<'a> Viewed<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, FormatError> {
        let view = match array.data_type() {
            DataType::Boolean => View::Bool(array.as_boolean()),
            DataType::Int8 => View::I8(array.as_primitive::<Int8Type>().values()),
            DataType::Int16 => View::I16(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => View::I32(array.as_primitive::<Int32Type>().values()),
            DataType::Int64 => View::I64(array.as_primitive::<Int64Type>().values()),
            DataType::UInt8 => View::U8(array.as_primitive::<UInt8Type>().values()),
            DataType::UInt16 => View::U16(array.as_primitive::<UInt16Type>().values()),
            DataType::UInt32 => View::U32(array.as_primitive::<UInt32Type>().values()),
            DataType::UInt64 => View::U64(array.as_primitive::<UInt64Type>().values()),
            DataType::Float32 => View::F32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => View::F64(array.as_primitive::<Float64Type>().values()),
            DataType::Decimal128(_, scale) => View::Decimal(
                array.as_primitive::<Decimal128Type>().values(),
                u32::try_from(*scale).unwrap_or(0),
            ),
            DataType::Date32 => View::Date(array.as_primitive::<Date32Type>().values()),
            DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, _) => {
                View::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Utf8 => View::Text(array.as_string()),
            DataType::Binary => View::Octets(array.as_binary()),
            DataType::FixedSizeBinary(_) => View::Fixed(array.as_fixed_size_binary()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                View::List(list, Box::new(Viewed::new(list.values().as_ref())?))
            }
            DataType::Struct(_) => View::Struct(fields(array.as_struct())?),
            other => {
                return Err(FormatError::Type {
                    place: "of a sink".into(),
                    data_type: other.to_string(),
                });
            }
        };
        Ok(Self { array, view })
    }
}

fn fields(array: &StructArray) -> Result<Vec<(Vec<u8>, Viewed<'_>)>, FormatError> {
    array
        .fields()
        .iter()
        .zip(array.columns())
        .map(|(field, column)| Ok((json::key(field.name()), Viewed::new(column.as_ref())?)))
        .collect()
}

/// Writes an unscaled decimal with its point.
pub(super) fn print_decimal(value: i128, scale: u32, out: &mut Vec<u8>) {
    let scale = scale as usize;
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    let whole = digits.len().saturating_sub(scale);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits[..whole] });
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale.saturating_sub(digits.len()), b'0');
        out.extend_from_slice(&digits[whole..]);
    }
}

/// Writes a time in the declared form; quoted if that is text.
pub(super) fn print_time(micros: i64, form: TimestampStyle, quote: &[u8], out: &mut Vec<u8>) {
    match form {
        TimestampStyle::Rfc3339 => {
            out.extend_from_slice(quote);
            super::time::print_timestamp(micros, out);
            out.extend_from_slice(quote);
        }
        TimestampStyle::Microseconds => print_integer(micros, out),
        TimestampStyle::Milliseconds => print_places(micros, 3, out),
        TimestampStyle::Seconds => print_places(micros, 6, out),
    }
}

/// A decimal without the zeros at its end: whole units stay integers.
fn print_places(micros: i64, scale: u32, out: &mut Vec<u8>) {
    print_decimal(i128::from(micros), scale, out);
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
}

pub(super) fn print_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests;
