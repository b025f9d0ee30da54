//! What windows give, in plain Rust: nothing is merged, every result is counted from its rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::rows::Row;

/// Seconds in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;

/// The windows of a test.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Windows {
    /// Size, every.
    Sliding(i64, i64),
    /// Size, every.
    Cumulative(i64, i64),
    /// Gap, max.
    Session(i64, i64),
}

/// What one operator gives out.
pub(crate) struct Expected {
    /// The rows of each key, in order.
    pub(crate) results: BTreeMap<u64, Vec<Value>>,
    /// How many rows come too late.
    pub(crate) late: usize,
}

/// The aggregates as the document has them.
pub(crate) const AGGREGATES: &str = "
      n: { count: rows }
      given: { count: amount }
      total: { sum: amount }
      cash: { sum: price }
      mean: { mean: amount }
      spread: { deviation: level }
      height: { sum: level }
      least: { min: amount }
      most: { max: price }
      name: { max: shop }
      shops: { distinct: shop }
      about: { approx-distinct: shop }
      first: { first: shop }
      final: { last: amount }
      top: { top: { column: price, n: 2 } }
      half: { quantile: { column: level, at: 0.5 } }
";

/// What the plugin `guest-fold` computes of amount and shop, added up in any order.
pub(crate) fn folded(rows: &[&Row]) -> String {
    let mixed = |row: &&Row| {
        let number = row.amount.unwrap_or(0) as u64 ^ row.at as u64;
        let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mix = rows.iter().map(mixed).fold(0, u64::wrapping_add);
    let sum: i64 = rows.iter().filter_map(|row| row.amount).sum();
    let shops = rows.iter().map(|row| row.shop.as_str());
    let longest = shops.max_by_key(|shop| (shop.len(), *shop));
    let longest = longest.unwrap_or_default();
    format!("{} {sum} {mix:016x} {longest}", rows.len())
}

/// A result: the key, the window, and what is computed of its rows.
fn result(key: u64, (start, end): (i64, i64), rows: &[&Row]) -> Value {
    let amounts: Vec<i64> = rows.iter().filter_map(|row| row.amount).collect();
    let total = (!amounts.is_empty()).then(|| amounts.iter().sum::<i64>());
    let mut prices: Vec<i64> = rows.iter().map(|row| row.cents).collect();
    prices.sort_unstable_by(|a, b| b.cmp(a));
    let mut levels: Vec<u32> = rows.iter().map(|row| row.level).collect();
    levels.sort_unstable();
    let n = rows.len() as u64;
    let (height, squares) = levels.iter().fold((0, 0), |(sum, squares), level| {
        let level = u64::from(*level);
        (sum + level, squares + level * level)
    });
    let shops: BTreeSet<&str> = rows.iter().map(|row| row.shop.as_str()).collect();
    // Each source has one split, of the same number.
    let place = |row: &&&Row| (row.at, row.offset, row.source);
    let first = rows.iter().min_by_key(place).expect("a window has rows");
    let with_amount = rows.iter().filter(|row| row.amount.is_some());
    let last = with_amount.max_by_key(place).and_then(|row| row.amount);
    let money = |cents: i64| cents as f64 / 100.0;
    json!({
        "key": key, "window-start": start, "window-end": end,
        "n": n, "given": amounts.len(), "total": total,
        "cash": money(prices.iter().sum()),
        "mean": total.map(|total| total as f64 / amounts.len() as f64),
        "spread": ((n * squares - height * height) as f64).sqrt() / n as f64,
        "height": height as f64,
        "least": amounts.iter().min(), "most": money(prices[0]),
        "name": shops.last(), "shops": shops.len(), "about": shops.len(),
        "first": first.shop, "final": last,
        "top": prices.iter().take(2).map(|cents| money(*cents)).collect::<Vec<_>>(),
        "folded": folded(rows),
        "half": f64::from(levels[(levels.len().div_ceil(2)) - 1]),
    })
}

impl Windows {
    /// What comes out of rows, with so much lateness: each result that is given out, and for each
    /// change the old form and the new one.
    pub(crate) fn expected(self, rows: &[Row], lateness: i64) -> Expected {
        let mut keys: BTreeMap<u64, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            keys.entry(row.key).or_default().push(row);
        }
        let (mut results, mut late) = (BTreeMap::new(), 0);
        for (key, rows) in keys {
            let mut told = Told::new(key);
            late += match self {
                Self::Session(gap, max) => told.sessions(&rows, (gap, max), lateness),
                _ => told.aligned(self, &rows, lateness),
            };
            results.insert(key, told.lines());
        }
        Expected { results, late }
    }

    /// The windows that hold a time, by their ends.
    fn of(self, time: i64) -> Vec<(i64, i64)> {
        let windows: Vec<(i64, i64)> = match self {
            Self::Sliding(size, every) => {
                let last = time.div_euclid(every);
                let numbers = last - size / every - 1..=last;
                numbers.map(|at| (at * every, at * every + size)).collect()
            }
            Self::Cumulative(size, every) => {
                let start = time.div_euclid(size) * size;
                let ends = (1..=size / every).map(|at| start + at * every);
                ends.map(|end| (start, end)).collect()
            }
            Self::Session(..) => Vec::new(),
        };
        let holds = |window: &(i64, i64)| (window.0..window.1).contains(&time);
        windows.into_iter().filter(holds).collect()
    }

    /// The stretch of time whose rows lie in the same windows.
    fn pane(self, time: i64) -> i64 {
        match self {
            Self::Sliding(_, every) | Self::Cumulative(_, every) => time.div_euclid(every),
            Self::Session(..) => time,
        }
    }
}

/// When something is told: at an instant, the ends of windows before late rows, in an order.
type When = (i64, u8, i64, usize);

/// What is told of one key.
struct Told {
    key: u64,
    lines: Vec<(When, Value)>,
}

impl Told {
    fn new(key: u64) -> Self {
        Self {
            key,
            lines: Vec::new(),
        }
    }

    fn lines(mut self) -> Vec<Value> {
        self.lines.sort_by_key(|(when, _)| *when);
        self.lines.into_iter().map(|(_, line)| line).collect()
    }

    fn tell(&mut self, when: (i64, u8, i64), op: &str, window: (i64, i64), rows: &[&Row]) {
        let mut line = result(self.key, window, rows);
        line["op"] = op.into();
        let (instant, kind, order) = when;
        let number = self.lines.len();
        self.lines.push(((instant, kind, order, number), line));
    }

    /// Gives the number of rows that are in no window.
    fn aligned(&mut self, windows: Windows, rows: &[&Row], lateness: i64) -> usize {
        let mut late = 0;
        let mut all: BTreeMap<(i64, i64), Vec<&Row>> = BTreeMap::new();
        for row in rows {
            let of = windows.of(row.at);
            let taken = |(_, end): &(i64, i64)| end + lateness > row.clock || *end > row.clock;
            late += usize::from(!of.iter().any(taken));
            for window in of.into_iter().filter(taken) {
                all.entry(window).or_default().push(row);
            }
        }
        for (window, rows) in all {
            let end = window.1;
            let (mut held, corrections): (Vec<&Row>, Vec<&Row>) =
                rows.into_iter().partition(|row| row.clock < end);
            if !held.is_empty() {
                self.tell((end, 0, 0), "insert", window, &held);
            }
            // Late rows of one clock and one pane are one correction.
            let mut groups: BTreeMap<(i64, i64), Vec<&Row>> = BTreeMap::new();
            for row in corrections {
                let group = (row.clock, windows.pane(row.at));
                groups.entry(group).or_default().push(row);
            }
            for ((clock, pane), rows) in groups {
                let when = (clock, 1, pane);
                if held.is_empty() {
                    held.extend(rows);
                    self.tell(when, "insert", window, &held);
                    continue;
                }
                self.tell(when, "update-before", window, &held);
                held.extend(rows);
                self.tell(when, "update-after", window, &held);
            }
        }
        late
    }

    /// Gives the number of rows that are in no session.
    fn sessions<'a>(&mut self, rows: &[&'a Row], (gap, max): (i64, i64), lateness: i64) -> usize {
        let end_of = |time: i64| (time + gap).min((time.div_euclid(max) + 1) * max);
        let is_late = |row: &&'a Row| end_of(row.at) + lateness <= row.clock;
        let late = rows.iter().copied().filter(is_late).count();
        let (mut held, waiting): (Vec<&'a Row>, Vec<&'a Row>) = rows
            .iter()
            .copied()
            .filter(|row| !is_late(row))
            .partition(|row| row.at >= row.clock);
        let mut groups: BTreeMap<(i64, i64), Vec<&'a Row>> = BTreeMap::new();
        for row in waiting {
            groups.entry((row.clock, row.at)).or_default().push(row);
        }
        let sessions = |held: &[&'a Row]| sessions(held, end_of);
        let mut shown: BTreeMap<(i64, i64), Vec<&'a Row>> = BTreeMap::new();
        for ((clock, at), rows) in groups {
            self.ended(&sessions(&held), clock, &mut shown);
            // A session that no late row may change any more is not there for it.
            let is_over = |window: &(i64, i64)| window.1 + lateness <= clock;
            let over: BTreeSet<(usize, usize)> = shown
                .iter()
                .filter(|(window, _)| is_over(window))
                .flat_map(|(_, rows)| rows.iter().map(|row| (row.source, row.offset)))
                .collect();
            held.retain(|row| !over.contains(&(row.source, row.offset)));
            shown.retain(|window, _| !is_over(window));
            held.extend(rows);
            let now = sessions(&held);
            let gone: Vec<(i64, i64)> = shown
                .keys()
                .filter(|window| !now.contains_key(*window))
                .copied()
                .collect();
            for window in gone {
                let rows = shown.remove(&window).expect("it was shown");
                self.tell((clock, 1, at), "delete", window, &rows);
            }
            for (window, rows) in now.into_iter().filter(|(window, _)| window.1 <= clock) {
                let before = shown.insert(window, rows.clone());
                match before {
                    None => self.tell((clock, 1, at), "insert", window, &rows),
                    Some(before) if before.len() < rows.len() => {
                        self.tell((clock, 1, at), "update-before", window, &before);
                        self.tell((clock, 1, at), "update-after", window, &rows);
                    }
                    Some(_) => {}
                }
            }
        }
        self.ended(&sessions(&held), i64::MAX, &mut shown);
        late
    }

    /// Tells of the sessions that end by then.
    fn ended<'a>(
        &mut self,
        sessions: &BTreeMap<(i64, i64), Vec<&'a Row>>,
        instant: i64,
        shown: &mut BTreeMap<(i64, i64), Vec<&'a Row>>,
    ) {
        for (window, rows) in sessions.iter().filter(|(window, _)| window.1 <= instant) {
            if shown.insert(*window, rows.clone()).is_none() {
                self.tell((window.1, 0, 0), "insert", *window, rows);
            }
        }
    }
}

/// The rows that follow each other, by start and end.
fn sessions<'a>(
    held: &[&'a Row],
    end_of: impl Fn(i64) -> i64,
) -> BTreeMap<(i64, i64), Vec<&'a Row>> {
    let mut sorted = held.to_vec();
    sorted.sort_by_key(|row| (row.at, row.source, row.offset));
    let mut sessions: BTreeMap<(i64, i64), Vec<&Row>> = BTreeMap::new();
    let mut last: Option<(i64, i64)> = None;
    for row in sorted {
        let own = end_of(row.at);
        let joined = last.filter(|last| row.at < last.1);
        let rows = joined.and_then(|last| sessions.remove(&last));
        let mut rows = rows.unwrap_or_default();
        rows.push(row);
        let start = joined.map_or(row.at, |last| last.0);
        let end = joined.map_or(own, |last| last.1.max(own));
        last = Some((start, end));
        sessions.insert((start, end), rows);
    }
    sessions
}
