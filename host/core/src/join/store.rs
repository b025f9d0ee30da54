//! The rows of one side, as the batches in which they came.

use std::collections::VecDeque;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave;

use crate::batch::{Batch, op};
use crate::lineage::Lineage;

/// Rows of a batch that is made of others.
const ROWS_MAX: usize = 4_096;
/// A batch takes about as much memory as so many rows, however few it has.
const BATCH_COST: usize = 32;
/// So much waste is not worth a copy, counted in rows.
const WASTE_MIN: usize = 65_536;
/// The same where memory is scarce.
const SCARCE_WASTE_MIN: usize = 1_024;

/// Where a row is: batches are numbered without end, and begin anew behind the last number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowAt {
    /// The batch.
    pub batch: u32,
    /// The row in it.
    pub row: u32,
}

/// The rows of one side. A batch stays until its last row is freed.
#[derive(Debug, Default)]
pub struct Rows {
    batches: VecDeque<Kept>,
    /// The number of the first batch.
    first: u32,
    /// Rows that are not freed.
    live: usize,
    /// Rows in all batches.
    rows: usize,
    bytes: usize,
    /// What rows and batches cost after the last copy.
    cost: usize,
    /// Rows leave memory, so that it should follow them.
    is_scarce: bool,
}

/// A batch; none once all of its rows are freed.
#[derive(Debug)]
struct Kept {
    batch: Option<Batch>,
    keys: Vec<u32>,
    live: usize,
    bytes: usize,
}

impl Rows {
    /// Takes a batch with the key of each row, and tells its number. What its rows came from is
    /// kept without their original bytes.
    pub fn add(&mut self, batch: Batch, keys: &[u32]) -> u32 {
        debug_assert_eq!(batch.len(), keys.len());
        let number = self.first.wrapping_add(self.batches.len() as u32);
        let batch = Batch {
            lineage: batch.lineage.without_bytes(),
            hashes: None,
            ..batch
        };
        let bytes = bytes_of(&batch);
        self.live += keys.len();
        self.rows += keys.len();
        self.bytes += bytes;
        self.batches.push_back(Kept {
            live: keys.len(),
            batch: Some(batch),
            keys: keys.to_vec(),
            bytes,
        });
        self.trim();
        number
    }

    /// A row is not needed any more.
    pub fn free(&mut self, row: RowAt) {
        let at = self.place(row);
        let kept = &mut self.batches[at];
        kept.live -= 1;
        self.live -= 1;
        if kept.live == 0 {
            self.rows -= kept.keys.len();
            self.bytes -= kept.bytes;
            (kept.batch, kept.keys, kept.bytes) = (None, Vec::new(), 0);
            self.trim();
        }
    }

    /// From now on memory follows what is kept closely.
    pub fn be_scarce(&mut self) {
        self.is_scarce = true;
    }

    /// The batch of a row.
    pub fn batch(&self, row: RowAt) -> &Batch {
        let kept = &self.batches[self.place(row)];
        kept.batch.as_ref().expect("a row that is kept has a batch")
    }

    /// A batch's position among all that are kept.
    pub(super) fn place(&self, row: RowAt) -> usize {
        row.batch.wrapping_sub(self.first) as usize
    }

    /// How many batches there are, empty places included.
    pub(super) fn places(&self) -> usize {
        self.batches.len()
    }

    /// A row's key.
    pub fn key(&self, row: RowAt) -> u32 {
        self.batches[self.place(row)].keys[row.row as usize]
    }

    /// A row's time; 0 where rows have none.
    pub fn time(&self, row: RowAt) -> i64 {
        let times = self.batch(row).times.as_ref();
        times.map_or(0, |times| times[row.row as usize])
    }

    /// A row's kind of change.
    pub fn op(&self, row: RowAt) -> u8 {
        let ops = self.batch(row).ops.as_ref();
        ops.map_or(op::INSERT, |ops| ops[row.row as usize])
    }

    /// A row's split and offset.
    pub fn origin(&self, row: RowAt) -> Option<(u32, u64)> {
        self.batch(row).lineage.position(row.row as usize)
    }

    /// Rows that are kept.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no rows are kept.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.batches.len() * size_of::<Kept>()
    }

    /// The part of the memory that rows take which are not freed.
    pub fn live_bytes(&self) -> usize {
        (self.bytes as u128 * self.live as u128 / self.rows.max(1) as u128) as usize
    }

    /// The batches that are kept. Nothing is copied.
    pub(super) fn image(&self) -> (u32, Vec<Option<Batch>>) {
        let batches = self.batches.iter().map(|kept| kept.batch.clone());
        (self.first, batches.collect())
    }

    /// Whether freed rows and small batches take more memory than the rows that are kept, as far
    /// as that came after the last copy.
    pub fn is_sparse(&self) -> bool {
        let cost = self.rows + BATCH_COST * self.batches.len();
        match self.is_scarce {
            true => cost > 2 * self.live + SCARCE_WASTE_MIN,
            false => cost > 2 * self.live + WASTE_MIN && cost > 2 * self.cost,
        }
    }

    /// Copies the rows at these places, which are all that are kept, into new batches; gives the
    /// old and the new place of each, ordered by the old one.
    ///
    /// # Errors
    /// If the batches have different columns.
    pub fn compact(&mut self, mut kept: Vec<RowAt>) -> Result<Vec<(RowAt, RowAt)>, ArrowError> {
        debug_assert_eq!(kept.len(), self.live);
        kept.sort_unstable_by_key(|row| (self.place(*row), row.row));
        let mut made = Vec::new();
        for rows in kept.chunks(ROWS_MAX) {
            let keys: Vec<u32> = rows.iter().map(|row| self.key(*row)).collect();
            made.push((self.gather(rows)?, keys));
        }
        self.first = self.first.wrapping_add(self.batches.len() as u32);
        let first = self.first;
        *self = Self {
            first,
            is_scarce: self.is_scarce,
            ..Self::default()
        };
        for (batch, keys) in made {
            self.add(batch, &keys);
        }
        self.cost = self.rows + BATCH_COST * self.batches.len();
        let moved = kept.into_iter().enumerate().map(|(at, from)| {
            let to = RowAt {
                batch: first.wrapping_add((at / ROWS_MAX) as u32),
                row: (at % ROWS_MAX) as u32,
            };
            (from, to)
        });
        let mut moved: Vec<_> = moved.collect();
        moved.sort_unstable();
        Ok(moved)
    }

    /// Rows of any batches as one.
    fn gather(&self, rows: &[RowAt]) -> Result<Batch, ArrowError> {
        let mut used: Vec<&Batch> = Vec::new();
        let mut last = None;
        let mut picks = Vec::new();
        for row in rows {
            // The rows are ordered, so those of a batch stand together.
            if last.replace(row.batch) != Some(row.batch) {
                used.push(self.batch(*row));
            }
            picks.push((used.len() - 1, row.row as usize));
        }
        let first = used.first().ok_or_else(nothing)?;
        let column = |at: usize| -> Result<ArrayRef, ArrowError> {
            let parts: Vec<_> = used
                .iter()
                .map(|batch| batch.rows.column(at).as_ref())
                .collect();
            interleave(&parts, &picks)
        };
        let columns = (0..first.rows.num_columns()).map(column);
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(picks.len()));
        let rows = RecordBatch::try_new_with_options(
            first.rows.schema(),
            columns.collect::<Result<_, _>>()?,
            &options,
        )?;
        let lineages: Vec<&Lineage> = used.iter().map(|batch| &batch.lineage).collect();
        let has_times = used.iter().all(|batch| batch.times.is_some());
        let has_clocks = used.iter().all(|batch| batch.clocks.is_some());
        let has_ops = used.iter().any(|batch| batch.ops.is_some());
        let number = |of: fn(&Batch) -> Option<&arrow_buffer::ScalarBuffer<i64>>| {
            picks
                .iter()
                .map(|(batch, row)| of(used[*batch]).map_or(0, |column| column[*row]))
                .collect()
        };
        let change = |(batch, row): &(usize, usize)| {
            let ops = used[*batch].ops.as_ref();
            ops.map_or(op::INSERT, |ops| ops[*row])
        };
        Ok(Batch {
            rows,
            times: has_times.then(|| number(|batch| batch.times.as_ref())),
            clocks: has_clocks.then(|| number(|batch| batch.clocks.as_ref())),
            hashes: None,
            ops: has_ops.then(|| picks.iter().map(change).collect()),
            lineage: Lineage::gather(&lineages, &picks),
        })
    }

    /// Forgets batches at the front that have no rows left.
    fn trim(&mut self) {
        while self.batches.front().is_some_and(|kept| kept.live == 0) {
            self.batches.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }
}

fn bytes_of(batch: &Batch) -> usize {
    let columns = batch.rows.columns().iter();
    let own: usize = columns.map(|column| column.get_array_memory_size()).sum();
    own + batch.len() * 4 * size_of::<u64>()
}

fn nothing() -> ArrowError {
    ArrowError::InvalidArgumentError("there are no rows to copy".into())
}
