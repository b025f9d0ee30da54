//! Dead letters: rows that failed, as rows of their own with the columns of
//! [`dead_letter::schema`].

use std::{sync::Arc, time::Duration};

use arrow_array::{
    RecordBatch,
    builder::{BinaryBuilder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder},
};
use arrow_schema::ArrowError;
use wasmill_core::{
    batch::Batch,
    data_type, dead_letter,
    lineage::{Ancestor, Chunk, row_id},
    pipeline::document::EncodeJson,
};

use crate::format::{FormatError, base64, encode::JsonEncoder};

/// Why dead letters cannot be made of rows: mistakes of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LetterError {
    /// A row has no JSON.
    #[error("a row that failed cannot be written as JSON: {0}")]
    Row(#[from] FormatError),
    /// Columns that do not fit together.
    #[error("dead letters cannot be built: {0}")]
    Columns(#[from] ArrowError),
}

/// Why a row failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// The source or operator where it failed.
    pub at: &'a str,
    /// One of [`dead_letter::kind`].
    pub kind: &'a str,
    /// The message.
    pub reason: &'a str,
    /// SHA-256 of the plugin, if one was at work.
    pub plugin: Option<&'a str>,
    /// What the guest logged in the failed run.
    pub log: Option<&'a str>,
    /// CPU time of the call that failed.
    pub ran: Option<Duration>,
}

/// Gathers dead letters of one job.
#[derive(Debug)]
pub struct Letters {
    job: String,
    /// at, kind, reason, plugin, log, split.
    texts: [StringBuilder; 6],
    cpu_us: UInt64Builder,
    offset: UInt64Builder,
    original: StringBuilder,
    original_bytes: BinaryBuilder,
    row: StringBuilder,
    key: StringBuilder,
    key_bytes: BinaryBuilder,
    headers: StringBuilder,
    time: TimestampMicrosecondBuilder,
}

impl Letters {
    /// An empty collection.
    pub fn new(job: &str) -> Self {
        Self {
            job: job.into(),
            texts: Default::default(),
            cpu_us: UInt64Builder::new(),
            offset: UInt64Builder::new(),
            original: StringBuilder::new(),
            original_bytes: BinaryBuilder::new(),
            row: StringBuilder::new(),
            key: StringBuilder::new(),
            key_bytes: BinaryBuilder::new(),
            headers: StringBuilder::new(),
            time: dead_letter_times(),
        }
    }

    /// A row of a chunk that could not be decoded.
    pub fn push_undecoded(&mut self, failure: &Failure<'_>, chunk: &Chunk, row: u32) {
        self.push(failure, Some((chunk, row)));
        self.row.append_null();
    }

    /// A row of a batch that an operator refused or failed on. One that goes back to a source's
    /// bytes carries these; one that was computed on the way is written as JSON, with its id.
    pub fn push_row(
        &mut self,
        failure: &Failure<'_>,
        batch: &Batch,
        row: usize,
    ) -> Result<(), LetterError> {
        let source = batch.lineage.source(row);
        self.push(failure, source.map(|(chunk, at)| (&**chunk, at)));
        let has_bytes = source.is_some_and(|(chunk, at)| chunk.row(at).is_some());
        let is_source_row = matches!(batch.lineage.origin(row), Some((Ancestor::Chunk(_), _)));
        if has_bytes && is_source_row {
            self.row.append_null();
            return Ok(());
        }
        let mut text = b"{\"id\":\"".to_vec();
        // Names of jobs and operators need no escapes.
        row_id(&self.job, &batch.lineage, row, &mut text);
        text.extend_from_slice(b"\",\"columns\":");
        let encoder = JsonEncoder::new(&batch.rows.schema(), EncodeJson::default());
        encoder.encode(&batch.rows.slice(row, 1), &mut text)?;
        text.pop();
        text.push(b'}');
        self.row.append_value(String::from_utf8_lossy(&text));
        Ok(())
    }

    fn push(&mut self, failure: &Failure<'_>, source: Option<(&Chunk, u32)>) {
        let split = source.map(|(chunk, _)| &*chunk.split_name);
        let texts = [
            Some(failure.at),
            Some(failure.kind),
            Some(failure.reason),
            failure.plugin.filter(|plugin| !plugin.is_empty()),
            failure.log.filter(|log| !log.is_empty()),
            split,
        ];
        for (builder, text) in self.texts.iter_mut().zip(texts) {
            builder.append_option(text);
        }
        let micros = |ran: Duration| u64::try_from(ran.as_micros()).unwrap_or(u64::MAX);
        self.cpu_us.append_option(failure.ran.map(micros));
        let offset = source.map(|(chunk, row)| chunk.offset(row));
        self.offset.append_option(offset);
        let bytes = source.and_then(|(chunk, row)| {
            let (start, end) = *chunk.spans.get(row as usize)?;
            let bytes = chunk.bytes.get(start as usize..end as usize);
            bytes.filter(|_| !chunk.is_null(row))
        });
        push_bytes(bytes, &mut self.original, &mut self.original_bytes);
        let beside = source.and_then(|(chunk, row)| Some((chunk.beside.as_deref()?, row)));
        let key = beside.and_then(|(beside, row)| beside.key(row));
        push_bytes(key, &mut self.key, &mut self.key_bytes);
        let headers = beside.and_then(|(beside, row)| {
            let headers = beside.headers(row);
            dead_letter::headers_json(headers, base64_text)
        });
        self.headers.append_option(headers);
        let time = beside.and_then(|(beside, row)| beside.time(row));
        self.time.append_option(time);
    }

    /// How many letters there are.
    pub fn len(&self) -> usize {
        arrow_array::builder::ArrayBuilder::len(&self.offset)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The letters as rows; the collection is empty afterwards.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let [at, kind, reason, plugin, log, split] = &mut self.texts;
        let columns: Vec<arrow_array::ArrayRef> = vec![
            Arc::new(at.finish()),
            Arc::new(kind.finish()),
            Arc::new(reason.finish()),
            Arc::new(plugin.finish()),
            Arc::new(log.finish()),
            Arc::new(self.cpu_us.finish()),
            Arc::new(split.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.original.finish()),
            Arc::new(self.original_bytes.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.key_bytes.finish()),
            Arc::new(self.headers.finish()),
            Arc::new(self.time.finish()),
        ];
        RecordBatch::try_new(dead_letter::schema(), columns)
    }
}

/// Bytes go into one of two columns, by whether they are text.
fn push_bytes(bytes: Option<&[u8]>, texts: &mut StringBuilder, others: &mut BinaryBuilder) {
    let text = bytes.map(std::str::from_utf8);
    texts.append_option(text.and_then(Result::ok));
    others.append_option(bytes.filter(|_| text.is_some_and(|text| text.is_err())));
}

fn base64_text(octets: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode(octets, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn dead_letter_times() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_data_type(data_type::timestamp())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wasmill_core::lineage::{Cause, Derived, Lineage};

    use super::*;
    use crate::format::testing;

    fn failure<'a>(kind: &'a str, reason: &'a str) -> Failure<'a> {
        Failure {
            at: "rules",
            kind,
            reason,
            plugin: Some("abc"),
            log: Some(""),
            ran: (kind == dead_letter::kind::FAULT).then_some(Duration::from_micros(17)),
        }
    }

    /// A chunk, a row of it, and a row that an operator made of that.
    fn rows() -> (Arc<Chunk>, Batch, Batch) {
        let rows: [&[u8]; 2] = [b"{\"n\":1}", b"\xFF"];
        let chunk = testing::chunk(&rows);
        let source = Batch::new(
            testing::json_rows(&[("n", "u8")], "{\"n\":1}"),
            Lineage::whole(Ancestor::Chunk(Arc::clone(&chunk)), 1),
        );
        let derived = Derived {
            operator: "velocity".into(),
            plugin: "abc".into(),
            parent: source.lineage.clone(),
            causes: vec![Cause::Row { row: 0, ordinal: 2 }],
        };
        let made = Batch::new(
            testing::json_rows(&[("m", "u8")], "{\"m\":7}"),
            Lineage::whole(Ancestor::Derived(Arc::new(derived)), 1),
        );
        (chunk, source, made)
    }

    #[test]
    fn letters_carry_the_original_or_the_row() {
        let (chunk, source, made) = rows();
        let mut letters = Letters::new("fraud");
        letters.push_undecoded(&failure(dead_letter::kind::DECODE, "not UTF-8"), &chunk, 1);
        letters
            .push_row(&failure(dead_letter::kind::REJECT, "no"), &source, 0)
            .expect("a known type");
        letters
            .push_row(&failure(dead_letter::kind::FAULT, "trap"), &made, 0)
            .expect("a known type");
        assert_eq!(letters.len(), 3);
        let mut text = Vec::new();
        let rows = letters.finish().expect("the schema's columns");
        JsonEncoder::new(&rows.schema(), EncodeJson::default())
            .encode(&rows, &mut text)
            .expect("known types");
        let text = String::from_utf8(text).expect("JSON is text");
        let found: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let letter =
            |kind: &str, reason: &str, offset: u8, original: Value, bytes: Value, row: Value| {
                json!({"at": "rules", "kind": kind, "reason": reason, "plugin": "abc", "log": null,
                "cpu-us": (kind == "fault").then_some(17), "split": "", "offset": offset,
                "original": original, "original-bytes": bytes, "row": row,
                "key": null, "key-bytes": null, "headers": null, "time": null})
            };
        let made = "{\"id\":\"fraud/0:0/velocity.2\",\"columns\":{\"m\":7}}";
        assert_eq!(
            found,
            [
                letter(
                    "decode",
                    "not UTF-8",
                    1,
                    Value::Null,
                    json!("/w=="),
                    Value::Null
                ),
                letter(
                    "reject",
                    "no",
                    0,
                    json!("{\"n\":1}"),
                    Value::Null,
                    Value::Null
                ),
                letter(
                    "fault",
                    "trap",
                    0,
                    json!("{\"n\":1}"),
                    Value::Null,
                    json!(made)
                ),
            ]
        );
        assert!(letters.is_empty());
    }
}
