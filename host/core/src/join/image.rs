//! What a join keeps, as of a barrier, and the bytes of a kept row (`docs/formats/segment.md`).

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, BinaryArray, RecordBatch, RecordBatchOptions};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, Field, Fields, SchemaRef};

use super::{Entry, MatcherImage, RowAt, Rows, Side};
use crate::batch::Batch;
use crate::data_type;
use crate::encoding::{self, Encoder, EncodingError, Form};
use crate::lineage::Lineage;

/// What a join kept at a barrier. Taking it copies no rows; it does not change any more.
#[derive(Debug)]
pub struct JoinImage {
    kept: MatcherImage,
    /// Lookup: rows of the left side that wait for the table, by key.
    waiting: Vec<(u32, Entry)>,
    sides: [(u32, Vec<Option<Batch>>); 2],
}

/// A row of an image.
#[derive(Debug, Clone, Copy)]
pub struct KeptRow<'a> {
    batch: &'a Batch,
    entry: Entry,
}

/// The type of a kept row, for rows of these columns:
/// `struct<time: timestamp, matched: bool, trail: bytes, row: struct<...>>`.
pub fn entry_type(columns: &Fields) -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("time", data_type::timestamp(), false),
        Field::new("matched", DataType::Boolean, false),
        Field::new("trail", DataType::Binary, false),
        Field::new("row", DataType::Struct(columns.clone()), false),
    ]))
}

/// Kept rows of one side, from their bytes: the batch without lineage, for each row its trail and
/// whether it had met another one.
///
/// # Errors
/// If a value is not of the type of [`entry_type`].
pub fn decode_entries<'a>(
    schema: &SchemaRef,
    has_times: bool,
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Batch, BinaryArray, Vec<bool>), EncodingError> {
    let entries = entry_type(schema.fields());
    let values = values.into_iter().map(Some);
    let decoded = encoding::decode(&entries, false, values)?;
    let decoded = decoded.as_struct();
    let times: ScalarBuffer<i64> = decoded
        .column(0)
        .as_primitive::<TimestampMicrosecondType>()
        .values()
        .clone();
    let matched = decoded.column(1).as_boolean();
    let matched = (0..matched.len()).map(|row| matched.value(row)).collect();
    let trails = decoded.column(2).as_binary::<i32>().clone();
    let columns = decoded.column(3).as_struct().columns().to_vec();
    let options = RecordBatchOptions::new().with_row_count(Some(decoded.len()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    let rows = rows.expect("the columns were decoded by their own schema");
    let batch = Batch {
        rows,
        times: has_times.then_some(times),
        clocks: None,
        hashes: None,
        ops: None,
        lineage: Lineage::default(),
    };
    Ok((batch, trails, matched))
}

impl JoinImage {
    pub(super) fn new(
        kept: MatcherImage,
        mut waiting: Vec<(u32, Entry)>,
        rows: &[Rows; 2],
    ) -> Self {
        waiting.sort_by_key(|(key, _)| *key);
        Self {
            kept,
            waiting,
            sides: [rows[0].image(), rows[1].image()],
        }
    }

    /// The keys that have rows, each at least once.
    pub fn keys(&self) -> impl Iterator<Item = u32> {
        let kept = self.kept.keys();
        kept.chain(self.waiting.iter().map(|(key, _)| *key))
    }

    /// The rows of a key on one side, in the order in which they came.
    pub fn rows(&self, key: u32, side: Side) -> impl Iterator<Item = KeptRow<'_>> {
        let entries = self.kept.rows(key, side);
        entries.map(move |entry| self.row(side, entry))
    }

    /// The rows of a key that wait for the table, in the order in which they came.
    pub fn waiting(&self, key: u32) -> impl Iterator<Item = KeptRow<'_>> {
        let from = self.waiting.partition_point(|(of, _)| *of < key);
        let to = self.waiting.partition_point(|(of, _)| *of <= key);
        let entries = self.waiting[from..to].iter();
        entries.map(move |(_, entry)| self.row(Side::Left, *entry))
    }

    fn row(&self, side: Side, entry: Entry) -> KeptRow<'_> {
        let (first, batches) = &self.sides[side.index()];
        let RowAt { batch, .. } = entry.row;
        let batch = batches[batch.wrapping_sub(*first) as usize].as_ref();
        KeptRow::new(batch.expect("the batch of a row that is kept"), entry)
    }
}

impl<'a> KeptRow<'a> {
    pub(super) fn new(batch: &'a Batch, entry: Entry) -> Self {
        Self { batch, entry }
    }

    /// Where the row came from.
    pub fn lineage(&self) -> (&Lineage, usize) {
        (&self.batch.lineage, self.entry.row.row as usize)
    }

    /// Appends the row's bytes; `trail` are those of its lineage.
    ///
    /// # Errors
    /// If a column's type has no encoding.
    pub fn encode(&self, trail: &[u8], out: &mut Vec<u8>) -> Result<(), EncodingError> {
        out.extend_from_slice(&self.entry.time.to_le_bytes());
        out.push(u8::from(self.entry.is_matched));
        let len = u32::try_from(trail.len()).map_err(|_| EncodingError::TooLarge)?;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(trail);
        let schema = self.batch.rows.schema();
        for (column, field) in self.batch.rows.columns().iter().zip(schema.fields()) {
            let encoder = Encoder::new(column.as_ref(), field.is_nullable(), Form::State)?;
            encoder.push(self.entry.row.row as usize, out);
        }
        Ok(())
    }
}
