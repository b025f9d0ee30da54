//! Source subtasks: they decode the chunks of splits side by side and hand their rows on in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arrow_array::{UInt32Array, cast::AsArray, types::TimestampMicrosecondType};
use arrow_buffer::ScalarBuffer;
use async_channel::Receiver;
use futures_util::future::{Either, select};
use wasmill_core::{
    batch::Batch,
    dead_letter::kind,
    lineage::{Ancestor, Chunk, Lineage},
    pipeline::{EventTime, Policy},
    watermark::{LateRow, SplitWatermark},
};

use crate::{
    clock,
    connector::generator::Generator,
    dead_letter::{Failure, Letters},
    exchange::{gate::Message, turn::Turns},
    format::{Decoded, Decoder, Refused},
    metrics::NodeMetrics,
    task::{
        chain::{Chain, Target, TaskError},
        idle::IdleWatch,
        slot,
    },
};

/// Rows that a generator computes at once: so many that the share of each of two receivers is just
/// below what an operator takes in one call.
const GENERATED_ROWS: u64 = 7_936;
/// How often a paced generator gives what is due.
const PACE: Duration = Duration::from_micros(500);

/// A split as its subtasks share it: whose turn it is, and its watermark.
pub type SplitTurns = Turns<SplitWatermark>;

/// One chunk of a split, in the order in which its reader gave it.
pub struct Work {
    /// The split's position among the source's splits.
    pub split: u32,
    /// Turns of the split.
    pub turns: Arc<SplitTurns>,
    /// The chunk's turn.
    pub number: u64,
    /// The chunk; none at the split's end.
    pub chunk: Option<Arc<Chunk>>,
}

/// Where a source subtask gets its rows.
pub enum Feed {
    /// Chunks from readers, to be decoded.
    Chunks {
        /// Shared by the source's subtasks; an error says why a reader gave up.
        work: Receiver<Result<Work, String>>,
        /// This subtask's decoder.
        decoder: Box<Decoder>,
    },
    /// Computed rows.
    Generated(Generated),
}

/// Computed rows and what the subtasks that compute them share.
pub struct Generated {
    /// Computes rows by their numbers.
    pub generator: Arc<Generator>,
    /// This subtask's decoder, where rows are computed as text.
    pub decoder: Option<Box<Decoder>>,
    /// For each split its turns and the number of the next piece.
    pub splits: Arc<Vec<(Arc<SplitTurns>, AtomicU64)>>,
    /// Rows a second of each split.
    pub rate: Option<u64>,
}

/// A source subtask.
pub struct SourceTask {
    /// The source's name.
    pub name: Arc<str>,
    /// Which subtask it is, and of how many.
    pub subtask: (usize, usize),
    /// The event time of rows.
    pub event_time: Option<EventTime>,
    /// Whether somebody downstream reads clocks.
    pub needs_clocks: bool,
    /// Who reads the rows.
    pub targets: Vec<Target>,
    /// Who reads late rows.
    pub late: Vec<Target>,
    /// What happens to rows that do not fit.
    pub policy: Policy,
    /// What is done with the rows before they leave.
    pub chain: Chain,
    /// Counters of the source.
    pub metrics: Arc<NodeMetrics>,
    /// The lane of the source's first split.
    pub lane: u32,
    /// Watches for idle splits, where the source says `idle-after`.
    pub idle: Option<Arc<IdleWatch>>,
    /// Set when the job shall stop.
    pub stopping: Arc<AtomicBool>,
}

impl SourceTask {
    /// Runs until the splits end or the job shall stop.
    ///
    /// # Errors
    /// If a split cannot be read, a row does not fit and the policy is to fail, or the chain fails.
    pub async fn run(&mut self, feed: &mut Feed) -> Result<(), TaskError> {
        match feed {
            Feed::Chunks { work, decoder } => {
                while let Some(work) = self.next(work).await? {
                    let work = work.map_err(|message| self.error(message))?;
                    self.take(work, decoder).await?;
                    slot::breathe().await;
                }
                Ok(())
            }
            Feed::Generated(feed) => self.generate(feed).await,
        }
    }

    /// The next chunk. While there is none, the first subtask tells which splits have become idle.
    async fn next(
        &mut self,
        work: &Receiver<Result<Work, String>>,
    ) -> Result<Option<Result<Work, String>>, TaskError> {
        let Some(watch) = self.idle.clone().filter(|_| self.subtask.0 == 0) else {
            return Ok(work.recv().await.ok());
        };
        loop {
            let recv = work.recv();
            let alarm = slot::sleep_until(watch.next());
            futures_util::pin_mut!(alarm, recv);
            if let Either::Left((received, _)) = select(recv, alarm).await {
                return Ok(received.ok());
            }
            for split in watch.idle() {
                let lane = self.lane + split;
                self.chain.outbox.broadcast(&Message::Idle { lane }).await?;
            }
        }
    }

    async fn take(&mut self, work: Work, decoder: &mut Decoder) -> Result<(), TaskError> {
        let Some(chunk) = work.chunk else {
            return self.end(work.split, &work.turns, work.number).await;
        };
        match self.decoded(chunk, decoder).await {
            Ok(batch) => {
                self.hand_on(work.split, &work.turns, work.number, batch)
                    .await
            }
            Err(error) => {
                // The turn is taken even so: the other subtasks wait for it.
                drop(work.turns.wait(work.number, self.subtask.0).await);
                Err(error)
            }
        }
    }

    /// The rows of a chunk; those that do not fit follow the source's policy.
    async fn decoded(
        &mut self,
        chunk: Arc<Chunk>,
        decoder: &mut Decoder,
    ) -> Result<Batch, TaskError> {
        let decoded = decoder
            .decode(&chunk)
            .map_err(|error| self.error(error.to_string()))?;
        let Decoded {
            rows,
            kept,
            refused,
        } = decoded;
        self.metrics.records_in.add(rows.num_rows() + refused.len());
        self.refuse(&chunk, refused).await?;
        let (len, all) = (rows.num_rows(), chunk.spans.len());
        let lineage = match kept {
            None => Lineage::whole(Ancestor::Chunk(chunk), len),
            Some(kept) => Lineage::rows_of(Ancestor::Chunk(chunk), all, kept.into()),
        };
        Ok(Batch::new(rows, lineage))
    }

    /// Rows that do not fit follow the source's policy.
    async fn refuse(&mut self, chunk: &Arc<Chunk>, refused: Vec<Refused>) -> Result<(), TaskError> {
        if refused.is_empty() {
            return Ok(());
        }
        self.metrics.rejected.add(refused.len());
        let first = &refused[0];
        let stream = match self.policy {
            Policy::Skip => return Ok(()),
            Policy::DeadLetter(stream) => stream,
            Policy::Fail => {
                let row = chunk.first_offset + u64::from(first.row) + 1;
                return Err(self.error(format!(
                    "row {row} of `{}`: {}; mend the row, or say `on-error: skip` or \
                     `on-error: {{ dead-letter: SINK }}`",
                    chunk.split_name, first.reason
                )));
            }
        };
        self.metrics.dead_letters.add(refused.len());
        let rows: Vec<u32> = refused.iter().map(|refused| refused.row).collect();
        let lineage = Lineage::rows_of(
            Ancestor::Chunk(chunk.clone()),
            chunk.spans.len(),
            rows.into(),
        );
        let mut letters = Letters::new("");
        for refused in &refused {
            let failure = Failure {
                at: &self.name,
                kind: kind::DECODE,
                reason: &refused.reason,
                plugin: None,
                log: None,
            };
            letters.push_undecoded(&failure, chunk, refused.row);
        }
        let letters = Batch::new(letters.finish()?, lineage);
        self.chain.emit(stream.0, letters).await
    }

    /// Runs the chain, then waits for the chunk's turn to send what came of it.
    async fn hand_on(
        &mut self,
        split: u32,
        turns: &SplitTurns,
        number: u64,
        mut batch: Batch,
    ) -> Result<(), TaskError> {
        let times = self.times(&mut batch);
        let late_rows = (!self.late.is_empty()).then(|| batch.clone());
        self.metrics.records_out.add(batch.len());
        let targets = std::mem::take(&mut self.targets);
        let pushed = self.chain.push(&targets, batch, None).await;
        self.targets = targets;
        // The turn is taken even after a failure: the other subtasks wait for it.
        let mut turn = turns.wait(number, self.subtask.0).await;
        pushed?;
        let Some(times) = times else {
            return Ok(self.chain.outbox.send().await?);
        };
        let mut late: Vec<LateRow> = Vec::new();
        let idle = self.idle.as_deref();
        let (before, after) = turn.with_baton(|watermark| {
            if let Some(merged) = idle.and_then(|idle| idle.active(split)) {
                watermark.resume_at(merged);
            }
            let before = watermark.watermark();
            watermark.advance(&times, &mut Vec::with_capacity(times.len()), &mut late);
            (before, watermark.watermark())
        });
        if let Some(idle) = idle {
            idle.reached(split, after);
        }
        self.metrics.late.add(late.len());
        if let Some(batch) = late_rows.filter(|_| !late.is_empty()) {
            let rows: UInt32Array = late.iter().map(|row| row.row).collect::<Vec<_>>().into();
            let targets = self.late.clone();
            self.chain.push(&targets, batch.take(&rows)?, None).await?;
        }
        self.chain.outbox.raise_clocks(before);
        self.chain.outbox.send().await?;
        if after > before {
            let lane = self.lane + split;
            self.chain
                .outbox
                .broadcast(&Message::Watermark { lane, time: after })
                .await?;
        }
        Ok(())
    }

    /// Gives the rows their event time and, as far as this chunk can tell, their clocks.
    fn times(&self, batch: &mut Batch) -> Option<ScalarBuffer<i64>> {
        let event_time = self.event_time?;
        let column = batch.rows.column(event_time.column);
        let times = column
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .clone();
        batch.times = Some(times.clone());
        if self.needs_clocks {
            let mut clocks = Vec::with_capacity(times.len());
            let mut local = SplitWatermark::new(event_time.out_of_orderness_us);
            local.advance(&times, &mut clocks, &mut Vec::new());
            batch.clocks = Some(clocks.into());
        }
        Some(times)
    }

    async fn end(&mut self, split: u32, turns: &SplitTurns, number: u64) -> Result<(), TaskError> {
        let _turn = turns.wait(number, self.subtask.0).await;
        if let Some(idle) = &self.idle {
            idle.ended(split);
        }
        let lane = self.lane + split;
        Ok(self
            .chain
            .outbox
            .broadcast(&Message::LaneEnd { lane })
            .await?)
    }

    async fn generate(&mut self, feed: &mut Generated) -> Result<(), TaskError> {
        let (subtask, subtasks) = self.subtask;
        let splits = feed.splits.len();
        // Paced splits, and splits that are enough for all, belong to one subtask each.
        let owned = splits >= subtasks || feed.rate.is_some();
        let mut mine: Vec<usize> = (0..splits)
            .filter(|split| !owned || split % subtasks == subtask)
            .collect();
        let start = clock::monotonic();
        let mut at = 0;
        while !mine.is_empty() && !self.stopping.load(Ordering::Relaxed) {
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
        let (turns, next) = &splits[split];
        let number = next.fetch_add(1, Ordering::Relaxed);
        let first = number.saturating_mul(GENERATED_ROWS);
        let rows = feed.generator.split_rows(small(split)).unwrap_or(u64::MAX);
        let left = rows.saturating_sub(first);
        if left == 0 {
            // Whoever draws the first number behind the rows ends the split.
            if number == rows.div_ceil(GENERATED_ROWS) {
                self.end(small(split), turns, number).await?;
            }
            return Ok(false);
        }
        let rows = left.min(GENERATED_ROWS);
        let batch = self.computed(feed, split, first, rows).await?;
        self.hand_on(small(split), turns, number, batch).await?;
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
        let (turns, next) = &splits[split];
        let mut first = next.load(Ordering::Relaxed);
        let elapsed = clock::monotonic() - start;
        let due = u64::try_from(elapsed.as_micros() * u128::from(rate) / 1_000_000);
        let rows_max = feed.generator.split_rows(small(split));
        let due = due.unwrap_or(u64::MAX).min(rows_max.unwrap_or(u64::MAX));
        while first < due {
            let rows = (due - first).min(GENERATED_ROWS);
            let batch = self.computed(feed, split, first, rows).await?;
            self.hand_on(small(split), turns, turns.next(), batch)
                .await?;
            first += rows;
            next.store(first, Ordering::Relaxed);
        }
        if rows_max == Some(first) {
            self.end(small(split), turns, turns.next()).await?;
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
            return self.decoded(Arc::new(chunk), decoder).await;
        }
        let columns = feed
            .generator
            .batch(small(split), first, rows as usize)
            .map_err(|error| self.error(error.to_string()))?;
        self.metrics.records_in.add(columns.num_rows());
        let chunk = feed.generator.chunk(small(split), first);
        let lineage = Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), columns.num_rows());
        Ok(Batch::new(columns, lineage))
    }

    fn error(&self, message: String) -> TaskError {
        TaskError::Source {
            source_name: self.name.clone(),
            message,
        }
    }
}

fn small(split: usize) -> u32 {
    u32::try_from(split).expect("a source has fewer than 2^32 splits")
}
