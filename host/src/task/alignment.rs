//! Splits that are ahead of the others in event time wait for them, so that what has to be kept
//! until the slowest has come as far stays bounded.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use wasmill_core::watermark::START;

/// What the readers and subtasks of one source know of its splits; only sources that say
/// `max-drift` have one.
pub struct Alignment {
    max_drift_us: i64,
    splits: Mutex<BTreeMap<u32, Split>>,
    /// The slowest has moved.
    moved: Condvar,
}

struct Split {
    watermark: i64,
    /// Idle splits hold nobody back.
    is_active: bool,
}

impl Alignment {
    /// Splits may be so far ahead of the slowest.
    pub fn new(max_drift_us: i64) -> Self {
        Self {
            max_drift_us,
            splits: Mutex::default(),
            moved: Condvar::new(),
        }
    }

    /// A split has come so far. One of which nothing has come yet holds nobody back.
    pub fn reached(&self, split: u32, watermark: i64) {
        if watermark == START {
            return;
        }
        let known = Split {
            watermark,
            is_active: true,
        };
        self.splits.lock().insert(split, known);
        self.moved.notify_all();
    }

    /// A split is not waited for until rows of it come again.
    pub fn idle(&self, split: u32) {
        if let Some(split) = self.splits.lock().get_mut(&split) {
            split.is_active = false;
        }
        self.moved.notify_all();
    }

    /// A split has ended.
    pub fn ended(&self, split: u32) {
        self.splits.lock().remove(&split);
        self.moved.notify_all();
    }

    /// Whether a split may be read on.
    pub fn may_read(&self, split: u32) -> bool {
        self.is_near(&self.splits.lock(), split)
    }

    /// Waits until it may, for some time at most.
    pub fn wait(&self, split: u32, most: Duration, now: Instant) -> bool {
        let mut splits = self.splits.lock();
        while !self.is_near(&splits, split) {
            if self.moved.wait_until(&mut splits, now + most).timed_out() {
                return false;
            }
        }
        true
    }

    fn is_near(&self, splits: &BTreeMap<u32, Split>, split: u32) -> bool {
        let Some(own) = splits.get(&split) else {
            return true;
        };
        let active = splits.values().filter(|split| split.is_active);
        let slowest = active.map(|split| split.watermark).min();
        slowest.is_none_or(|slowest| own.watermark <= slowest.saturating_add(self.max_drift_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_too_far_ahead_waits_for_the_slowest() {
        let alignment = Alignment::new(10);
        assert!(alignment.may_read(0), "nothing is known");
        alignment.reached(0, 100);
        assert!(alignment.may_read(0), "it is alone");
        alignment.reached(1, START);
        assert!(alignment.may_read(0), "the other has not begun");
        alignment.reached(1, 89);
        assert!(!alignment.may_read(0));
        assert!(alignment.may_read(1));
        alignment.reached(1, 90);
        assert!(alignment.may_read(0));
        alignment.reached(0, 150);
        assert!(!alignment.may_read(0));
        alignment.idle(1);
        assert!(alignment.may_read(0), "who is idle is not waited for");
        alignment.reached(1, 91);
        assert!(!alignment.may_read(0), "it is back");
        alignment.ended(1);
        assert!(alignment.may_read(0));
    }
}
