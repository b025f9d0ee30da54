//! Which key is to be woken next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The key has no valid entry.
const NOT_QUEUED: i64 = i64::MAX;

/// Earliest first, one valid entry a key: when a key's earliest timer moves forward, a second entry
/// overtakes the first, which is dropped when it comes up; when it moves back, the entry stays and
/// is looked at again in its time.
#[derive(Debug, Default)]
pub(super) struct WakeQueue {
    heap: BinaryHeap<Reverse<(i64, u32)>>,
    /// The time of each key's valid entry.
    queued: Vec<i64>,
    /// How many keys have one.
    valid: usize,
}

impl WakeQueue {
    /// Makes sure that the key comes up at `time` or before.
    pub(super) fn push(&mut self, key: u32, time: i64) {
        let at = key as usize;
        if at >= self.queued.len() {
            self.queued.resize(at + 1, NOT_QUEUED);
        }
        if time >= self.queued[at] {
            return;
        }
        self.valid += usize::from(self.queued[at] == NOT_QUEUED);
        self.queued[at] = time;
        self.heap.push(Reverse((time, key)));
        if self.heap.len() > 64 + 2 * self.valid {
            self.drop_overtaken();
        }
    }

    /// Takes out the earliest key, if its time is such.
    pub(super) fn pop_if(&mut self, is_due: impl Fn(i64) -> bool) -> Option<u32> {
        while let Some(&Reverse((time, key))) = self.heap.peek() {
            if !is_due(time) {
                return None;
            }
            self.heap.pop();
            if self.queued[key as usize] == time {
                self.queued[key as usize] = NOT_QUEUED;
                self.valid -= 1;
                return Some(key);
            }
        }
        None
    }

    /// The earliest entry's time.
    pub(super) fn next(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((time, _))| *time)
    }

    pub(super) fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<(i64, u32)>() + self.queued.capacity() * size_of::<i64>()
    }

    /// Overtaken entries may not outnumber valid ones for long, or a key that sets ever earlier
    /// timers leaks.
    fn drop_overtaken(&mut self) {
        let queued = &self.queued;
        self.heap
            .retain(|Reverse((time, key))| queued[*key as usize] == *time);
    }
}
