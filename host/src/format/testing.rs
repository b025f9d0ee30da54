//! What the tests of formats and connectors share.

use std::sync::Arc;

use arrow_array::RecordBatch;
use wasmill_core::{
    data_type,
    lineage::Chunk,
    pipeline::{ColumnSpec, Format, FormatKind},
};

use serde_json::Value;

use super::{Decoded, Decoder, GivenSchema, Schemas, encode::JsonEncoder, registry::SchemaText};

/// A format with these columns, and every option at its default.
pub(crate) fn format(kind: FormatKind, columns: &[(&str, &str)]) -> Format {
    let column = |(name, ty): &(&str, &str)| ColumnSpec {
        field: data_type::parse_field(name, ty).expect("a type"),
        path: vec![name.to_string()],
        timestamp: None,
        default: None,
    };
    Format::plain(kind, columns.iter().map(column).collect())
}

/// The one schema of all records.
pub(crate) fn one_schema(language: &str, text: String) -> Schemas {
    Schemas::One(Arc::new(GivenSchema {
        path: "the.schema".into(),
        text: SchemaText {
            language: language.into(),
            text,
            references: Vec::new(),
        },
        message: None,
    }))
}

/// A chunk with one row a text.
pub(crate) fn chunk<T: AsRef<[u8]>>(rows: &[T]) -> Arc<Chunk> {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for row in rows {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(row.as_ref());
        spans.push((start, bytes.len() as u32));
        bytes.push(b'\n');
    }
    Arc::new(Chunk {
        bytes: bytes.into(),
        spans,
        ..Chunk::default()
    })
}

/// The rows of JSON lines, all of which fit.
pub(crate) fn json_rows(columns: &[(&str, &str)], text: &str) -> RecordBatch {
    let lines: Vec<&str> = text.lines().collect();
    let decoded = Decoder::new(&format(FormatKind::Json, columns))
        .and_then(|mut decoder| decoder.decode(&chunk(&lines)))
        .expect("good columns");
    assert_eq!(decoded.refused, []);
    decoded.rows
}

/// What became of each record: its row as JSON, or why it does not fit.
pub(crate) fn outcomes(decoded: Decoded, records: usize) -> Vec<Value> {
    let mut text = Vec::new();
    JsonEncoder::new(&decoded.rows.schema(), Default::default())
        .encode(&decoded.rows, &mut text)
        .expect("good columns");
    let mut found = vec![Value::Null; records];
    for refused in decoded.refused {
        found[refused.row as usize] = refused.reason.into();
    }
    let text = String::from_utf8(text).expect("JSON is text");
    let free = found.iter_mut().filter(|found| found.is_null());
    for (found, line) in free.zip(text.lines()) {
        *found = serde_json::from_str(line).expect("JSON");
    }
    found
}
