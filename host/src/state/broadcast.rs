//! Entries that all subtasks have alike: written by rows that go to each of them.
//!
//! An instance keeps a copy, which is a cache: it is told all entries with its first batch, and
//! with each later one those that have changed since.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_core::boundary::StateChanges;

/// The entries of one broadcast state, by their encoded keys.
#[derive(Debug, Default)]
pub(super) struct BroadcastState {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The keys of what the instance does not know yet.
    news: BTreeSet<Vec<u8>>,
    bytes: usize,
}

/// Entries as an instance is told them: the key, and the value unless it is gone.
pub(super) type Told<'a> = Vec<(&'a [u8], Option<&'a [u8]>)>;

impl BroadcastState {
    /// What an instance does not know: all entries if it is new, else what has changed.
    pub(super) fn told(&self, is_new: bool) -> Told<'_> {
        if is_new {
            let entries = self.entries.iter();
            return entries
                .map(|(key, value)| (&key[..], Some(&value[..])))
                .collect();
        }
        let value = |key: &Vec<u8>| self.entries.get(key).map(Vec::as_slice);
        self.news.iter().map(|key| (&key[..], value(key))).collect()
    }

    /// The instance has been told everything.
    pub(super) fn heard(&mut self) {
        self.news.clear();
    }

    /// Sets an entry, or removes it.
    pub(super) fn change(&mut self, key: &[u8], value: Option<&[u8]>) {
        let before = match value {
            Some(value) => self.entries.insert(key.to_vec(), value.to_vec()),
            None => self.entries.remove(key),
        };
        let size = |value: &[u8]| key.len() + value.len();
        self.bytes += value.map_or(0, size);
        self.bytes -= before.map_or(0, |before| size(&before));
        self.news.insert(key.to_vec());
    }

    /// Memory held, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All entries as bytes (`docs/formats/segment.md`); none if there are no entries.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.entries.is_empty() {
            return None;
        }
        let len = |bytes: &[u8]| {
            let len = u32::try_from(bytes.len()).expect("an entry is smaller than 4 GiB");
            len.to_le_bytes()
        };
        let mut out = Vec::new();
        let count = u32::try_from(self.entries.len()).expect("fewer entries than 2^32");
        out.extend_from_slice(&count.to_le_bytes());
        for part in self.entries.iter().flat_map(|(key, value)| [key, value]) {
            out.extend_from_slice(&len(part));
            out.extend_from_slice(part);
        }
        Some(out)
    }

    /// Entries from bytes; none if they are not what the format says. `check` judges each key and
    /// value.
    pub(super) fn from_bytes<E>(
        bytes: &[u8],
        check: impl Fn(&[u8], &[u8]) -> Result<(), E>,
    ) -> Option<Result<Self, E>> {
        let mut state = Self::default();
        for (key, value) in broadcast_entries(bytes)? {
            if let Err(error) = check(key, value) {
                return Some(Err(error));
            }
            state.change(key, Some(value));
        }
        Some(Ok(state))
    }
}

/// The entries of a broadcast state's bytes, key and value; none if they are not what the format
/// says.
pub fn broadcast_entries(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(u32::from_le_bytes(*number) as usize)
    }
    let count = number(&mut bytes)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let mut part = || {
            let len = number(&mut bytes)?;
            let (part, rest) = bytes.split_at_checked(len)?;
            bytes = rest;
            Some(part)
        };
        entries.push((part()?, part()?));
    }
    bytes.is_empty().then_some(entries)
}

/// The state that a change is of.
pub(super) fn state_of(change: &StateChanges<'_>) -> usize {
    match *change {
        StateChanges::Value { state, .. }
        | StateChanges::List { state, .. }
        | StateChanges::Map { state, .. }
        | StateChanges::Broadcast { state, .. }
        | StateChanges::Operator { state, .. } => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_told_what_it_does_not_know() {
        let mut state = BroadcastState::default();
        state.change(b"a", Some(b"1"));
        state.change(b"b", Some(b"2"));
        state.heard();
        assert!(state.told(false).is_empty());
        state.change(b"a", None);
        state.change(b"c", Some(b"3"));
        assert_eq!(
            state.told(false),
            [(&b"a"[..], None), (b"c", Some(&b"3"[..]))]
        );
        let all = [(&b"b"[..], Some(&b"2"[..])), (b"c", Some(b"3"))];
        assert_eq!(state.told(true), all, "a new one is told all");
        assert_eq!(state.bytes(), 4);
    }

    #[test]
    fn entries_come_back_from_their_bytes() {
        let mut state = BroadcastState::default();
        assert_eq!(state.to_bytes(), None);
        state.change(b"key", Some(b"value"));
        state.change(b"", Some(b""));
        let bytes = state.to_bytes().expect("entries");
        let anything = |_: &[u8], _: &[u8]| Ok::<(), ()>(());
        let read = BroadcastState::from_bytes(&bytes, anything);
        let read = read.expect("our own").expect("anything goes");
        assert_eq!(read.told(true), state.told(true));
        for cut in 0..bytes.len() {
            assert!(BroadcastState::from_bytes(&bytes[..cut], anything).is_none());
        }
    }
}
