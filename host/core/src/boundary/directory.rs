//! The directory of a guest's buffers, checked entry by entry.

use std::fmt;

use super::{ENTRIES_MAX, Group, Kind, WORDS_PER_ENTRY, column};

/// Why buffers were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The directory as a whole is wrong.
    #[error("the directory is malformed: {reason}")]
    Directory {
        /// What is wrong.
        reason: String,
    },
    /// A section is wrong.
    #[error("{section}: {reason}")]
    Section {
        /// Which.
        section: SectionName,
        /// What is wrong.
        reason: String,
    },
    /// A column is wrong.
    #[error("{section}, {column}: {reason}")]
    Column {
        /// In which section.
        section: SectionName,
        /// Which.
        column: ColumnName,
        /// What is wrong.
        reason: String,
    },
    /// A row of a column is wrong.
    #[error("{section}, {column}, row {row}: {reason}")]
    Row {
        /// In which section.
        section: SectionName,
        /// In which column.
        column: ColumnName,
        /// Which.
        row: usize,
        /// What is wrong.
        reason: String,
    },
    /// More rows than the operator may emit in one call.
    #[error(
        "{rows} rows emitted in one call; at most {rows_max} are allowed (limit `output-rows`)"
    )]
    TooManyRows {
        /// How many rows the guest emitted.
        rows: u64,
        /// How many are allowed.
        rows_max: u64,
    },
}

/// A section's number, printed with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionName(pub u32);

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ordinal = self.0 & 0xFFFF;
        match self.0 >> 16 {
            1 => write!(f, "section input {ordinal}"),
            2 => write!(f, "section order"),
            3 => write!(f, "section keys"),
            4 => write!(f, "section state {ordinal}"),
            5 => write!(f, "section timers"),
            6 => write!(f, "section batch"),
            17 => write!(f, "section output {ordinal}"),
            18 => write!(f, "section rejects"),
            19 => write!(f, "section changes of state {ordinal}"),
            20 => write!(f, "section timer changes"),
            21 => write!(f, "section clears of state {ordinal}"),
            _ => write!(f, "section {:#x}", self.0),
        }
    }
}

/// A column's number, printed with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnName(pub u32);

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            column::KEY => write!(f, "column key"),
            column::TIME => write!(f, "column time"),
            column::CLOCK => write!(f, "column clock"),
            column::CAUSE => write!(f, "column cause"),
            column::OP => write!(f, "column op"),
            number if number >= column::MAP_ENTRY => {
                write!(f, "column map entry {}", number - column::MAP_ENTRY)
            }
            number => write!(f, "column {number}"),
        }
    }
}

/// One buffer: its column and kind, and where its bytes lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) column: u32,
    pub(super) kind: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A section: its row count, and its entries in the order of (column, kind).
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    pub(super) number: u32,
    pub(super) rows: u32,
    first: usize,
    end: usize,
}

/// A directory that was read; reused from call to call.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: Vec<Entry>,
    pub(super) sections: Vec<Section>,
}

impl Directory {
    /// Reads the directory of an arena. No more sections than `sections_max` can be legal.
    pub(super) fn read(
        &mut self,
        words: &[u32],
        arena_bytes: usize,
        sections_max: usize,
    ) -> Result<(), DecodeError> {
        self.entries.clear();
        self.sections.clear();
        let malformed = |reason: String| Err(DecodeError::Directory { reason });
        let (entries, rest) = words.as_chunks::<WORDS_PER_ENTRY>();
        if !rest.is_empty() {
            return malformed(format!("{} words are no multiple of five", words.len()));
        }
        if entries.len() > ENTRIES_MAX {
            return malformed(format!(
                "{} entries; at most {ENTRIES_MAX} are allowed",
                entries.len()
            ));
        }
        // Buffers do not overlap, so that copying each of them copies no more than the arena.
        let mut left = arena_bytes;
        for entry in entries {
            left = self.read_entry(entry, arena_bytes, left, sections_max)?;
        }
        self.close_section()
    }

    /// Checks one entry against the arena.
    fn read_entry(
        &mut self,
        entry: &[u32; WORDS_PER_ENTRY],
        arena_bytes: usize,
        left: usize,
        sections_max: usize,
    ) -> Result<usize, DecodeError> {
        let [number, column, kind, offset, length] = *entry;
        if kind == Kind::Count as u32 {
            self.close_section()?;
            return self.open_section(entry, sections_max).map(|()| left);
        }
        let refuse = |reason: &str| {
            Err(DecodeError::Column {
                section: SectionName(number),
                column: ColumnName(column),
                reason: reason.into(),
            })
        };
        match self.sections.last_mut() {
            Some(section) if section.number == number => section.end += 1,
            _ => return refuse("the section does not begin with its row count"),
        }
        if kind > Kind::Data as u32 {
            return refuse(&format!("there is no buffer kind {kind}"));
        }
        if !offset.is_multiple_of(8) {
            return refuse(&format!("offset {offset} is no multiple of 8"));
        }
        let (start, length) = (offset as usize, length as usize);
        let Some(end) = start.checked_add(length).filter(|end| *end <= arena_bytes) else {
            return refuse(&format!(
                "bytes {offset} + {length} lie outside the arena of {arena_bytes} bytes"
            ));
        };
        let Some(left) = left.checked_sub(length) else {
            return refuse("the buffers overlap: together they are longer than the arena");
        };
        self.entries.push(Entry {
            column,
            kind,
            start,
            end,
        });
        Ok(left)
    }

    /// Begins a section with its count.
    fn open_section(
        &mut self,
        entry: &[u32; WORDS_PER_ENTRY],
        sections_max: usize,
    ) -> Result<(), DecodeError> {
        let [number, column, _, rows, length] = *entry;
        let refuse = |reason: &str| {
            Err(DecodeError::Section {
                section: SectionName(number),
                reason: reason.into(),
            })
        };
        if column != 0 || length != 0 {
            return refuse("column and length of a row count are 0");
        }
        if self.sections.iter().any(|old| old.number == number) {
            return refuse("it stands in two places");
        }
        if self.sections.len() >= sections_max {
            return refuse("there are more sections than the descriptor allows");
        }
        let first = self.entries.len();
        self.sections.push(Section {
            number,
            rows,
            first,
            end: first,
        });
        Ok(())
    }

    /// Puts the entries of the last section in order and refuses two of one column and kind.
    fn close_section(&mut self) -> Result<(), DecodeError> {
        let Some(section) = self.sections.last() else {
            return Ok(());
        };
        let place = |entry: &Entry| (entry.column, entry.kind);
        let entries = &mut self.entries[section.first..section.end];
        if !entries.is_sorted_by_key(place) {
            entries.sort_unstable_by_key(place);
        }
        match entries
            .windows(2)
            .find(|two| place(&two[0]) == place(&two[1]))
        {
            None => Ok(()),
            Some(twice) => Err(DecodeError::Column {
                section: SectionName(section.number),
                column: ColumnName(twice[0].column),
                reason: format!("buffer kind {} stands twice", twice[0].kind),
            }),
        }
    }

    /// A section, if it is there.
    pub(super) fn find(&self, number: u32) -> Option<Section> {
        self.sections.iter().find(|s| s.number == number).copied()
    }

    /// A cursor over a section's buffers.
    pub(super) fn cursor<'d, 'a>(&'d self, section: &Section, arena: &'a [u8]) -> Cursor<'d, 'a> {
        Cursor {
            section: section.number,
            rows: section.rows as usize,
            entries: &self.entries[section.first..section.end],
            arena,
        }
    }
}

/// Takes a section's buffers one after the other, in the order of (column, kind).
#[derive(Debug)]
pub(super) struct Cursor<'d, 'a> {
    pub(super) section: u32,
    pub(super) rows: usize,
    entries: &'d [Entry],
    arena: &'a [u8],
}

impl<'a> Cursor<'_, 'a> {
    /// The bytes of a buffer if it is there. Buffers must be asked for in order.
    pub(super) fn optional(&mut self, column: u32, kind: Kind) -> Option<&'a [u8]> {
        let (first, rest) = self.entries.split_first()?;
        if first.column != column || first.kind != kind as u32 {
            return None;
        }
        self.entries = rest;
        self.arena.get(first.start..first.end)
    }

    /// The bytes of a buffer, which must be `bytes` long; one that is absent is empty.
    pub(super) fn exact(
        &mut self,
        column: u32,
        kind: Kind,
        bytes: Option<usize>,
    ) -> Result<&'a [u8], DecodeError> {
        let found = self.optional(column, kind).unwrap_or_default();
        if Some(found.len()) == bytes {
            return Ok(found);
        }
        // A buffer that nobody asked for stands before the one that is wanted.
        if let Some(other) = self.entries.first()
            && (other.column, other.kind) < (column, kind as u32)
        {
            self.finish()?;
        }
        let wanted = bytes.map_or("more than there can be".into(), |bytes| bytes.to_string());
        Err(self.wrong(
            column,
            format!("the {} are {} bytes, not {wanted}", name(kind), found.len()),
        ))
    }

    /// The bitmap of a column with `rows` rows; none if all are present.
    pub(super) fn validity(
        &mut self,
        column: u32,
        rows: usize,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.optional(column, Kind::Validity) {
            Some(bits) if bits.len() != rows.div_ceil(8) => Err(self.wrong(
                column,
                format!(
                    "the validity is {} bytes, not {}",
                    bits.len(),
                    rows.div_ceil(8)
                ),
            )),
            found => Ok(found),
        }
    }

    /// A column of u32.
    pub(super) fn words(&mut self, column: u32) -> Result<&'a [u32], DecodeError> {
        self.typed(column)
    }

    /// A column of fixed-width numbers, one for each row.
    pub(super) fn typed<T: bytemuck::Pod>(&mut self, column: u32) -> Result<&'a [T], DecodeError> {
        let bytes = self.exact(column, Kind::Values, self.rows.checked_mul(size_of::<T>()))?;
        // The arena is 8-aligned and so is every offset: this cannot fail for numbers of up to 8
        // bytes.
        bytemuck::try_cast_slice(bytes)
            .map_err(|_| self.wrong(column, "the values are not aligned".into()))
    }

    /// The offsets of a column with `rows` rows: from 0, never falling.
    pub(super) fn offsets(&mut self, column: u32, rows: usize) -> Result<&'a [i32], DecodeError> {
        let bytes = rows.checked_add(1).and_then(|n| n.checked_mul(4));
        let found = match self.optional(column, Kind::Offsets) {
            // No row needs no offset.
            None if rows == 0 => &[0; 4],
            None => &[][..],
            Some(found) => found,
        };
        if Some(found.len()) != bytes {
            return Err(self.wrong(
                column,
                format!("the offsets are {} bytes for {rows} rows", found.len()),
            ));
        }
        let offsets: &[i32] = match found.len() {
            4 if found == [0; 4] => &[0],
            _ => bytemuck::try_cast_slice(found)
                .map_err(|_| self.wrong(column, "the offsets are not aligned".into()))?,
        };
        if offsets[0] != 0 {
            return Err(self.wrong_row(column, 0, "the offsets do not begin at 0"));
        }
        if !offsets.is_sorted() {
            let row = offsets.windows(2).position(|two| two[0] > two[1]);
            return Err(self.wrong_row(column, row.unwrap_or_default(), "the offsets fall"));
        }
        Ok(offsets)
    }

    /// The data of a column, which must be as long as the last offset says.
    pub(super) fn data(&mut self, column: u32, offsets: &[i32]) -> Result<&'a [u8], DecodeError> {
        let length = offsets.last().copied().unwrap_or_default();
        self.exact(column, Kind::Data, usize::try_from(length).ok())
    }

    /// Whether every buffer was taken.
    pub(super) fn is_done(&self) -> bool {
        self.entries.is_empty()
    }

    /// Refuses buffers that nobody asked for.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.entries.first() {
            None => Ok(()),
            Some(entry) => Err(self.wrong(
                entry.column,
                format!("no such column or buffer kind ({}) here", entry.kind),
            )),
        }
    }

    /// An error at a column of this section.
    pub(super) fn wrong(&self, column: u32, reason: String) -> DecodeError {
        DecodeError::Column {
            section: SectionName(self.section),
            column: ColumnName(column),
            reason,
        }
    }

    /// An error at a row of a column of this section.
    pub(super) fn wrong_row(&self, column: u32, row: usize, reason: &str) -> DecodeError {
        DecodeError::Row {
            section: SectionName(self.section),
            column: ColumnName(column),
            row,
            reason: reason.into(),
        }
    }
}

/// The kind as the format's page names it.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Count => "counts",
        Kind::Validity => "validity bits",
        Kind::Values => "values",
        Kind::Offsets => "offsets",
        Kind::Data => "data",
    }
}

/// The group of a section's number, if there is such a group.
pub(super) fn group(section: u32) -> Option<Group> {
    Some(match section >> 16 {
        1 => Group::Input,
        2 => Group::Order,
        3 => Group::Keys,
        4 => Group::State,
        5 => Group::Timers,
        6 => Group::Batch,
        7 => Group::Merges,
        17 => Group::Output,
        18 => Group::Rejects,
        19 => Group::StateChanges,
        20 => Group::TimerChanges,
        21 => Group::MapClears,
        _ => return None,
    })
}
