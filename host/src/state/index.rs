//! From keys to dense ids.

mod bytes;
mod group;
mod residency;
mod secret;

use wasmill_core::key::{self, KeyGroupRange, Keys};

use super::changes::{Cut, Tracker};
use super::key_store::KeyStore;
use super::{KeysImage, Paged};
use group::{Group, Slot};
use residency::Residency;

use residency::place_of;

pub use secret::Secret;

/// The low bits of a row's scratch word hold its key group, the rest the keyed hash.
const GROUP_BITS: u64 = 0xffff;

/// Rows whose slots are brought into the cache together.
const BLOCK: usize = 64;
/// Slots of so many bytes stay in a core's own cache.
const NEAR_BYTES: usize = 512 << 10;

/// The distinct keys of a batch.
#[derive(Debug, Default)]
pub struct BatchKeys {
    /// Their ids, in the order in which they were first seen.
    pub ids: Vec<u32>,
    /// For each row looked up, its key's position in `ids`.
    pub row_to_key: Vec<u32>,
    /// Per row: keyed hash and key group, between the passes of a lookup.
    scratch: Vec<u64>,
}

impl BatchKeys {
    /// Forgets the last batch and keeps the memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.row_to_key.clear();
    }
}

/// The keys of one subtask. Every key group has its own open-addressing table, so growth comes in
/// small steps and a group can move to another subtask by itself.
///
/// A key keeps its id as long as something holds it ([`KeyIndex::hold`]); ids of keys that nothing
/// holds are given to new keys.
#[derive(Debug)]
pub struct KeyIndex {
    secret: Secret,
    key_groups: u16,
    range: KeyGroupRange,
    is_word: bool,
    groups: Vec<Group>,
    slots_bytes: usize,
    keys: KeyStore,
    /// How many states hold each id.
    holds: Paged<u32>,
    /// Ids given out so far, recycled ones included.
    ids: u32,
    free: Vec<u32>,
    /// Ids that may have become unused: new in this batch.
    candidates: Vec<u32>,
    /// Ids that may have become unused: released.
    released: Vec<u32>,
    /// Keys that came to stay since somebody asked.
    came: usize,
    /// What changes from one checkpoint to the next, if anybody wants to know.
    tracker: Option<Tracker>,
    /// Which keys are in memory, if not all of them are.
    residency: Option<Residency>,
}

impl KeyIndex {
    /// An index of the keys of `range`, of `key_groups`; `is_word` as the codec of the keys says.
    pub fn new(range: KeyGroupRange, key_groups: u16, is_word: bool, secret: Secret) -> Self {
        let groups: Vec<Group> = (0..range.len()).map(|_| Group::new()).collect();
        Self {
            secret,
            key_groups,
            range,
            is_word,
            slots_bytes: groups.iter().map(Group::bytes).sum(),
            groups,
            keys: KeyStore::new(is_word),
            holds: Paged::new(),
            ids: 0,
            free: Vec::new(),
            candidates: Vec::new(),
            released: Vec::new(),
            came: 0,
            tracker: None,
            residency: None,
        }
    }

    /// Notes from now on which keys change, so that checkpoints need not write down all.
    pub fn track_changes(&mut self) {
        self.tracker = Some(Tracker::default());
    }

    /// Something that is kept of this key has changed. Whoever keeps something by key tells it, or
    /// the change is in no delta.
    #[inline]
    pub fn touch(&mut self, id: u32) {
        if let Some(tracker) = &mut self.tracker {
            tracker.set(id);
        }
        if let Some(residency) = &mut self.residency {
            residency.change(id);
        }
    }

    /// As [`KeyIndex::touch`], for several.
    #[inline]
    pub fn touch_all(&mut self, ids: impl Iterator<Item = u32> + Clone) {
        if let Some(tracker) = &mut self.tracker {
            ids.clone().for_each(|id| tracker.set(id));
        }
        if let Some(residency) = &mut self.residency {
            ids.for_each(|id| residency.change(id));
        }
    }

    /// Finds the key of each row or makes it known, and appends to `out`: rows of several inputs
    /// may follow each other. `hashes` are the rows' key hashes.
    ///
    /// # Panics
    /// If a key lies outside the range, or the keys have another shape than the index.
    pub fn lookup(&mut self, keys: &Keys, hashes: &[u64], out: &mut BatchKeys) {
        assert_eq!(keys.len(), hashes.len(), "one hash for each key");
        let mut scratch = std::mem::take(&mut out.scratch);
        scratch.clear();
        match keys {
            Keys::Words(words) => {
                assert!(self.is_word, "the index keeps keys of eight bytes");
                let mixed = words.iter().map(|word| self.secret.mix(*word));
                self.spread(mixed.zip(hashes), &mut scratch);
                match self.is_near() {
                    true => self.enter(&scratch, out, |index, row, mixed| {
                        index.find_word_near(words[row], mixed)
                    }),
                    false => self.enter(&scratch, out, |index, row, mixed| {
                        index.find_word(words[row], mixed)
                    }),
                }
            }
            Keys::Bytes { offsets, data } => {
                assert!(!self.is_word, "the index keeps keys of any length");
                let key = |row: usize| &data[offsets[row] as usize..offsets[row + 1] as usize];
                let mixed = (0..hashes.len()).map(|row| self.secret.hash(key(row)));
                self.spread(mixed.zip(hashes), &mut scratch);
                self.enter(&scratch, out, |index, row, mixed| {
                    index.find_bytes(key(row), mixed)
                });
            }
        }
        out.scratch = scratch;
    }

    /// Adds a known key to a batch unless it is there, as one that a timer wakes, and gives its
    /// position in the batch.
    pub fn include(&mut self, id: u32, out: &mut BatchKeys) -> u32 {
        let (group, at) = self.place(id);
        let slot = &mut self.groups[group].slots[at];
        if out.ids.get(slot.position as usize) != Some(&id) {
            slot.position = out.ids.len() as u32;
            out.ids.push(id);
        }
        slot.position
    }

    /// A state of this key has come to be.
    #[inline]
    pub fn hold(&mut self, id: u32) {
        *self.holds.get_mut(id) += 1;
        if let Some(residency) = &mut self.residency {
            residency.change(id);
        }
    }

    /// A state of this key is gone.
    #[inline]
    pub fn release(&mut self, id: u32) {
        if let Some(residency) = &mut self.residency {
            residency.change(id);
        }
        let holds = self.holds.get_mut(id);
        debug_assert!(*holds > 0, "a key is released as often as it is held");
        *holds -= 1;
        if *holds == 0 {
            self.released.push(id);
        }
    }

    /// Forgets the keys that nothing holds. Called between batches: ids of the last one may be
    /// given to other keys afterwards.
    pub fn recycle(&mut self) {
        while let Some(id) = self.released.pop() {
            // An id may have been released twice, or be held again.
            if self.is_unused(id) {
                if let Some(tracker) = &mut self.tracker {
                    tracker.set_gone(&self.keys.to_bytes(id));
                }
                if let Some(residency) = &mut self.residency {
                    let (keys, key_groups) = (&self.keys, self.key_groups);
                    residency.forget(id, || place_of(&keys.to_bytes(id), key_groups));
                }
                self.forget(id);
            }
        }
        while let Some(id) = self.candidates.pop() {
            match self.is_unused(id) {
                true => self.forget(id),
                false => self.came += 1,
            }
        }
    }

    /// Gives a key's id back.
    fn forget(&mut self, id: u32) {
        let (group, at) = self.place(id);
        let secret = &self.secret;
        let is_word = self.is_word;
        self.groups[group].remove(at, |slot| {
            if is_word {
                secret.mix(slot.key)
            } else {
                slot.key
            }
        });
        self.keys.clear(id);
        *self.holds.get_mut(id) = FREE;
        self.free.push(id);
    }

    /// Whether it is a key's, and nothing holds it.
    fn is_unused(&self, id: u32) -> bool {
        self.holds.get(id).is_some_and(|holds| *holds == 0)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.ids as usize - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the largest id there is: columns need room for so many.
    pub fn ids_end(&self) -> usize {
        self.ids as usize
    }

    /// The key groups this index owns.
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// How many key groups the job has.
    pub fn key_groups(&self) -> u16 {
        self.key_groups
    }

    /// Whether keys are words of eight bytes.
    pub fn is_word(&self) -> bool {
        self.is_word
    }

    /// The keys as they are now, for the images of all operators that share them. Nothing is copied
    /// before it changes.
    pub fn image(&mut self, cut: Cut) -> KeysImage {
        let len = self.len();
        let tracker = self.tracker.as_mut();
        KeysImage {
            key_groups: self.key_groups,
            range: self.range,
            len,
            ids: self.ids,
            disk: None,
            changes: tracker.and_then(|tracker| tracker.cut(cut)),
            holds: self.holds.image(),
            keys: self.keys.image(),
        }
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.slots_bytes
            + self.keys.bytes()
            + self.holds.bytes()
            + (self.free.capacity() + self.candidates.capacity() + self.released.capacity())
                * size_of::<u32>()
            + self.tracker.as_ref().map_or(0, Tracker::bytes)
            + self.residency.as_ref().map_or(0, Residency::bytes)
    }

    /// First pass: every row's keyed hash, with its key group in the low bits.
    #[inline]
    fn spread<'a>(&self, rows: impl Iterator<Item = (u64, &'a u64)>, scratch: &mut Vec<u64>) {
        scratch.extend(rows.map(|(mixed, hash)| {
            let group = key::key_group(*hash, self.key_groups).wrapping_sub(self.range.start);
            mixed & !GROUP_BITS | u64::from(group)
        }));
    }

    /// Second pass: finds each row's slot and enters its key into the batch. A slot's position
    /// holds iff the batch has the slot's id there (a sparse set: nothing has to be reset between
    /// batches).
    #[inline]
    fn enter(
        &mut self,
        scratch: &[u64],
        out: &mut BatchKeys,
        find: impl Fn(&mut Self, usize, u64) -> usize,
    ) {
        let mut count = out.ids.len();
        // One more than there can be: behind the last known key always stands none.
        out.ids.resize(count + scratch.len() + 1, Slot::EMPTY);
        let ids = out.ids.as_mut_slice();
        let end = ids.len() - 1;
        out.row_to_key.reserve(scratch.len());
        let is_near = self.is_near();
        for (block, first) in scratch.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
            if !is_near {
                self.warm(block);
            }
            out.row_to_key
                .extend(block.iter().enumerate().map(|(row, mixed)| {
                    let at = find(self, first + row, *mixed);
                    let slot = &mut self.groups[(mixed & GROUP_BITS) as usize].slots[at];
                    // Whether a key is new is as good as random: a branch on it would be
                    // mispredicted. Where a position of an earlier batch leads, there is another
                    // key or none.
                    let seen = (slot.position as usize).min(end);
                    let is_new = ids[seen] != slot.id;
                    let position = if is_new { count } else { seen };
                    ids[position] = slot.id;
                    slot.position = position as u32;
                    count += usize::from(is_new);
                    slot.position
                }));
        }
        out.ids.truncate(count);
    }

    /// Brings the slots where keys most likely stand into the cache, many at once: the search
    /// would wait for one after the other.
    #[inline]
    fn warm(&self, block: &[u64]) {
        let slot = |mixed: &u64| {
            let group = &self.groups[(mixed & GROUP_BITS) as usize];
            group.slots[group.home(*mixed)].id
        };
        std::hint::black_box(block.iter().map(slot).fold(0, |ids, id| ids ^ id));
    }

    /// Whether all slots fit into a core's own cache, so that reading one costs a few cycles.
    fn is_near(&self) -> bool {
        self.slots_bytes <= NEAR_BYTES
    }

    /// As [`KeyIndex::find_word`], with the first two places taken without a branch: one in eight
    /// keys stands in the second one, which nothing foretells. That takes a tenth off a search, and
    /// no more off a job than noise hides; where slots are far away a branch goes ahead of them.
    #[inline]
    fn find_word_near(&mut self, word: u64, mixed: u64) -> usize {
        let group = &self.groups[(mixed & GROUP_BITS) as usize];
        let home = group.home(mixed);
        let is_home = group.slots[home].key == word;
        let at = std::hint::select_unpredictable(is_home, home, group.after(home));
        let slot = &group.slots[at];
        if slot.key == word && !slot.is_empty() {
            return at;
        }
        self.find_word(word, mixed)
    }

    /// The slot of a word, which is made if there is none.
    #[inline]
    fn find_word(&mut self, word: u64, mixed: u64) -> usize {
        let group = &self.groups[(mixed & GROUP_BITS) as usize];
        let mut at = group.home(mixed);
        loop {
            let slot = &group.slots[at];
            if slot.key == word && !slot.is_empty() {
                return at;
            }
            if slot.is_empty() {
                break;
            }
            at = group.after(at);
        }
        let id = self.new_id();
        self.keys.set_word(id, word);
        self.insert(mixed, at, Slot::new(word, id))
    }

    /// The slot of a key of any length, which is made if there is none.
    fn find_bytes(&mut self, key: &[u8], mixed: u64) -> usize {
        // The slot keeps the scratch word, so that both have the same bits.
        let group = &self.groups[(mixed & GROUP_BITS) as usize];
        let mut at = group.home(mixed);
        loop {
            let slot = &group.slots[at];
            if slot.key == mixed && !slot.is_empty() && self.keys.is(slot.id, key) {
                return at;
            }
            if slot.is_empty() {
                break;
            }
            at = group.after(at);
        }
        let id = self.new_id();
        self.keys.set_bytes(id, key);
        self.insert(mixed, at, Slot::new(mixed, id))
    }

    #[cold]
    fn insert(&mut self, mixed: u64, at: usize, slot: Slot) -> usize {
        let is_word = self.is_word;
        let secret = &self.secret;
        let group = &mut self.groups[(mixed & GROUP_BITS) as usize];
        let before = group.bytes();
        let at = group.insert(at, slot, |slot| {
            if is_word {
                secret.mix(slot.key)
            } else {
                slot.key
            }
        });
        self.slots_bytes += group.bytes() - before;
        at
    }

    fn new_id(&mut self) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.ids += 1;
            self.ids - 1
        });
        assert!(id != Slot::EMPTY, "a subtask holds fewer than 2^32 keys");
        *self.holds.get_mut(id) = 0;
        self.candidates.push(id);
        id
    }

    /// Group and slot of a known id.
    fn place(&self, id: u32) -> (usize, usize) {
        let key = self.keys.to_bytes(id);
        let group = key::key_group(key::hash(&key), self.key_groups) - self.range.start;
        let mixed = if self.is_word {
            let word = u64::from_le_bytes(key.try_into().expect("a word has eight bytes"));
            self.secret.mix(word)
        } else {
            self.secret.hash(&key)
        };
        let at = self.groups[usize::from(group)].find(id, mixed);
        (usize::from(group), at)
    }
}

/// Marks, among the holds, an id without key.
pub(super) const FREE: u32 = u32::MAX;
