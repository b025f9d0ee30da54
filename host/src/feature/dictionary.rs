//! The values of one column that a key's window holds, numbered.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Drawn once a process: the values are chosen by others, who must not choose their places.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// Encoded values and their numbers. A value keeps its number while a row holds it.
#[derive(Debug, Default, Clone)]
pub(super) struct Dictionary {
    numbers: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    bytes: usize,
}

/// A value; one that no row holds keeps its memory for the next.
#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    hash: u64,
    holds: u32,
}

impl Clone for Entry {
    /// Memory is accounted for by capacity, so a copy has the same.
    fn clone(&self) -> Self {
        let mut value = Vec::with_capacity(self.value.capacity());
        value.extend_from_slice(&self.value);
        Self { value, ..*self }
    }
}

/// What a value costs beside its bytes.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<u32>() + 16;

impl Dictionary {
    /// The number of a value, which one more row holds from now on.
    pub(super) fn hold(&mut self, value: &[u8]) -> u32 {
        let hash = xxh3_64_with_seed(value, *SEED);
        let entries = &mut self.entries;
        let is_it = |number: &u32| {
            let entry = &entries[*number as usize];
            entry.hash == hash && entry.value == value
        };
        if let Some(number) = self.numbers.find(hash, is_it).copied() {
            entries[number as usize].holds += 1;
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            entries.push(Entry {
                value: Vec::new(),
                hash: 0,
                holds: 0,
            });
            self.bytes += ENTRY_BYTES;
            (entries.len() - 1) as u32
        });
        let entry = &mut entries[number as usize];
        let before = entry.value.capacity();
        entry.value.clear();
        entry.value.extend_from_slice(value);
        self.bytes += entry.value.capacity() - before;
        (entry.hash, entry.holds) = (hash, 1);
        let hash_of = |number: &u32| entries[*number as usize].hash;
        self.numbers.insert_unique(hash, number, hash_of);
        number
    }

    /// One row less holds the value.
    pub(super) fn release(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        entry.holds -= 1;
        if entry.holds == 0 {
            let found = self
                .numbers
                .find_entry(entry.hash, |known| *known == number);
            if let Ok(found) = found {
                found.remove();
            }
            self.free.push(number);
        }
    }

    /// A held value's bytes.
    pub(super) fn value(&self, number: u32) -> &[u8] {
        &self.entries[number as usize].value
    }

    /// One more than the largest number.
    pub(super) fn end(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
