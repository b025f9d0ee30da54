//! Rows that meet in windows: when a window is over, all pairs of it.

use super::{Found, Match, Matcher, is_before, lone};
use crate::join::{JoinKind, Side};
use crate::watermark;

impl Matcher {
    /// A row has come for the windows that hold it: the key is known under the ends of them all.
    pub(super) fn register(&mut self, key: u32, time: i64) {
        let last_end = &mut self.keys.get_mut(key).last_end;
        for end in ends(time, self.kind) {
            // Windows end in the order of time, and a key's rows come in it.
            if *last_end < end {
                self.windows.entry(end).or_default().push_back(key);
                *last_end = end;
            }
        }
    }

    /// Windows that are over: their rows meet.
    pub(super) fn close_windows(
        &mut self,
        clock: i64,
        matches_max: usize,
        found: &mut Found,
    ) -> bool {
        let JoinKind::Window {
            size_us, every_us, ..
        } = self.kind
        else {
            return true;
        };
        while let Some((&end, keys)) = self.windows.first_key_value() {
            if !is_before(last(end), clock) {
                break;
            }
            let Some(&key) = keys.front() else {
                self.windows.pop_first();
                continue;
            };
            // A key that left and came back may be named twice.
            if self.keys.get_mut(key).closed < end {
                if !self.close_window(key, (end, size_us, every_us), matches_max, found) {
                    return false;
                }
                self.cursor = 0;
                self.keys.get_mut(key).closed = end;
                let next_start = end.saturating_sub(size_us).saturating_add(every_us);
                self.let_go(key, next_start, found);
            }
            if let Some(keys) = self.windows.get_mut(&end) {
                keys.pop_front();
            }
        }
        true
    }

    /// One window of one key, from where it was left.
    fn close_window(
        &mut self,
        key: u32,
        (end, size, every): (i64, i64, i64),
        matches_max: usize,
        found: &mut Found,
    ) -> bool {
        let start = end.saturating_sub(size);
        let sides = &self.keys.get_mut(key).sides;
        let [lefts, rights] = [0, 1].map(|at| {
            let side = &sides[at];
            let from = side.partition_point(|entry| entry.time < start);
            let to = side.partition_point(|entry| entry.time < end);
            from..to
        });
        let number = |time: i64| {
            let first = ends(time, self.kind).next().unwrap_or(end);
            u32::try_from((end - first) / every).unwrap_or(u32::MAX)
        };
        for left in sides[0].range(lefts.clone()).skip(self.cursor) {
            if found.matches.len() >= matches_max {
                return false;
            }
            self.cursor += 1;
            for right in sides[1].range(rights.clone()) {
                found.matches.push(Match {
                    rows: [Some(left.row), Some(right.row)],
                    time: last(end),
                    ordinal: number(left.time.max(right.time)),
                });
            }
            if rights.is_empty() && self.join_type.keeps(Side::Left) {
                let ordinal = number(left.time);
                let match_ = lone(Side::Left, left.row, last(end), ordinal);
                found.matches.push(match_);
            }
        }
        if lefts.is_empty() && self.join_type.keeps(Side::Right) {
            for right in sides[1].range(rights) {
                let ordinal = number(right.time);
                let match_ = lone(Side::Right, right.row, last(end), ordinal);
                found.matches.push(match_);
            }
        }
        true
    }

    /// Lets rows of a key go that lie before `start`.
    fn let_go(&mut self, key: u32, start: i64, found: &mut Found) {
        let rows = self.keys.get_mut(key);
        for side in Side::BOTH {
            while rows.sides[side.index()]
                .front()
                .is_some_and(|entry| entry.time < start)
            {
                let entry = rows.pop(side);
                found.freed.push((side, entry.row));
                self.len -= 1;
            }
        }
        if rows.is_empty() {
            // The number of the key may be given to another one.
            rows.last_end = watermark::START;
            rows.closed = watermark::START;
        }
    }
}

/// The last moment of a window.
pub(super) fn last(end: i64) -> i64 {
    end.saturating_sub(1)
}

/// The ends of the windows that hold a time, soonest first.
pub(super) fn ends(time: i64, kind: JoinKind) -> impl Iterator<Item = i64> {
    let (size, every, offset) = match kind {
        JoinKind::Window {
            size_us,
            every_us,
            offset_us,
        } => (size_us, every_us, offset_us),
        _ => (1, 1, 0),
    };
    let since = time.saturating_sub(offset);
    let first = since.saturating_sub(size).div_euclid(every) + 1;
    let last = since.div_euclid(every);
    let end = move |n: i64| n.saturating_mul(every).saturating_add(size);
    (first..=last).map(move |n| end(n).saturating_add(offset))
}
