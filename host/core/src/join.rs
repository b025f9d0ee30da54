//! Joins: rows of two streams that meet by key and by event time.
//!
//! [`Join`] is the whole of it for one subtask: it keeps rows, finds which meet, and builds the
//! rows that come of it. [`Matcher`] decides by times and positions alone. Both sides are merged by
//! event time before anything is decided, so what comes out, and in which order for each key,
//! depends neither on speed nor on how rows were cut into batches.

mod document;
mod image;
mod keys;
mod matcher;
mod output;
mod store;

use std::collections::VecDeque;
use std::fmt;

use arrow_schema::ArrowError;

use crate::batch::{Batch, op};
use crate::{duration, watermark};

pub use document::{
    AsOfDocument, IntervalDocument, JoinDocument, JoinTypeWord, JoinWindowDocument, LookupDocument,
};
pub use image::{JoinImage, KeptRow, decode_entries, entry_type};
pub use matcher::{Arrival, Entry, Fate, Found, Match, Matcher, MatcherImage};
pub use output::{ColumnFrom, JoinedColumn};
pub use store::{RowAt, Rows};

use output::Output;

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first.
    Left,
    /// The second.
    Right,
}

impl Side {
    /// Both, in their order.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// Its number.
    pub fn index(self) -> usize {
        self as usize
    }

    /// What documents call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// What becomes of a row that meets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinType {
    /// It is dropped.
    Inner,
    /// One of the left side comes out alone.
    Left,
    /// One of the right side comes out alone.
    Right,
    /// One of either side comes out alone.
    Full,
}

impl JoinType {
    /// Whether rows of this side come out although they meet none.
    pub fn keeps(self, side: Side) -> bool {
        match self {
            Self::Inner => false,
            Self::Left => side == Side::Left,
            Self::Right => side == Side::Right,
            Self::Full => true,
        }
    }

    /// What documents call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
        }
    }
}

/// Which rows of a key meet. Times are microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// The right row's time lies in [left time + lower, left time + upper].
    Interval {
        /// How much later than the left row at least; may be negative.
        lower_us: i64,
        /// How much later at most; not less than `lower_us`.
        upper_us: i64,
    },
    /// Both lie in one window: `size_us` long, one beginning every `every_us`.
    Window {
        /// How long.
        size_us: i64,
        /// From the start of one to that of the next; at most `size_us`.
        every_us: i64,
        /// One begins so much after 1970.
        offset_us: i64,
    },
    /// The right row is the newest one that is not newer than the left row.
    AsOf {
        /// A right row older than that does not count.
        max_age_us: Option<i64>,
    },
    /// The right side is a table that is read to its end first; all of its rows count.
    Lookup,
}

impl JoinKind {
    /// What documents call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interval { .. } => "interval",
            Self::Window { .. } => "window",
            Self::AsOf { .. } => "as-of",
            Self::Lookup => "lookup",
        }
    }

    /// Whether rows meet by event time.
    pub fn is_timed(self) -> bool {
        self != Self::Lookup
    }

    /// Of two rows of one time, which side's comes first: a version of a table counts for what
    /// happens at the same time.
    fn first(self) -> Side {
        match self {
            Self::Interval { .. } | Self::Window { .. } => Side::Left,
            Self::AsOf { .. } | Self::Lookup => Side::Right,
        }
    }
}

/// What a join does.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinSpec {
    /// Which rows meet.
    pub kind: JoinKind,
    /// What becomes of those that meet none.
    pub join_type: JoinType,
    /// The columns that come out.
    pub columns: Vec<JoinedColumn>,
}

impl fmt::Display for JoinSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (join_type, kind) = (self.join_type.name(), self.kind.name());
        write!(f, "{join_type} {kind} join")?;
        let us = duration::print_signed;
        match self.kind {
            JoinKind::Interval { lower_us, upper_us } => {
                write!(f, " from {} to {}", us(lower_us), us(upper_us))
            }
            JoinKind::Window {
                size_us,
                every_us,
                offset_us,
            } => {
                write!(f, " of {}", us(size_us))?;
                if every_us != size_us {
                    write!(f, " every {}", us(every_us))?;
                }
                match offset_us {
                    0 => Ok(()),
                    offset => write!(f, " from {}", us(offset)),
                }
            }
            JoinKind::AsOf {
                max_age_us: Some(age),
            } => write!(f, " up to {}", us(age)),
            JoinKind::AsOf { max_age_us: None } | JoinKind::Lookup => Ok(()),
        }
    }
}

/// A join in one subtask. Keys are dense numbers that its owner gives.
#[derive(Debug)]
pub struct Join {
    kind: JoinKind,
    matcher: Matcher,
    rows: [Rows; 2],
    /// Rows whose time has come and which have not been looked at, by side and in order.
    pending: [VecDeque<RowAt>; 2],
    /// Lookup: whether the table has been read to its end.
    is_loaded: bool,
    found: Found,
    output: Output,
    /// The keys of rows that are no longer kept, each as often as it has rows that went, and
    /// whether these were among what is kept or only looked something up.
    released: Vec<(u32, bool)>,
    /// Lookup: rows that have waited for the table, the first of those that are pending.
    waited: usize,
    /// What has been looked at, and what had been before the clock moved the last time.
    clock: i64,
    clock_before: i64,
}

impl Join {
    /// A join without rows, of an operator of this name.
    pub fn new(operator: &str, spec: &JoinSpec) -> Self {
        Self {
            kind: spec.kind,
            matcher: Matcher::new(spec.kind, spec.join_type),
            rows: Default::default(),
            pending: Default::default(),
            is_loaded: false,
            found: Found::default(),
            output: Output::new(operator, spec),
            released: Vec::new(),
            waited: 0,
            clock: watermark::START,
            clock_before: watermark::START,
        }
    }

    /// Whether rows of a side that are pushed now are kept, so that what there is of their keys
    /// changes.
    pub fn keeps(&self, side: Side) -> bool {
        match self.kind {
            JoinKind::Interval { .. } | JoinKind::Window { .. } => true,
            JoinKind::AsOf { .. } => side == Side::Right,
            JoinKind::Lookup => side == Side::Right || !self.is_loaded,
        }
    }

    /// Takes rows of a side, in the order of their times and not before those of earlier calls;
    /// `keys` has the key of each. They are looked at by [`Join::advance`]. Of as many keys as
    /// there are rows [`Join::released`] will tell, sooner or later.
    pub fn push(&mut self, side: Side, batch: Batch, keys: &[u32]) {
        let rows = &mut self.rows[side.index()];
        let pending = &mut self.pending[side.index()];
        let count = keys.len() as u32;
        let batch = rows.add(batch, keys);
        pending.extend((0..count).map(|row| RowAt { batch, row }));
    }

    /// Lookup: the table has been read to its end, so rows of the left side may meet it.
    pub fn loaded(&mut self) {
        self.is_loaded = true;
        self.waited = self.pending[Side::Left.index()].len();
        self.look_at_table();
        let rows = &self.rows[Side::Right.index()];
        self.matcher.sort_table(|row| rows.origin(row));
    }

    /// Lookup: whether the table has been read to its end.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// Looks at the rows that were pushed, those of event time as far as they lie before `clock`,
    /// and at what is certain since no other row before it will come. Gives rows that came of it,
    /// about `rows_max` of them; none once there are no more.
    ///
    /// # Errors
    /// If rows of one side have different columns.
    pub fn advance(&mut self, clock: i64, rows_max: usize) -> Result<Option<Batch>, ArrowError> {
        let is_done = match self.kind {
            JoinKind::Lookup => self.look_up(rows_max),
            _ => self.merge(clock, rows_max),
        };
        let batch = match self.found.matches.is_empty() {
            true => None,
            false => Some(self.output.build(&self.found.matches, &self.rows)?),
        };
        self.found.matches.clear();
        for at in 0..self.found.freed.len() {
            let (side, row) = self.found.freed[at];
            let mut was_kept = self.keeps(side);
            if side == Side::Left && self.waited > 0 {
                self.waited -= 1;
                was_kept = true;
            }
            let rows = &mut self.rows[side.index()];
            self.released.push((rows.key(row), was_kept));
            rows.free(row);
        }
        self.found.freed.clear();
        if is_done {
            if clock > self.clock {
                (self.clock_before, self.clock) = (self.clock, clock);
            }
            self.tidy()?;
        }
        Ok(batch)
    }

    /// The keys of rows that are no longer kept, since the last call, and whether they had been:
    /// rows that only look something up never are.
    pub fn released(&mut self) -> std::vec::Drain<'_, (u32, bool)> {
        self.released.drain(..)
    }

    /// What is kept, between two calls of [`Join::advance`] of which the last gave none.
    pub fn image(&mut self) -> JoinImage {
        let waiting = self.pending[Side::Left.index()].iter();
        let rows = &self.rows[Side::Left.index()];
        let waiting = waiting.map(|row| {
            let entry = Entry {
                time: rows.time(*row),
                row: *row,
                is_matched: false,
            };
            (rows.key(*row), entry)
        });
        let waiting = waiting.collect();
        JoinImage::new(self.matcher.image(), waiting, &self.rows)
    }

    /// Keeps rows of a side again, those of a key in their order; `matched` says which had met
    /// another one, and is none for rows that wait for the table.
    pub fn restore(
        &mut self,
        side: Side,
        (batch, keys): (Batch, &[u32]),
        matched: Option<&[bool]>,
    ) {
        let Some(matched) = matched else {
            self.push(side, batch, keys);
            return;
        };
        let times = batch.times.clone();
        let batch = self.rows[side.index()].add(batch, keys);
        for (at, (key, is_matched)) in keys.iter().zip(matched).enumerate() {
            let entry = Entry {
                time: times.as_ref().map_or(0, |times| times[at]),
                row: RowAt {
                    batch,
                    row: at as u32,
                },
                is_matched: *is_matched,
            };
            self.matcher.restore(*key, side, entry);
        }
    }

    /// Rows that are kept.
    pub fn len(&self) -> usize {
        self.rows.iter().map(Rows::len).sum()
    }

    /// Whether no rows are kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(Rows::bytes).sum::<usize>() + self.matcher.bytes()
    }

    /// Looks at pending rows of both sides that lie before the clock, in the order of their times,
    /// then at what is certain by the clock. Tells whether it came to the end.
    fn merge(&mut self, clock: i64, rows_max: usize) -> bool {
        while let Some((side, row)) = self.next() {
            let rows = &self.rows[side.index()];
            let arrival = Arrival {
                key: rows.key(row),
                time: rows.time(row),
                row,
            };
            if arrival.time >= clock {
                break;
            }
            let is_ready = self.found.matches.len() < rows_max
                && self
                    .matcher
                    .advance(arrival.time, rows_max, &mut self.found);
            if !is_ready {
                return false;
            }
            let change = rows.op(row);
            self.pending[side.index()].pop_front();
            self.matcher.arrive(side, arrival, change, &mut self.found);
        }
        self.found.matches.len() < rows_max
            && self.matcher.advance(clock, rows_max, &mut self.found)
    }

    /// The next pending row of both sides.
    fn next(&self) -> Option<(Side, RowAt)> {
        let first = self.kind.first();
        let of = |side: Side| {
            let row = *self.pending[side.index()].front()?;
            Some((self.rows[side.index()].time(row), side, row))
        };
        let (time, side, row) = match (of(first), of(first.other())) {
            (Some(a), Some(b)) if b.0 < a.0 => b,
            (Some(a), _) => a,
            (None, Some(b)) => b,
            (None, None) => return None,
        };
        debug_assert!(time < watermark::END, "times lie before the end of time");
        Some((side, row))
    }

    /// Rows of the table, which only fill it.
    fn look_at_table(&mut self) {
        let rows = &self.rows[Side::Right.index()];
        while let Some(row) = self.pending[Side::Right.index()].pop_front() {
            let arrival = Arrival {
                key: rows.key(row),
                time: 0,
                row,
            };
            self.matcher
                .arrive(Side::Right, arrival, op::INSERT, &mut self.found);
        }
    }

    fn look_up(&mut self, rows_max: usize) -> bool {
        self.look_at_table();
        if !self.is_loaded {
            return true;
        }
        let rows = &self.rows[Side::Left.index()];
        while self.found.matches.len() < rows_max {
            let Some(row) = self.pending[Side::Left.index()].pop_front() else {
                return true;
            };
            let arrival = Arrival {
                key: rows.key(row),
                time: rows.time(row),
                row,
            };
            self.matcher
                .arrive(Side::Left, arrival, op::INSERT, &mut self.found);
        }
        false
    }

    /// Copies rows together where the memory of rows that went could be given back.
    fn tidy(&mut self) -> Result<(), ArrowError> {
        for side in Side::BOTH {
            let (rows, pending) = (
                &mut self.rows[side.index()],
                &mut self.pending[side.index()],
            );
            if !rows.is_sparse() {
                continue;
            }
            let mut kept = self.matcher.rows_of(side);
            kept.extend(pending.iter());
            let moved = rows.compact(kept)?;
            self.matcher.move_rows(side, &moved);
            for row in pending {
                *row = matcher::moved_to(&moved, *row);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
