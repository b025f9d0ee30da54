//! What the tests of formats and connectors share.

use std::sync::Arc;

use arrow_array::RecordBatch;
use wasmill_core::{
    data_type,
    lineage::Chunk,
    pipeline::{ColumnSpec, Format, FormatKind},
};

use super::Decoder;

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
