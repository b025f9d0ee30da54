//! Which keys of a subtask are in memory, where not all of them are: what was used lately, what the
//! disk does not know, and which key goes next.

use wasmill_core::key;

use super::{FREE, KeyIndex, Tracker};

/// What is known of each id beside its key.
#[derive(Debug, Default)]
pub(super) struct Residency {
    /// Used since the hand passed the last time.
    recent: Bits,
    /// Changed since the disk was told.
    unsaved: Bits,
    /// The disk has a record, which may be older.
    stored: Bits,
    /// Keys with a record that are gone.
    gone: Vec<Vec<u8>>,
    /// The id that is looked at next.
    hand: u32,
}

/// A bit for each id.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    #[inline]
    fn set(&mut self, id: u32) {
        let at = id as usize / 64;
        if at >= self.0.len() {
            self.0.resize((at + 1).next_power_of_two(), 0);
        }
        self.0[at] |= 1 << (id % 64);
    }

    fn has(&self, id: u32) -> bool {
        let word = self.0.get(id as usize / 64);
        word.is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Clears a bit, and gives what it was.
    fn take(&mut self, id: u32) -> bool {
        let word = self.0.get_mut(id as usize / 64);
        word.is_some_and(|word| {
            let was = *word >> (id % 64) & 1 == 1;
            *word &= !(1 << (id % 64));
            was
        })
    }
}

impl Residency {
    #[inline]
    pub(super) fn change(&mut self, id: u32) {
        self.unsaved.set(id);
    }

    /// A key is forgotten.
    pub(super) fn forget(&mut self, id: u32, key: impl FnOnce() -> Vec<u8>) {
        self.unsaved.take(id);
        self.recent.take(id);
        if self.stored.take(id) {
            self.gone.push(key());
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let bits = [&self.recent, &self.unsaved, &self.stored];
        bits.iter().map(|bits| bits.0.capacity() * 8).sum()
    }
}

impl KeyIndex {
    /// How many keys came to stay since the last call.
    pub fn take_came(&mut self) -> usize {
        std::mem::take(&mut self.came)
    }

    /// As [`KeyIndex::hold`], for what is only looked up: no checkpoint and no disk is to know.
    #[inline]
    pub fn lend(&mut self, id: u32) {
        *self.holds.get_mut(id) += 1;
    }

    /// As [`KeyIndex::release`], for what was lent.
    #[inline]
    pub fn give_back(&mut self, id: u32) {
        let holds = self.holds.get_mut(id);
        debug_assert!(*holds > 0, "a key is given back as often as it was lent");
        *holds -= 1;
        if *holds > 0 {
            return;
        }
        // Something may have been kept of it, and have gone while it was lent.
        let tracker = self.tracker.as_ref();
        let residency = self.residency.as_ref();
        let was_kept = tracker.is_some_and(|tracker| tracker.has(id))
            || residency.is_some_and(|residency| residency.stored.has(id));
        match was_kept {
            true => self.released.push(id),
            false => self.candidates.push(id),
        }
    }

    /// Whether keys may leave memory.
    pub fn is_spilling(&self) -> bool {
        self.residency.is_some()
    }

    /// From now on keys may leave memory without being gone.
    pub(in crate::state) fn spill(&mut self) {
        self.residency = Some(Residency::default());
    }

    /// The number of the first stretch between two barriers of which a checkpoint may ask for
    /// changes.
    pub(in crate::state) fn oldest_changes(&self) -> u64 {
        self.tracker.as_ref().map_or(0, Tracker::oldest)
    }

    /// The keys that were made known since the last [`KeyIndex::recycle`].
    pub(in crate::state) fn newcomers(&self) -> &[u32] {
        &self.candidates
    }

    /// These keys are used now.
    pub(in crate::state) fn use_all(&mut self, ids: &[u32]) {
        if let Some(residency) = &mut self.residency {
            ids.iter().for_each(|id| residency.recent.set(*id));
        }
    }

    /// All that the disk has of a key has been put into memory.
    pub(in crate::state) fn loaded(&mut self, id: u32) {
        if let Some(residency) = &mut self.residency {
            residency.stored.set(id);
            residency.unsaved.take(id);
        }
    }

    /// The keys that are gone and whose records must go, as [`KeyIndex::place_of`] names them.
    pub(in crate::state) fn take_gone(&mut self) -> Vec<Vec<u8>> {
        let residency = self.residency.as_mut();
        residency.map_or_else(Vec::new, |residency| std::mem::take(&mut residency.gone))
    }

    /// The next key to leave memory: one that was not used since the hand passed it the last time.
    /// None if there is no key.
    pub(in crate::state) fn victim(&mut self) -> Option<u32> {
        let (ids, holds) = (self.ids, &self.holds);
        let residency = self.residency.as_mut()?;
        // Twice round: the first time may find all in use.
        for _ in 0..u64::from(ids) * 2 {
            let id = residency.hand;
            residency.hand = if id + 1 < ids { id + 1 } else { 0 };
            let is_held = |holds: &u32| *holds != FREE && *holds > 0;
            if id < ids && holds.get(id).is_some_and(is_held) && !residency.recent.take(id) {
                return Some(id);
            }
        }
        None
    }

    /// Whether a key has changed since the disk was told.
    pub(in crate::state) fn is_unsaved(&self, id: u32) -> bool {
        let residency = self.residency.as_ref();
        residency.is_some_and(|residency| residency.unsaved.has(id))
    }

    /// Gives back the id of a key of which nothing is left in memory. Tells the last stretch
    /// between two barriers in which it changed, as far as a checkpoint to come may ask for it.
    pub(in crate::state) fn evict(&mut self, id: u32) -> Option<u64> {
        // The last to release it has put it among the released ones: it is not gone.
        let released = self.released.pop();
        assert_eq!(
            released,
            Some(id),
            "all that was kept of it has been taken away"
        );
        let changed_in = self.tracker.as_mut().and_then(|tracker| tracker.evict(id));
        if let Some(residency) = &mut self.residency {
            residency.stored.take(id);
            residency.unsaved.take(id);
        }
        self.forget(id);
        changed_in
    }

    /// A key's name on disk: its key group, most significant byte first, and its bytes.
    pub(in crate::state) fn place_of(&self, id: u32) -> Vec<u8> {
        place_of(&self.keys.to_bytes(id), self.key_groups)
    }
}

/// The name of a key on disk, which sorts as segments do.
pub(in crate::state) fn place_of(key: &[u8], key_groups: u16) -> Vec<u8> {
    let group = key::key_group(key::hash(key), key_groups);
    [&group.to_be_bytes(), key].concat()
}
