//! Rows by a seed, out of order and late, and the clock as of each.

use std::fmt::Write;

/// Numbers that a seed decides (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// How much older than the newest row of its source a row may be without being late.
pub(crate) const OUT_OF_ORDERNESS: i64 = 2_000_000;

/// A sale, in the source that it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: u64,
    pub(crate) shop: String,
    pub(crate) amount: Option<i64>,
    pub(crate) cents: i64,
    pub(crate) level: u32,
    pub(crate) at: i64,
    /// Its source's watermark, the row itself included.
    pub(crate) clock: i64,
    pub(crate) source: usize,
    /// Its place in the source.
    pub(crate) offset: usize,
}

/// Rows dealt over some sources: time goes on by 50 ms a row, from before 1970; most rows are a
/// little out of order, some are late by a little and some by much.
pub(crate) fn rows(seed: u64, count: usize, sources: usize) -> Vec<Row> {
    rows_of(9, seed, count, sources)
}

/// The same of so many keys.
pub(crate) fn rows_of(keys: u64, seed: u64, count: usize, sources: usize) -> Vec<Row> {
    let mut random = Random(seed);
    let mut newest = vec![i64::MIN; sources];
    let mut offsets = vec![0; sources];
    (0..count)
        .map(|number| {
            let source = number % sources;
            let mut at = number as i64 * 50_000 - 20_000_000;
            at -= random.below(OUT_OF_ORDERNESS as u64) as i64;
            match random.below(50) {
                0 => at -= 60_000_000,
                1..4 => at -= random.below(8_000_000) as i64,
                _ => {}
            }
            newest[source] = at.max(newest[source]);
            offsets[source] += 1;
            Row {
                key: random.below(keys),
                shop: format!("shop-{}", random.below(30)),
                amount: (random.below(10) > 0).then(|| random.below(2_000) as i64 - 1_000),
                cents: random.below(100_000) as i64,
                level: random.below(100) as u32,
                at,
                clock: newest[source] - OUT_OF_ORDERNESS,
                source,
                offset: offsets[source] - 1,
            }
        })
        .collect()
}

/// The rows of one source as its file has them.
pub(crate) fn csv(rows: &[Row], source: usize) -> String {
    let mut text = String::from("key,shop,amount,price,level,at\n");
    for row in rows.iter().filter(|row| row.source == source) {
        let amount = row.amount.map(|it| it.to_string()).unwrap_or_default();
        let price = format!("{}.{:02}", row.cents / 100, row.cents % 100);
        let (key, shop, level, at) = (row.key, &row.shop, row.level, row.at);
        writeln!(text, "{key},{shop},{amount},{price},{level},{at}").expect("memory");
    }
    text
}
