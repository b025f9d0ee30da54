//! Single keys of a join, as they leave memory and come back.

use std::collections::VecDeque;

use super::{Fate, Join, KeptRow, Rows, Side};

impl Join {
    /// From now on rows leave memory, see [`Join::take`].
    pub fn be_scarce(&mut self) {
        self.rows.iter_mut().for_each(Rows::be_scarce);
    }

    /// The keys of rows that have not been looked at: they must stay, see [`Join::take`].
    pub fn pending(&self) -> impl Iterator<Item = u32> {
        Side::BOTH.into_iter().flat_map(|side| {
            let rows = &self.rows[side.index()];
            let pending = self.pending[side.index()].iter();
            pending.map(|row| rows.key(*row))
        })
    }

    /// The rows of a key on one side, and what becomes of each if it meets none.
    pub fn kept(&self, key: u32, side: Side) -> impl Iterator<Item = (KeptRow<'_>, Fate)> {
        let rows = &self.rows[side.index()];
        let entries = self.matcher.rows(key, side);
        entries.map(move |entry| {
            let fate = self.matcher.fate(side, entry, self.clock);
            (KeptRow::new(rows.batch(entry.row), entry), fate)
        })
    }

    /// Takes away all rows of a key, none of which is pending; tells how many there were. They
    /// are kept again by [`Join::restore`].
    pub fn take(&mut self, key: u32) -> usize {
        let taken = self.matcher.take(key);
        for (side, entries) in Side::BOTH.into_iter().zip(&taken) {
            let rows = &mut self.rows[side.index()];
            entries.iter().for_each(|entry| rows.free(entry.row));
        }
        taken.iter().map(VecDeque::len).sum()
    }

    /// Goes on from this clock, before the first row.
    pub fn restore_clock(&mut self, clock: i64) {
        (self.clock_before, self.clock) = (clock, clock);
    }

    /// All rows of these keys are kept again. `is_due` says that the last move of the clock has
    /// not reached them yet.
    pub fn restored(&mut self, keys: &[u32], is_due: bool) {
        let clock = if is_due {
            self.clock_before
        } else {
            self.clock
        };
        for key in keys {
            self.matcher.restored(*key, clock);
            if self.is_loaded {
                let rows = &self.rows[Side::Right.index()];
                self.matcher.sort_table_of(*key, |row| rows.origin(row));
            }
        }
    }

    /// The part of it that keys share.
    pub fn page_bytes(&self) -> usize {
        self.matcher.bytes() - self.matcher.content_bytes()
    }

    /// The part of it that keys have of their own.
    pub fn content_bytes(&self) -> usize {
        let rows = self.rows.iter().map(Rows::live_bytes);
        rows.sum::<usize>() + self.matcher.content_bytes()
    }
}
