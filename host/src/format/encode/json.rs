//! A JSON object a line.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use wasmill_core::pipeline::document::{EncodeJson, NumberStyle};

use super::{Pieces, View, Viewed, print_decimal, print_integer, print_time};
use crate::format::{FormatError, base64, time};

/// The largest integer up to which a float holds every one.
const FLOAT_EXACT_MAX: u64 = 1 << 53;

/// Whole floats below this are their digits and `.0`: those of 32 bits, and of 64.
const NARROW_MAX: f64 = 1e7;
const WIDE_MAX: f64 = 1e15;

/// Writes rows as JSON lines.
#[derive(Debug)]
pub struct JsonEncoder {
    options: EncodeJson,
    /// `"name":` of each column.
    keys: Vec<Vec<u8>>,
}

impl JsonEncoder {
    /// An encoder for rows of this schema.
    pub fn new(schema: &SchemaRef, options: EncodeJson) -> Self {
        Self {
            keys: schema
                .fields()
                .iter()
                .map(|field| key(field.name()))
                .collect(),
            options,
        }
    }

    /// Appends every row and a line end behind each.
    pub fn encode(&self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let columns = super::view(rows)?;
        for row in 0..rows.num_rows() {
            self.object(&columns, row, out);
            out.push(b'\n');
        }
        Ok(())
    }

    /// Appends every row by itself.
    pub fn encode_each(&self, rows: &RecordBatch, out: &mut Pieces) -> Result<(), FormatError> {
        let columns = super::view(rows)?;
        for row in 0..rows.num_rows() {
            self.object(&columns, row, out.bytes());
            out.end();
        }
        Ok(())
    }

    fn object(&self, columns: &[Viewed<'_>], row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (key, column)) in self.keys.iter().zip(columns).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            column.write(row, &self.options, out);
        }
        out.push(b'}');
    }
}

/// `"name":`.
pub(super) fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    write_text(name, &mut key);
    key.push(b':');
    key
}

impl Viewed<'_> {
    /// Appends a value as JSON.
    pub(crate) fn write(&self, row: usize, options: &EncodeJson, out: &mut Vec<u8>) {
        if self.array.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.view {
            View::Bool(values) => {
                out.extend_from_slice(if values.value(row) { b"true" } else { b"false" })
            }
            View::I8(values) => print_integer(values[row], out),
            View::I16(values) => print_integer(values[row], out),
            View::I32(values) => print_integer(values[row], out),
            View::I64(values) => {
                let large = values[row].unsigned_abs() > FLOAT_EXACT_MAX;
                quoted(
                    large && options.large_integers == NumberStyle::String,
                    out,
                    |out| print_integer(values[row], out),
                );
            }
            View::U8(values) => print_integer(values[row], out),
            View::U16(values) => print_integer(values[row], out),
            View::U32(values) => print_integer(values[row], out),
            View::U64(values) => {
                let large = values[row] > FLOAT_EXACT_MAX;
                quoted(
                    large && options.large_integers == NumberStyle::String,
                    out,
                    |out| print_integer(values[row], out),
                );
            }
            View::F32(values) => write_float(values[row], values[row].into(), NARROW_MAX, out),
            View::F64(values) => write_float(values[row], values[row], WIDE_MAX, out),
            View::Decimal(values, scale) => {
                quoted(options.decimals == NumberStyle::String, out, |out| {
                    print_decimal(values[row], *scale, out)
                });
            }
            View::Date(values) => quoted(true, out, |out| {
                time::print_date(i64::from(values[row]), out)
            }),
            View::Timestamp(values) => print_time(values[row], options.timestamps, b"\"", out),
            View::Text(values) => write_text(values.value(row), out),
            View::Octets(values) => quoted(true, out, |out| base64::encode(values.value(row), out)),
            View::Fixed(values) => quoted(true, out, |out| base64::encode(values.value(row), out)),
            View::List(list, items) => {
                let offsets = list.value_offsets();
                out.push(b'[');
                for item in offsets[row]..offsets[row + 1] {
                    if item > offsets[row] {
                        out.push(b',');
                    }
                    items.write(item as usize, options, out);
                }
                out.push(b']');
            }
            View::Struct(fields) => {
                out.push(b'{');
                for (index, (key, field)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(key);
                    field.write(row, options, out);
                }
                out.push(b'}');
            }
        }
    }
}

fn quoted(quoted: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if quoted {
        out.push(b'"');
    }
    write(out);
    if quoted {
        out.push(b'"');
    }
}

/// The shortest text that reads back as the same float; what JSON has no number for is a string.
fn write_float<F: serde::Serialize>(value: F, wide: f64, whole_max: f64, out: &mut Vec<u8>) {
    let text: &[u8] = match wide {
        wide if wide.is_nan() => b"\"NaN\"",
        f64::INFINITY => b"\"Infinity\"",
        f64::NEG_INFINITY => b"\"-Infinity\"",
        // Sums and counts are often whole, and an integer's digits cost a fraction of a float's.
        wide if wide.trunc() == wide && wide.abs() < whole_max && wide != 0.0 => {
            print_integer(wide as i64, out);
            b".0"
        }
        _ => {
            serde_json::to_writer(out, &value).expect("a float into memory cannot fail");
            return;
        }
    };
    out.extend_from_slice(text);
}

/// A string with its quotes and escapes.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[from..at]);
        if escape.is_empty() {
            write!(out, "\\u{byte:04x}").expect("memory takes every byte");
        } else {
            out.extend_from_slice(escape);
        }
        from = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{NARROW_MAX, WIDE_MAX, write_float};

    proptest! {
        #[test]
        fn whole_floats_are_written_as_all_floats_are(
            whole in -2_000_000_000_000_000_i64..2_000_000_000_000_000,
            shift in 0..50,
            any in any::<f64>().prop_filter("JSON has no number for it", |it| it.is_finite()),
        ) {
            for wide in [(whole >> shift) as f64, any, 0.0, -0.0, 0.5] {
                let mut out = Vec::new();
                write_float(wide, wide, WIDE_MAX, &mut out);
                prop_assert_eq!(out, serde_json::to_vec(&wide).expect("a float"));
                let narrow = wide as f32;
                if narrow.is_finite() {
                    let mut out = Vec::new();
                    write_float(narrow, narrow.into(), NARROW_MAX, &mut out);
                    prop_assert_eq!(out, serde_json::to_vec(&narrow).expect("a float"));
                }
            }
        }
    }
}
