//! Rows that are computed: pieces of splits instead of chunks from readers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wasmill_core::{
    batch::Batch,
    lineage::{Ancestor, Lineage},
};

use super::{Place, SourceTask};
use crate::{
    checkpoint::{Progress, SplitTurns},
    clock,
    connector::{Position, generator::Generator},
    exchange::turn::Held,
    format::Decoder,
    task::{chain::TaskError, slot},
};

/// Rows that a generator computes at once: so many that the share of each of two receivers is just
/// below what an operator takes in one call.
const GENERATED_ROWS: u64 = 7_936;
/// How often a paced generator gives what is due.
const PACE: Duration = Duration::from_micros(500);

/// Computed rows and what the subtasks that compute them share.
pub struct Generated {
    /// Computes rows by their numbers.
    pub generator: Arc<Generator>,
    /// This subtask's decoder, where rows are computed as text.
    pub decoder: Option<Box<Decoder>>,
    /// The splits.
    pub splits: Arc<Vec<GeneratedSplit>>,
    /// Rows a second of each split.
    pub rate: Option<u64>,
}

/// A split of computed rows.
pub struct GeneratedSplit {
    /// Its turns.
    pub turns: Arc<SplitTurns>,
    /// The number of the next piece.
    pub next: AtomicU64,
    /// Rows before the first piece.
    pub first: u64,
}

impl SourceTask {
    pub(super) async fn generate(&mut self, feed: &mut Generated) -> Result<(), TaskError> {
        let (subtask, subtasks) = self.subtask;
        let splits = feed.splits.len();
        // Paced splits, and splits that are enough for all, belong to one subtask each.
        let owned = splits >= subtasks || feed.rate.is_some();
        let mut mine: Vec<usize> = (0..splits)
            .filter(|split| !owned || split % subtasks == subtask)
            .collect();
        let start = clock::monotonic();
        let mut at = 0;
        while !mine.is_empty() && !self.is_over && !self.stopping.load(Ordering::Acquire) {
            if let Some(barrier) = self.barriers.newer(self.sent) {
                self.send_barrier(barrier).await?;
                continue;
            }
            at = (at + 1) % mine.len();
            let split = mine[at];
            let more = match feed.rate {
                None => self.piece(feed, split).await?,
                Some(rate) => self.due(feed, split, start, rate).await?,
            };
            if !more {
                mine.remove(at);
            }
            slot::breathe().await;
        }
        Ok(())
    }

    /// Computes the next full piece of a split; false at its end.
    async fn piece(&mut self, feed: &mut Generated, split: usize) -> Result<bool, TaskError> {
        let splits = Arc::clone(&feed.splits);
        let of = &splits[split];
        let number = of.next.fetch_add(1, Ordering::Relaxed);
        let first = number
            .saturating_mul(GENERATED_ROWS)
            .saturating_add(of.first);
        let rows_max = feed.generator.split_rows(small(split)).unwrap_or(u64::MAX);
        let left = rows_max.saturating_sub(first);
        let rows = left.min(GENERATED_ROWS);
        let place = || generated(split, of.turns.hold(number), first + rows);
        if left == 0 {
            // Whoever draws the first number behind the rows ends the split.
            let pieces = rows_max.saturating_sub(of.first).div_ceil(GENERATED_ROWS);
            if number == pieces {
                self.end(place()).await?;
            }
            return Ok(false);
        }
        let place = place();
        self.remember();
        let computed = self.computed(feed, split, first, rows).await;
        self.proceed(place, computed).await?;
        Ok(true)
    }

    /// Computes what has become due since the last time, then sleeps; false at the split's end.
    async fn due(
        &mut self,
        feed: &mut Generated,
        split: usize,
        start: Instant,
        rate: u64,
    ) -> Result<bool, TaskError> {
        // The split has one owner, so its rows need no turns: each call is the split's only one
        // under way.
        let splits = Arc::clone(&feed.splits);
        let of = &splits[split];
        let turns = &of.turns;
        let mut first = of.first + of.next.load(Ordering::Relaxed);
        let elapsed = clock::monotonic() - start;
        let due = u64::try_from(elapsed.as_micros() * u128::from(rate) / 1_000_000);
        let due = due.unwrap_or(u64::MAX).saturating_add(of.first);
        let rows_max = feed.generator.split_rows(small(split));
        let due = due.min(rows_max.unwrap_or(u64::MAX));
        while first < due && !self.is_over {
            let rows = (due - first).min(GENERATED_ROWS);
            self.remember();
            let batch = self.computed(feed, split, first, rows).await?;
            let place = generated(split, turns.hold(turns.next()), first + rows);
            self.hand_on(place, batch).await?;
            first += rows;
            of.next.store(first - of.first, Ordering::Relaxed);
        }
        if rows_max == Some(first) && !self.is_over {
            self.end(generated(split, turns.hold(turns.next()), first))
                .await?;
            return Ok(false);
        }
        slot::sleep_until(clock::monotonic() + PACE).await;
        Ok(true)
    }

    async fn computed(
        &mut self,
        feed: &mut Generated,
        split: usize,
        first: u64,
        rows: u64,
    ) -> Result<Batch, TaskError> {
        if let Some(decoder) = &mut feed.decoder {
            let chunk = feed
                .generator
                .text_chunk(small(split), first, rows as usize);
            return self.decoded(chunk, decoder).await;
        }
        let columns = feed
            .generator
            .batch(small(split), first, rows as usize)
            .map_err(|error| self.error(error.to_string()))?;
        self.metrics.records_in.add(columns.num_rows());
        let chunk = self.numbered(feed.generator.chunk(small(split), first));
        let lineage = Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), columns.num_rows());
        Ok(Batch::new(columns, lineage))
    }
}

/// The place of computed rows, up to row `behind` of the split.
fn generated(split: usize, held: Held<'_, Progress>, behind: u64) -> Place<'_> {
    Place {
        split: small(split),
        held,
        behind: Position {
            rows: behind,
            ..Position::start(small(split))
        },
    }
}

fn small(split: usize) -> u32 {
    u32::try_from(split).expect("a source has fewer than 2^32 splits")
}
