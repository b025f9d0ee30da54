//! What comes of two streams, by loops over all of their rows.

use std::collections::BTreeMap;

use crate::rows::Row;

/// Which rows meet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Interval(i64, i64),
    /// Size and every.
    Window(i64, i64),
    AsOf(Option<i64>),
    Lookup,
}

/// A row that comes out: the ids of both sides, and its time.
pub(crate) type Outcome = (Option<u64>, Option<u64>, i64);

/// What comes out, ordered by itself, not in the order in which it comes.
pub(crate) fn expected(kind: Kind, keeps: [bool; 2], [left, right]: [&[Row]; 2]) -> Vec<Outcome> {
    // A lookup takes late rows like all others.
    let counts = |row: &&Row| matches!(kind, Kind::Lookup) || !row.is_late;
    let mut keys: BTreeMap<u64, [Vec<&Row>; 2]> = BTreeMap::new();
    for (side, rows) in [left, right].into_iter().enumerate() {
        for row in rows.iter().filter(counts) {
            keys.entry(row.key).or_default()[side].push(row);
        }
    }
    let of_key = |sides: &[Vec<&Row>; 2]| of_key(kind, keeps, [&sides[0], &sides[1]]);
    let mut out: Vec<Outcome> = keys.values().flat_map(of_key).collect();
    out.sort_unstable();
    out
}

fn of_key(kind: Kind, keeps: [bool; 2], [left, right]: [&[&Row]; 2]) -> Vec<Outcome> {
    match kind {
        Kind::Interval(lower, upper) => {
            let meet = |l: &Row, r: &Row| (lower..=upper).contains(&(r.time - l.time));
            let until = |is_left: bool, row: &Row| match is_left {
                true => row.time.max(row.time + upper),
                false => row.time.max(row.time - lower),
            };
            pairs((left, right), keeps, meet, until)
        }
        Kind::Window(size, every) => {
            let last = left.iter().chain(right).map(|row| row.time).max();
            let mut out = Vec::new();
            let mut start = -size;
            start -= start.rem_euclid(every);
            while start <= last.unwrap_or(0) {
                let is_inside = |row: &&&Row| (start..start + size).contains(&row.time);
                let lefts: Vec<&Row> = left.iter().filter(is_inside).copied().collect();
                let rights: Vec<&Row> = right.iter().filter(is_inside).copied().collect();
                let end = start + size - 1;
                let met = pairs((&lefts, &rights), keeps, |_, _| true, |_, _| end);
                out.extend(met.into_iter().map(|(l, r, _)| (l, r, end)));
                start += every;
            }
            out
        }
        Kind::AsOf(max_age) => as_of((left, right), keeps[0], max_age),
        Kind::Lookup => {
            let met = pairs((left, right), keeps, |_, _| true, |_, row| row.time);
            let time = |id: Option<u64>| left.iter().find(|row| Some(row.id) == id);
            met.into_iter()
                .map(|(l, r, _)| (l, r, time(l).expect("a left row").time))
                .collect()
        }
    }
}

fn as_of((left, right): (&[&Row], &[&Row]), keeps: bool, max_age: Option<i64>) -> Vec<Outcome> {
    let mut out = Vec::new();
    for l in left {
        let versions = right
            .iter()
            .enumerate()
            .filter(|(_, r)| r.key == l.key && r.time <= l.time);
        // Of versions of one time the one of the last file counts, of one file the last one.
        let version = versions.max_by_key(|(at, r)| (r.time, r.file, *at));
        let version = version.map(|(_, r)| r);
        let version = version.filter(|r| max_age.is_none_or(|age| l.time - r.time <= age));
        if version.is_some() || keeps {
            out.push((Some(l.id), version.map(|r| r.id), l.time));
        }
    }
    out
}

fn pairs(
    (left, right): (&[&Row], &[&Row]),
    keeps: [bool; 2],
    meet: impl Fn(&Row, &Row) -> bool,
    until: impl Fn(bool, &Row) -> i64,
) -> Vec<Outcome> {
    let is_met = |l: &Row, r: &Row| l.key == r.key && meet(l, r);
    let mut out = Vec::new();
    for l in left {
        for r in right.iter().filter(|r| is_met(l, r)) {
            out.push((Some(l.id), Some(r.id), l.time.max(r.time)));
        }
        if keeps[0] && !right.iter().any(|r| is_met(l, r)) {
            out.push((Some(l.id), None, until(true, l)));
        }
    }
    for r in right {
        if keeps[1] && !left.iter().any(|l| is_met(l, r)) {
            out.push((None, Some(r.id), until(false, r)));
        }
    }
    out
}
