//! Which rows meet, and when it is certain that a row meets none.

mod windows;

use std::collections::{BTreeMap, VecDeque};

use super::{JoinKind, JoinType, RowAt, Side};
use crate::batch::op;
use windows::{ends, last};

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
    keys: Vec<KeyRows>,
    /// Interval and as-of: when kept rows may go, with their keys, soonest first.
    due: [VecDeque<(i64, u32)>; 2],
    /// Window: the keys that have rows in a window, by the window's end.
    windows: BTreeMap<i64, VecDeque<u32>>,
    /// How many rows of the left side of the window that is being looked at are done.
    cursor: usize,
    len: usize,
}

/// The rows of one key.
#[derive(Debug, Default)]
struct KeyRows {
    sides: [VecDeque<Entry>; 2],
    /// Window: the last end under which the key is known.
    last_end: Option<i64>,
}

impl Matcher {
    /// A matcher that keeps no rows.
    pub fn new(kind: JoinKind, join_type: JoinType) -> Self {
        Self {
            kind,
            join_type,
            keys: Vec::new(),
            due: Default::default(),
            windows: BTreeMap::new(),
            cursor: 0,
            len: 0,
        }
    }

    /// A row has come; `change` is its kind of change. Before it, [`Matcher::advance`] has to have
    /// come to its time.
    pub fn arrive(&mut self, side: Side, row: Arrival, change: u8, found: &mut Found) {
        if self.keys.len() <= row.key as usize {
            self.keys
                .resize_with(row.key as usize + 1, KeyRows::default);
        }
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

    /// Puts a key's rows of the table in an order that does not depend on which came first.
    pub(super) fn sort_table<K: Ord>(&mut self, origin: impl Fn(RowAt) -> K) {
        for key in &mut self.keys {
            let table = key.sides[Side::Right.index()].make_contiguous();
            table.sort_by_key(|entry| origin(entry.row));
        }
    }

    /// The rows that are kept of a side.
    pub(super) fn rows_of(&self, side: Side) -> Vec<RowAt> {
        let keys = self.keys.iter();
        let entries = keys.flat_map(|key| &key.sides[side.index()]);
        entries.map(|entry| entry.row).collect()
    }

    /// Rows of a side lie elsewhere now: `moved` has their old places, ordered, and new ones.
    pub(super) fn move_rows(&mut self, side: Side, moved: &[(RowAt, RowAt)]) {
        let keys = self.keys.iter_mut();
        for entry in keys.flat_map(|key| &mut key.sides[side.index()]) {
            let at = moved.binary_search_by_key(&entry.row, |(from, _)| *from);
            let at = at.expect("each row that is kept has been moved");
            entry.row = moved[at].1;
        }
    }

    /// The rows that are kept, key by key and side by side, in the order in which they came.
    pub fn entries(&self) -> impl Iterator<Item = (u32, Side, Entry)> {
        (0..).zip(&self.keys).flat_map(|(id, key)| {
            Side::BOTH.into_iter().flat_map(move |side| {
                let entries = key.sides[side.index()].iter();
                entries.map(move |entry| (id, side, *entry))
            })
        })
    }

    /// Keeps a row again, as [`Matcher::entries`] told it: rows of a key and a side in their order.
    pub fn restore(&mut self, key: u32, side: Side, entry: Entry) {
        if self.keys.len() <= key as usize {
            self.keys.resize_with(key as usize + 1, KeyRows::default);
        }
        self.keys[key as usize].sides[side.index()].push_back(entry);
        self.len += 1;
    }

    /// All rows are kept again, as of this clock.
    pub fn restored(&mut self, clock: i64) {
        let entries: Vec<_> = self.entries().collect();
        for (key, side, entry) in entries {
            match self.kind {
                JoinKind::Interval { .. } => {
                    self.due[side.index()].push_back((self.deadline(side, entry.time), key));
                }
                JoinKind::AsOf {
                    max_age_us: Some(age),
                } => self.due[side.index()].push_back((deadline(entry.time, age), key)),
                JoinKind::Window { .. } => {
                    for end in ends(entry.time, self.kind) {
                        let keys = self.windows.entry(end).or_default();
                        if !is_before(last(end), clock) && keys.back() != Some(&key) {
                            keys.push_back(key);
                        }
                        let last = &mut self.keys[key as usize].last_end;
                        *last = (*last).max(Some(end));
                    }
                }
                JoinKind::AsOf { max_age_us: None } | JoinKind::Lookup => {}
            }
        }
        self.windows.retain(|_, keys| !keys.is_empty());
        for due in &mut self.due {
            due.make_contiguous().sort_by_key(|(time, _)| *time);
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
        self.keys.capacity() * size_of::<KeyRows>()
            + self.len * size_of::<Entry>()
            + self.due.iter().map(VecDeque::capacity).sum::<usize>() * size_of::<(i64, u32)>()
    }

    fn keep(&mut self, side: Side, row: Arrival, is_matched: bool) {
        self.keys[row.key as usize].sides[side.index()].push_back(Entry {
            time: row.time,
            row: row.row,
            is_matched,
        });
        self.len += 1;
    }

    /// Until when a row of a side can meet others of an interval join.
    fn deadline(&self, side: Side, time: i64) -> i64 {
        match (self.kind, side) {
            (JoinKind::Interval { upper_us, .. }, Side::Left) => deadline(time, upper_us),
            (JoinKind::Interval { lower_us, .. }, Side::Right) => {
                deadline(time, lower_us.saturating_neg())
            }
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
        let others = &mut self.keys[row.key as usize].sides[side.other().index()];
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
        loop {
            let [left, right] = [0, 1].map(|at| self.due[at].front().map(|(due, _)| *due));
            let side = match (left, right) {
                (None, None) => return true,
                (Some(left), Some(right)) if right < left => Side::Right,
                (Some(_), _) => Side::Left,
                (None, Some(_)) => Side::Right,
            };
            let (until, key) = self.due[side.index()][0];
            if !is_before(until, clock) {
                return true;
            }
            if found.matches.len() >= matches_max {
                return false;
            }
            self.due[side.index()].pop_front();
            let entry = self.keys[key as usize].pop(side);
            self.len -= 1;
            if !entry.is_matched && self.join_type.keeps(side) {
                found.matches.push(lone(side, entry.row, until, 0));
            }
            found.freed.push((side, entry.row));
        }
    }

    /// A row meets the version that counts at its time.
    fn meet_version(&mut self, row: Arrival, max_age: Option<i64>, found: &mut Found) {
        let version = self.keys[row.key as usize].sides[Side::Right.index()].front();
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
        let versions = &mut self.keys[row.key as usize].sides[side.index()];
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
        let side = Side::Right;
        let JoinKind::AsOf {
            max_age_us: Some(age),
        } = self.kind
        else {
            return;
        };
        while let Some(&(until, key)) = self.due[side.index()].front() {
            if !is_before(until, clock) {
                return;
            }
            self.due[side.index()].pop_front();
            let rows = &mut self.keys[key as usize];
            let version = rows.sides[side.index()].front();
            if version.is_some_and(|entry| deadline(entry.time, age) <= until) {
                let entry = rows.pop(side);
                found.freed.push((side, entry.row));
                self.len -= 1;
            }
        }
    }

    fn meet_table(&mut self, row: Arrival, found: &mut Found) {
        let table = &self.keys[row.key as usize].sides[Side::Right.index()];
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

impl KeyRows {
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
