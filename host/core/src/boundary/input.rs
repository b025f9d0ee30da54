//! Reads what the host itself wrote for a guest: adapters and native operators need it as Arrow
//! again.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_buffer::ScalarBuffer;
use arrow_schema::SchemaRef;

use super::{
    Group, StateLayout, Values, array, column, decode,
    directory::{DecodeError, Directory},
    section,
};

/// Rows of an input.
#[derive(Debug)]
pub struct InputRows {
    /// The declared columns.
    pub rows: RecordBatch,
    /// Key index of each row, for a keyed operator.
    pub keys: Option<ScalarBuffer<u32>>,
    /// Event time of each row in microseconds.
    pub times: Option<ScalarBuffer<i64>>,
}

/// A batch on its way to a guest.
#[derive(Debug, Default)]
pub struct InputReader {
    directory: Directory,
}

impl InputReader {
    /// Reads the directory.
    ///
    /// # Errors
    /// If these are no buffers.
    pub fn new(directory: &[u32], arena: &[u64]) -> Result<Self, DecodeError> {
        let mut reader = Self::default();
        reader
            .directory
            .read(directory, arena.len() * 8, usize::from(u16::MAX))?;
        Ok(reader)
    }

    /// The rows of an input; none if the section is absent.
    ///
    /// # Errors
    /// If the section is not as `schema` says.
    pub fn input(
        &self,
        ordinal: u16,
        schema: &SchemaRef,
        arena: &[u64],
    ) -> Result<Option<InputRows>, DecodeError> {
        let Some(at) = self.directory.find(section(Group::Input, ordinal)) else {
            return Ok(None);
        };
        let mut cursor = self.directory.cursor(&at, bytemuck::cast_slice(arena));
        let (rows, mut number) = (cursor.rows, 0);
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            columns.push(array::read(&mut cursor, &mut number, field, rows)?);
        }
        let keys = decode::engine_column(&mut cursor, column::KEY)?;
        let times = decode::engine_column(&mut cursor, column::TIME)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(|error| cursor.wrong(0, error.to_string()))?;
        Ok(Some(InputRows { rows, keys, times }))
    }

    /// The values of a value state, one for each key, and their number.
    ///
    /// # Errors
    /// If the section is not as `state` says.
    pub fn values<'a>(
        &self,
        ordinal: u16,
        state: &StateLayout,
        arena: &'a [u64],
    ) -> Result<Option<(usize, Values<'a>)>, DecodeError> {
        let Some(at) = self.directory.find(section(Group::State, ordinal)) else {
            return Ok(None);
        };
        let mut cursor = self.directory.cursor(&at, bytemuck::cast_slice(arena));
        let rows = cursor.rows;
        let values = decode::values(&mut cursor, 0, &state.value, rows, true)?;
        Ok(Some((rows, values)))
    }

    /// How many keys the batch has.
    pub fn keys(&self) -> u32 {
        let keys = self.directory.find(section(Group::Keys, 0));
        keys.map_or(0, |section| section.rows)
    }
}
