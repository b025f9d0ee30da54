//! What is kept of single keys: as of a barrier, taken away, and kept again.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::windows::{ends, last};
use super::{Entry, JoinKind, KeyRows, Matcher, is_before};
use crate::join::{RowAt, Side};
use crate::paged::CellsImage;

/// So many rows that are gone are not worth looking for where they are named.
const STALE_MIN: usize = 4_096;

/// What a matcher kept when the image was taken.
#[derive(Debug)]
pub struct MatcherImage(CellsImage<KeyRows>);

/// What becomes of a kept row that meets none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is kept for as long as there are rows.
    Stays,
    /// Nobody misses it from this clock on.
    Expires(i64),
    /// Something has to be done as soon as the clock is behind this time.
    Wakes(i64),
}

impl MatcherImage {
    /// The keys that had rows.
    pub fn keys(&self) -> impl Iterator<Item = u32> {
        let keys = self.0.iter();
        keys.filter(|(_, rows)| !rows.is_empty())
            .map(|(key, _)| key)
    }

    /// The rows of a key on one side, in the order in which they came.
    pub fn rows(&self, key: u32, side: Side) -> impl Iterator<Item = Entry> {
        let rows = self.0.get(key).into_iter();
        rows.flat_map(move |rows| &rows.sides[side.index()])
            .copied()
    }
}

impl Matcher {
    /// The rows that are kept. Nothing is copied before it changes.
    pub fn image(&mut self) -> MatcherImage {
        MatcherImage(self.keys.image())
    }

    /// The rows of a key on one side, in the order in which they came.
    pub fn rows(&self, key: u32, side: Side) -> impl Iterator<Item = Entry> {
        let rows = self.keys.get(key).into_iter();
        rows.flat_map(move |rows| &rows.sides[side.index()])
            .copied()
    }

    /// What becomes of a row that is kept, as of a clock.
    pub fn fate(&self, side: Side, entry: Entry, clock: i64) -> Fate {
        match self.kind {
            JoinKind::Interval { .. } => {
                let until = self.deadline(side, entry.time);
                match self.join_type.keeps(side) && !entry.is_matched {
                    true => Fate::Wakes(until),
                    false => Fate::Expires(until.saturating_add(1)),
                }
            }
            JoinKind::Window { .. } => {
                let mut ends = ends(entry.time, self.kind);
                let next = ends.find(|end| !is_before(last(*end), clock));
                Fate::Wakes(next.map_or(clock, last))
            }
            JoinKind::AsOf {
                max_age_us: Some(_),
            } => Fate::Expires(self.deadline(side, entry.time).saturating_add(1)),
            JoinKind::AsOf { max_age_us: None } | JoinKind::Lookup => Fate::Stays,
        }
    }

    /// Takes away all rows of a key.
    pub fn take(&mut self, key: u32) -> [VecDeque<Entry>; 2] {
        if self.keys.get(key).is_none_or(KeyRows::is_empty) {
            return Default::default();
        }
        let rows = self.keys.take(key).sides;
        let count = rows.iter().map(VecDeque::len).sum::<usize>();
        self.len -= count;
        self.stale += count;
        if self.stale > self.len + STALE_MIN {
            self.purge();
        }
        rows
    }

    /// Keeps a row again, as [`Matcher::rows`] told it: rows of a key and a side in their order.
    pub fn restore(&mut self, key: u32, side: Side, entry: Entry) {
        self.keys.get_mut(key).sides[side.index()].push_back(entry);
        self.len += 1;
    }

    /// All rows of a key are kept again, as they were at a clock.
    pub fn restored(&mut self, key: u32, clock: i64) {
        match self.kind {
            JoinKind::Interval { .. } => {
                self.expect_first(Side::Left, key);
                self.expect_first(Side::Right, key);
            }
            JoinKind::AsOf {
                max_age_us: Some(_),
            } => self.expect_first(Side::Right, key),
            JoinKind::Window { .. } => self.register_again(key, clock),
            JoinKind::AsOf { max_age_us: None } | JoinKind::Lookup => {}
        }
    }

    /// The first row of a key that came back may go when its time is over.
    pub(super) fn expect_first(&mut self, side: Side, key: u32) {
        let first = self.keys.get(key);
        if let Some(first) = first.and_then(|rows| rows.sides[side.index()].front()) {
            let until = self.deadline(side, first.time);
            self.back.push(Reverse((until, side, key)));
        }
    }

    /// A key is known again under the ends of all windows of its rows that are not over.
    fn register_again(&mut self, key: u32, clock: i64) {
        let mut known: Vec<i64> = Side::BOTH
            .into_iter()
            .flat_map(|side| self.rows(key, side))
            .flat_map(|entry| ends(entry.time, self.kind))
            .collect();
        known.sort_unstable();
        known.dedup();
        let Some(last_end) = known.last().copied() else {
            return;
        };
        self.keys.get_mut(key).last_end = last_end;
        for end in known {
            if !is_before(last(end), clock) {
                self.windows.entry(end).or_default().push_back(key);
            }
        }
    }

    /// Puts a key's rows of the table in an order that does not depend on which came first.
    pub fn sort_table_of<K: Ord>(&mut self, key: u32, origin: impl Fn(RowAt) -> K) {
        let table = &mut self.keys.get_mut(key).sides[Side::Right.index()];
        let table = table.make_contiguous();
        table.sort_by_key(|entry| origin(entry.row));
    }

    /// The same for all keys.
    pub fn sort_table<K: Ord>(&mut self, origin: impl Fn(RowAt) -> K) {
        for key in self.keys.iter_mut() {
            let table = key.sides[Side::Right.index()].make_contiguous();
            table.sort_by_key(|entry| origin(entry.row));
        }
    }

    /// The rows that are kept of a side.
    pub fn rows_of(&self, side: Side) -> Vec<RowAt> {
        let keys = self.keys.iter();
        let entries = keys.flat_map(|(_, rows)| &rows.sides[side.index()]);
        entries.map(|entry| entry.row).collect()
    }

    /// Rows of a side lie elsewhere now: `moved` has their old places, ordered, and new ones.
    pub fn move_rows(&mut self, side: Side, moved: &[(RowAt, RowAt)]) {
        let keys = self.keys.iter_mut();
        for entry in keys.flat_map(|key| &mut key.sides[side.index()]) {
            entry.row = moved_to(moved, entry.row);
        }
    }

    /// Forgets rows that are named although they are gone: memory must not grow with them.
    fn purge(&mut self) {
        self.stale = 0;
        let is_there = |side: Side, until: i64, key: u32| {
            let rows = self.keys.get(key).map(|rows| &rows.sides[side.index()]);
            rows.is_some_and(|rows| {
                let at = rows.partition_point(|entry| self.deadline(side, entry.time) < until);
                let entry = rows.get(at);
                entry.is_some_and(|entry| self.deadline(side, entry.time) == until)
            })
        };
        let mut due = self.due.clone();
        for side in Side::BOTH {
            due[side.index()].retain(|(until, key)| is_there(side, *until, *key));
            due[side.index()].shrink_to_fit();
        }
        let back = self.back.iter().map(|Reverse(back)| *back);
        let mut back: Vec<_> = back
            .filter(|(until, side, key)| is_there(*side, *until, *key))
            .collect();
        back.sort_unstable();
        back.dedup();
        (self.due, self.back) = (due, back.into_iter().map(Reverse).collect());
        for (end, list) in &mut self.windows {
            let mut keys: Vec<u32> = std::mem::take(list).into();
            let is_open = |rows: &KeyRows| rows.last_end >= *end && rows.closed < *end;
            keys.retain(|key| self.keys.get(*key).is_some_and(is_open));
            keys.sort_unstable();
            keys.dedup();
            *list = keys.into();
        }
        self.windows.retain(|_, keys| !keys.is_empty());
    }
}

/// The new place of a row that is kept.
pub(in crate::join) fn moved_to(moved: &[(RowAt, RowAt)], row: RowAt) -> RowAt {
    let at = moved.binary_search_by_key(&row, |(from, _)| *from);
    moved[at.expect("each row that is kept has been moved")].1
}
