//! Timers: state that wakes its key.

use crate::arena::Put;
use crate::buffer::{Batch, CAUSE_TIMER, group, kind};
use crate::{Malformed, Timestamp};
use serde_json::{Value as Json, json};

/// The timers of an operator: derive it for an enum with a variant for each.
///
/// A timer belongs to a key. One at T fires after the key's rows up to T and before any later one,
/// by the key's clock: event time (its watermark) or, for `#[timer(processing)]`, the machine's
/// time. Firing ends it. The same timer may be set for several times at once.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Timers, Clone, Copy, Debug, PartialEq)]
/// enum Timer {
///     /// The window is over.
///     Flush,
///     /// Nothing has come for a while.
///     #[timer(processing)]
///     Idle,
/// }
/// ```
pub trait Timers: Copy + 'static {
    #[doc(hidden)]
    const SPECS: &'static [TimerSpec];

    #[doc(hidden)]
    fn index(self) -> u32;

    #[doc(hidden)]
    fn from_index(index: u32) -> Self;
}

impl Timers for () {
    const SPECS: &'static [TimerSpec] = &[];

    fn index(self) -> u32 {
        unreachable!("an operator without timers sets none")
    }

    fn from_index(_index: u32) -> Self {}
}

/// A timer as it is declared.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerSpec {
    pub name: &'static str,
    pub processing: bool,
}

impl TimerSpec {
    pub(crate) fn describe(&self) -> Json {
        let time = if self.processing {
            "processing"
        } else {
            "event"
        };
        json!({ "name": self.name, "time": time })
    }
}

/// Whether any of them is of that time domain.
pub(crate) const fn has_domain(specs: &[TimerSpec], processing: bool) -> bool {
    let mut index = 0;
    while index < specs.len() {
        if specs[index].processing == processing {
            return true;
        }
        index += 1;
    }
    false
}

/// A pending timer in its key's chain, which is ordered by (time, timer).
#[derive(Clone, Copy, Debug)]
struct Node {
    at: i64,
    timer: u32,
    next: u32,
}

/// The end of a chain.
const END: u32 = u32::MAX;

/// What happened to a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Set = 0,
    Deleted = 1,
    Fired = 2,
}

/// What happens to a timer of a key of the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) key: u32,
    pub(crate) timer: u32,
    pub(crate) at: i64,
    action: Action,
}

/// The pending timers of a batch's keys, and what happens to them.
#[derive(Debug)]
pub(crate) struct TimerQueue {
    specs: &'static [TimerSpec],
    /// The first pending timer of each key, for event time and for processing time.
    heads: [Vec<u32>; 2],
    nodes: Vec<Node>,
    changes: Vec<Change>,
    /// How many changes there were when the current row began.
    mark: usize,
}

impl TimerQueue {
    pub(crate) fn new(specs: &'static [TimerSpec]) -> Self {
        Self {
            specs,
            heads: [Vec::new(), Vec::new()],
            nodes: Vec::new(),
            changes: Vec::new(),
            mark: 0,
        }
    }

    pub(crate) fn load(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed> {
        for heads in &mut self.heads {
            heads.clear();
            heads.resize(keys, END);
        }
        self.nodes.clear();
        self.changes.clear();
        self.mark = 0;
        let section = batch.section(group::TIMERS, 0)?;
        let rows = section.rows();
        let owners = section.fixed::<4>(0, rows)?;
        let timers = section.fixed::<4>(1, rows)?;
        let times = section.fixed::<8>(2, rows)?;
        // From the back, each goes to the front of its key's chain: no search.
        for row in (0..rows).rev() {
            let key = u32::from_le_bytes(owners[row]) as usize;
            let timer = u32::from_le_bytes(timers[row]);
            if key >= keys || timer as usize >= self.specs.len() {
                return Err(section.malformed(0, "a timer or key that does not exist"));
            }
            self.insert(key, timer, i64::from_le_bytes(times[row]));
        }
        Ok(())
    }

    /// Marks the beginning of a row.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.mark = self.changes.len();
    }

    /// Takes back what the current row did.
    pub(crate) fn undo(&mut self) {
        while self.changes.len() > self.mark {
            let Some(change) = self.changes.pop() else {
                return;
            };
            let key = change.key as usize;
            match change.action {
                Action::Set => self.remove(key, change.timer, change.at),
                Action::Deleted | Action::Fired => self.insert(key, change.timer, change.at),
            };
        }
    }

    /// Sets a timer; one that is pending stays as it is.
    pub(crate) fn set(&mut self, key: usize, timer: u32, at: i64) {
        if self.insert(key, timer, at) {
            self.record(key, timer, at, Action::Set);
        }
    }

    /// Deletes a timer, if it is pending.
    pub(crate) fn delete(&mut self, key: usize, timer: u32, at: i64) {
        if self.remove(key, timer, at) {
            self.record(key, timer, at, Action::Deleted);
        }
    }

    /// The key's first timer that is due at `clock`, with its cause; it is fired by this.
    ///
    /// An event timer is due when the clock has passed it: rows of its own time still come before
    /// it. The machine's clock stands for no rows, so that a processing timer is due at its time.
    pub(crate) fn fire(
        &mut self,
        key: usize,
        processing: bool,
        clock: i64,
    ) -> Option<(u32, Timestamp, u32)> {
        let head = self.heads[usize::from(processing)][key];
        let Node { at, timer, next } = *self.nodes.get(head as usize)?;
        let is_due = if processing { at <= clock } else { at < clock };
        if !is_due {
            return None;
        }
        self.heads[usize::from(processing)][key] = next;
        let cause = CAUSE_TIMER | self.changes.len() as u32;
        self.record(key, timer, at, Action::Fired);
        Some((timer, Timestamp::from_micros(at), cause))
    }

    /// The firing that is the cause of something; none if a row is.
    pub(crate) fn change(&self, cause: u32) -> Option<&Change> {
        let at = cause.checked_sub(CAUSE_TIMER)?;
        self.changes.get(at as usize)
    }

    fn record(&mut self, key: usize, timer: u32, at: i64, action: Action) {
        self.changes.push(Change {
            key: key as u32,
            timer,
            at,
            action,
        });
    }

    fn chain(&self, timer: u32) -> usize {
        usize::from(self.specs[timer as usize].processing)
    }

    /// The last node of the chain that lies before (at, timer), and the one behind it.
    fn find(&self, chain: usize, key: usize, timer: u32, at: i64) -> (u32, u32) {
        let (mut before, mut here) = (END, self.heads[chain][key]);
        while let Some(node) = self.nodes.get(here as usize) {
            if (node.at, node.timer) >= (at, timer) {
                break;
            }
            (before, here) = (here, node.next);
        }
        (before, here)
    }

    fn link(&mut self, chain: usize, key: usize, before: u32, next: u32) {
        match self.nodes.get_mut(before as usize) {
            Some(node) => node.next = next,
            None => self.heads[chain][key] = next,
        }
    }

    fn is(&self, node: u32, timer: u32, at: i64) -> bool {
        let node = self.nodes.get(node as usize);
        node.is_some_and(|node| (node.at, node.timer) == (at, timer))
    }

    /// False if it was there.
    fn insert(&mut self, key: usize, timer: u32, at: i64) -> bool {
        let chain = self.chain(timer);
        let (before, next) = self.find(chain, key, timer, at);
        if self.is(next, timer, at) {
            return false;
        }
        self.nodes.push(Node { at, timer, next });
        self.link(chain, key, before, self.nodes.len() as u32 - 1);
        true
    }

    /// False if it was not there.
    fn remove(&mut self, key: usize, timer: u32, at: i64) -> bool {
        let chain = self.chain(timer);
        let (before, here) = self.find(chain, key, timer, at);
        if !self.is(here, timer, at) {
            return false;
        }
        let next = self.nodes[here as usize].next;
        self.link(chain, key, before, next);
        true
    }

    pub(crate) fn put(&self, put: &mut impl Put) {
        let changes = &self.changes;
        if changes.is_empty() {
            return;
        }
        put.section(group::TIMER_CHANGES, 0, changes.len());
        let mut words = |column, get: fn(&Change) -> u32| {
            put.buffer(column, kind::VALUES, changes.len() * 4, |out| {
                for (change, out) in changes.iter().zip(out.as_chunks_mut::<4>().0) {
                    *out = get(change).to_le_bytes();
                }
            });
        };
        words(0, |change| change.key);
        words(1, |change| change.timer);
        put.buffer(2, kind::VALUES, changes.len() * 8, |out| {
            for (change, out) in changes.iter().zip(out.as_chunks_mut::<8>().0) {
                *out = change.at.to_le_bytes();
            }
        });
        put.buffer(3, kind::VALUES, changes.len(), |out| {
            for (change, out) in changes.iter().zip(out) {
                *out = change.action as u8;
            }
        });
    }
}
