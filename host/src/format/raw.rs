//! Rows as they are: one column of bytes or text.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use wasmill_core::{lineage::Chunk, pipeline::Format};

use super::{
    Decoded, FormatError, Refused,
    column::{Column, Values},
    layout::Layout,
};

/// Reads rows whole.
#[derive(Debug)]
pub struct RawDecoder {
    layout: Layout,
    columns: Vec<Column>,
    is_text: bool,
}

impl RawDecoder {
    /// A decoder for a format's one column.
    pub fn new(format: &Format) -> Result<Self, FormatError> {
        let layout = Layout::new(&format.columns, format.timestamp)?;
        Ok(Self {
            columns: layout.columns(),
            is_text: format
                .columns
                .iter()
                .any(|column| column.field.data_type().is_string()),
            layout,
        })
    }

    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    /// The rows of a chunk.
    pub fn decode(&mut self, chunk: &Arc<Chunk>) -> Result<Decoded, FormatError> {
        let (mut rows, mut kept, mut refused) = (0, Vec::new(), Vec::new());
        for row in 0..chunk.spans.len() as u32 {
            match self.row(chunk, row) {
                Ok(()) => {
                    rows += 1;
                    kept.push(row);
                }
                Err(reason) => refused.push(Refused { row, reason }),
            }
        }
        Ok(Decoded {
            rows: self.layout.finish(rows, &mut self.columns)?,
            kept: (!refused.is_empty()).then_some(kept),
            refused,
            ops: None,
        })
    }

    fn row(&mut self, chunk: &Chunk, row: u32) -> Result<(), String> {
        let root = self.layout.roots.first().copied().unwrap_or(0);
        if chunk.is_null(row) {
            self.columns[root].push_null();
            return Ok(());
        }
        let bytes = super::row_bytes(chunk, row)?;
        if self.is_text {
            super::check_text(bytes)?;
        }
        if let Values::Bytes(values, ends) = &mut self.columns[root].values {
            let end = i32::try_from(values.len() + bytes.len())
                .map_err(|_| "the batch is longer than 2 GiB")?;
            values.extend_from_slice(bytes);
            ends.push(end);
        }
        self.columns[root].mark_valid();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use wasmill_core::{lineage::Beside, pipeline::FormatKind};

    use super::*;
    use crate::format::testing;

    #[test]
    fn rows_are_kept_as_they_are() {
        let rows: [&[u8]; 3] = [b"a", b"\xFF", b""];
        let check = |ty: &str, kept: Option<Vec<u32>>| {
            let format = testing::format(FormatKind::Raw, &[("value", ty)]);
            let mut decoder = RawDecoder::new(&format).expect("a good column");
            let decoded = decoder
                .decode(&testing::chunk(&rows))
                .expect("a good column");
            assert_eq!(decoded.kept, kept);
            decoded.rows
        };
        let all = check("bytes", None);
        let values: Vec<_> = all.column(0).as_binary::<i32>().iter().flatten().collect();
        assert_eq!(values, rows);
        assert_eq!(check("string", Some(vec![0, 2])).num_rows(), 2);
    }

    #[test]
    fn a_row_without_bytes_is_null() {
        let format = testing::format(FormatKind::Raw, &[("value", "string?")]);
        let mut decoder = RawDecoder::new(&format).expect("a good column");
        let chunk = testing::chunk(&["a", "", "b"]);
        let mut chunk = Arc::into_inner(chunk).expect("nobody else has it");
        chunk.beside = Some(Box::new(Beside {
            nulls: vec![1],
            ..Beside::default()
        }));
        let decoded = decoder.decode(&Arc::new(chunk)).expect("a good column");
        let values = decoded.rows.column(0).as_string::<i32>();
        let values: Vec<_> = values.iter().collect();
        assert_eq!(values, [Some("a"), None, Some("b")]);
    }
}
