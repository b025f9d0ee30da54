//! The keys that have windows, in the order of their bytes.

use crate::state::KeyIndex;

/// Ids of keys in the order of the keys' bytes, so that windows that end together come out in an
/// order that depends on the input alone. Keys that come are sorted once a window, all together.
#[derive(Debug)]
pub(super) struct Roster {
    keys: Sorted,
    /// Those that came since.
    fresh: Vec<u32>,
    /// Whether some have left memory since they came.
    is_stale: bool,
}

/// Keys with their ids.
#[derive(Debug)]
enum Sorted {
    /// Keys of eight bytes, most significant first.
    Words(Vec<(u64, u32)>),
    Bytes(Vec<(Box<[u8]>, u32)>),
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            keys: Sorted::Words(Vec::new()),
            fresh: Vec::new(),
            is_stale: false,
        }
    }

    /// A key has windows now.
    #[inline]
    pub(super) fn add(&mut self, id: u32) {
        self.fresh.push(id);
    }

    pub(super) fn len(&self) -> usize {
        match &self.keys {
            Sorted::Words(keys) => keys.len(),
            Sorted::Bytes(keys) => keys.len(),
        }
    }

    /// The id at a place.
    #[inline]
    pub(super) fn id(&self, at: usize) -> u32 {
        match &self.keys {
            Sorted::Words(keys) => keys[at].1,
            Sorted::Bytes(keys) => keys[at].1,
        }
    }

    /// A key has left memory; its id may be another's.
    pub(super) fn leave(&mut self) {
        self.is_stale = true;
    }

    /// Drops those that have left memory: those for which that is not said, and those whose id is
    /// another key's now.
    pub(super) fn purge(&mut self, index: &KeyIndex, is_there: impl Fn(u32) -> bool) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let mut key = Vec::new();
        let mut is_key = |id: u32, known: &[u8]| {
            key.clear();
            index.append_key(id, &mut key);
            is_there(id) && key == known
        };
        match &mut self.keys {
            Sorted::Words(keys) => keys.retain(|(word, id)| is_key(*id, &word.to_be_bytes())),
            Sorted::Bytes(keys) => keys.retain(|(known, id)| is_key(*id, known)),
        }
        let mut known: Vec<u32> = (0..self.len()).map(|at| self.id(at)).collect();
        known.sort_unstable();
        self.fresh.sort_unstable();
        self.fresh.dedup();
        let is_new = |id: &u32| is_there(*id) && known.binary_search(id).is_err();
        self.fresh.retain(is_new);
    }

    /// Memory held, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        let keys = match &self.keys {
            Sorted::Words(keys) => keys.capacity() * size_of::<(u64, u32)>(),
            Sorted::Bytes(keys) => {
                let own: usize = keys.first().map_or(0, |(key, _)| key.len() + 16);
                keys.capacity() * size_of::<(Box<[u8]>, u32)>() + keys.len() * own
            }
        };
        keys + self.fresh.capacity() * size_of::<u32>()
    }

    /// Puts those that came into their places.
    pub(super) fn settle(&mut self, index: &KeyIndex) {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.is_empty() {
            return;
        }
        if !index.is_word() && matches!(self.keys, Sorted::Words(_)) {
            self.keys = Sorted::Bytes(Vec::new());
        }
        match &mut self.keys {
            Sorted::Words(keys) => {
                let word = |id: u32| {
                    let key = index.key(id);
                    u64::from_be_bytes(key.try_into().unwrap_or_default())
                };
                merge(keys, fresh.into_iter().map(|id| (word(id), id)).collect());
            }
            Sorted::Bytes(keys) => {
                let more = fresh.into_iter();
                merge(keys, more.map(|id| (index.key(id).into(), id)).collect());
            }
        }
    }

    /// Takes out the keys at some places, which are in order.
    pub(super) fn remove(&mut self, places: &[usize]) {
        if places.is_empty() {
            return;
        }
        let (mut at, mut places) = (0, places.iter().peekable());
        self.retain(|_| {
            let is_gone = places.next_if(|place| **place == at).is_some();
            at += 1;
            !is_gone
        });
    }

    /// Keeps the ids for which that is said.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(u32) -> bool) {
        match &mut self.keys {
            Sorted::Words(keys) => keys.retain(|(_, id)| is_kept(*id)),
            Sorted::Bytes(keys) => keys.retain(|(_, id)| is_kept(*id)),
        }
    }

    /// Sorts some ids by their keys and drops repeats.
    pub(super) fn sort(ids: &mut Vec<u32>, index: &KeyIndex) {
        if ids.len() > 1 {
            ids.sort_by_cached_key(|id| index.key(*id));
            ids.dedup();
        }
    }
}

/// Merges keys into sorted ones.
fn merge<K: Ord>(keys: &mut Vec<(K, u32)>, mut more: Vec<(K, u32)>) {
    more.sort_unstable();
    if keys.is_empty() {
        *keys = more;
        return;
    }
    let known = std::mem::take(keys);
    keys.reserve(known.len() + more.len());
    let mut more = more.into_iter().peekable();
    for key in known {
        while let Some(first) = more.next_if(|other| *other < key) {
            keys.push(first);
        }
        keys.push(key);
    }
    keys.extend(more);
}
