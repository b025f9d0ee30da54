//! An account's past, and the features that the engine declares over it: the plain way.
//!
//! This is the oracle's own reading of what a feature means, kept as simple as can be: every
//! window is found by walking back over the rows that came before.

use std::collections::{BTreeSet, HashMap};

use plugin_fraud_scorer::inputs::Features;

use crate::calendar::{DAY_US, HOUR_US, MINUTE_US};
use crate::row::Row;

/// Rows that the features over rows look back on, the row itself included.
const ROWS: usize = 50;
/// Longest window over time.
const LONGEST_US: i64 = DAY_US;

/// What the features need of a row.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at_us: i64,
    amount_minor: i64,
    merchant: usize,
    country: usize,
}

/// The rows of all accounts so far, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Past {
    accounts: HashMap<u64, Vec<Seen>>,
    names: HashMap<String, usize>,
}

impl Past {
    /// Adds the row and computes its features as of itself.
    pub(crate) fn add<'a>(&mut self, row: &'a Row) -> Features<'a> {
        let merchant = self.name(&row.merchant);
        let country = self.name(&row.country);
        let rows = self.accounts.entry(row.account).or_default();
        rows.push(Seen {
            at_us: row.at_us,
            amount_minor: row.amount_minor,
            merchant,
            country,
        });
        let features = features(rows, row);
        // Rows come at most a few seconds out of order; a day more is more than enough.
        if rows.len() > 4 * ROWS && rows[rows.len() - 2 * ROWS].at_us < row.at_us - 2 * LONGEST_US {
            rows.drain(..rows.len() - 2 * ROWS);
        }
        features
    }

    fn name(&mut self, name: &str) -> usize {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        let number = self.names.len();
        self.names.insert(name.to_owned(), number);
        number
    }
}

fn features<'a>(rows: &[Seen], row: &'a Row) -> Features<'a> {
    // The window (t - d, t] over the rows that came so far.
    let within = |duration_us: i64| {
        let (start, end) = (row.at_us - duration_us, row.at_us);
        let recent = rows
            .iter()
            .rev()
            .take_while(move |seen| seen.at_us > start - MINUTE_US);
        recent.filter(move |seen| seen.at_us > start && seen.at_us <= end)
    };
    let count = |duration_us| within(duration_us).count() as u64;
    let sum = |duration_us| within(duration_us).map(|seen| seen.amount_minor).sum();
    let latest = &rows[rows.len().saturating_sub(ROWS)..];
    let latest_sum: i64 = latest.iter().map(|seen| seen.amount_minor).sum();
    let latest_max = latest.iter().map(|seen| seen.amount_minor).max();
    let merchants: BTreeSet<usize> = within(HOUR_US).map(|seen| seen.merchant).collect();
    let countries: BTreeSet<usize> = within(2 * HOUR_US).map(|seen| seen.country).collect();
    Features {
        amount_minor: row.amount_minor,
        channel: &row.channel,
        counts: [
            count(MINUTE_US),
            count(10 * MINUTE_US),
            count(HOUR_US),
            count(DAY_US),
        ],
        sums_minor: [sum(HOUR_US), sum(DAY_US)],
        mean_50_minor: latest_sum as f64 / latest.len() as f64,
        max_50_minor: latest_max.unwrap_or(row.amount_minor),
        rows_50: latest.len() as u64,
        merchants_1h: merchants.len() as u64,
        countries_2h: countries.len() as u64,
    }
}
