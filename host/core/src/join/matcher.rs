//! Which rows meet, and when it is certain that a row meets none.

mod kept;
mod windows;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::{JoinKind, JoinType, RowAt, Side};
use crate::batch::op;
use crate::paged::Cells;
use crate::watermark;

pub(super) use kept::moved_to;
pub use kept::{Fate, MatcherImage};

/// An empty list keeps room for so many rows; what a burst left behind is given back.
const SPARE_MAX: usize = 16;

/// A row that has come.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its key.
    pub key: u32,
    /// Its time.
    pub time: i64,
    /// Where it is.
    pub row: RowAt,
}

/// A row that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its time.
    pub time: i64,
    /// Where it is.
    pub row: RowAt,
    /// Whether it has met another one.
    pub is_matched: bool,
}

/// Two rows that meet, or one that meets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// The row of each side.
    pub rows: [Option<RowAt>; 2],
    /// When it was certain: the time of the row that comes of it.
    pub time: i64,
    /// Which of the windows that hold the rows it was, counted from the first one.
    pub ordinal: u32,
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Found {
    /// Rows that meet, in order.
    pub matches: Vec<Match>,
    /// Rows that no row to come can meet. Those found may name them.
    pub freed: Vec<(Side, RowAt)>,
}

/// Decides by keys and times. Rows have to come in the order of their times.
#[derive(Debug)]
pub struct Matcher {
    kind: JoinKind,
    join_type: JoinType,
    /// The rows that are kept, by key.
    keys: Cells<KeyRows>,
    /// Interval and as-of: when kept rows may go, with their keys, soonest first. What is named
    /// here may be gone: a row goes if it is still there and its time is over.
    due: [VecDeque<(i64, u32)>; 2],
    /// The same of keys that came back: of the first row of each side.
    back: BinaryHeap<Reverse<(i64, Side, u32)>>,
    /// Window: the keys that have rows in a window, by the window's end.
    windows: BTreeMap<i64, VecDeque<u32>>,
    /// How many rows of the left side of the window that is being looked at are done.
    cursor: usize,
    len: usize,
    /// Rows that were taken away while `due`, `back` or `windows` may name them.
    stale: usize,
}

/// The rows of one key.
#[derive(Debug, Clone)]
struct KeyRows {
    sides: [VecDeque<Entry>; 2],
    /// Window: the last end under which the key is known, and the last one that is over.
    last_end: i64,
    closed: i64,
}

impl Default for KeyRows {
    fn default() -> Self {
        Self {
            sides: Default::default(),
            last_end: watermark::START,
            closed: watermark::START,
        }
    }
}

impl Matcher {
    /// A matcher that keeps no rows.
    pub fn new(kind: JoinKind, join_type: JoinType) -> Self {
        Self {
            kind,
            join_type,
            keys: Cells::new(),
            due: Default::default(),
            back: BinaryHeap::new(),
            windows: BTreeMap::new(),
            cursor: 0,
            len: 0,
            stale: 0,
        }
    }

    /// A row has come; `change` is its kind of change. Before it, [`Matcher::advance`] has to have
    /// come to its time.
    pub fn arrive(&mut self, side: Side, row: Arrival, change: u8, found: &mut Found) {
        match self.kind {
            JoinKind::Interval { lower_us, upper_us } => {
                self.meet_interval(side, row, (lower_us, upper_us), found);
            }
            JoinKind::Window { .. } => {
                self.register(row.key, row.time);
                self.keep(side, row, false);
            }
            JoinKind::AsOf { max_age_us } => match side {
                Side::Left => self.meet_version(row, max_age_us, found),
                Side::Right => self.replace(row, (change, max_age_us), found),
            },
            JoinKind::Lookup => match side {
                Side::Left => self.meet_table(row, found),
                Side::Right => self.keep(side, row, false),
            },
        }
    }

    /// No row before `clock` will come: what was waited for is certain. Stops once about
    /// `matches_max` are found, and tells whether it came to the end.
    pub fn advance(&mut self, clock: i64, matches_max: usize, found: &mut Found) -> bool {
        match self.kind {
            JoinKind::Interval { .. } => self.expire(clock, matches_max, found),
            JoinKind::Window { .. } => self.close_windows(clock, matches_max, found),
            JoinKind::AsOf { .. } => {
                self.forget_versions(clock, found);
                true
            }
            JoinKind::Lookup => true,
        }
    }

    /// Number of rows that are kept.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no rows are kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory held, in bytes, about.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.content_bytes()
    }

    /// The same without the pages that keys share.
    pub fn content_bytes(&self) -> usize {
        let due = self.due.iter().map(VecDeque::capacity).sum::<usize>();
        self.len * size_of::<Entry>()
            + due * size_of::<(i64, u32)>()
            + self.back.capacity() * size_of::<(i64, Side, u32)>()
    }

    fn keep(&mut self, side: Side, row: Arrival, is_matched: bool) {
        let rows = self.keys.get_mut(row.key);
        rows.sides[side.index()].push_back(Entry {
            time: row.time,
            row: row.row,
            is_matched,
        });
        self.len += 1;
    }

    /// Until when a row of a side can meet others of an interval join, or counts as a version.
    fn deadline(&self, side: Side, time: i64) -> i64 {
        match (self.kind, side) {
            (JoinKind::Interval { upper_us, .. }, Side::Left) => deadline(time, upper_us),
            (JoinKind::Interval { lower_us, .. }, Side::Right) => {
                deadline(time, lower_us.saturating_neg())
            }
            (
                JoinKind::AsOf {
                    max_age_us: Some(age),
                },
                _,
            ) => deadline(time, age),
            _ => time,
        }
    }

    fn meet_interval(
        &mut self,
        side: Side,
        row: Arrival,
        (lower, upper): (i64, i64),
        found: &mut Found,
    ) {
        let (from, to) = match side {
            Side::Left => (lower, upper),
            Side::Right => (upper.saturating_neg(), lower.saturating_neg()),
        };
        let (from, to) = (row.time.saturating_add(from), row.time.saturating_add(to));
        let others = &mut self.keys.get_mut(row.key).sides[side.other().index()];
        let first = others.partition_point(|entry| entry.time < from);
        let mut is_matched = false;
        for entry in others.range_mut(first..) {
            if entry.time > to {
                break;
            }
            entry.is_matched = true;
            is_matched = true;
            found.matches.push(meeting(side, row, entry.row, row.time));
        }
        let until = self.deadline(side, row.time);
        if until >= row.time {
            self.keep(side, row, is_matched);
            self.due[side.index()].push_back((until, row.key));
            return;
        }
        // All that it could meet lies before it.
        if !is_matched && self.join_type.keeps(side) {
            found.matches.push(lone(side, row.row, row.time, 0));
        }
        found.freed.push((side, row.row));
    }

    /// Lets rows of an interval join go whose time is over; those that met none come out.
    fn expire(&mut self, clock: i64, matches_max: usize, found: &mut Found) -> bool {
        while let Some(due) = self.soonest() {
            if !is_before(due.until, clock) {
                return true;
            }
            if found.matches.len() >= matches_max {
                return false;
            }
            let Some(entry) = self.take_due(due) else {
                continue;
            };
            if !entry.is_matched && self.join_type.keeps(due.side) {
                let match_ = lone(due.side, entry.row, due.until, 0);
                found.matches.push(match_);
            }
            found.freed.push((due.side, entry.row));
        }
        true
    }

    /// What is due first; the left side before the right one.
    #[inline]
    fn soonest(&self) -> Option<Due> {
        let [left, right] = [0, 1].map(|at| self.due[at].front());
        let (side, first) = match (left, right) {
            (Some(left), Some(right)) if right.0 < left.0 => (Side::Right, Some(right)),
            (Some(_), _) => (Side::Left, left),
            (None, _) => (Side::Right, right),
        };
        let first = first.map(|&(until, key)| Due {
            until,
            side,
            key,
            is_back: false,
        });
        let Some(&Reverse((until, side, key))) = self.back.peek() else {
            return first;
        };
        match first {
            Some(first) if (first.until, first.side) <= (until, side) => Some(first),
            _ => Some(Due {
                until,
                side,
                key,
                is_back: true,
            }),
        }
    }

    /// Takes the row out that is due, if it is still there.
    #[inline]
    fn take_due(&mut self, due: Due) -> Option<Entry> {
        let Due { side, key, .. } = due;
        if due.is_back {
            self.back.pop();
        } else {
            self.due[side.index()].pop_front();
        }
        let first = self.keys.get(key)?.sides[side.index()].front()?;
        let is_over = self.deadline(side, first.time) <= due.until;
        let entry = is_over.then(|| self.keys.get_mut(key).pop(side));
        self.len -= usize::from(is_over);
        if due.is_back {
            self.expect_first(side, key);
        }
        entry
    }

    /// A row meets the version that counts at its time.
    fn meet_version(&mut self, row: Arrival, max_age: Option<i64>, found: &mut Found) {
        let version = self.table(row.key).front();
        let is_young =
            |entry: &&Entry| max_age.is_none_or(|age| row.time <= entry.time.saturating_add(age));
        match version.filter(is_young) {
            Some(version) => {
                let met = meeting(Side::Left, row, version.row, row.time);
                found.matches.push(met);
            }
            None if self.join_type.keeps(Side::Left) => {
                found.matches.push(lone(Side::Left, row.row, row.time, 0));
            }
            None => {}
        }
        found.freed.push((Side::Left, row.row));
    }

    /// A new version, or the news that there is none any more.
    fn replace(&mut self, row: Arrival, (change, max_age): (u8, Option<i64>), found: &mut Found) {
        let side = Side::Right;
        if change == op::UPDATE_BEFORE {
            found.freed.push((side, row.row));
            return;
        }
        let versions = &mut self.keys.get_mut(row.key).sides[side.index()];
        if let Some(before) = versions.pop_front() {
            found.freed.push((side, before.row));
            self.len -= 1;
        }
        if change == op::DELETE {
            found.freed.push((side, row.row));
            return;
        }
        self.keep(side, row, false);
        if let Some(age) = max_age {
            self.due[side.index()].push_back((deadline(row.time, age), row.key));
        }
    }

    /// Lets versions go that are too old for every row to come.
    fn forget_versions(&mut self, clock: i64, found: &mut Found) {
        while let Some(due) = self.soonest().filter(|due| is_before(due.until, clock)) {
            if let Some(entry) = self.take_due(due) {
                found.freed.push((due.side, entry.row));
            }
        }
    }

    /// The rows of a key on the right side.
    fn table(&self, key: u32) -> &VecDeque<Entry> {
        static NONE: VecDeque<Entry> = VecDeque::new();
        let rows = self.keys.get(key);
        rows.map_or(&NONE, |rows| &rows.sides[Side::Right.index()])
    }

    fn meet_table(&mut self, row: Arrival, found: &mut Found) {
        let table = self.table(row.key);
        let met = table
            .iter()
            .map(|entry| meeting(Side::Left, row, entry.row, row.time));
        found.matches.extend(met);
        if table.is_empty() && self.join_type.keeps(Side::Left) {
            found.matches.push(lone(Side::Left, row.row, row.time, 0));
        }
        found.freed.push((Side::Left, row.row));
    }
}

/// A row that may go.
#[derive(Debug, Clone, Copy)]
struct Due {
    until: i64,
    side: Side,
    key: u32,
    /// It is one of a key that came back.
    is_back: bool,
}

impl KeyRows {
    fn is_empty(&self) -> bool {
        self.sides.iter().all(VecDeque::is_empty)
    }

    /// Takes the oldest row of a side.
    fn pop(&mut self, side: Side) -> Entry {
        let rows = &mut self.sides[side.index()];
        let entry = rows.pop_front().expect("what is due is kept");
        if rows.is_empty() && rows.capacity() > SPARE_MAX {
            *rows = VecDeque::new();
        }
        entry
    }
}

/// A row of a side meets one of the other.
fn meeting(side: Side, row: Arrival, other: RowAt, time: i64) -> Match {
    let mut rows = [Some(other); 2];
    rows[side.index()] = Some(row.row);
    Match {
        rows,
        time,
        ordinal: 0,
    }
}

/// A row of a side meets none.
fn lone(side: Side, row: RowAt, time: i64, ordinal: u32) -> Match {
    let mut rows = [None; 2];
    rows[side.index()] = Some(row);
    Match {
        rows,
        time,
        ordinal,
    }
}

/// The end of time is after every deadline.
fn deadline(time: i64, after: i64) -> i64 {
    time.saturating_add(after).min(i64::MAX - 1)
}

/// Whether it is certain at `clock` that all rows up to a time have come.
fn is_before(time: i64, clock: i64) -> bool {
    time < clock
}
