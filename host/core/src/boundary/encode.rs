//! Writes a batch into one arena that is reused from call to call.

use arrow_array::{Array, cast::AsArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, Field};

use super::{ENTRIES_MAX, Group, Kind, WORDS_PER_ENTRY, section, widen};

/// Why a batch could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The batch needs more bytes than it may, or than offsets can count: it must be cut.
    #[error("rows, keys and their state need more than {bytes_max} bytes in one call")]
    TooLarge {
        /// The most that fits.
        bytes_max: usize,
    },
    /// A column is not of the type that was planned.
    #[error("column `{column}` is {found}, which cannot stand for {declared}")]
    Type {
        /// The declared column.
        column: String,
        /// What came.
        found: String,
        /// What the operator declares.
        declared: String,
    },
    /// A null where the operator declares none.
    #[error("column `{column}` has {nulls} nulls, but it is declared without `?`")]
    Null {
        /// The declared column.
        column: String,
        /// How many rows are null.
        nulls: usize,
    },
}

/// The arena and the directory of one call, kept from call to call so that only growth allocates.
///
/// Sections are written one after the other: [`Encoder::begin`], then its buffers.
#[derive(Debug)]
pub struct Encoder {
    directory: Vec<u32>,
    /// Longer than `used` after the first call: what lies behind is stale and never read.
    arena: Vec<u64>,
    used: usize,
    section: u32,
    bytes_max: usize,
    overflown: bool,
}

/// Offsets are u32; half of their range leaves room for every sum.
const BYTES_MAX: usize = 1 << 31;

impl Default for Encoder {
    fn default() -> Self {
        Self {
            directory: Vec::new(),
            arena: Vec::new(),
            used: 0,
            section: 0,
            bytes_max: BYTES_MAX,
            overflown: false,
        }
    }
}

impl Encoder {
    /// An encoder without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The arena of the next calls takes no more than so many bytes, nor than offsets can count.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max.min(BYTES_MAX);
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.directory.clear();
        self.used = 0;
        self.overflown = false;
    }

    /// The directory and the arena.
    ///
    /// # Errors
    /// If the batch was larger than the arena may be.
    pub fn finish(&self) -> Result<(&[u32], &[u64]), EncodeError> {
        if self.overflown || self.directory.len() > ENTRIES_MAX * WORDS_PER_ENTRY {
            return Err(EncodeError::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        Ok((&self.directory, &self.arena[..self.used]))
    }

    /// Bytes of the arena in use.
    pub fn bytes(&self) -> usize {
        self.used * 8
    }

    /// Begins a section; its buffers follow.
    pub fn begin(&mut self, group: Group, ordinal: u16, rows: u32) {
        self.section = section(group, ordinal);
        self.directory
            .extend_from_slice(&[self.section, 0, Kind::Count as u32, rows, 0]);
    }

    /// Room for a buffer of the current section; the caller fills every byte of it.
    #[inline]
    pub fn reserve(&mut self, column: u32, kind: Kind, bytes: usize) -> &mut [u8] {
        let offset = self.used * 8;
        if bytes > self.bytes_max || offset + bytes > self.bytes_max {
            self.overflown = true;
            self.used = 0;
            return self.reserve_scratch(bytes.min(BYTES_MAX));
        }
        self.directory.extend_from_slice(&[
            self.section,
            column,
            kind as u32,
            offset as u32,
            bytes as u32,
        ]);
        self.reserve_scratch(bytes)
    }

    fn reserve_scratch(&mut self, bytes: usize) -> &mut [u8] {
        let (start, words) = (self.used, bytes.div_ceil(8));
        self.used += words;
        if self.used > self.arena.len() {
            let grown = self.used.next_power_of_two();
            self.arena.resize(grown, 0);
        }
        if words > 0 {
            // The padding goes to the guest: it must not depend on earlier calls.
            self.arena[self.used - 1] = 0;
        }
        &mut bytemuck::cast_slice_mut(&mut self.arena[start..self.used])[..bytes]
    }

    /// Copies a buffer of the current section.
    #[inline]
    pub fn copy<T: bytemuck::NoUninit>(&mut self, column: u32, kind: Kind, values: &[T]) {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let room = self.reserve(column, kind, bytes.len());
        let room_len = room.len();
        room.copy_from_slice(&bytes[..room_len]);
    }

    /// Writes a declared column from an array, and its children; moves `number` behind them.
    ///
    /// The array may be sliced and may be of any type that [`super::can_widen`] allows.
    ///
    /// # Errors
    /// If the types do not fit or nulls stand where none are declared.
    pub fn array(
        &mut self,
        number: &mut u32,
        field: &Field,
        array: &dyn Array,
    ) -> Result<(), EncodeError> {
        if !widen::can_widen(array.data_type(), field.data_type()) {
            return Err(wrong_type(field, array));
        }
        match widen::widen(array, field.data_type()) {
            Some(wide) => self.same_type(number, field, wide.as_ref()),
            None => self.same_type(number, field, array),
        }
    }

    /// Writes a declared column of which the stream has nothing: all null.
    pub fn nulls(&mut self, number: &mut u32, field: &Field, rows: usize) {
        let column = *number;
        *number += 1;
        self.reserve(column, Kind::Validity, rows.div_ceil(8))
            .fill(0);
        match field.data_type() {
            DataType::List(item) => {
                self.reserve(column, Kind::Offsets, (rows + 1) * 4).fill(0);
                self.nulls(number, item, 0);
            }
            DataType::Struct(fields) => {
                for child in fields {
                    self.nulls(number, child, rows);
                }
            }
            DataType::Utf8 | DataType::Binary => {
                self.reserve(column, Kind::Offsets, (rows + 1) * 4).fill(0);
            }
            DataType::Boolean => {
                self.reserve(column, Kind::Values, rows.div_ceil(8)).fill(0);
            }
            other => {
                let width = crate::data_type::fixed_width(other, false).unwrap_or_default();
                self.reserve(column, Kind::Values, rows * width).fill(0);
            }
        }
    }

    fn same_type(
        &mut self,
        number: &mut u32,
        field: &Field,
        array: &dyn Array,
    ) -> Result<(), EncodeError> {
        let column = *number;
        *number += 1;
        self.validity(column, field, array.nulls())?;
        match array.data_type() {
            DataType::List(_) => self.list(column, number, field, array),
            DataType::Struct(_) => {
                let array = array.as_struct();
                let DataType::Struct(fields) = field.data_type() else {
                    return Err(wrong_type(field, array));
                };
                let null_rows = array.nulls();
                for (child, field) in array.columns().iter().zip(fields) {
                    // Under a null struct the children may hold anything, nulls too.
                    let is_masked = null_rows.is_some() && child.null_count() > 0;
                    match is_masked && !field.is_nullable() {
                        true => self.same_type(number, &nullable(field), child.as_ref())?,
                        false => self.same_type(number, field, child.as_ref())?,
                    }
                }
                Ok(())
            }
            DataType::Boolean => {
                self.bits(column, Kind::Values, array.as_boolean().values());
                Ok(())
            }
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                self.text(column, array.value_offsets(), array.value_data());
                Ok(())
            }
            DataType::Binary => {
                let array = array.as_binary::<i32>();
                self.text(column, array.value_offsets(), array.value_data());
                Ok(())
            }
            DataType::FixedSizeBinary(width) => {
                let array = array.as_fixed_size_binary();
                let width = usize::try_from(*width).unwrap_or_default();
                let bytes = &array.value_data()[..array.len() * width];
                self.copy(column, Kind::Values, bytes);
                Ok(())
            }
            _ => self.numbers(column, field, array),
        }
    }

    fn numbers(
        &mut self,
        column: u32,
        field: &Field,
        array: &dyn Array,
    ) -> Result<(), EncodeError> {
        let data = array.to_data();
        let width = crate::data_type::fixed_width(array.data_type(), false);
        let (Some(width), [buffer]) = (width, data.buffers()) else {
            return Err(wrong_type(field, array));
        };
        let start = data.offset() * width;
        let bytes = &buffer.as_slice()[start..start + array.len() * width];
        self.copy(column, Kind::Values, bytes);
        Ok(())
    }

    fn list(
        &mut self,
        column: u32,
        number: &mut u32,
        field: &Field,
        array: &dyn Array,
    ) -> Result<(), EncodeError> {
        let list = array.as_list::<i32>();
        let DataType::List(item) = field.data_type() else {
            return Err(wrong_type(field, array));
        };
        let offsets = list.value_offsets();
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        self.rebase(column, offsets);
        let items = list.values().slice(first as usize, (last - first) as usize);
        self.same_type(number, item, items.as_ref())
    }

    fn text(&mut self, column: u32, offsets: &[i32], data: &[u8]) {
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        self.rebase(column, offsets);
        self.copy(column, Kind::Data, &data[first..last]);
    }

    /// Offsets begin at 0, also those of a slice.
    fn rebase(&mut self, column: u32, offsets: &[i32]) {
        let first = offsets[0];
        if first == 0 {
            return self.copy(column, Kind::Offsets, offsets);
        }
        let room = self.reserve(column, Kind::Offsets, offsets.len() * 4);
        for (to, from) in room.chunks_exact_mut(4).zip(offsets) {
            to.copy_from_slice(&(from - first).to_le_bytes());
        }
    }

    fn validity(
        &mut self,
        column: u32,
        field: &Field,
        nulls: Option<&NullBuffer>,
    ) -> Result<(), EncodeError> {
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
            return Ok(());
        };
        if !field.is_nullable() {
            return Err(EncodeError::Null {
                column: field.name().clone(),
                nulls: nulls.null_count(),
            });
        }
        self.bits(column, Kind::Validity, nulls.inner());
        Ok(())
    }

    /// Copies a bitmap that may begin within a byte.
    fn bits(&mut self, column: u32, kind: Kind, bits: &BooleanBuffer) {
        let room = self.reserve(column, kind, bits.len().div_ceil(8));
        for (to, chunk) in room.chunks_mut(8).zip(bits.bit_chunks().iter_padded()) {
            to.copy_from_slice(&chunk.to_le_bytes()[..to.len()]);
        }
    }
}

/// The field as it is encoded where nulls are possible.
fn nullable(field: &Field) -> Field {
    field.clone().with_nullable(true)
}

/// An array that is not what its field says: a mistake of ours, told instead of written.
fn wrong_type(field: &Field, array: &dyn Array) -> EncodeError {
    EncodeError::Type {
        column: field.name().clone(),
        found: array.data_type().to_string(),
        declared: crate::data_type::print(field.data_type(), field.is_nullable()),
    }
}
