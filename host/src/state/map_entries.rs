//! The map entries that a batch's rows name.

use wasmill_core::key;

use super::BatchKeys;

/// Distinct (key, map key) pairs of a batch, in the order in which they were first seen: the rows
/// of a map state's section, where the state is bound to a column.
#[derive(Debug, Default)]
pub struct MapEntries {
    /// The batch key of each entry.
    pub keys: Vec<u32>,
    /// For each row, its entry.
    pub row_to_entry: Vec<u32>,
    /// Where each entry's map key begins and the last one ends.
    offsets: Vec<u32>,
    data: Vec<u8>,
    /// Open addressing: entry and 1, or 0.
    slots: Vec<u32>,
}

impl MapEntries {
    /// No entries yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Collects the entries of all rows of a batch; `encode` appends a row's map key.
    pub fn collect(&mut self, keys: &BatchKeys, mut encode: impl FnMut(usize, &mut Vec<u8>)) {
        self.keys.clear();
        self.row_to_entry.clear();
        self.data.clear();
        self.offsets.clear();
        self.offsets.push(0);
        self.slots.clear();
        self.slots
            .resize((keys.row_to_key.len() * 2).next_power_of_two(), 0);
        for (row, key) in keys.row_to_key.iter().enumerate() {
            encode(row, &mut self.data);
            let entry = self.enter(*key);
            self.row_to_entry.push(entry);
        }
    }

    /// Each row's entry.
    pub fn rows(&self) -> &[u32] {
        &self.row_to_entry
    }

    /// Number of distinct entries.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// An entry's map key.
    pub fn entry(&self, at: usize) -> &[u8] {
        &self.data[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }

    /// The entry that has just been appended behind the last one; it is taken back if known.
    fn enter(&mut self, key: u32) -> u32 {
        let start = *self.offsets.last().expect("offsets start with 0") as usize;
        let hash = key::hash(&self.data[start..]) ^ key::hash_word(u64::from(key));
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            let known = self.slots[at] as usize - 1;
            if self.keys[known] == key && self.entry(known) == &self.data[start..] {
                self.data.truncate(start);
                return known as u32;
            }
            at = (at + 1) & mask;
        }
        self.keys.push(key);
        let end = u32::try_from(self.data.len()).expect("a batch's map keys take less than 4 GiB");
        self.offsets.push(end);
        self.slots[at] = self.keys.len() as u32;
        self.slots[at] - 1
    }
}
