//! What a batch's state costs: the figure that the benchmark crate reports and this module is
//! tuned by.

use arrow_buffer::ScalarBuffer;
use wasmill_core::boundary::Values;
use wasmill_core::key::{KEY_GROUPS_DEFAULT, KeyGroupRange, Keys, hash_word};

use super::{BatchKeys, Clocks, FixedColumn, KeyIndex, Secret};

/// Bytes of the state: a count, a sum, a time.
const WIDTH: usize = 24;

/// Rows whose keys are drawn evenly from `keys_count` ones, through lookup, gather and scatter of
/// one state. The caller times [`StateBench::run`].
#[derive(Debug)]
pub struct StateBench {
    index: KeyIndex,
    column: FixedColumn,
    batch: BatchKeys,
    keys_count: u64,
    rows: usize,
    next: u64,
    values: Vec<u8>,
    present: Vec<u8>,
    at: Vec<u32>,
}

impl StateBench {
    /// A table that knows all its keys, for batches of `rows` rows.
    pub fn new(keys_count: u64, rows: usize) -> Self {
        let range = KeyGroupRange::all(KEY_GROUPS_DEFAULT);
        let mut bench = Self {
            index: KeyIndex::new(range, KEY_GROUPS_DEFAULT, true, Secret::random()),
            column: FixedColumn::new(WIDTH, None),
            batch: BatchKeys::default(),
            keys_count,
            rows,
            next: 0,
            values: Vec::new(),
            present: Vec::new(),
            at: Vec::new(),
        };
        for from in (0..keys_count).step_by(rows) {
            bench.batch((from..keys_count.min(from + rows as u64)).collect());
        }
        bench
    }

    /// Runs `batches` batches and gives a sum over the states, so that nothing is left out as
    /// unused.
    pub fn run(&mut self, batches: usize) -> u64 {
        let mut sum = 0_u64;
        for _ in 0..batches {
            let from = self.next;
            self.next += self.rows as u64;
            let keys_count = u128::from(self.keys_count);
            let scale = |row: u64| ((u128::from(hash_word(row)) * keys_count) >> 64) as u64;
            let words: Vec<u64> = (from..self.next).map(scale).collect();
            sum = sum.wrapping_add(self.batch(words));
        }
        sum
    }

    /// Memory of index and state, in bytes.
    pub fn bytes(&self) -> usize {
        self.index.bytes() + self.column.bytes()
    }

    fn batch(&mut self, words: Vec<u64>) -> u64 {
        let hashes: ScalarBuffer<u64> = words.iter().map(|word| hash_word(*word)).collect();
        let keys = Keys::Words(words.into());
        self.batch.clear();
        self.index.lookup(&keys, &hashes, &mut self.batch);
        let ids = &self.batch.ids;
        self.values.resize(ids.len() * WIDTH, 0);
        self.present.resize(ids.len().div_ceil(8), 0);
        let clocks = Clocks {
            event: &[],
            processing: 0,
        };
        self.column
            .gather(ids, clocks, &mut self.values, &mut self.present);
        // Stands for the guest: one addition a key.
        let mut sum = 0_u64;
        let (cells, _) = self.values.as_chunks_mut::<WIDTH>();
        for cell in cells.iter_mut() {
            let (count, _) = cell.split_first_chunk_mut().expect("24 bytes begin with 8");
            let value = u64::from_le_bytes(*count) + 1;
            *count = value.to_le_bytes();
            sum = sum.wrapping_add(value);
        }
        self.at.clear();
        self.at.extend(0..ids.len() as u32);
        let Self {
            values,
            column,
            at,
            batch,
            index,
            ..
        } = self;
        let values = Values::Fixed {
            width: WIDTH,
            bytes: values,
            validity: None,
        };
        column.scatter(at, values, clocks, (batch, index));
        index.recycle();
        sum
    }
}
