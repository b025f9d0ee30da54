//! Columns of what stands beside a record's value, behind those of its format.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
    UInt32Array, UInt64Array,
};
use arrow_schema::{Schema, SchemaRef};
use wasmill_core::{
    data_type,
    lineage::{Beside, Chunk},
    pipeline::document::{MessagePart, MessageParts},
};

use super::{Decoded, Decoder, FormatError, Refused};

/// Reads values as a format does, and adds columns.
#[derive(Debug)]
pub struct MessageDecoder {
    values: Decoder,
    parts: Vec<MessagePart>,
    schema: SchemaRef,
}

impl MessageDecoder {
    /// Adds columns, by their names, to those of a decoder.
    pub fn new(values: Decoder, parts: &MessageParts) -> Self {
        let added = parts.iter().map(|(name, part)| part.field(name).into());
        let fields = values.schema().fields().iter().cloned().chain(added);
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            parts: parts.values().cloned().collect(),
            values,
        }
    }

    /// All columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Fetches what decoding a chunk needs.
    ///
    /// # Errors
    /// As the values' decoder.
    pub async fn prepare(&mut self, chunk: &Chunk) -> Result<(), FormatError> {
        self.values.prepare(chunk).await
    }

    /// The rows of a chunk. One whose key or header should be text and is not is refused.
    pub fn decode(&mut self, chunk: &Arc<Chunk>) -> Result<Decoded, FormatError> {
        let decoded = self.values.decode(chunk)?;
        let wrong = wrong_texts(&self.parts, chunk);
        let decoded = if wrong.is_empty() {
            decoded
        } else {
            without(decoded, wrong)?
        };
        let rows: Vec<u32> = match &decoded.kept {
            Some(kept) => kept.clone(),
            None => (0..chunk.spans.len() as u32).collect(),
        };
        let mut columns = decoded.rows.columns().to_vec();
        let beside = chunk.beside.as_deref();
        columns.extend(
            self.parts
                .iter()
                .map(|part| column(part, chunk, beside, &rows)),
        );
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(Decoded {
            rows: RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?,
            ..decoded
        })
    }
}

/// Rows whose key or header is no text, though its column is, and why.
fn wrong_texts(parts: &[MessagePart], chunk: &Chunk) -> Vec<Refused> {
    let Some(beside) = chunk.beside.as_deref() else {
        return Vec::new();
    };
    let has_texts = |part: &MessagePart| matches!(part, MessagePart::Key | MessagePart::Header(_));
    let parts: Vec<_> = parts.iter().filter(|part| has_texts(part)).collect();
    if parts.is_empty() {
        return Vec::new();
    }
    let is_wrong = |bytes: Option<&[u8]>| {
        bytes.is_some_and(|bytes| !bytes.is_ascii() && std::str::from_utf8(bytes).is_err())
    };
    let reason = |row| {
        parts.iter().find_map(|part| match part {
            MessagePart::Header(name) if is_wrong(header(beside, name, row)) => {
                Some(format!("the header `{name}` is not UTF-8"))
            }
            MessagePart::Key if is_wrong(beside.key(row)) => {
                Some("the key is not UTF-8; a column `key-bytes` takes any".into())
            }
            _ => None,
        })
    };
    let rows = 0..chunk.spans.len() as u32;
    rows.filter_map(|row| {
        Some(Refused {
            row,
            reason: reason(row)?,
        })
    })
    .collect()
}

/// Takes rows out; those that the format has refused keep their reason.
fn without(decoded: Decoded, wrong: Vec<Refused>) -> Result<Decoded, FormatError> {
    let rows = decoded.rows.num_rows() as u32;
    let kept = decoded.kept.unwrap_or_else(|| (0..rows).collect());
    let is_wrong = |row: &u32| wrong.binary_search_by_key(row, |it| it.row).is_ok();
    let left = (0..rows).filter(|at| !is_wrong(&kept[*at as usize]));
    let left: UInt32Array = left.collect::<Vec<_>>().into();
    let columns = decoded.rows.columns().iter();
    let columns = columns.map(|column| arrow_select::take::take(column, &left, None));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(left.len()));
    let mut refused = decoded.refused;
    let new = wrong
        .into_iter()
        .filter(|it| kept.binary_search(&it.row).is_ok());
    refused.extend(new);
    refused.sort_by_key(|it| it.row);
    let ops = decoded.ops;
    let ops = ops.map(|ops| left.values().iter().map(|at| ops[*at as usize]).collect());
    Ok(Decoded {
        rows: RecordBatch::try_new_with_options(decoded.rows.schema(), columns, &options)?,
        kept: Some(left.values().iter().map(|at| kept[*at as usize]).collect()),
        refused,
        ops,
    })
}

/// The last header of a name.
fn header<'a>(beside: &'a Beside, name: &str, row: u32) -> Option<&'a [u8]> {
    let mut headers = beside.headers(row).rev();
    headers.find(|(own, _)| *own == name.as_bytes())?.1
}

/// One column for the given rows of a chunk.
fn column(part: &MessagePart, chunk: &Chunk, beside: Option<&Beside>, rows: &[u32]) -> ArrayRef {
    let text = |bytes: Option<&[u8]>| {
        // What is no text was refused before.
        bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let rows = rows.iter().copied();
    let (topic, partition) = chunk.split_name.rsplit_once('/').unwrap_or_default();
    match part {
        MessagePart::Key => {
            let keys = rows.map(|row| text(beside?.key(row)));
            Arc::new(keys.collect::<StringArray>())
        }
        MessagePart::KeyBytes => {
            let keys = rows.map(|row| beside?.key(row));
            Arc::new(keys.collect::<BinaryArray>())
        }
        MessagePart::Header(name) => {
            let values = rows.map(|row| text(header(beside?, name, row)));
            Arc::new(values.collect::<StringArray>())
        }
        MessagePart::Timestamp => {
            let time = |row| beside.and_then(|beside| beside.time(row)).unwrap_or(0);
            let times = TimestampMicrosecondArray::from_iter_values(rows.map(time));
            Arc::new(times.with_data_type(data_type::timestamp()))
        }
        MessagePart::Topic => Arc::new(StringArray::from_iter_values(rows.map(|_| topic))),
        MessagePart::Partition => {
            let partition = partition.parse().unwrap_or(0);
            Arc::new(UInt32Array::from_iter_values(rows.map(|_| partition)))
        }
        MessagePart::Offset => Arc::new(UInt64Array::from_iter_values(
            rows.map(|row| chunk.offset(row)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use wasmill_core::pipeline::FormatKind;

    use super::*;
    use crate::format::testing;

    fn chunk() -> Arc<Chunk> {
        let rows: [&[u8]; 3] = [b"{\"n\":1}", b"no", b"{\"n\":3}"];
        let chunk = testing::chunk(&rows);
        let mut beside = Beside {
            bytes: "akv\u{1}".into(),
            times: vec![10, 20, 30],
            ..Beside::default()
        };
        for key in [None, Some((0, 1)), Some((0, 1))] {
            beside.push_key(key);
            beside.headers.push((1, 2), None);
            beside.headers.push((1, 2), Some((2, 3)));
            beside.headers.end_row();
        }
        Arc::new(Chunk {
            split_name: "orders/4".into(),
            first_offset: 7,
            offsets: vec![7, 9, 12],
            bytes: chunk.bytes.clone(),
            spans: chunk.spans.clone(),
            beside: Some(Box::new(beside)),
            ..Chunk::default()
        })
    }

    fn decode(parts: &[(&str, MessagePart)], chunk: &Arc<Chunk>) -> Decoded {
        let format = testing::format(FormatKind::Json, &[("n", "u8")]);
        let values = Decoder::new(&format).expect("a good column");
        let parts = parts
            .iter()
            .map(|(name, part)| ((*name).into(), part.clone()));
        let mut decoder = MessageDecoder::new(values, &parts.collect());
        decoder.decode(chunk).expect("good columns")
    }

    #[test]
    fn columns_follow_the_rows_that_fit() {
        let parts = [
            ("k", MessagePart::Key),
            ("h", MessagePart::Header("k".into())),
            ("at", MessagePart::Timestamp),
            ("t", MessagePart::Topic),
            ("p", MessagePart::Partition),
            ("o", MessagePart::Offset),
        ];
        let decoded = decode(&parts, &chunk());
        assert_eq!(decoded.kept, Some(vec![0, 2]));
        let rows = decoded.rows;
        let texts = |name: &str| -> Vec<Option<String>> {
            let column = rows.column_by_name(name).expect("it was added");
            let texts = column.as_string::<i32>().iter();
            texts.map(|text| text.map(str::to_owned)).collect()
        };
        assert_eq!(texts("k"), [None, Some("a".into())]);
        assert_eq!(texts("h"), [Some("v".into()), Some("v".into())]);
        assert_eq!(texts("t"), [Some("orders".into()), Some("orders".into())]);
        let offsets = rows.column_by_name("o").expect("it was added");
        let offsets = offsets.as_primitive::<arrow_array::types::UInt64Type>();
        assert_eq!(offsets.values(), &[7, 12]);
        let partitions = rows.column_by_name("p").expect("it was added");
        let partitions = partitions.as_primitive::<arrow_array::types::UInt32Type>();
        assert_eq!(partitions.values(), &[4, 4]);
    }

    #[test]
    fn a_key_that_is_no_text_is_refused() {
        let mut chunk = Arc::into_inner(chunk()).expect("nobody else has it");
        if let Some(beside) = &mut chunk.beside {
            beside.bytes = b"\xFFkv".to_vec().into();
        }
        let chunk = Arc::new(chunk);
        let decoded = decode(&[("k", MessagePart::Key)], &chunk);
        assert_eq!(decoded.kept, Some(vec![0]));
        let refused: Vec<u32> = decoded.refused.iter().map(|it| it.row).collect();
        assert_eq!(refused, [1, 2], "each once");
        let any = decode(&[("k", MessagePart::KeyBytes)], &chunk);
        assert_eq!(any.kept, Some(vec![0, 2]));
    }
}
