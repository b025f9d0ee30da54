//! What the guest `every-state` remembers, in plain Rust: the oracle of the tests that run it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A second of event time.
pub const SECOND: i64 = 1_000_000;
/// How far a row may lie behind the newest one.
pub const OUT_OF_ORDERNESS: i64 = 2 * SECOND;
const QUIET: i64 = 10 * SECOND;

/// A row of the input; times are microseconds of one day.
#[derive(Debug, Clone)]
pub struct Sale {
    /// Who buys.
    pub key: u64,
    /// Where.
    pub shop: u64,
    /// For how much.
    pub amount: i64,
    /// When.
    pub at: i64,
}

/// Numbers that a seed decides (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// One of the numbers before `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Sales of so many keys, in a mild disorder: never further behind than the source allows.
pub fn sales(seed: u64, keys: u64, rows: usize) -> Vec<Sale> {
    let mut random = Random(seed);
    let mut now = SECOND * 100;
    let mut sale = |_| {
        now += random.below(40_000) as i64;
        Sale {
            key: random.below(keys),
            shop: random.below(4),
            amount: random.below(25) as i64 - 5,
            at: now - random.below(OUT_OF_ORDERNESS as u64) as i64,
        }
    };
    (0..rows).map(&mut sale).collect()
}

/// What the guest remembers of a key.
#[derive(Default)]
struct Memory {
    sum: i64,
    last: Option<i64>,
    amounts: VecDeque<i64>,
    shops: BTreeMap<u64, u64>,
    digits: BTreeMap<u64, i64>,
    timers: BTreeSet<i64>,
}

impl Memory {
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

fn line(key: u64, at: i64, cause: &str, numbers: [i64; 6]) -> String {
    format!(
        "{key},{},{cause},{}",
        time(at),
        numbers.map(|n| n.to_string()).join(",")
    )
}

/// A time as text.
pub fn time(us: i64) -> String {
    let (seconds, us) = (us / SECOND, us % SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("2026-03-01T{hours:02}:{minutes:02}:{seconds:02}.{us:06}Z")
}

/// What is to come out, sorted, if no row comes more than `disorder` behind the newest.
pub fn expected(sales: &[Sale], disorder: i64) -> Vec<String> {
    let mut keys: BTreeMap<u64, Memory> = BTreeMap::new();
    let (mut out, mut newest) = (Vec::new(), i64::MIN);
    for sale in sales {
        newest = newest.max(sale.at);
        let memory = keys.entry(sale.key).or_default();
        // A timer is due once no row before it can come.
        while memory
            .timers
            .first()
            .is_some_and(|at| *at < newest - disorder)
        {
            let at = memory.timers.pop_first().expect("there is one");
            out.push(memory.fire(sale.key, at));
        }
        out.push(memory.sell(sale));
    }
    for (key, memory) in &mut keys {
        while let Some(at) = memory.timers.pop_first() {
            out.push(memory.fire(*key, at));
        }
    }
    out.sort();
    out
}
