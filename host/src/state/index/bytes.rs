//! The bytes of keys, by their ids.

use super::KeyIndex;

impl KeyIndex {
    /// A key's bytes.
    pub fn key(&self, id: u32) -> Vec<u8> {
        self.keys.to_bytes(id)
    }

    /// Appends a key's bytes.
    #[inline]
    pub fn append_key(&self, id: u32, out: &mut Vec<u8>) {
        self.keys.append(id, out);
    }

    /// Appends the bytes of several keys, and where each ends.
    pub fn append_keys(&self, ids: &[u32], out: &mut Vec<u8>, ends: &mut Vec<u32>) {
        ends.reserve(ids.len());
        self.keys.append_all(ids, out, ends);
    }
}
