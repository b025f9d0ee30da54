//! Map states.

use std::collections::BTreeMap;

use super::{Clocks, KeyIndex, Meta, Paged};
use wasmill_core::descriptor::Ttl;

/// One map from byte strings to byte strings for each key. Entries live and expire one by one.
///
/// A balanced tree a key: its order is the same in every run, who chooses map keys cannot make it
/// slow, and small maps are one node.
#[derive(Debug)]
pub struct MapColumn {
    ttl: Option<Ttl>,
    maps: Paged<Map>,
    len: usize,
    /// Memory behind the cells, as far as it can be told from outside the trees.
    bytes: usize,
}

type Map = BTreeMap<Box<[u8]>, Entry>;

#[derive(Debug)]
struct Entry {
    meta: Meta,
    value: Box<[u8]>,
}

/// What an entry costs beside its bytes: its place in a node, two allocations.
const ENTRY_BYTES: usize = size_of::<(Box<[u8]>, Entry)>() + 32;

impl MapColumn {
    /// A column of empty maps.
    pub fn new(ttl: Option<Ttl>) -> Self {
        Self {
            ttl,
            maps: Paged::new(),
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

    #[cfg(test)]
    pub(super) fn bytes_behind(&self) -> usize {
        self.bytes
    }

    /// An entry's value, for the key at position `key` of a batch.
    #[inline]
    pub fn get(&self, id: u32, entry: &[u8], clocks: Clocks<'_>, key: usize) -> Option<&[u8]> {
        let entry = self.maps.get(id)?.get(entry)?;
        let is_live = entry.meta.is_live(self.ttl, clocks.of(self.ttl, key));
        is_live.then_some(&*entry.value)
    }

    /// All entries of a key at its clock, ordered by their keys' bytes.
    pub fn entries(&self, id: u32, clock: i64) -> impl Iterator<Item = (&[u8], &[u8])> {
        let entries = self.maps.get(id).into_iter().flatten();
        entries
            .filter(move |(_, entry)| entry.meta.is_live(self.ttl, clock))
            .map(|(key, entry)| (&**key, &*entry.value))
    }

    /// Sets an entry; `clock` is its key's.
    pub fn set(
        &mut self,
        id: u32,
        (entry, value): (&[u8], &[u8]),
        clock: Clocks<'_>,
        key: usize,
    ) -> bool {
        let meta = Meta::written(clock.of(self.ttl, key));
        let map = self.maps.get_mut(id);
        let was_empty = map.is_empty();
        match map.get_mut(entry) {
            Some(known) => {
                known.meta = meta;
                if known.value.len() == value.len() {
                    known.value.copy_from_slice(value);
                } else {
                    self.bytes = self.bytes + value.len() - known.value.len();
                    known.value = value.into();
                }
            }
            None => {
                let value: Box<[u8]> = value.into();
                self.bytes += footprint(entry, value.len());
                self.len += 1;
                map.insert(entry.into(), Entry { meta, value });
            }
        }
        was_empty
    }

    /// Removes an entry, if it is there.
    pub fn remove(&mut self, id: u32, entry: &[u8], index: &mut KeyIndex) {
        let map = self.maps.get_mut(id);
        if let Some(removed) = map.remove(entry) {
            self.len -= 1;
            self.bytes -= footprint(entry, removed.value.len());
            if map.is_empty() {
                index.release(id);
            }
        }
    }

    /// Removes all entries of a key.
    pub fn clear(&mut self, id: u32, index: &mut KeyIndex) {
        let map = std::mem::take(self.maps.get_mut(id));
        for (entry, removed) in &map {
            self.len -= 1;
            self.bytes -= footprint(entry, removed.value.len());
        }
        if !map.is_empty() {
            index.release(id);
        }
    }

    /// Removes what has expired, as [`super::FixedColumn::sweep`] does.
    pub fn sweep(&mut self, from: u32, count: u32, clock: i64, index: &mut KeyIndex) -> u32 {
        let end = (from + count).min(self.maps.capacity() as u32);
        for id in from..end {
            let (ttl, len, bytes) = (self.ttl, &mut self.len, &mut self.bytes);
            let map = self.maps.get_mut(id);
            let was_empty = map.is_empty();
            map.retain(|key, entry| {
                let is_live = entry.meta.is_live(ttl, clock);
                if !is_live {
                    *len -= 1;
                    *bytes -= footprint(key, entry.value.len());
                }
                is_live
            });
            if !was_empty && map.is_empty() {
                index.release(id);
            }
        }
        if end < from + count { 0 } else { end }
    }
}

fn footprint(entry: &[u8], value_len: usize) -> usize {
    entry.len() + value_len + ENTRY_BYTES
}
