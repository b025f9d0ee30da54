//! What keeps whoever chooses keys from choosing where they stand.

use std::hash::{BuildHasher, RandomState};

use wasmill_core::key;
use xxhash_rust::xxh3::xxh3_64_with_secret;

/// What the index mixes into keys, drawn once a process: who chooses keys cannot choose where
/// they stand in the table.
#[derive(Clone)]
pub struct Secret {
    add: u64,
    multiply: u64,
    bytes: Box<[u8; 192]>,
}

impl Secret {
    /// A secret of this process.
    pub fn random() -> Self {
        let source = RandomState::new();
        Self::from_words(|i| source.hash_one(i))
    }

    /// A secret that tests can repeat.
    pub fn seeded(seed: u64) -> Self {
        Self::from_words(|i| key::hash_word(seed.wrapping_add(i)))
    }

    fn from_words(word: impl Fn(u64) -> u64) -> Self {
        let mut bytes = Box::new([0; 192]);
        for (chunk, i) in bytes.chunks_exact_mut(8).zip(2..) {
            chunk.copy_from_slice(&word(i).to_le_bytes());
        }
        Self {
            add: word(0),
            multiply: word(1) | 1,
            bytes,
        }
    }

    /// Spreads a word over 64 bits: both halves of a 128-bit product, folded.
    #[inline]
    pub(in crate::state) fn mix(&self, word: u64) -> u64 {
        let product = u128::from(word ^ self.add) * u128::from(self.multiply);
        (product >> 64) as u64 ^ product as u64
    }

    /// Spreads a key of any length.
    pub(in crate::state) fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_secret(key, &*self.bytes)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
