//! The values of one column that a key's window holds, numbered.

use std::collections::HashMap;

/// Encoded values and their numbers. A value keeps its number while a row holds it.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// Found by a hash that is keyed per process: the values are chosen by others.
    numbers: HashMap<Box<[u8]>, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    value: Box<[u8]>,
    holds: u32,
}

/// What a value costs beside its bytes, which stand in the map and in the list.
const ENTRY_BYTES: usize = size_of::<(Box<[u8]>, u32)>() + size_of::<Entry>() + 32;

impl Dictionary {
    /// The number of a value, which one more row holds from now on.
    pub(super) fn hold(&mut self, value: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            self.entries[*number as usize].holds += 1;
            return *number;
        }
        let entry = Entry {
            value: value.into(),
            holds: 1,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.bytes += 2 * value.len() + ENTRY_BYTES;
        self.numbers.insert(value.into(), number);
        number
    }

    /// One row less holds the value.
    pub(super) fn release(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        entry.holds -= 1;
        if entry.holds == 0 {
            let value = std::mem::take(&mut entry.value);
            self.bytes -= 2 * value.len() + ENTRY_BYTES;
            self.numbers.remove(&value);
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
