//! The map of one key.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::state::Meta;

/// Drawn once a process: who chooses map keys cannot choose their places.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// So few entries are found faster by looking at all of them.
const SCANNED_MAX: usize = 8;

/// Entries in the order in which they came, as far as none was removed, and where each stands.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// Positions; empty while there are few entries.
    places: HashTable<u32>,
    /// Bytes of all keys and values.
    content: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    hash: u64,
    meta: Meta,
    key_len: u32,
    /// The key, and behind it the value.
    bytes: Box<[u8]>,
}

impl Clone for Table {
    /// Memory is accounted for by capacity, so a copy has the same.
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.capacity());
        entries.extend_from_slice(&self.entries);
        Self {
            entries,
            places: self.places.clone(),
            content: self.content,
        }
    }
}

impl Entry {
    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len as usize]
    }

    fn value(&self) -> &[u8] {
        &self.bytes[self.key_len as usize..]
    }
}

fn hash(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, *SEED)
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory held behind the table itself, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.content
            + self.entries.capacity() * size_of::<Entry>()
            + self.places.capacity() * (size_of::<u32>() + 1)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<(Meta, &[u8])> {
        let entry = &self.entries[self.find(hash(key), key)?];
        Some((entry.meta, entry.value()))
    }

    /// When each entry was written, its key and its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Meta, &[u8], &[u8])> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.meta, entry.key(), entry.value()))
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8], meta: Meta) {
        let hash = hash(key);
        let Some(at) = self.find(hash, key) else {
            let bytes = [key, value].concat().into();
            let key_len = u32::try_from(key.len()).expect("a batch is smaller than 4 GiB");
            self.content += key.len() + value.len();
            self.entries.push(Entry {
                hash,
                meta,
                key_len,
                bytes,
            });
            return self.enter_last();
        };
        let entry = &mut self.entries[at];
        entry.meta = meta;
        if entry.value().len() == value.len() {
            entry.bytes[key.len()..].copy_from_slice(value);
        } else {
            self.content = self.content + key.len() + value.len() - entry.bytes.len();
            entry.bytes = [key, value].concat().into();
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(at) = self.find(hash(key), key) {
            let removed = self.entries.swap_remove(at);
            self.content -= removed.bytes.len();
            self.leave(removed.hash, at);
            if self.is_empty() {
                // A key without entries holds no memory.
                *self = Self::default();
            }
            if let Some(moved) = self.entries.get(at) {
                let last = self.entries.len() as u32;
                let place = self.places.find_mut(moved.hash, |known| *known == last);
                place.into_iter().for_each(|place| *place = at as u32);
            }
        }
    }

    /// Keeps the entries of which this holds.
    pub(super) fn retain(&mut self, is_kept: impl Fn(Meta) -> bool) {
        self.entries.retain(|entry| is_kept(entry.meta));
        self.content = self.entries.iter().map(|entry| entry.bytes.len()).sum();
        match self.is_empty() {
            true => *self = Self::default(),
            false => {
                self.places.clear();
                self.enter_all();
            }
        }
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |entry: &Entry| entry.hash == hash && entry.key() == key;
        if self.places.is_empty() {
            return self.entries.iter().position(is_it);
        }
        let place = self
            .places
            .find(hash, |at| is_it(&self.entries[*at as usize]));
        place.map(|at| *at as usize)
    }

    fn enter_last(&mut self) {
        match self.places.is_empty() {
            true => self.enter_all(),
            false => self.enter(self.entries.len() - 1),
        }
    }

    fn enter_all(&mut self) {
        if self.entries.len() > SCANNED_MAX {
            (0..self.entries.len()).for_each(|at| self.enter(at));
        }
    }

    fn enter(&mut self, at: usize) {
        let entries = &self.entries;
        let hash_of = |at: &u32| entries[*at as usize].hash;
        self.places
            .insert_unique(entries[at].hash, at as u32, hash_of);
    }

    fn leave(&mut self, hash: u64, at: usize) {
        if let Ok(place) = self.places.find_entry(hash, |known| *known == at as u32) {
            place.remove();
        }
    }
}
