//! Dead letters: rows that failed, as rows of their own stream with all that is known of them.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{BinaryBuilder, StringBuilder, UInt64Builder},
};
use arrow_schema::ArrowError;
use wasmill_core::{batch::Batch, dead_letter, lineage::Lineage};

/// Why one row failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The source or operator where it failed.
    pub at: Arc<str>,
    /// One of [`dead_letter::kind`].
    pub kind: &'static str,
    /// The message.
    pub reason: String,
    /// SHA-256 of the plugin; empty for sources.
    pub plugin: Arc<str>,
    /// What the guest logged in the failed run.
    pub log: String,
    /// The row as JSON, where an operator emitted it.
    pub row: Option<String>,
}

#[derive(Default)]
struct Letters {
    at: StringBuilder,
    kind: StringBuilder,
    reason: StringBuilder,
    plugin: StringBuilder,
    log: StringBuilder,
    split: StringBuilder,
    offset: UInt64Builder,
    original: StringBuilder,
    original_bytes: BinaryBuilder,
    row: StringBuilder,
}

/// Makes dead letters of rows, with their original bytes where a source still has them.
///
/// # Errors
/// Never, if the columns are as `dead_letter::schema` says.
pub fn letters(lineage: &Lineage, failures: &[Failure]) -> Result<Batch, ArrowError> {
    let mut letters = Letters::default();
    for (row, failure) in failures.iter().enumerate() {
        letters.push(lineage, row, failure);
    }
    Ok(Batch::new(letters.finish()?, lineage.clone()))
}

impl Letters {
    fn push(&mut self, lineage: &Lineage, row: usize, failure: &Failure) {
        self.at.append_value(&failure.at);
        self.kind.append_value(failure.kind);
        self.reason.append_value(&failure.reason);
        self.plugin
            .append_option(Some(&failure.plugin).filter(|plugin| !plugin.is_empty()));
        self.log
            .append_option(Some(&failure.log).filter(|log| !log.is_empty()));
        self.row.append_option(failure.row.as_ref());
        let source = lineage.source(row);
        self.split
            .append_option(source.map(|(chunk, _)| chunk.split_name.as_ref()));
        self.offset
            .append_option(lineage.position(row).map(|(_, offset)| offset));
        let bytes = source.and_then(|(chunk, at)| chunk.row(at));
        match bytes.as_deref().map(str::from_utf8) {
            Some(Ok(text)) => {
                self.original.append_value(text);
                self.original_bytes.append_null();
            }
            Some(Err(_)) => {
                self.original.append_null();
                self.original_bytes.append_option(bytes.as_deref());
            }
            None => {
                self.original.append_null();
                self.original_bytes.append_null();
            }
        }
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.at.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.plugin.finish()),
            Arc::new(self.log.finish()),
            Arc::new(self.split.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.original.finish()),
            Arc::new(self.original_bytes.finish()),
            Arc::new(self.row.finish()),
        ];
        RecordBatch::try_new(dead_letter::schema(), columns)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray, types::UInt64Type};
    use wasmill_core::lineage::{Ancestor, Chunk};

    use super::*;

    #[test]
    fn a_letter_has_the_sources_own_bytes() {
        let chunk = Chunk {
            first_offset: 7,
            split_name: "in.jsonl".into(),
            bytes: b"good\n\xff\xfe"[..].into(),
            spans: vec![(0, 4), (5, 7)],
            ..Chunk::default()
        };
        let lineage = Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), 2);
        let failure = Failure {
            at: "in".into(),
            kind: dead_letter::kind::DECODE,
            reason: "no".into(),
            plugin: "".into(),
            log: String::new(),
            row: None,
        };
        let batch = letters(&lineage, &[failure.clone(), failure]).expect("the schema's columns");
        let column = |name: &str| batch.rows.column_by_name(name).expect("a column").clone();
        assert_eq!(column("original").as_string::<i32>().value(0), "good");
        assert!(column("original").is_null(1));
        assert_eq!(
            column("original-bytes").as_binary::<i32>().value(1),
            b"\xff\xfe"
        );
        assert_eq!(
            column("offset").as_primitive::<UInt64Type>().values(),
            &[7, 8]
        );
    }
}
