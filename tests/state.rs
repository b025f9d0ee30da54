//! Keyed state and timers from outside: a guest that shows all that it remembers against the same
//! in plain Rust, whatever the parallelism and however the rows are cut into batches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use wasmill_tests::{programs, root};

const SECOND: i64 = 1_000_000;
const OUT_OF_ORDERNESS: i64 = 2 * SECOND;
const QUIET: i64 = 10 * SECOND;

/// A row of the input; times are microseconds of one day.
#[derive(Clone)]
struct Sale {
    key: u64,
    shop: u64,
    amount: i64,
    at: i64,
}

/// Numbers that a seed decides (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Sales of 300 keys, in a mild disorder: never further behind than the source allows.
fn sales(seed: u64) -> Vec<Sale> {
    let mut random = Random(seed);
    let mut now = SECOND * 100;
    let mut sale = |_| {
        now += random.below(40_000) as i64;
        Sale {
            key: random.below(300),
            shop: random.below(4),
            amount: random.below(25) as i64 - 5,
            at: now - random.below(OUT_OF_ORDERNESS as u64) as i64,
        }
    };
    (0..20_000).map(&mut sale).collect()
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

fn time(us: i64) -> String {
    let (seconds, us) = (us / SECOND, us % SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("2026-03-01T{hours:02}:{minutes:02}:{seconds:02}.{us:06}Z")
}

/// What is to come out, sorted, if no row comes more than `disorder` behind the newest.
fn expected(sales: &[Sale], disorder: i64) -> Vec<String> {
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

/// A way to run the job.
struct Run {
    /// Sources, over which the rows are dealt.
    sources: usize,
    order: &'static str,
    parallelism: usize,
    rows_max: usize,
}

impl Run {
    fn pipeline(&self) -> String {
        let mut text = String::from("name: state\nsources:\n");
        for number in 0..self.sources {
            write!(
                text,
                "  sales-{number}:
    file: {{ path: sales-{number}.csv }}
    format: {{ csv: {{ key: u64, shop: string, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
"
            )
            .expect("memory");
        }
        let names: Vec<String> = (0..self.sources).map(|n| format!("sales-{n}")).collect();
        let (names, plugin) = (names.join(", "), root().join("target/plugins"));
        let (order, rows_max, plugin) = (self.order, self.rows_max, plugin.display());
        text + &format!(
            "operators:
  memory:
    input: [{names}]
    key-by: [key]
    plugin: {plugin}/guest-every-state.wasm
    order: {order}
    batch: {{ rows-max: {rows_max} }}
sinks:
  out: {{ input: memory, file: {{ path: out.csv }}, format: csv }}
"
        )
    }

    /// What comes out, sorted.
    fn found(&self, folder: &Path, sales: &[Sale]) -> Vec<String> {
        for number in 0..self.sources {
            let mut text = String::from("key,shop,amount,at\n");
            let dealt = sales.iter().skip(number).step_by(self.sources);
            for Sale {
                key,
                shop,
                amount,
                at,
            } in dealt
            {
                writeln!(text, "{key},{shop},{amount},{}", time(*at)).expect("memory");
            }
            fs::write(folder.join(format!("sales-{number}.csv")), text).expect("writable");
        }
        fs::write(folder.join("pipeline.yaml"), self.pipeline()).expect("writable");
        let parallelism = self.parallelism.to_string();
        let output = Command::new(programs().join("wasmill"))
            .args(["run", "pipeline.yaml", "--parallelism", &parallelism])
            .current_dir(folder)
            .output()
            .expect("wasmill starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let text = fs::read_to_string(folder.join("out.csv")).expect("the job wrote its file");
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// Each (parallelism, most rows of a call).
const CUTS: [(usize, usize); 5] = [(1, 4096), (2, 4096), (4, 100), (2, 3), (1, 1)];

fn check(sources: usize, order: &'static str, sales: &[Sale], expected: &[String]) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    for (parallelism, rows_max) in CUTS {
        let run = Run {
            sources,
            order,
            parallelism,
            rows_max,
        };
        let found = run.found(folder.path(), sales);
        let mut pairs = found.iter().zip(expected);
        let differs = pairs.find(|(found, expected)| found != expected);
        assert_eq!(
            differs, None,
            "parallelism {parallelism}, batches of {rows_max}"
        );
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn a_guest_remembers_what_plain_rust_remembers() {
    for seed in [1, 2] {
        println!("seed {seed}");
        let sales = sales(seed);
        check(1, "arrival", &sales, &expected(&sales, OUT_OF_ORDERNESS));
    }
}

#[test]
fn streams_in_event_time_order_are_one_stream() {
    println!("seed 3");
    // Each time once, so that the order of all rows is known.
    let (mut sales, mut times) = (sales(3), BTreeSet::new());
    sales.retain(|sale| times.insert(sale.at));
    let mut sorted = sales.clone();
    sorted.sort_by_key(|sale| sale.at);
    let expected = expected(&sorted, 0);
    check(1, "event-time", &sales, &expected);
    check(2, "event-time", &sales, &expected);
    check(3, "event-time", &sales, &expected);
}

#[test]
fn late_rows_are_left_out_whatever_the_speed() {
    println!("seed 4");
    let (mut sales, mut times) = (sales(4), BTreeSet::new());
    for sale in sales.iter_mut().skip(2_000).step_by(50) {
        sale.at -= 5 * OUT_OF_ORDERNESS;
    }
    sales.retain(|sale| times.insert(sale.at));
    for sources in [1, 2] {
        // Late is what lies behind the newest row of its own split, itself included.
        let mut newest = vec![i64::MIN; sources];
        let mut in_time = Vec::new();
        for (i, sale) in sales.iter().enumerate() {
            let newest = &mut newest[i % sources];
            *newest = sale.at.max(*newest);
            if sale.at >= *newest - OUT_OF_ORDERNESS {
                in_time.push(sale.clone());
            }
        }
        assert!(in_time.len() < sales.len() - 300, "many are late");
        in_time.sort_by_key(|sale| sale.at);
        check(sources, "event-time", &sales, &expected(&in_time, 0));
    }
}
