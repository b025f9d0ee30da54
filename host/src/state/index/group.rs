//! The table of one key group: open addressing, linear probing, removal by shifting back.

/// The key, its id, and where the last batch that saw it keeps it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct Slot {
    /// The key itself if keys are words, else its keyed hash.
    pub(super) key: u64,
    pub(super) id: u32,
    pub(super) position: u32,
}

impl Slot {
    /// The id of a slot that holds no key.
    pub(super) const EMPTY: u32 = u32::MAX;

    pub(super) fn new(key: u64, id: u32) -> Self {
        Self {
            key,
            id,
            position: u32::MAX,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.id == Self::EMPTY
    }
}

/// A table of a power of two of slots, at most half of them full: most probes end
/// where they begin, which the processor learns to expect.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) slots: Box<[Slot]>,
    /// A key's home is its keyed hash, shifted right by this.
    shift: u32,
    len: usize,
}

impl Group {
    const SLOTS_MIN: usize = 8;

    pub(super) fn new() -> Self {
        Self::with_slots(Self::SLOTS_MIN)
    }

    fn with_slots(count: usize) -> Self {
        Self {
            slots: vec![Slot::new(0, Slot::EMPTY); count].into(),
            shift: 64 - count.trailing_zeros(),
            len: 0,
        }
    }

    /// Where a key with this keyed hash stands if nothing is in its way.
    #[inline]
    pub(super) fn home(&self, mixed: u64) -> usize {
        (mixed >> self.shift) as usize
    }

    /// The slot to probe next.
    #[inline]
    pub(super) fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// The slot of an id that is there.
    pub(super) fn find(&self, id: u32, mixed: u64) -> usize {
        let mut at = self.home(mixed);
        while self.slots[at].id != id {
            assert!(!self.slots[at].is_empty(), "a known id has a slot");
            at = self.after(at);
        }
        at
    }

    /// Fills the empty slot that a probe ended at, and gives where the slot stands afterwards.
    /// `mixed` tells a slot's keyed hash.
    pub(super) fn insert(&mut self, at: usize, slot: Slot, mixed: impl Fn(&Slot) -> u64) -> usize {
        self.len += 1;
        if self.len * 2 <= self.slots.len() {
            self.slots[at] = slot;
            return at;
        }
        let mut grown = Self::with_slots(self.slots.len() * 2);
        for old in self.slots.iter().filter(|old| !old.is_empty()) {
            grown.put(*old, mixed(old));
        }
        let at = grown.put(slot, mixed(&slot));
        grown.len = self.len;
        *self = grown;
        at
    }

    fn put(&mut self, slot: Slot, mixed: u64) -> usize {
        let mut at = self.home(mixed);
        while !self.slots[at].is_empty() {
            at = self.after(at);
        }
        self.slots[at] = slot;
        at
    }

    /// Empties a slot and moves back those behind it that probed past it.
    pub(super) fn remove(&mut self, at: usize, mixed: impl Fn(&Slot) -> u64) {
        let mask = self.slots.len() - 1;
        let (mut hole, mut next) = (at, self.after(at));
        while !self.slots[next].is_empty() {
            let home = self.home(mixed(&self.slots[next]));
            // How far the slot stands from its home, against how far it stands from the hole.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = self.after(next);
        }
        self.slots[hole] = Slot::new(0, Slot::EMPTY);
        self.len -= 1;
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }
}
