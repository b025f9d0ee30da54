//! Which keys have changed since which checkpoint: what a delta has to say.
//!
//! A delta changes what the newest decided checkpoint says, and which one that will be is known
//! only when the next barrier comes: the one before may have been aborted, as if it had never been
//! triggered. So changes are kept by the barrier that ended them, until a barrier says that an
//! earlier one is decided.

use std::sync::Arc;

use wasmill_core::checkpoint::CheckpointId;

/// Bytes of keys that are gone: with more than these the next checkpoint writes everything down.
const GONE_BYTES_MAX: usize = 64 << 20;

/// The keys that changed between two barriers.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// A bit for each id.
    bits: Vec<u64>,
    /// Keys that were forgotten: their ids may belong to other keys by now. One behind the other,
    /// and where each ends.
    gone: Vec<u8>,
    ends: Vec<usize>,
    /// Keys that changed and then left memory.
    evicted: usize,
}

impl Changes {
    #[inline]
    pub(super) fn set(&mut self, id: u32) {
        let at = id as usize / 64;
        if at >= self.bits.len() {
            self.grow(at);
        }
        self.bits[at] |= 1 << (id % 64);
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        self.bits.resize((at + 1).next_power_of_two(), 0);
    }

    pub(super) fn bits(&self) -> &[u64] {
        &self.bits
    }

    /// The keys that are gone.
    pub(super) fn gone(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.gone[*start..*end])
    }

    /// Keys that changed and then left memory.
    pub(super) fn evicted(&self) -> usize {
        self.evicted
    }

    fn has(&self, id: u32) -> bool {
        let word = self.bits.get(id as usize / 64);
        word.is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    fn push_gone(&mut self, key: &[u8]) {
        self.gone.extend_from_slice(key);
        self.ends.push(self.gone.len());
    }

    fn gone_bytes(&self) -> usize {
        self.gone.len() + self.ends.len() * size_of::<usize>()
    }
}

/// A barrier, as whoever tracks changes sees it.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The decided checkpoint that its segments may build on; none if it stands alone.
    pub base: Option<CheckpointId>,
}

/// All that has changed since a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Since {
    /// Stretch by stretch between barriers.
    pub(super) changes: Vec<Arc<Changes>>,
    /// The number of the first of them.
    pub(super) generation: u64,
}

/// Tracks the changes of a subtask's keys over the barriers of an attempt.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    current: Changes,
    /// Its number.
    generation: u64,
    /// By the barrier that ended them, with their numbers, oldest first.
    past: Vec<(CheckpointId, u64, Arc<Changes>)>,
    /// The first barrier from which on all changes are known.
    first: Option<CheckpointId>,
}

impl Tracker {
    #[inline]
    pub(super) fn set(&mut self, id: u32) {
        self.current.set(id);
    }

    pub(super) fn set_gone(&mut self, key: &[u8]) {
        self.current.push_gone(key);
        if self.gone_bytes() > GONE_BYTES_MAX {
            self.past.clear();
            self.current = Changes::default();
            self.first = None;
        }
    }

    /// A barrier passes. Gives all that has changed since its base; none if that is not known, and
    /// everything has to be written.
    pub(super) fn cut(&mut self, cut: Cut) -> Option<Since> {
        let changes = std::mem::take(&mut self.current);
        self.current.bits = vec![0; changes.bits.len()];
        let generation = self.generation;
        self.generation += 1;
        let Some(first) = self.first else {
            self.first = Some(cut.checkpoint);
            return None;
        };
        let changes = Arc::new(changes);
        self.past.push((cut.checkpoint, generation, changes));
        let base = cut.base?;
        // No later barrier builds on anything before this base.
        self.past.retain(|(until, ..)| *until > base);
        let since = self.past.iter().map(|(.., changes)| changes.clone());
        (base >= first).then(|| Since {
            changes: since.collect(),
            generation: self.oldest(),
        })
    }

    /// The number of the first stretch that a checkpoint to come may ask for.
    pub(super) fn oldest(&self) -> u64 {
        let first = self.past.first();
        first.map_or(self.generation, |(_, generation, _)| *generation)
    }

    /// A key leaves memory, and its id may be another's. Gives the last stretch in which it
    /// changed; it is the caller's to remember.
    pub(super) fn evict(&mut self, id: u32) -> Option<u64> {
        if self.current.has(id) {
            self.current.bits[id as usize / 64] &= !(1 << (id % 64));
            self.current.evicted += 1;
            return Some(self.generation);
        }
        let mut past = self.past.iter().rev();
        let found = past.find(|(.., changes)| changes.has(id));
        found.map(|(_, generation, _)| *generation)
    }

    /// Whether a key has changed in any stretch that a checkpoint to come may ask for.
    pub(super) fn has(&self, id: u32) -> bool {
        let past = self.past.iter().map(|(.., changes)| &**changes);
        past.chain([&self.current]).any(|changes| changes.has(id))
    }

    pub(super) fn bytes(&self) -> usize {
        let past = self.past.iter().map(|(.., changes)| &**changes);
        let bits = past.chain([&self.current]);
        bits.map(|changes| changes.bits.capacity() * 8)
            .sum::<usize>()
            + self.gone_bytes()
    }

    fn gone_bytes(&self) -> usize {
        let past = self.past.iter().map(|(.., changes)| changes.gone_bytes());
        past.sum::<usize>() + self.current.gone_bytes()
    }
}
