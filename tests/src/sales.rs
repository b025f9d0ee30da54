//! What the guest `every-state` remembers, in plain Rust: the oracle of tests of keyed state; and
//! how any guest remembers sales.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Random;

/// Microseconds.
pub const SECOND: i64 = 1_000_000;
/// How far out of order sales are at most.
pub const OUT_OF_ORDERNESS: i64 = 2 * SECOND;
/// After so long without a sale the guest's timer is due.
pub const QUIET: i64 = 10 * SECOND;
/// Number of keys, if nobody says another.
pub const KEYS: u64 = 300;

/// A row of the input; times are microseconds of one day.
#[derive(Debug, Clone)]
pub struct Sale {
    /// The key.
    pub key: u64,
    /// Where.
    pub shop: u64,
    /// How much.
    pub amount: i64,
    /// When.
    pub at: i64,
}

/// Sales in a mild disorder: never further behind than the source allows.
#[derive(Debug, Clone)]
pub struct Sales {
    random: Random,
    now: i64,
    keys: u64,
}

impl Sales {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            now: SECOND * 100,
            keys: KEYS,
        }
    }

    /// The same of another number of keys.
    pub fn of(self, keys: u64) -> Self {
        Self { keys, ..self }
    }
}

impl Iterator for Sales {
    type Item = Sale;

    fn next(&mut self) -> Option<Sale> {
        let random = &mut self.random;
        self.now += random.below(40_000) as i64;
        Some(Sale {
            key: random.below(self.keys),
            shop: random.below(4),
            amount: random.below(25) as i64 - 5,
            at: self.now - random.below(OUT_OF_ORDERNESS as u64) as i64,
        })
    }
}

impl Sale {
    /// The row as CSV, without a line end.
    pub fn csv(&self) -> String {
        let Self {
            key,
            shop,
            amount,
            at,
        } = self;
        format!("{key},{shop},{amount},{}", time(*at))
    }
}

/// What a guest remembers of a key.
pub(crate) trait Remembers: Default {
    /// The times of its timers.
    fn timers(&mut self) -> &mut BTreeSet<i64>;

    /// What comes out for a sale.
    fn sell(&mut self, sale: &Sale) -> String;

    /// What comes out when a timer fires, which is taken away already.
    fn fire(&mut self, key: u64, at: i64) -> String;
}

/// What the guest remembers of a key.
#[derive(Debug, Default)]
struct Memory {
    sum: i64,
    last: Option<i64>,
    amounts: VecDeque<i64>,
    shops: BTreeMap<u64, u64>,
    digits: BTreeMap<u64, i64>,
    timers: BTreeSet<i64>,
}

impl Remembers for Memory {
    fn timers(&mut self) -> &mut BTreeSet<i64> {
        &mut self.timers
    }

    fn sell(&mut self, sale: &Sale) -> String {
        let sum = self.sum + sale.amount;
        self.sum = if sale.amount == 0 { 0 } else { sum };
        self.amounts.push_back(sale.amount);
        if self.amounts.len() > 3 {
            self.amounts.pop_front();
        }
        let at_shop = self.shops.remove(&sale.shop).unwrap_or(0) + 1;
        if at_shop < 4 {
            self.shops.insert(sale.shop, at_shop);
        }
        let by_digit = self
            .digits
            .entry(sale.amount.unsigned_abs() % 10)
            .or_insert(0);
        *by_digit += sale.amount;
        let by_digit = *by_digit;
        if let Some(last) = self.last.replace(sale.at) {
            self.timers.remove(&(last + QUIET));
        }
        self.timers.insert(sale.at + QUIET);
        let last_amounts: i64 = self.amounts.iter().sum();
        line(
            sale.key,
            sale.at,
            "row",
            [sum, last_amounts, at_shop as i64, 0, by_digit, 0],
        )
    }

    fn fire(&mut self, key: u64, at: i64) -> String {
        let Self {
            sum,
            amounts,
            shops,
            digits,
            ..
        } = &*self;
        let shop_sum: u64 = shops.values().sum();
        let numbers = [
            *sum,
            amounts.iter().sum(),
            shop_sum as i64,
            shops.len() as i64,
            digits.values().sum(),
            digits.len() as i64,
        ];
        *self = Self {
            timers: std::mem::take(&mut self.timers),
            ..Self::default()
        };
        line(key, at, "timer", numbers)
    }
}

/// A row of the guest's output, as CSV.
fn line(key: u64, at: i64, cause: &str, numbers: [i64; 6]) -> String {
    format!(
        "{key},{},{cause},{}",
        time(at),
        numbers.map(|n| n.to_string()).join(",")
    )
}

/// A time of the one day, as wasmill prints it.
pub fn time(us: i64) -> String {
    let (seconds, us) = (us / SECOND, us % SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("2026-03-01T{hours:02}:{minutes:02}:{seconds:02}.{us:06}Z")
}

/// What is to come out, by key and within a key in this order, if no row comes more than `disorder`
/// behind the newest.
///
/// # Panics
///
/// Never.
pub fn expected(sales: &[Sale], disorder: i64) -> Vec<(u64, String)> {
    remembered::<Memory>(sales, disorder).0
}

/// What is to come out of a guest, as for [`expected`], and what it remembers in the end.
pub(crate) fn remembered<M: Remembers>(
    sales: &[Sale],
    disorder: i64,
) -> (Vec<(u64, String)>, BTreeMap<u64, M>) {
    let mut keys: BTreeMap<u64, M> = BTreeMap::new();
    let (mut out, mut newest) = (Vec::new(), i64::MIN);
    for sale in sales {
        newest = newest.max(sale.at);
        let memory = keys.entry(sale.key).or_default();
        // A timer is due once no row before it can come.
        while memory
            .timers()
            .first()
            .is_some_and(|at| *at < newest - disorder)
        {
            let at = memory.timers().pop_first().expect("there is one");
            out.push((sale.key, memory.fire(sale.key, at)));
        }
        out.push((sale.key, memory.sell(sale)));
    }
    for (key, memory) in &mut keys {
        while let Some(at) = memory.timers().pop_first() {
            out.push((*key, memory.fire(*key, at)));
        }
    }
    (out, keys)
}

/// What is to come out in any order, sorted.
pub fn lines(sales: &[Sale], disorder: i64) -> Vec<String> {
    let rows = expected(sales, disorder).into_iter();
    let mut lines: Vec<String> = rows.map(|(_, line)| line).collect();
    lines.sort();
    lines
}
