//! Splits that pause: after a while the watermark goes on without them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use wasmill_core::watermark::{Idleness, WatermarkMerge};

use crate::{clock, connector::Position};

/// Watches the splits of one source for those that have gone without rows for too long. Its
/// subtasks share it; only sources that say `idle-after` have one.
pub struct IdleWatch {
    after_us: i64,
    start: Instant,
    splits: Mutex<Splits>,
}

#[derive(Default)]
struct Splits {
    /// How far the source has come as a whole.
    merge: WatermarkMerge,
    known: BTreeMap<u32, Split>,
}

struct Split {
    lane: usize,
    idleness: Idleness,
    is_idle: bool,
    /// It is not being read: what does not come says nothing.
    is_held: bool,
}

impl IdleWatch {
    /// Watches `splits` splits from now on, and those that come later from their first rows on.
    pub fn new(after_us: i64, splits: u32) -> Self {
        let watch = Self {
            after_us,
            start: clock::monotonic(),
            splits: Mutex::default(),
        };
        watch.watch(splits);
        watch
    }

    /// Watches so many splits, from now on those that are new.
    pub fn watch(&self, splits: u32) {
        let now_us = self.now_us();
        let mut known = self.splits.lock();
        for split in 0..splits {
            known.open(split, self.after_us, now_us);
        }
    }

    /// A split is not being read for a while, or is read again: until then it does not become idle.
    pub fn hold(&self, split: u32, is_held: bool) {
        let now_us = self.now_us();
        let mut splits = self.splits.lock();
        let known = splits.open(split, self.after_us, now_us);
        known.is_held = is_held;
        known.idleness.active(now_us);
    }

    /// A split goes on where a checkpoint had it.
    pub fn resumed(&self, at: Position, watermark: i64) {
        let mut splits = self.splits.lock();
        let known = splits.open(at.split, self.after_us, 0);
        known.is_idle = at.is_idle;
        let lane = known.lane;
        splits.merge.update(lane, watermark);
        if at.is_idle {
            splits.merge.idle(lane);
        }
        drop(splits);
        if at.is_end {
            self.ended(at.split);
        }
    }

    /// Rows of a split came. If it was idle, gives the watermark that the others have reached
    /// meanwhile: what lies before it is late.
    pub fn active(&self, split: u32) -> Option<i64> {
        let now_us = self.now_us();
        let mut splits = self.splits.lock();
        let merged = splits.merge.current();
        let known = splits.open(split, self.after_us, now_us);
        known.idleness.active(now_us);
        std::mem::take(&mut known.is_idle).then_some(merged)
    }

    /// A split has come so far.
    pub fn reached(&self, split: u32, watermark: i64) {
        let mut splits = self.splits.lock();
        let lane = splits.known.get(&split).map(|split| split.lane);
        if let Some(lane) = lane {
            splits.merge.update(lane, watermark);
        }
    }

    /// A split has ended.
    pub fn ended(&self, split: u32) {
        let mut splits = self.splits.lock();
        if let Some(split) = splits.known.remove(&split) {
            splits.merge.close(split.lane);
        }
    }

    /// The splits that have become idle since this was asked the last time.
    pub fn idle(&self) -> Vec<u32> {
        let now_us = self.now_us();
        let Splits { merge, known } = &mut *self.splits.lock();
        let mut idle = Vec::new();
        for (number, split) in known {
            if !split.is_idle && !split.is_held && split.idleness.is_idle(now_us) {
                split.is_idle = true;
                merge.idle(split.lane);
                idle.push(*number);
            }
        }
        idle
    }

    /// When to ask for idle splits again.
    pub fn next(&self) -> Instant {
        let splits = self.splits.lock();
        let watched = |split: &&Split| !split.is_idle && !split.is_held;
        let active = splits.known.values().filter(watched);
        let due = active.filter_map(|split| split.idleness.due_at_us()).min();
        let due = due.unwrap_or_else(|| self.now_us().saturating_add(self.after_us));
        self.start + Duration::from_micros(due.unsigned_abs())
    }

    fn now_us(&self) -> i64 {
        let elapsed = clock::monotonic() - self.start;
        i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
    }
}

impl Splits {
    /// A split, which is new if it was not known.
    fn open(&mut self, split: u32, after_us: i64, now_us: i64) -> &mut Split {
        let merge = &mut self.merge;
        self.known.entry(split).or_insert_with(|| Split {
            lane: merge.open(),
            idleness: Idleness::new(Some(after_us), now_us),
            is_idle: false,
            is_held: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_that_was_idle_still_is() {
        let watch = IdleWatch::new(3_600_000_000, 3);
        let idle = Position {
            is_idle: true,
            ..Position::start(0)
        };
        let ended = Position {
            is_end: true,
            ..Position::start(1)
        };
        watch.resumed(idle, 5);
        watch.resumed(ended, 7);
        watch.resumed(Position::start(2), 50);
        assert_eq!(watch.idle(), Vec::<u32>::new(), "it is no news");
        assert_eq!(watch.active(0), Some(50), "the others have come so far");
        assert_eq!(watch.active(0), None);
    }

    #[test]
    fn a_split_that_is_not_read_does_not_become_idle() {
        let watch = IdleWatch::new(0, 2);
        watch.hold(1, true);
        assert_eq!(watch.idle(), [0]);
        watch.hold(1, false);
        assert_eq!(watch.idle(), [1]);
    }
}
