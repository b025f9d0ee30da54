//! Reading what crosses the boundary: a directory that says what lies where in an arena of words.
//!
//! Nothing is copied: a column is a slice of the arena. Every buffer is checked when it is asked
//! for, its length against the rows and its offsets against the data, so that reading a row needs
//! no check and a host with a mistake gets a message instead of a panic.
//! The byte-level format is docs/formats/buffers.md.

use crate::Malformed;

/// What a buffer of a column holds.
pub(crate) mod kind {
    /// No bytes: the entry's offset is the section's number of rows.
    pub(crate) const COUNT: u32 = 0;
    /// A bitmap, 1 = present; absent where all values are.
    pub(crate) const VALIDITY: u32 = 1;
    /// Values of one width, back to back; those of `bool` are a bitmap.
    pub(crate) const VALUES: u32 = 2;
    /// One more than there are rows, from 0, never falling.
    pub(crate) const OFFSETS: u32 = 3;
    /// The bytes that the offsets divide.
    pub(crate) const DATA: u32 = 4;
}

/// The groups that sections belong to.
pub(crate) mod group {
    /// From the host: the rows of an input.
    pub(crate) const INPUT: u32 = 1;
    /// From the host: the batch's distinct keys, each with the key columns that were asked for.
    pub(crate) const KEYS: u32 = 3;
    /// From the host: what each of those keys keeps in a state.
    pub(crate) const STATE: u32 = 4;
    /// From the host: the pending timers of those keys.
    pub(crate) const TIMERS: u32 = 5;
    /// From the host: what there is once a batch, such as the machine's clock.
    pub(crate) const BATCH: u32 = 6;
    /// From the host: pairs of an aggregate's accumulators.
    pub(crate) const MERGES: u32 = 7;
    /// To the host: rows emitted.
    pub(crate) const OUTPUT: u32 = 17;
    /// To the host: rows refused, with reasons.
    pub(crate) const REJECTS: u32 = 18;
    /// To the host: what keys keep now, of those that changed.
    pub(crate) const STATE_CHANGES: u32 = 19;
    /// To the host: timers set, deleted and fired.
    pub(crate) const TIMER_CHANGES: u32 = 20;
    /// To the host: keys whose map was cleared, before its changes.
    pub(crate) const MAP_CLEARS: u32 = 21;
}

/// The numbers of the columns that the engine adds to those of the descriptor.
pub(crate) mod engine {
    /// The number of a row's key in the keys section.
    pub(crate) const KEY: u32 = 0xFFFF_FF00;
    /// A row's event time in microseconds.
    pub(crate) const TIME: u32 = 0xFFFF_FF01;
    /// The key's event-time clock in microseconds, as of a row or at the batch's end.
    pub(crate) const CLOCK: u32 = 0xFFFF_FF02;
    /// What caused a row: a row, or with [`CAUSE_TIMER`](super::CAUSE_TIMER) a timer change.
    pub(crate) const CAUSE: u32 = 0xFFFF_FF03;
    /// What kind of change a row is.
    pub(crate) const OP: u32 = 0xFFFF_FF04;
    /// And the number of a map state: the entry of it that a row names.
    pub(crate) const MAP_ENTRY: u32 = 0xFFFF_FF10;
}

/// Marks a cause that is a timer change and not a row.
pub(crate) const CAUSE_TIMER: u32 = 0x8000_0000;

/// One batch as it came: its directory and its arena.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    entries: &'a [[u32; 5]],
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Lays the directory over the arena. Each buffer is checked when it is asked for.
    pub fn new(directory: &'a [u32], arena: &'a [u64]) -> Result<Self, Malformed> {
        let (entries, rest) = directory.as_chunks::<5>();
        if !rest.is_empty() {
            return Err(Malformed::new("a directory that is not a multiple of five"));
        }
        let bytes = bytemuck::cast_slice(arena);
        Ok(Self { entries, bytes })
    }

    /// The section of that name; one that is absent has no rows.
    pub fn section(&self, group: u32, ordinal: u32) -> Result<Section<'a>, Malformed> {
        let id = group << 16 | ordinal;
        let absent = Section {
            id,
            entries: &[],
            bytes: self.bytes,
            rows: 0,
        };
        let Some(first) = self.entries.iter().position(|entry| entry[0] == id) else {
            return Ok(absent);
        };
        let entries = &self.entries[first..];
        let end = entries.iter().position(|entry| entry[0] != id);
        let entries = &entries[..end.unwrap_or(entries.len())];
        if entries[0][2] != kind::COUNT {
            return Err(Malformed::new(
                "a section that does not start with its count",
            ));
        }
        Ok(Section {
            entries: &entries[1..],
            rows: entries[0][3] as usize,
            ..absent
        })
    }
}

/// The rows of one input, output, state or other part of a batch.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    id: u32,
    entries: &'a [[u32; 5]],
    bytes: &'a [u8],
    rows: usize,
}

impl<'a> Section<'a> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One buffer of one column, if it is there.
    pub(crate) fn buffer(&self, column: u32, kind: u32) -> Result<Option<&'a [u8]>, Malformed> {
        let found = self
            .entries
            .iter()
            .find(|entry| entry[1] == column && entry[2] == kind);
        let Some(&[_, _, _, offset, length]) = found else {
            return Ok(None);
        };
        let (offset, length) = (offset as usize, length as usize);
        let end = offset.checked_add(length);
        let bytes = end.and_then(|end| self.bytes.get(offset..end));
        match bytes {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(self.malformed(column, "a buffer outside the arena")),
        }
    }

    /// `rows` values of `N` bytes each.
    pub(crate) fn fixed<const N: usize>(
        &self,
        column: u32,
        rows: usize,
    ) -> Result<&'a [[u8; N]], Malformed> {
        let (values, rest) = self.bytes_of(column, kind::VALUES)?.as_chunks::<N>();
        if values.len() != rows || !rest.is_empty() {
            return Err(self.malformed(column, "a values buffer of the wrong length"));
        }
        Ok(values)
    }

    /// A bitmap over `rows` rows.
    pub(crate) fn bitmap(
        &self,
        column: u32,
        kind: u32,
        rows: usize,
    ) -> Result<Option<&'a [u8]>, Malformed> {
        match self.buffer(column, kind)? {
            Some(bits) if bits.len() != rows.div_ceil(8) => {
                Err(self.malformed(column, "a bitmap of the wrong length"))
            }
            bits => Ok(bits),
        }
    }

    /// The offsets of `rows` rows into something of `items` items (any number if none is given).
    pub(crate) fn offsets(
        &self,
        column: u32,
        rows: usize,
        items: Option<usize>,
    ) -> Result<Offsets<'a>, Malformed> {
        let (values, rest) = self.bytes_of(column, kind::OFFSETS)?.as_chunks::<4>();
        if rows == 0 && values.is_empty() {
            return Ok(Offsets(&[[0; 4]]));
        }
        if values.len() != rows + 1 || !rest.is_empty() {
            return Err(self.malformed(column, "an offsets buffer of the wrong length"));
        }
        let offsets = Offsets(values);
        let falls = (0..rows).any(|row| offsets.at(row) > offsets.at(row + 1));
        let overruns = items.is_some_and(|items| offsets.at(rows) > items);
        if falls || overruns || offsets.at(0) != 0 {
            return Err(self.malformed(column, "offsets that fall or leave their data"));
        }
        Ok(offsets)
    }

    /// A buffer that counts as empty where it is absent.
    pub(crate) fn bytes_of(&self, column: u32, kind: u32) -> Result<&'a [u8], Malformed> {
        Ok(self.buffer(column, kind)?.unwrap_or_default())
    }

    pub(crate) fn malformed(&self, column: u32, what: &str) -> Malformed {
        let (group, ordinal) = (self.id >> 16, self.id & 0xFFFF);
        Malformed::new(format!(
            "{what} in section {group}/{ordinal}, column {column}"
        ))
    }
}

/// Where each row of a column of variable width begins and ends.
#[derive(Clone, Copy)]
pub(crate) struct Offsets<'a>(&'a [[u8; 4]]);

impl Offsets<'_> {
    /// The offset with that number; negative ones read as huge and are refused when bound.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> usize {
        u32::from_le_bytes(self.0[index]) as usize
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.0.len() - 1
    }
}

/// Whether a bit of a bitmap is set.
#[inline]
pub(crate) fn bit(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 == 1
}

/// Hands out a section's columns in the order of the descriptor, depth first.
pub struct Binder<'a> {
    section: Section<'a>,
    next: u32,
    rows: usize,
}

impl<'a> Binder<'a> {
    /// Starts at the section's first column.
    pub fn new(section: Section<'a>) -> Self {
        let rows = section.rows();
        Self {
            section,
            next: 0,
            rows,
        }
    }

    /// The section that is bound.
    pub(crate) fn section(&self) -> &Section<'a> {
        &self.section
    }

    /// The number of rows of the column that is bound next.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes the next column number.
    pub(crate) fn take(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// Takes the number of a struct: its fields follow.
    pub fn take_struct(&mut self) {
        self.take();
    }

    /// The next column's number, without taking it.
    pub(crate) fn peek(&self) -> u32 {
        self.next
    }

    /// Binds the columns of a list's items, of which there are `rows`.
    pub(crate) fn nested<T>(
        &mut self,
        rows: usize,
        bind: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let outer = std::mem::replace(&mut self.rows, rows);
        let bound = bind(self);
        self.rows = outer;
        bound
    }
}
