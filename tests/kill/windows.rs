//! What windows are to give: nothing is merged, every result is counted from its rows.

use std::collections::BTreeMap;

use wasmill_tests::sales::{SECOND, time};

use crate::feed::{FILES, Fed};
use crate::oracle::Row;

/// The sliding windows, and how far behind the newest row of its file a row is late for them.
const SIZE: i64 = 8 * SECOND;
const EVERY: i64 = 4 * SECOND;
const OUT_OF_ORDERNESS: i64 = SECOND;
/// A session lasts while rows follow each other in less.
const GAP: i64 = 5 * SECOND;

/// A row of the input, and its file's watermark, itself included.
#[derive(Debug, Clone, Copy)]
struct Sold {
    at: i64,
    clock: i64,
    amount: i64,
}

/// Sliding windows: a row that comes behind a window's end corrects its result. None comes so late
/// that its windows take it no more.
pub(crate) fn sliding(fed: &Fed) -> Vec<Row> {
    let mut newest = [i64::MIN; FILES];
    let mut keys: BTreeMap<u64, Vec<Sold>> = BTreeMap::new();
    for (file, sale) in &fed.sales {
        newest[*file] = newest[*file].max(sale.at);
        keys.entry(sale.key).or_default().push(Sold {
            at: sale.at,
            clock: newest[*file] - OUT_OF_ORDERNESS,
            amount: sale.amount,
        });
    }
    keys.into_iter()
        .flat_map(|(key, rows)| of_key(key, &rows))
        .collect()
}

/// When something is told: at an instant, ends of windows before late rows, in an order.
type When = (i64, u8, i64);

fn of_key(key: u64, rows: &[Sold]) -> Vec<Row> {
    let mut windows: BTreeMap<i64, Vec<Sold>> = BTreeMap::new();
    for row in rows {
        let last = row.at.div_euclid(EVERY) * EVERY;
        for start in [last - EVERY, last] {
            windows.entry(start).or_default().push(*row);
        }
    }
    let mut told: Vec<(When, Row)> = Vec::new();
    for (start, rows) in windows {
        let end = start + SIZE;
        let mut tell = |when: When, op: &str, held: &[Sold]| {
            let row = format!("{},{op}", line(key, (start, end), held));
            told.push((when, (key, row)));
        };
        let (mut held, late): (Vec<Sold>, Vec<Sold>) =
            rows.into_iter().partition(|row| row.clock < end);
        if !held.is_empty() {
            tell((end, 0, 0), "insert", &held);
        }
        // Late rows of one clock and one pane are one correction.
        let mut corrections: BTreeMap<(i64, i64), Vec<Sold>> = BTreeMap::new();
        for row in late {
            let of = (row.clock, row.at.div_euclid(EVERY));
            corrections.entry(of).or_default().push(row);
        }
        for ((clock, pane), rows) in corrections {
            let (when, is_first) = ((clock, 1, pane), held.is_empty());
            if !is_first {
                tell(when, "update-before", &held);
            }
            held.extend(rows);
            tell(
                when,
                if is_first { "insert" } else { "update-after" },
                &held,
            );
        }
    }
    told.sort_by_key(|(when, _)| *when);
    told.into_iter().map(|(_, row)| row).collect()
}

/// Sessions of rows of which none comes late.
pub(crate) fn sessions(fed: &Fed) -> Vec<Row> {
    let mut keys: BTreeMap<u64, Vec<Sold>> = BTreeMap::new();
    for (_, sale) in &fed.sales {
        keys.entry(sale.key).or_default().push(Sold {
            at: sale.at,
            clock: 0,
            amount: sale.amount,
        });
    }
    let mut all = Vec::new();
    for (key, mut rows) in keys {
        rows.sort_by_key(|row| row.at);
        let sessions = rows.chunk_by(|before, row| row.at < before.at + GAP);
        all.extend(sessions.map(|rows| {
            let bounds = (rows[0].at, rows[rows.len() - 1].at + GAP);
            (key, line(key, bounds, rows))
        }));
    }
    all
}

/// A result, but for the kind of change.
fn line(key: u64, (start, end): (i64, i64), rows: &[Sold]) -> String {
    let total: i64 = rows.iter().map(|row| row.amount).sum();
    format!("{key},{},{},{},{total}", time(start), time(end), rows.len())
}
