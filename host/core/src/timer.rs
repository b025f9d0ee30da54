//! Pending timers: state of a key that rides with its batch, and the queue that wakes
//! keys without rows.
//!
//! A timer is (key, name, time); setting one twice sets it once. It is due when its key's clock has
//! passed it: `time < clock` in event time ([`crate::watermark`] says why strictly), `time <= now`
//! in processing time. Who fires it is the guest, among its key's rows; [`next_due`] is the order
//! that every SDK must follow.

mod queue;

pub use crate::descriptor::TimeDomain;

use queue::WakeQueue;

impl TimeDomain {
    /// Whether a timer at `time` is due at `clock`.
    #[inline]
    pub fn is_due(self, time: i64, clock: i64) -> bool {
        match self {
            Self::Event => time < clock,
            Self::Processing => time <= clock,
        }
    }
}

/// A pending timer of some key. Ordered by (time, timer): the order in which a key's timers fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    /// When it is due, in microseconds.
    pub time: i64,
    /// Which one: its position in the operator's descriptor.
    pub timer: u32,
}

/// What a guest did with a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Set; changes nothing if it is pending.
    Set,
    /// Deleted; changes nothing if it is not pending.
    Delete,
    /// Fired; it must be pending.
    Fire,
}

/// One entry of the timer changes that a call returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The key's dense id (not its position in the batch).
    pub key: u32,
    /// The timer.
    pub timer: Timer,
    /// What happened to it.
    pub action: Action,
}

/// Why timer changes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimerError {
    /// No such timer in the descriptor.
    #[error("timer change {index} names timer {timer}, the operator has {timers}")]
    Unknown {
        /// Position of the change.
        index: usize,
        /// The number it gave.
        timer: u32,
        /// How many timers there are.
        timers: usize,
    },
    /// A firing of a timer that was not pending.
    #[error("timer change {index} fires timer {timer} at {time}, which is not pending")]
    NotPending {
        /// Position of the change.
        index: usize,
        /// The timer.
        timer: u32,
        /// Its time in microseconds.
        time: i64,
    },
    /// More timers than the key may have.
    #[error(
        "timer change {index} sets more than {timers_max} timers for one key, delete old ones or \
         set fewer"
    )]
    TooMany {
        /// Position of the change.
        index: usize,
        /// The most that one key may have.
        timers_max: usize,
    },
}

/// The most timers one key may have pending: they cross the boundary with each of its batches.
pub const TIMERS_PER_KEY_MAX: usize = 10_000;

/// The first of a key's pending timers (ordered, as [`TimerTable::pending`] gives them) that is due
/// at the clocks of the two domains. Before each row, an SDK fires until there is none at the clock
/// as of that row; after the key's last row, until there is none at the key's clock.
pub fn next_due(
    pending: &[Timer],
    domains: &[TimeDomain],
    event_clock: i64,
    processing_clock: i64,
) -> Option<Timer> {
    let is_due = |timer: &&Timer| match domains[timer.timer as usize] {
        TimeDomain::Event => TimeDomain::Event.is_due(timer.time, event_clock),
        TimeDomain::Processing => TimeDomain::Processing.is_due(timer.time, processing_clock),
    };
    pending.iter().find(is_due).copied()
}

/// The pending timers of one operator's subtask, by dense key id.
#[derive(Debug)]
pub struct TimerTable {
    /// The domain of each timer, by its position in the descriptor.
    domains: Vec<TimeDomain>,
    /// Each key's timers, sorted.
    pending: Vec<Vec<Timer>>,
    len: usize,
    event: WakeQueue,
    processing: WakeQueue,
    /// What the changes of the current call did: (key, timer, whether it was added). Kept for its
    /// memory.
    done: Vec<(u32, Timer, bool)>,
}

impl TimerTable {
    /// No timers yet; `domains` as in the descriptor.
    pub fn new(domains: Vec<TimeDomain>) -> Self {
        Self {
            domains,
            pending: Vec::new(),
            len: 0,
            event: WakeQueue::default(),
            processing: WakeQueue::default(),
            done: Vec::new(),
        }
    }

    /// Number of pending timers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A key's timers, sorted by (time, timer).
    pub fn pending(&self, key: u32) -> &[Timer] {
        self.pending.get(key as usize).map_or(&[], Vec::as_slice)
    }

    /// All pending timers with their keys, in the order of the keys' ids and of each key's timers:
    /// what a checkpoint writes down. [`Action::Set`] puts each of them back.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Timer)> {
        let keys = (0..).zip(&self.pending);
        keys.flat_map(|(key, timers)| timers.iter().map(move |timer| (key, *timer)))
    }

    /// Applies what a call returned, in order: all of it, or nothing on error.
    ///
    /// ```
    /// use wasmill_core::descriptor::TimeDomain;
    /// use wasmill_core::timer::{Action, Change, Timer, TimerTable};
    ///
    /// let mut table = TimerTable::new(vec![TimeDomain::Event]);
    /// let timer = Timer { time: 60, timer: 0 };
    /// table.apply(&[Change { key: 7, timer, action: Action::Set }]).expect("a declared timer");
    /// assert_eq!(table.pending(7), [timer]);
    /// assert!(table.is_due(7, TimeDomain::Event, 61) && !table.is_due(7, TimeDomain::Event, 60));
    /// ```
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), TimerError> {
        self.done.clear();
        for (index, change) in changes.iter().enumerate() {
            if let Err(error) = self.step(index, change) {
                self.undo();
                return Err(error);
            }
        }
        for change in changes {
            self.rearm(change.key);
        }
        Ok(())
    }

    /// What the changes of the last [`TimerTable::apply`] came to, in order: a key got a timer
    /// (true) or lost one.
    pub fn applied(&self) -> impl Iterator<Item = (u32, bool)> {
        self.done
            .iter()
            .map(|(key, _, was_added)| (*key, *was_added))
    }

    /// Whether a timer of the key is due at `clock`.
    pub fn is_due(&self, key: u32, domain: TimeDomain, clock: i64) -> bool {
        earliest(&self.pending, &self.domains, domain, key)
            .is_some_and(|time| domain.is_due(time, clock))
    }

    /// Writes the keys that have a timer due at `clock`, earliest first and at most `keys_max`,
    /// behind `out`. They are not given out again before a change of theirs is applied or
    /// [`TimerTable::rearm`] is called for them.
    pub fn due(&mut self, domain: TimeDomain, clock: i64, keys_max: usize, out: &mut Vec<u32>) {
        let queue = match domain {
            TimeDomain::Event => &mut self.event,
            TimeDomain::Processing => &mut self.processing,
        };
        let mut left = keys_max;
        while left > 0 {
            let Some(key) = queue.pop_if(|time| domain.is_due(time, clock)) else {
                return;
            };
            match earliest(&self.pending, &self.domains, domain, key) {
                Some(time) if domain.is_due(time, clock) => {
                    out.push(key);
                    left -= 1;
                }
                Some(later) => queue.push(key, later),
                None => {}
            }
        }
    }

    /// The time of the earliest entry in the queue of a domain: when to look for due keys again. It
    /// may lie before the earliest timer, if that one has been deleted.
    pub fn next_wake(&self, domain: TimeDomain) -> Option<i64> {
        match domain {
            TimeDomain::Event => self.event.next(),
            TimeDomain::Processing => self.processing.next(),
        }
    }

    /// Queues a key again that [`TimerTable::due`] gave out and whose timers did not change.
    pub fn rearm(&mut self, key: u32) {
        for (domain, queue) in [
            (TimeDomain::Event, &mut self.event),
            (TimeDomain::Processing, &mut self.processing),
        ] {
            if let Some(time) = earliest(&self.pending, &self.domains, domain, key) {
                queue.push(key, time);
            }
        }
    }

    /// Deletes the timers of a key that are due at `clock`, and gives them back.
    pub fn lose_due(&mut self, key: u32, domain: TimeDomain, clock: i64) -> Vec<Timer> {
        let mut lost = Vec::new();
        while let Some(at) = self.pending(key).iter().position(|timer| {
            self.domains[timer.timer as usize] == domain && domain.is_due(timer.time, clock)
        }) {
            lost.push(self.pending(key)[at]);
            self.remove(key, at);
        }
        self.rearm(key);
        lost
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        let timers: usize = self.pending.iter().map(Vec::capacity).sum();
        timers * size_of::<Timer>()
            + self.pending.capacity() * size_of::<Vec<Timer>>()
            + self.event.bytes()
            + self.processing.bytes()
    }

    /// Applies one change, noting how to take it back.
    fn step(&mut self, index: usize, change: &Change) -> Result<(), TimerError> {
        let Timer { time, timer } = change.timer;
        if timer as usize >= self.domains.len() {
            let timers = self.domains.len();
            return Err(TimerError::Unknown {
                index,
                timer,
                timers,
            });
        }
        let place = self.pending(change.key).binary_search(&change.timer);
        match (change.action, place) {
            (Action::Fire, Err(_)) => return Err(TimerError::NotPending { index, timer, time }),
            (Action::Fire | Action::Delete, Ok(at)) => {
                self.remove(change.key, at);
                self.done.push((change.key, change.timer, false));
            }
            (Action::Set, Err(at)) => {
                if self.pending(change.key).len() >= TIMERS_PER_KEY_MAX {
                    let timers_max = TIMERS_PER_KEY_MAX;
                    return Err(TimerError::TooMany { index, timers_max });
                }
                self.insert(change.key, at, change.timer);
                self.done.push((change.key, change.timer, true));
            }
            (Action::Set, Ok(_)) | (Action::Delete, Err(_)) => {}
        }
        Ok(())
    }

    /// Takes back everything since the call began.
    fn undo(&mut self) {
        while let Some((key, timer, was_added)) = self.done.pop() {
            match (was_added, self.pending(key).binary_search(&timer)) {
                (true, Ok(at)) => self.remove(key, at),
                (false, Err(at)) => self.insert(key, at, timer),
                _ => unreachable!("changes are undone in the reverse of their order"),
            }
        }
    }

    /// Puts a timer among its key's, in their order.
    fn insert(&mut self, key: u32, at: usize, timer: Timer) {
        let key = key as usize;
        if key >= self.pending.len() {
            self.pending.resize_with(key + 1, Vec::new);
        }
        self.pending[key].insert(at, timer);
        self.len += 1;
    }

    /// Takes a timer from its key.
    fn remove(&mut self, key: u32, at: usize) {
        /// Memory for so many timers stays with a key that has none, so that setting one again is
        /// free.
        const KEPT: usize = 4;
        let timers = &mut self.pending[key as usize];
        timers.remove(at);
        if timers.is_empty() && timers.capacity() > KEPT {
            *timers = Vec::new();
        }
        self.len -= 1;
    }
}

/// The time of a key's earliest timer of a domain.
fn earliest(
    pending: &[Vec<Timer>],
    domains: &[TimeDomain],
    domain: TimeDomain,
    key: u32,
) -> Option<i64> {
    let timers = pending.get(key as usize)?;
    let of_domain = |timer: &&Timer| domains[timer.timer as usize] == domain;
    timers.iter().find(of_domain).map(|timer| timer.time)
}

#[cfg(test)]
mod tests;
