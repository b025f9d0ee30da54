//! Rows of two streams from a seed: out of order, and some of them late.

use std::fmt::Write as _;

/// A second, in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;
/// How much older than the newest row of its file a row may be without being late.
pub(crate) const OUT_OF_ORDERNESS: i64 = 20 * SECOND;

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

/// A row of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) key: u64,
    pub(crate) time: i64,
    /// Which file it stands in.
    pub(crate) file: usize,
    /// Whether it comes behind its file's watermark.
    pub(crate) is_late: bool,
}

/// Rows of one side in the order of their files; `first` is the id of the first.
pub(crate) fn rows(seed: u64, first: u64, (count, keys, files): (u64, u64, usize)) -> Vec<Row> {
    let mut random = Random(seed);
    let mut newest = vec![i64::MIN; files];
    let mut rows = Vec::new();
    for id in first..first + count {
        let file = random.below(files as u64) as usize;
        let about = (id - first) as i64 * SECOND / 4;
        // Whole seconds, so that many rows have the same time.
        let back = match random.below(50) {
            0 => 40 + random.below(40),
            _ => random.below(15),
        };
        let time = (about / SECOND - back as i64).max(0) * SECOND;
        newest[file] = newest[file].max(time);
        rows.push(Row {
            id,
            key: random.below(keys),
            time,
            file,
            is_late: time < newest[file] - OUT_OF_ORDERNESS,
        });
    }
    rows
}

/// The rows of one file as CSV.
pub(crate) fn csv(rows: &[Row], file: usize) -> String {
    let mut text = "id,key,at\n".to_owned();
    for row in rows.iter().filter(|row| row.file == file) {
        writeln!(text, "{},{},{}", row.id, row.key, row.time).expect("memory");
    }
    text
}
