//! Map states.

mod table;

use super::{Cells, CellsImage, Clocks, KeyIndex, Meta};
use table::Table;
use wasmill_core::descriptor::Ttl;

/// One map from byte strings to byte strings for each key. Entries live and expire one by one.
///
/// A hash table a key, of a hash that is drawn once a process: who chooses map keys cannot make it
/// slow. Only who asks for all entries of a key pays for their order.
#[derive(Debug)]
pub struct MapColumn {
    ttl: Option<Ttl>,
    maps: Cells<Table>,
    len: usize,
    /// Memory behind the cells.
    bytes: usize,
}

/// The maps as they were when the image was taken.
#[derive(Debug)]
pub(super) struct MapImage {
    has_clock: bool,
    maps: CellsImage<Table>,
}

impl MapColumn {
    /// A column of empty maps.
    pub fn new(ttl: Option<Ttl>) -> Self {
        Self {
            ttl,
            maps: Cells::new(),
            len: 0,
            bytes: 0,
        }
    }

    /// Number of entries of all maps, expired ones that have not been swept included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.maps.bytes() + self.bytes
    }

    /// An entry's value, for the key at position `key` of a batch.
    #[inline]
    pub fn get(&self, id: u32, entry: &[u8], clocks: Clocks<'_>, key: usize) -> Option<&[u8]> {
        let (meta, value) = self.maps.get(id)?.get(entry)?;
        let is_live = meta.is_live(self.ttl, clocks.of(self.ttl, key));
        is_live.then_some(value)
    }

    /// All entries of a key at its clock, ordered by their keys' bytes.
    pub fn entries(&self, id: u32, clock: i64) -> impl Iterator<Item = (&[u8], &[u8])> {
        let entries = self.maps.get(id).into_iter().flat_map(Table::iter);
        let live = entries.filter(|(meta, ..)| meta.is_live(self.ttl, clock));
        let mut live: Vec<_> = live.map(|(_, key, value)| (key, value)).collect();
        live.sort_unstable();
        live.into_iter()
    }

    /// Sets an entry; `clock` is its key's. True if the map was empty.
    pub fn set(
        &mut self,
        id: u32,
        (entry, value): (&[u8], &[u8]),
        clock: Clocks<'_>,
        key: usize,
    ) -> bool {
        let meta = Meta::written(clock.of(self.ttl, key));
        self.change(id, |map| map.set(entry, value, meta)).0
    }

    /// Removes an entry, if it is there.
    pub fn remove(&mut self, id: u32, entry: &[u8], index: &mut KeyIndex) {
        if self.maps.get(id).is_none_or(Table::is_empty) {
            return;
        }
        if self.change(id, |map| map.remove(entry)).1 {
            index.release(id);
        }
    }

    /// Removes all entries of a key.
    pub fn clear(&mut self, id: u32, index: &mut KeyIndex) {
        if self.maps.get(id).is_none_or(Table::is_empty) {
            return;
        }
        self.change(id, |map| *map = Table::default());
        index.release(id);
    }

    /// Removes what has expired, as [`super::FixedColumn::sweep`] does.
    pub fn sweep(&mut self, from: u32, count: u32, clock: i64, index: &mut KeyIndex) -> u32 {
        let end = (from + count).min(self.maps.capacity() as u32);
        let ttl = self.ttl;
        for id in from..end {
            let is_live = |meta: Meta| meta.is_live(ttl, clock);
            let all_live = |map: &Table| map.iter().all(|(meta, ..)| is_live(meta));
            if self.maps.get(id).is_none_or(all_live) {
                continue;
            }
            if self.change(id, |map| map.retain(is_live)).1 {
                index.release(id);
            }
        }
        if end < from + count { 0 } else { end }
    }

    /// Changes a key's map and keeps the counts; says whether it was empty before, and is now.
    fn change(&mut self, id: u32, change: impl FnOnce(&mut Table)) -> (bool, bool) {
        let map = self.maps.get_mut(id);
        let (len, bytes) = (map.len(), map.bytes());
        change(map);
        self.len = self.len + map.len() - len;
        self.bytes = self.bytes + map.bytes() - bytes;
        (len == 0, map.is_empty())
    }
}

/// Images, and the way back.
impl MapColumn {
    /// The maps as they are now. Nothing is copied before it changes.
    pub(super) fn image(&mut self) -> MapImage {
        MapImage {
            has_clock: self.ttl.is_some(),
            maps: self.maps.image(),
        }
    }

    /// The entries, each with its value and when it was written, where that counts. They may have
    /// expired.
    pub(super) fn read(&self, id: u32) -> impl Iterator<Item = (&[u8], &[u8], Option<i64>)> {
        let entries = self.maps.get(id).into_iter().flat_map(Table::iter);
        let written = |meta: Meta| self.ttl.map(|_| meta.written_at());
        entries.map(move |(meta, key, value)| (key, value, written(meta)))
    }

    /// Memory behind the cells, in bytes.
    pub(super) fn content_bytes(&self) -> usize {
        self.bytes
    }

    /// Puts back an entry; true if it is the first of its key.
    pub(super) fn restore(&mut self, id: u32, meta: Meta, (entry, value): (&[u8], &[u8])) -> bool {
        self.change(id, |map| map.set(entry, value, meta)).0
    }
}

impl MapImage {
    pub(super) fn ids_end(&self) -> usize {
        self.maps.capacity()
    }

    pub(super) fn is_present(&self, id: u32) -> bool {
        self.maps.get(id).is_some_and(|map| !map.is_empty())
    }

    /// The entries ordered by their keys' bytes, each with its value and when it was written, where
    /// that counts.
    pub(super) fn entries(&self, id: u32) -> Vec<(&[u8], &[u8], Option<i64>)> {
        let entries = self.maps.get(id).into_iter().flat_map(Table::iter);
        let clock = |meta: Meta| self.has_clock.then(|| meta.written_at());
        let mut entries: Vec<_> = entries
            .map(|(meta, key, value)| (key, value, clock(meta)))
            .collect();
        entries.sort_unstable();
        entries
    }
}
