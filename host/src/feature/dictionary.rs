//! The values of one column that a key's window holds, numbered.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use hashbrown::HashTable;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Drawn once a process: the values are chosen by others, who must not choose their places.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// Among so few entries a value is found faster by looking at all of them.
const SCANNED_MAX: usize = 8;

/// A longer value has memory of its own. Names of countries, shops and channels are shorter.
const INLINE: usize = 23;

/// Encoded values and their numbers. A value keeps its number while a row holds it.
#[derive(Debug, Default, Clone)]
pub(super) struct Dictionary {
    entries: Vec<Entry>,
    /// The numbers of held values, and those that are free; empty while there are few entries.
    numbers: HashTable<u32>,
    free: Vec<u32>,
    bytes: usize,
}

/// A value; one that no row holds keeps its memory for the next.
#[derive(Debug)]
struct Entry {
    value: SmallVec<[u8; INLINE]>,
    /// Known where there are many entries.
    hash: u64,
    holds: u32,
}

impl Clone for Entry {
    /// Memory is accounted for by capacity, so a copy has the same.
    fn clone(&self) -> Self {
        let mut value = SmallVec::with_capacity(self.value.capacity());
        value.extend_from_slice(&self.value);
        Self { value, ..*self }
    }
}

/// What a value costs beside its bytes.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<u32>() + 16;

impl Dictionary {
    /// The number of a value, which one more row holds from now on.
    pub(super) fn hold(&mut self, value: &[u8]) -> u32 {
        match self.is_scanned() {
            true => self.hold_scanned(value),
            false => self.hold_hashed(value),
        }
    }

    fn is_scanned(&self) -> bool {
        self.entries.len() <= SCANNED_MAX
    }

    fn hold_scanned(&mut self, value: &[u8]) -> u32 {
        let is_it = |entry: &Entry| entry.holds > 0 && entry.value[..] == *value;
        let number = match self.entries.iter().position(is_it) {
            Some(at) => {
                self.entries[at].holds += 1;
                return at as u32;
            }
            None => self.entries.iter().position(|entry| entry.holds == 0),
        };
        let number = number.map_or_else(|| self.push(), |at| at as u32);
        self.put(number, value);
        if !self.is_scanned() {
            self.hash_all();
        }
        number
    }

    fn hold_hashed(&mut self, value: &[u8]) -> u32 {
        let hash = hash(value);
        let entries = &mut self.entries;
        let is_it = |number: &u32| {
            let entry = &entries[*number as usize];
            entry.hash == hash && entry.value[..] == *value
        };
        if let Some(number) = self.numbers.find(hash, is_it).copied() {
            entries[number as usize].holds += 1;
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| self.push());
        self.put(number, value);
        self.enter(number, hash);
        number
    }

    /// One entry more; gives its number.
    fn push(&mut self) -> u32 {
        self.entries.push(Entry {
            value: SmallVec::new(),
            hash: 0,
            holds: 0,
        });
        self.bytes += ENTRY_BYTES;
        (self.entries.len() - 1) as u32
    }

    /// Gives an entry that no row holds another value, which one row holds.
    fn put(&mut self, number: u32, value: &[u8]) {
        let entry = &mut self.entries[number as usize];
        let before = heap(&entry.value);
        entry.value.clear();
        entry.value.extend_from_slice(value);
        entry.holds = 1;
        self.bytes = self.bytes + heap(&entry.value) - before;
    }

    /// From now on values are found by their hashes: all entries are held when the first one too
    /// many has come.
    fn hash_all(&mut self) {
        for number in 0..self.entries.len() as u32 {
            let hash = hash(self.value(number));
            self.enter(number, hash);
        }
    }

    fn enter(&mut self, number: u32, hash: u64) {
        let entries = &mut self.entries;
        entries[number as usize].hash = hash;
        let hash_of = |number: &u32| entries[*number as usize].hash;
        self.numbers.insert_unique(hash, number, hash_of);
    }

    /// One row less holds the value.
    pub(super) fn release(&mut self, number: u32) {
        let is_scanned = self.is_scanned();
        let entry = &mut self.entries[number as usize];
        entry.holds -= 1;
        if entry.holds == 0 && !is_scanned {
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

fn hash(value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, *SEED)
}

/// A value's memory outside its entry, in bytes.
fn heap(value: &SmallVec<[u8; INLINE]>) -> usize {
    match value.spilled() {
        true => value.capacity(),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Rows come and go; beside it a map of what is held.
        #[test]
        fn values_keep_their_numbers_while_they_are_held(
            steps in prop::collection::vec((any::<bool>(), 0_u8..30), 0..400)
        ) {
            let mut dictionary = Dictionary::default();
            let mut held: HashMap<Vec<u8>, (u32, u32)> = HashMap::new();
            for (comes, of) in steps {
                let value = vec![of; usize::from(of) * 2];
                if comes {
                    let number = dictionary.hold(&value);
                    let known = held.entry(value).or_insert((number, 0));
                    prop_assert_eq!(known.0, number);
                    known.1 += 1;
                } else if let Some((number, count)) = held.get_mut(&value) {
                    dictionary.release(*number);
                    *count -= 1;
                    if *count == 0 {
                        held.remove(&value);
                    }
                }
                for (value, (number, _)) in &held {
                    prop_assert_eq!(dictionary.value(*number), &value[..]);
                }
                let copy = dictionary.clone();
                prop_assert_eq!(copy.bytes(), dictionary.bytes());
            }
        }
    }
}
