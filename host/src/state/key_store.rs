//! The keys themselves, by dense id: to compare, to remove, to name a key whose timer fires.

use super::Paged;
use super::paged::{PagedImage, RICH};

/// Each key's bytes.
#[derive(Debug)]
pub(super) enum KeyStore {
    /// Keys of eight bytes, as little-endian words.
    Words(Paged<u64>),
    /// Keys of any length.
    Bytes {
        keys: Paged<Box<[u8]>, RICH>,
        /// Memory behind the boxes.
        bytes: usize,
    },
}

/// What an allocation costs beside its contents.
const ALLOCATION_BYTES: usize = 16;

impl KeyStore {
    pub(super) fn new(is_word: bool) -> Self {
        if is_word {
            Self::Words(Paged::new())
        } else {
            Self::Bytes {
                keys: Paged::new(),
                bytes: 0,
            }
        }
    }

    /// A key's bytes; empty if the id has none.
    pub(super) fn to_bytes(&self, id: u32) -> Vec<u8> {
        match self {
            Self::Words(words) => words.get(id).map_or(0, |word| *word).to_le_bytes().to_vec(),
            Self::Bytes { keys, .. } => keys.get(id).map_or_else(Vec::new, |key| key.to_vec()),
        }
    }

    /// Appends a key's bytes; nothing if the id has none.
    #[inline]
    pub(super) fn append(&self, id: u32, out: &mut Vec<u8>) {
        match self {
            Self::Words(words) => {
                let word = words.get(id).map_or(0, |word| *word);
                out.extend_from_slice(&word.to_le_bytes());
            }
            Self::Bytes { keys, .. } => {
                out.extend_from_slice(keys.get(id).map_or(&[][..], |key| key));
            }
        }
    }

    /// The same for several keys; `ends` gets where each ends.
    pub(super) fn append_all(&self, ids: &[u32], out: &mut Vec<u8>, ends: &mut Vec<u32>) {
        match self {
            Self::Words(words) => {
                out.reserve(ids.len() * size_of::<u64>());
                for id in ids {
                    let word = words.get(*id).map_or(0, |word| *word);
                    out.extend_from_slice(&word.to_le_bytes());
                    ends.push(out.len() as u32);
                }
            }
            Self::Bytes { .. } => {
                for id in ids {
                    self.append(*id, out);
                    ends.push(out.len() as u32);
                }
            }
        }
    }

    pub(super) fn set_word(&mut self, id: u32, word: u64) {
        if let Self::Words(words) = self {
            *words.get_mut(id) = word;
        }
    }

    pub(super) fn set_bytes(&mut self, id: u32, key: &[u8]) {
        if let Self::Bytes { keys, bytes } = self {
            *bytes += key.len() + ALLOCATION_BYTES;
            *keys.get_mut(id) = key.into();
        }
    }

    /// Frees a key's memory.
    pub(super) fn clear(&mut self, id: u32) {
        if let Self::Bytes { keys, bytes } = self {
            let key = std::mem::take(keys.get_mut(id));
            *bytes -= key.len() + ALLOCATION_BYTES;
        }
    }

    /// Whether the id's key has these bytes.
    #[inline]
    pub(super) fn is(&self, id: u32, key: &[u8]) -> bool {
        match self {
            Self::Words(_) => false,
            Self::Bytes { keys, .. } => keys.get(id).is_some_and(|known| **known == *key),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Words(words) => words.bytes(),
            Self::Bytes { keys, bytes } => keys.bytes() + bytes,
        }
    }

    /// The keys as they are now. Nothing is copied before it changes.
    pub(super) fn image(&mut self) -> KeyStoreImage {
        match self {
            Self::Words(words) => KeyStoreImage::Words(words.image()),
            Self::Bytes { keys, .. } => KeyStoreImage::Bytes(keys.image()),
        }
    }
}

/// Each key's bytes as they were when the image was taken.
#[derive(Debug, Clone)]
pub(super) enum KeyStoreImage {
    Words(PagedImage<u64>),
    Bytes(PagedImage<Box<[u8]>, RICH>),
}
