//! From records to chunks.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rdkafka::error::RDKafkaErrorCode as Code;
use wasmill_core::lineage::{Beside, Chunk};

use super::{
    super::KafkaError,
    Keep, Shared, Split,
    native::{Batch, Queue, Record},
};
use crate::connector::ConnectorError;

/// Records that are taken from the queue at once.
const RECORDS_MAX: usize = 4096;

/// What a reader has come to.
pub enum Taken {
    /// Rows of a split, which the chunk names.
    Rows(Box<Chunk>),
    /// The split has come to its end.
    End(u32),
    /// Nothing has come.
    Nothing,
    /// All splits have come to their end.
    Over,
}

/// Reads some of the partitions of a source.
pub struct TopicsReader {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    batch: Batch,
    /// Which record of the batch comes next.
    at: usize,
    /// By topic and partition, as records name them.
    splits: HashMap<(usize, i32), Reading>,
    /// Splits that end; more may come where none does.
    bounded: Option<usize>,
    /// What is known already.
    ready: VecDeque<Taken>,
}

/// A chunk is large beside all else that a reader comes to.
fn rows_of(chunk: Chunk) -> Taken {
    Taken::Rows(Box::new(chunk))
}

/// A split that is being read.
struct Reading {
    split: Arc<Split>,
    name: Arc<str>,
    is_over: bool,
}

impl TopicsReader {
    /// Reads what comes into the queue. `ending` are its splits, where they end.
    pub(super) fn new(queue: Arc<Queue>, shared: Arc<Shared>, ending: Option<&[&Split]>) -> Self {
        let over = |split: &&&Split| split.until.is_some_and(|until| split.from >= until);
        let ready = ending.into_iter().flatten().filter(over);
        let ready: VecDeque<Taken> = ready.map(|split| Taken::End(split.number)).collect();
        Self {
            queue,
            shared,
            batch: Batch::new(RECORDS_MAX),
            at: 0,
            splits: HashMap::new(),
            bounded: ending.map(|splits| splits.len() - ready.len()),
            ready,
        }
    }

    /// What comes next: waits for a moment if nothing is there.
    ///
    /// # Errors
    /// If a partition cannot be read any further.
    pub fn next(&mut self, bytes_max: usize, wait: Duration) -> Result<Taken, ConnectorError> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(ready);
            }
            if self.at == self.batch.len() {
                if self.bounded == Some(0) {
                    return Ok(Taken::Over);
                }
                self.at = 0;
                self.queue.take(wait, &mut self.batch);
                if self.batch.len() == 0 {
                    return Ok(Taken::Nothing);
                }
                self.shared.answered.store(true, Ordering::Relaxed);
            }
            self.run(bytes_max)?;
        }
    }

    /// Has a split not be read for a while, or read on. What was fetched of it still comes.
    pub fn pause(&self, split: u32, is_paused: bool) {
        let mut splits = self.splits.values().map(|reading| &reading.split);
        if let Some(split) = splits.find(|known| known.number == split) {
            self.shared.pause(split, is_paused);
        }
    }

    /// Takes the next records of one partition.
    fn run(&mut self, bytes_max: usize) -> Result<(), KafkaError> {
        let first = self.batch.get(self.at);
        let place = (first.topic_key(), first.partition());
        let known = self.splits.remove(&place);
        let Some(mut reading) = known.or_else(|| self.shared.reading(first)) else {
            // Nothing of ours, such as a word about the client as a whole.
            self.at += 1;
            return Ok(());
        };
        if let Some(code) = first.error() {
            let offset = first.offset();
            self.at += 1;
            let told = self.told(&mut reading, code, offset);
            self.splits.insert(place, reading);
            return told;
        }
        let (mut end, mut bytes) = (self.at, 0);
        while end < self.batch.len() && (bytes < bytes_max || end == self.at) {
            let record = self.batch.get(end);
            if record.error().is_some() || (record.topic_key(), record.partition()) != place {
                break;
            }
            bytes += record.value().map_or(0, <[u8]>::len);
            end += 1;
        }
        let records = mem::replace(&mut self.at, end)..end;
        if !reading.is_over {
            self.rows(&mut reading, records, bytes);
        }
        self.splits.insert(place, reading);
        Ok(())
    }

    /// What befell a partition.
    fn told(&mut self, reading: &mut Reading, code: Code, offset: u64) -> Result<(), KafkaError> {
        if code == Code::PartitionEOF {
            if reading.split.until.is_some_and(|until| offset >= until) {
                self.end(reading);
            }
            return Ok(());
        }
        match self.shared.trouble(&reading.split, code, offset) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The rows of records of one split, up to where it ends.
    fn rows(&mut self, reading: &mut Reading, records: Range<usize>, bytes: usize) {
        let until = reading.split.until.unwrap_or(u64::MAX);
        let keep = self.shared.keep;
        let mut rows = Rows::new(records.len(), bytes, keep);
        let (mut behind, mut passed) = (None, 0);
        for at in records {
            let record = self.batch.get(at);
            let offset = record.offset();
            if offset >= until {
                self.end_behind(&mut rows, reading, behind);
                self.shared.without_value.add(passed);
                return;
            }
            behind = Some(offset + 1);
            if record.value().is_none() && !keep.nulls {
                passed += 1;
                continue;
            }
            rows.push(record);
        }
        self.shared.without_value.add(passed);
        if behind == Some(until) {
            self.end_behind(&mut rows, reading, behind);
        } else {
            self.ready.extend(rows.finish(reading, behind).map(rows_of));
        }
    }

    fn end_behind(&mut self, rows: &mut Rows, reading: &mut Reading, behind: Option<u64>) {
        let rows = mem::take(rows).finish(reading, behind);
        self.ready.extend(rows.map(rows_of));
        self.end(reading);
    }

    fn end(&mut self, reading: &mut Reading) {
        if mem::replace(&mut reading.is_over, true) {
            return;
        }
        if let Some(open) = &mut self.bounded {
            *open = open.saturating_sub(1);
        }
        self.shared.pause(&reading.split, true);
        self.ready.push_back(Taken::End(reading.split.number));
    }
}

impl Shared {
    /// The split of a record that is the first of it.
    fn reading(&self, record: Record<'_>) -> Option<Reading> {
        let split = self.split(record.topic(), record.partition())?;
        Some(Reading {
            name: split.name.as_str().into(),
            is_over: split.until.is_some_and(|until| split.from >= until),
            split,
        })
    }
}

/// Rows on their way into a chunk.
#[derive(Default)]
struct Rows {
    chunk: Chunk,
    bytes: Vec<u8>,
    keep: Keep,
    beside: Beside,
    beside_bytes: Vec<u8>,
}

impl Rows {
    fn new(rows: usize, bytes: usize, keep: Keep) -> Self {
        let mut this = Self {
            keep,
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        };
        this.chunk.spans.reserve_exact(rows);
        if keep.times {
            this.beside.times.reserve_exact(rows);
        }
        this
    }

    fn push(&mut self, record: Record<'_>) {
        let (chunk, offset) = (&mut self.chunk, record.offset());
        let row = chunk.spans.len();
        if row == 0 {
            chunk.first_offset = offset;
        }
        if !chunk.offsets.is_empty() {
            chunk.offsets.push(offset);
        } else if offset != chunk.first_offset + row as u64 {
            // Markers of transactions, aborted records and compaction leave gaps.
            let first = chunk.first_offset;
            chunk.offsets.extend(first..first + row as u64);
            chunk.offsets.push(offset);
        }
        let value = record.value();
        if value.is_none() {
            self.beside.nulls.push(place(row));
        }
        chunk
            .spans
            .push(append(&mut self.bytes, value.unwrap_or_default()));
        if self.keep.keys {
            let key = record.key();
            let key = key.map(|key| append(&mut self.beside_bytes, key));
            self.beside.push_key(key);
        }
        if self.keep.times {
            self.beside.times.push(record.time_ms().unwrap_or(0) * 1000);
        }
        if self.keep.headers {
            for (name, value) in record.headers() {
                let name = append(&mut self.beside_bytes, name);
                let value = value.map(|value| append(&mut self.beside_bytes, value));
                self.beside.headers.push(name, value);
            }
            self.beside.headers.end_row();
        }
    }

    /// The chunk; none without rows.
    fn finish(self, reading: &Reading, behind: Option<u64>) -> Option<Chunk> {
        let mut chunk = self.chunk;
        if chunk.spans.is_empty() {
            return None;
        }
        chunk.split = reading.split.number;
        chunk.split_name = Arc::clone(&reading.name);
        chunk.bytes = self.bytes.into();
        chunk.behind = behind;
        if self.keep.is_anything() || !self.beside.nulls.is_empty() {
            let mut beside = self.beside;
            beside.bytes = self.beside_bytes.into();
            chunk.beside = Some(Box::new(beside));
        }
        Some(chunk)
    }
}

/// Appends bytes; gives where they lie. Chunks are far shorter than what 32 bits can say.
fn append(into: &mut Vec<u8>, bytes: &[u8]) -> (u32, u32) {
    let start = place(into.len());
    into.extend_from_slice(bytes);
    (start, place(into.len()))
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("the client's queue is bounded far below this")
}
