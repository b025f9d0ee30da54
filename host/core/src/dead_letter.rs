//! The columns of dead letters: rows that failed, and why.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::{Value, json};

use crate::data_type;

/// What became of a row that failed.
pub mod kind {
    /// The bytes do not fit the source's columns.
    pub const DECODE: &str = "decode";
    /// The plugin refused the row.
    pub const REJECT: &str = "reject";
    /// The plugin failed on the row.
    pub const FAULT: &str = "fault";
}

/// The columns of every dead-letter stream, in this order.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `at` | `string` | the source or operator where it failed |
/// | `kind` | `string` | one of [`kind`] |
/// | `reason` | `string` | the message |
/// | `plugin` | `string?` | SHA-256 of the plugin |
/// | `log` | `string?` | what the guest logged in the failed run |
/// | `cpu-us` | `u64?` | CPU time of the call that failed, in microseconds |
/// | `split` | `string?` | the source split that the row goes back to |
/// | `offset` | `u64?` | the offset in that split |
/// | `original` | `string?` | the source's bytes of that row, where they are text |
/// | `original-bytes` | `bytes?` | the same, where they are not |
/// | `row` | `string?` | a row that an operator emitted, as JSON with its lineage |
/// | `key` | `string?` | the key of a topic's record, where it is text |
/// | `key-bytes` | `bytes?` | the same, where it is not |
/// | `headers` | `string?` | the headers of a topic's record, as JSON: see [`headers_json`] |
/// | `time` | `timestamp?` | the time of a topic's record |
pub fn schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("at", false),
        text("kind", false),
        text("reason", false),
        text("plugin", true),
        text("log", true),
        Field::new("cpu-us", DataType::UInt64, true),
        text("split", true),
        Field::new("offset", DataType::UInt64, true),
        text("original", true),
        Field::new("original-bytes", DataType::Binary, true),
        text("row", true),
        text("key", true),
        Field::new("key-bytes", DataType::Binary, true),
        text("headers", true),
        Field::new("time", data_type::timestamp(), true),
    ]))
}

/// Headers as JSON: a list in the record's order, each with its `name` and its `value`, or with
/// `value-base64` where that is no text; a header without a value has neither. None where there are
/// no headers.
pub fn headers_json<'a>(
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    base64: impl Fn(&[u8]) -> String,
) -> Option<String> {
    let all: Vec<Value> = headers
        .map(|(name, value)| {
            let mut header = json!({ "name": String::from_utf8_lossy(name) });
            match value.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
                None => {}
                Some((Ok(text), _)) => header["value"] = text.into(),
                Some((Err(_), bytes)) => header["value-base64"] = base64(bytes).into(),
            }
            header
        })
        .collect();
    (!all.is_empty()).then(|| Value::Array(all).to_string())
}
