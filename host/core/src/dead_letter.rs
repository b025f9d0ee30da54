//! The columns of dead letters: rows that failed, and why.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

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
/// | `split` | `string?` | the source split that the row goes back to |
/// | `offset` | `u64?` | the offset in that split |
/// | `original` | `string?` | the source's bytes of that row, where they are text |
/// | `original-bytes` | `bytes?` | the same, where they are not |
/// | `row` | `string?` | a row that an operator emitted, as JSON with its lineage |
pub fn schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("at", false),
        text("kind", false),
        text("reason", false),
        text("plugin", true),
        text("log", true),
        text("split", true),
        Field::new("offset", DataType::UInt64, true),
        text("original", true),
        Field::new("original-bytes", DataType::Binary, true),
        text("row", true),
    ]))
}
