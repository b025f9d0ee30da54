//! Finds map entries by key and map key: a table of entry numbers, probed in line.

/// Entry numbers, found by a hash. The caller compares.
#[derive(Debug, Default)]
pub(super) struct MapIndex {
    /// A power of two of slots, at most half of them taken.
    slots: Vec<u32>,
    taken: usize,
}

const EMPTY: u32 = u32::MAX;

/// Mixes eight bytes a step by a multiplication. Keys that collide on purpose cost their own batch
/// time, and nobody else's.
pub(super) fn hash(key: usize, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = mix(bytes.len() as u64, key as u64);
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(mix(hash, u64::from_le_bytes(last)), FACTOR)
}

impl MapIndex {
    pub(super) fn clear(&mut self) {
        self.slots.fill(EMPTY);
        self.taken = 0;
    }

    /// The entry with that hash that `is` accepts.
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                EMPTY => return None,
                entry if is(entry) => return Some(entry),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// Adds an entry that is not there; `hash_of` tells the hash of any entry.
    pub(super) fn insert(&mut self, entry: u32, hash_of: impl Fn(u32) -> u64) {
        if self.taken * 2 >= self.slots.len() {
            let size = (self.slots.len() * 2).max(64);
            let old = std::mem::replace(&mut self.slots, vec![EMPTY; size]);
            for entry in old.into_iter().filter(|entry| *entry != EMPTY) {
                self.place(entry, hash_of(entry));
            }
        }
        self.place(entry, hash_of(entry));
        self.taken += 1;
    }

    fn place(&mut self, entry: u32, hash: u64) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != EMPTY {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = entry;
    }
}
