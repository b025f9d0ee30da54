//! The keys that are not in memory, as of a barrier.

use std::sync::Arc;

use super::record;
use super::split;
use crate::segment::{Row, SegmentError};
use crate::state::image::TakeRow;
use crate::state::rocksdb::{Entries, Frozen};

/// The disk as it was at a barrier, as one owner of rows sees it.
#[derive(Debug, Clone)]
pub struct DiskImage {
    frozen: Arc<Frozen>,
    /// Keys that were on disk and not in memory.
    keys: usize,
    /// The first address of each owner.
    bases: Vec<usize>,
    owner: usize,
}

impl DiskImage {
    pub(super) fn new(frozen: Arc<Frozen>, keys: usize, bases: Vec<usize>) -> Self {
        Self {
            frozen,
            keys,
            bases,
            owner: 0,
        }
    }

    /// As the owner of this number sees it.
    pub(in crate::state) fn of_owner(&self, owner: usize) -> Self {
        Self {
            owner,
            ..self.clone()
        }
    }

    /// Keys that were on disk and not in memory.
    pub(in crate::state) fn keys(&self) -> usize {
        self.keys
    }

    /// All records, which keys in memory may have overtaken.
    pub(in crate::state) fn records(&self) -> Places<'_> {
        Places(vec![self.frozen.records()])
    }

    /// The keys that changed from a stretch on up to another and left memory.
    pub(in crate::state) fn changed(&self, stretches: std::ops::Range<u64>) -> Places<'_> {
        Places(stretches.map(|of| self.frozen.changed(of)).collect())
    }

    /// Writes the owner's rows of a record.
    pub(in crate::state) fn write(
        &self,
        place: (u16, &[u8]),
        record: &[u8],
        to: &mut dyn TakeRow,
    ) -> Result<(), SegmentError> {
        let first = self.bases[self.owner];
        let end = self.bases.get(self.owner + 1).copied();
        for row in record::rows(place, record) {
            let row = row.ok_or_else(|| disk_error("a record is damaged".into()))?;
            if row.address >= first && end.is_none_or(|end| row.address < end) {
                to.take(Row {
                    address: row.address - first,
                    ..row
                })?;
            }
        }
        Ok(())
    }

    /// Records that are looked up in their order.
    pub(in crate::state) fn lookups(&self) -> Lookups<'_> {
        Lookups {
            disk: self,
            entries: self.frozen.records(),
            place: Vec::new(),
        }
    }
}

/// Records that are looked up in their order: where most are asked for, or many that stand close
/// together, to go through them costs far less than to search for each.
pub(in crate::state) struct Lookups<'a> {
    disk: &'a DiskImage,
    entries: Entries<'a>,
    place: Vec<u8>,
}

impl Lookups<'_> {
    /// Writes the owner's rows of a key, if there is a record of it. No key comes before an
    /// earlier one.
    pub(in crate::state) fn write_key(
        &mut self,
        (group, key): (u16, &[u8]),
        to: &mut dyn TakeRow,
    ) -> Result<(), SegmentError> {
        self.place.clear();
        self.place.extend_from_slice(&group.to_be_bytes());
        self.place.extend_from_slice(key);
        self.entries.advance_to(&self.place).map_err(disk_error)?;
        match self.entries.current().map_err(disk_error)? {
            Some((place, record)) if place == self.place => {
                self.disk.write((group, key), record, to)
            }
            _ => Ok(()),
        }
    }
}

fn disk_error(reason: String) -> SegmentError {
    SegmentError::NotTaken(format!("state on disk cannot be read: {reason}"))
}

/// Places in their order, from several lists in which they are ordered.
pub(in crate::state) struct Places<'a>(Vec<Entries<'a>>);

/// A key group and a key, and what is kept of it.
pub(in crate::state) type Entry<'a> = ((u16, &'a [u8]), &'a [u8]);

impl Places<'_> {
    /// The next one; none at the end.
    pub(in crate::state) fn current(&self) -> Result<Option<Entry<'_>>, SegmentError> {
        let mut least = None;
        for list in &self.0 {
            let Some((place, value)) = list.current().map_err(disk_error)? else {
                continue;
            };
            let place = split(place).ok_or_else(|| disk_error("a place is damaged".into()))?;
            if least.is_none_or(|(known, _)| place < known) {
                least = Some((place, value));
            }
        }
        Ok(least)
    }

    /// Goes on behind the current one, in all lists that have it.
    pub(in crate::state) fn advance(&mut self) -> Result<(), SegmentError> {
        let Some(((group, key), _)) = self.current()? else {
            return Ok(());
        };
        let place = [&group.to_be_bytes(), key].concat();
        for list in &mut self.0 {
            let is_it = list.current().map_err(disk_error)?;
            if is_it.is_some_and(|(of_list, _)| of_list == place) {
                list.advance();
            }
        }
        Ok(())
    }
}
