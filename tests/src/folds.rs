//! What the guest `folded-state` remembers, in plain Rust: the oracle of tests of folded state.

use std::collections::{BTreeMap, BTreeSet};

use crate::sales::{self, QUIET, Remembers, Sale, time};

/// The amount that the guest's mean refuses.
const REFUSED: i64 = -5;

/// What the guest remembers of a key.
#[derive(Debug, Default)]
struct Memory {
    greatest: Option<i64>,
    shops: BTreeSet<u64>,
    /// Number and sum.
    tally: Option<(u64, i64)>,
    amounts: Vec<i64>,
    last: Option<i64>,
    timers: BTreeSet<i64>,
}

impl Remembers for Memory {
    fn timers(&mut self) -> &mut BTreeSet<i64> {
        &mut self.timers
    }

    fn sell(&mut self, sale: &Sale) -> String {
        let amount = sale.amount;
        if amount == 0 {
            (self.greatest, self.tally) = (None, None);
        } else {
            self.greatest = self.greatest.max(Some(amount));
            if amount != REFUSED {
                let (count, sum) = self.tally.unwrap_or_default();
                self.tally = Some((count + 1, sum + amount));
            }
        }
        self.shops.insert(sale.shop);
        self.amounts.push(amount);
        if let Some(last) = self.last.replace(sale.at) {
            self.timers.remove(&(last + QUIET));
        }
        self.timers.insert(sale.at + QUIET);
        self.line((sale.key, sale.at), "row", amount == REFUSED)
    }

    fn fire(&mut self, key: u64, at: i64) -> String {
        let line = self.line((key, at), "timer", false);
        self.shops.clear();
        self.amounts.clear();
        self.last = None;
        line
    }
}

impl Memory {
    /// A row of the guest's output, as CSV, without subtask and number.
    fn line(&self, (key, at): (u64, i64), cause: &str, refused: bool) -> String {
        let mut amounts = self.amounts.clone();
        amounts.sort_unstable();
        let mean = self.tally.map(|(count, sum)| sum.div_euclid(count as i64));
        let numbers = [self.greatest, mean, amounts.get(amounts.len() / 2).copied()];
        let [greatest, mean, median] =
            numbers.map(|number| number.map_or_else(String::new, |number| number.to_string()));
        let shops: String = self.shops.iter().map(u64::to_string).collect();
        let at = time(at);
        format!("{key},{at},{cause},{greatest},{shops},{mean},{median},{refused}")
    }
}

/// What the guest brings out, and what it is left with.
#[derive(Debug)]
pub struct Folds {
    /// The rows, as CSV without subtask and number, sorted.
    pub lines: Vec<String>,
    /// The greatest amount of each key that has one.
    pub greatest: BTreeMap<u64, i64>,
    /// Number and sum of the amounts of each key that has any.
    pub tallies: BTreeMap<u64, (u64, i64)>,
}

/// What is to come of sales, if none comes more than `disorder` behind the newest.
pub fn folds(sales: &[Sale], disorder: i64) -> Folds {
    let (rows, keys) = sales::remembered::<Memory>(sales, disorder);
    let mut lines: Vec<String> = rows.into_iter().map(|(_, line)| line).collect();
    lines.sort();
    let greatest = keys
        .iter()
        .filter_map(|(key, it)| Some((*key, it.greatest?)));
    let tallies = keys.iter().filter_map(|(key, it)| Some((*key, it.tally?)));
    Folds {
        lines,
        greatest: greatest.collect(),
        tallies: tallies.collect(),
    }
}
