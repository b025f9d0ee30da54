//! Writing a segment.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Int64Builder, UInt8Builder, UInt16Builder};
use arrow_array::types::{UInt8Type, UInt16Type};
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, StringArray};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, SchemaRef};
use wasmill_core::checkpoint::{Digest, SegmentKind};
use wasmill_core::key::KeyGroupRange;

use super::{Address, Encoded, Kind, Row, SegmentError, schema};

/// A batch is closed when it has so many rows or bytes.
const ROWS_MAX: usize = 1 << 16;
const BYTES_MAX: usize = 8 << 20;
/// What buffers are aligned to, in bytes: there are many small ones.
const ALIGNMENT: usize = 8;
/// The largest row: offsets within a batch have 31 bits.
const ROW_BYTES_MAX: usize = 1 << 30;

/// Takes segments as they are written, one after the other, so that not all of them have to be in
/// memory.
pub type Put<'a> = &'a mut dyn FnMut(Encoded) -> Result<(), SegmentError>;

/// Writes a segment row by row. Rows come in the order of (key group, key, address, entry), and
/// their key groups lie in the segment's range.
pub struct Writer {
    file: FileWriter<Vec<u8>>,
    schema: SchemaRef,
    kinds: Vec<u8>,
    words: [ArrayRef; 2],
    kind: SegmentKind,
    range: KeyGroupRange,
    offsets: Vec<u64>,
    rows: u64,
    open: Columns,
}

/// The batch that is being filled: rows of one key group.
#[derive(Default)]
struct Columns {
    key_group: u16,
    rows: usize,
    bytes: usize,
    key_groups: UInt16Builder,
    keys: BinaryBuilder,
    kinds: UInt8Builder,
    states: UInt16Builder,
    entries: BinaryBuilder,
    values: BinaryBuilder,
    times: Int64Builder,
}

impl Writer {
    /// A segment of these key groups, with rows about these addresses, and room for so many bytes.
    ///
    /// # Errors
    /// If there are too many addresses.
    pub fn new(
        kind: SegmentKind,
        range: KeyGroupRange,
        addresses: &[Address],
        room: usize,
    ) -> Result<Self, SegmentError> {
        let count = addresses.len();
        if count > usize::from(u16::MAX) {
            return Err(SegmentError::TooManyNames { count });
        }
        let schema = Arc::new(schema(kind, addresses));
        let names = addresses.iter().map(|address| Some(address.name.as_str()));
        let words = Kind::ALL.iter().map(|kind| Some(kind.name()));
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5);
        let file = options.and_then(|options| {
            let out = Vec::with_capacity(room);
            FileWriter::try_new_with_options(out, &schema, options)
        });
        let mut writer = Self {
            file: file.map_err(SegmentError::Write)?,
            schema,
            kinds: addresses.iter().map(|address| address.kind as u8).collect(),
            words: [
                Arc::new(StringArray::from_iter(words)),
                Arc::new(StringArray::from_iter(names)),
            ],
            kind,
            range,
            offsets: Vec::with_capacity(range.len() + 1),
            rows: 0,
            open: Columns::default(),
        };
        // The dictionaries are written with the first batch. It has no rows, so that they stand
        // before all key groups.
        writer.close()?;
        Ok(writer)
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If its key group is not of the range, or before that of the row before.
    ///
    /// # Errors
    /// If it is too large.
    pub fn push(&mut self, row: Row<'_>) -> Result<(), SegmentError> {
        assert!(self.range.contains(row.key_group), "a group of the segment");
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let bytes = row.key.len() + len(row.entry) + len(row.value);
        if bytes > ROW_BYTES_MAX {
            return Err(SegmentError::TooLarge { bytes });
        }
        let open = &self.open;
        let is_full = open.rows == ROWS_MAX || open.bytes + bytes > BYTES_MAX;
        if open.rows > 0 && (is_full || open.key_group != row.key_group) {
            self.close()?;
        }
        self.begin_until(row.key_group + 1);
        self.rows += 1;
        self.open.push(row, self.kinds[row.address]);
        self.open.bytes += bytes;
        Ok(())
    }

    /// Bytes that are written so far, and those that wait for their batch to be full.
    pub fn len(&self) -> usize {
        self.file.get_ref().len() + self.open.bytes
    }

    /// Whether it has no row yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The file, which ends before this key group: another one goes on from there.
    ///
    /// # Errors
    /// None that we know of.
    pub fn finish_before(mut self, key_group: u16) -> Result<Encoded, SegmentError> {
        self.range.end = key_group;
        self.finish()
    }

    /// The file.
    ///
    /// # Errors
    /// None that we know of.
    pub fn finish(mut self) -> Result<Encoded, SegmentError> {
        if self.open.rows > 0 {
            self.close()?;
        }
        self.begin_until(self.range.end);
        self.offsets.push(self.file.get_ref().len() as u64);
        let bytes = self.file.into_inner().map_err(SegmentError::Write)?;
        Ok(Encoded {
            digest: Digest::of(&bytes),
            bytes,
            kind: self.kind,
            range: self.range,
            offsets: self.offsets,
            rows: self.rows,
        })
    }

    /// Notes where the key groups before `end` begin, as far as that is not known.
    fn begin_until(&mut self, end: u16) {
        let count = usize::from(end - self.range.start);
        let at = self.file.get_ref().len() as u64;
        if self.offsets.len() < count {
            self.offsets.resize(count, at);
        }
    }

    /// Writes the open batch.
    fn close(&mut self) -> Result<(), SegmentError> {
        let columns = self.open.finish(&self.words);
        columns
            .and_then(|columns| RecordBatch::try_new(self.schema.clone(), columns))
            .and_then(|batch| self.file.write(&batch))
            .map_err(SegmentError::Write)
    }
}

impl Columns {
    fn push(&mut self, row: Row<'_>, kind: u8) {
        self.key_group = row.key_group;
        self.rows += 1;
        self.key_groups.append_value(row.key_group);
        self.keys.append_value(row.key);
        self.kinds.append_value(kind);
        self.states.append_value(row.address as u16);
        self.entries.append_option(row.entry);
        self.values.append_option(row.value);
        self.times.append_option(row.time);
    }

    /// The batch's columns; the next one begins.
    fn finish(&mut self, words: &[ArrayRef; 2]) -> Result<Vec<ArrayRef>, ArrowError> {
        let next = self.like();
        let done = std::mem::replace(self, next);
        done.arrays(words)
    }

    /// Builders with room for a batch like this one: those of key groups are alike.
    fn like(&self) -> Self {
        let bytes =
            |of: &BinaryBuilder| BinaryBuilder::with_capacity(self.rows, of.values_slice().len());
        Self {
            key_group: 0,
            rows: 0,
            bytes: 0,
            key_groups: UInt16Builder::with_capacity(self.rows),
            keys: bytes(&self.keys),
            kinds: UInt8Builder::with_capacity(self.rows),
            states: UInt16Builder::with_capacity(self.rows),
            entries: bytes(&self.entries),
            values: bytes(&self.values),
            times: Int64Builder::with_capacity(self.rows),
        }
    }

    fn arrays(mut self, [kinds, names]: &[ArrayRef; 2]) -> Result<Vec<ArrayRef>, ArrowError> {
        let (of_kind, of_name) = (self.kinds.finish(), self.states.finish());
        Ok(vec![
            Arc::new(self.key_groups.finish()),
            Arc::new(self.keys.finish()),
            Arc::new(DictionaryArray::<UInt8Type>::try_new(
                of_kind,
                kinds.clone(),
            )?),
            Arc::new(DictionaryArray::<UInt16Type>::try_new(
                of_name,
                names.clone(),
            )?),
            Arc::new(self.entries.finish()),
            Arc::new(self.values.finish()),
            Arc::new(self.times.finish()),
        ])
    }
}
