//! Source subtasks: they decode the chunks of splits side by side and hand their rows on in order.

mod barrier;
mod generated;

use std::sync::{Arc, atomic::AtomicBool};

use arrow_array::{UInt32Array, cast::AsArray, types::TimestampMicrosecondType};
use arrow_buffer::ScalarBuffer;
use async_channel::Receiver;
use futures_util::future::{Either, select};
use wasmill_core::{
    batch::Batch,
    checkpoint::CheckpointId,
    dead_letter::kind,
    lineage::{self, Ancestor, Chunk, Lineage},
    pipeline::{EventTime, Policy},
    watermark::{LateRow, Lateness, SplitWatermark},
};

use crate::{
    checkpoint::{Progress, Reporter, SharedImage, SourceBarriers, SplitTurns},
    connector::Position,
    dead_letter::{Failure, Letters},
    exchange::{gate::Message, turn::Held},
    format::{Decoded, Decoder, Refused},
    metrics::NodeMetrics,
    task::{
        alignment::Alignment,
        chain::{Chain, Target, TaskError},
        idle::IdleWatch,
        slot,
    },
};

pub use generated::{Generated, GeneratedSplit};

/// One chunk of a split, in the order in which its reader gave it.
pub struct Work {
    /// The split's position among the source's splits.
    pub split: u32,
    /// Turns of the split.
    pub turns: Arc<SplitTurns>,
    /// The chunk's turn.
    pub number: u64,
    /// The chunk; none at the split's end.
    pub chunk: Option<Chunk>,
}

/// Why a reader gave up.
#[derive(Debug)]
pub struct ReadFailure {
    /// What is wrong, where, and what to do.
    pub message: String,
    /// Whether the same would happen again if it was tried later.
    pub is_lasting: bool,
}

/// What a split had promised when the checkpoint was taken that the job goes on from.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Where it stood.
    pub at: Position,
    /// Its watermark.
    pub watermark: i64,
}

/// Where a source subtask gets its rows.
pub enum Feed {
    /// Chunks from readers, to be decoded.
    Chunks {
        /// Shared by the source's subtasks; an error says why a reader gave up.
        work: Receiver<Result<Work, ReadFailure>>,
        /// This subtask's decoder.
        decoder: Box<Decoder>,
    },
    /// Computed rows.
    Generated(Generated),
}

/// The place of a chunk: whose turn it is, and where the split goes on behind it.
struct Place<'a> {
    split: u32,
    held: Held<'a, Progress>,
    behind: Position,
}

/// A source subtask.
pub struct SourceTask {
    /// The source's name.
    pub name: Arc<str>,
    /// Which source of the document it is, from 0.
    pub number: usize,
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
    /// Has splits wait that are too far ahead, where the source says `max-drift`.
    pub alignment: Option<Arc<Alignment>>,
    /// Set when the job shall stop.
    pub stopping: Arc<AtomicBool>,
    /// The source's barriers.
    pub barriers: Arc<SourceBarriers>,
    /// Where snapshots go, if the job takes checkpoints.
    pub reporter: Option<Reporter>,
    /// The last barrier that was sent.
    pub sent: CheckpointId,
    /// Whether that was the job's last.
    pub is_over: bool,
    /// The chain's state before the chunk that it has been run with, for all barriers that the
    /// chunk lies behind: which they are shows only in its turn.
    pub before: Option<Vec<SharedImage>>,
    /// What the splits had promised when the checkpoint was taken that the job goes on from.
    pub restored: Vec<Promise>,
}

impl SourceTask {
    /// Runs until the splits end or the job shall stop.
    ///
    /// # Errors
    /// If a split cannot be read, a row does not fit and the policy is to fail, or the chain fails.
    pub async fn run(&mut self, feed: &mut Feed) -> Result<(), TaskError> {
        self.repeat_promises().await?;
        match feed {
            Feed::Chunks { work, decoder } => {
                while let Some(work) = self.next(work).await? {
                    let work = work.map_err(|failure| TaskError::Source {
                        source_name: self.name.clone(),
                        message: failure.message,
                        is_lasting: failure.is_lasting,
                    })?;
                    self.take(work, decoder).await?;
                    slot::breathe().await;
                }
            }
            Feed::Generated(feed) => self.generate(feed).await?,
        }
        self.end_input().await
    }

    /// Tells those behind how far the splits had come.
    async fn repeat_promises(&mut self) -> Result<(), TaskError> {
        if self.subtask.0 > 0 || self.event_time.is_none() {
            return Ok(());
        }
        for Promise { at, watermark } in std::mem::take(&mut self.restored) {
            let lane = self.lane + at.split;
            let promise = Message::Watermark {
                lane,
                time: watermark,
            };
            self.chain.outbox.broadcast(&promise).await?;
            if at.is_end {
                let end = Message::LaneEnd { lane };
                self.chain.outbox.broadcast(&end).await?;
            } else if at.is_idle {
                self.chain.outbox.broadcast(&Message::Idle { lane }).await?;
            }
        }
        Ok(())
    }

    /// No rows come any more: what is left to do is to send barriers, until the job's last one.
    async fn end_input(&mut self) -> Result<(), TaskError> {
        if self.is_over {
            return Ok(());
        }
        self.chain.outbox.broadcast(&Message::End).await?;
        let Some(reporter) = self.reporter.clone() else {
            return Ok(());
        };
        reporter.input_ended().await?;
        while !self.is_over {
            let Some(barrier) = self.barriers.wanted(self.subtask.0, self.sent).await else {
                break;
            };
            self.send_barrier(barrier).await?;
        }
        Ok(())
    }

    /// The next chunk; none at the end, or behind the job's last barrier. While there is none,
    /// barriers are sent, and the first subtask tells which splits have become idle.
    async fn next(
        &mut self,
        work: &Receiver<Result<Work, ReadFailure>>,
    ) -> Result<Option<Result<Work, ReadFailure>>, TaskError> {
        let watch = self.idle.clone().filter(|_| self.subtask.0 == 0);
        let barriers = Arc::clone(&self.barriers);
        while !self.is_over {
            if let Some(barrier) = barriers.newer(self.sent) {
                self.send_barrier(barrier).await?;
                continue;
            }
            if let Ok(received) = work.try_recv() {
                return Ok(Some(received));
            }
            let alarm = async {
                match &watch {
                    Some(watch) => slot::sleep_until(watch.next()).await,
                    None => std::future::pending().await,
                }
            };
            let other = select(
                Box::pin(barriers.wanted(self.subtask.0, self.sent)),
                Box::pin(alarm),
            );
            match select(Box::pin(work.recv()), other).await {
                Either::Left((received, _)) => return Ok(received.ok()),
                Either::Right((Either::Left((Some(barrier), _)), _)) => {
                    self.send_barrier(barrier).await?;
                }
                Either::Right((Either::Left((None, _)), _)) => return Ok(None),
                Either::Right((Either::Right(_), _)) => {
                    self.tell_idle(watch.as_deref()).await?;
                }
            }
        }
        Ok(None)
    }

    async fn tell_idle(&mut self, watch: Option<&IdleWatch>) -> Result<(), TaskError> {
        for split in watch.map(IdleWatch::idle).unwrap_or_default() {
            self.barriers.idle(split);
            if let Some(alignment) = &self.alignment {
                alignment.idle(split);
            }
            let lane = self.lane + split;
            self.chain.outbox.broadcast(&Message::Idle { lane }).await?;
        }
        Ok(())
    }

    async fn take(&mut self, work: Work, decoder: &mut Decoder) -> Result<(), TaskError> {
        // From here on a panic ends the turns behind this one.
        let mut place = Place {
            split: work.split,
            held: work.turns.hold(work.number),
            behind: Position::start(work.split),
        };
        let Some(chunk) = work.chunk else {
            return self.end(place).await;
        };
        self.remember();
        place.behind.rows = chunk.next_offset();
        place.behind.bytes = chunk.next_byte;
        place.behind.tail = chunk.tail;
        let decoded = self.decoded(chunk, decoder).await;
        self.proceed(place, decoded).await
    }

    /// Hands rows on, or fails in turn: what came before still goes on, and nothing behind it.
    async fn proceed(
        &mut self,
        place: Place<'_>,
        decoded: Result<Batch, TaskError>,
    ) -> Result<(), TaskError> {
        match decoded {
            Ok(batch) => self.hand_on(place, batch).await,
            Err(error) => {
                drop(self.turn(place.held).await);
                Err(error)
            }
        }
    }

    /// Tells the splits of this source from those of others.
    fn numbered(&self, chunk: Chunk) -> Chunk {
        Chunk {
            split: lineage::split_of_job(self.number, chunk.split),
            ..chunk
        }
    }

    /// The rows of a chunk; those that do not fit follow the source's policy.
    async fn decoded(&mut self, chunk: Chunk, decoder: &mut Decoder) -> Result<Batch, TaskError> {
        let chunk = Arc::new(self.numbered(chunk));
        decoder
            .prepare(&chunk)
            .await
            .map_err(|error| TaskError::Source {
                source_name: self.name.clone(),
                is_lasting: error.is_lasting(),
                message: error.to_string(),
            })?;
        let decoded = decoder
            .decode(&chunk)
            .map_err(|error| self.error(error.to_string()))?;
        let Decoded {
            rows,
            kept,
            refused,
            ops,
        } = decoded;
        self.metrics.records_in.add(rows.num_rows() + refused.len());
        self.refuse(&chunk, refused).await?;
        let (len, all) = (rows.num_rows(), chunk.spans.len());
        let parent = Ancestor::Chunk(chunk);
        let lineage = match kept {
            None => Lineage::whole(parent, len),
            // Of one row there may be several.
            Some(kept) if ops.is_some() => {
                Lineage::emitted(&self.name, Lineage::whole(parent, all), &kept)
            }
            Some(kept) => Lineage::rows_of(parent, all, kept.into()),
        };
        Ok(Batch {
            ops: ops.map(ScalarBuffer::from),
            ..Batch::new(rows, lineage)
        })
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
                ran: None,
            };
            letters.push_undecoded(&failure, chunk, refused.row);
        }
        let letters = Batch::new(letters.finish()?, lineage);
        self.chain.emit(stream.0, letters).await
    }

    /// Runs the chain, then waits for the chunk's turn to send what came of it.
    async fn hand_on(&mut self, place: Place<'_>, mut batch: Batch) -> Result<(), TaskError> {
        let times = self.times(&mut batch);
        let late_rows = (!self.late.is_empty()).then(|| batch.clone());
        let len = batch.len();
        self.metrics.records_out.add(len);
        let targets = std::mem::take(&mut self.targets);
        let pushed = self.chain.push(&targets, batch, None).await;
        self.targets = targets;
        // The turn is taken even after a failure: what came before goes on.
        let turn = self.turn(place.held).await;
        pushed?;
        let mut turn = turn?;
        let barrier = turn.with_baton(|progress| self.barriers.cut(progress, self.sent));
        if let Some(barrier) = barrier {
            // The chunk lies behind the barrier; what is staged of it waits.
            self.send_barrier(barrier).await?;
        }
        self.before = None;
        if self.is_over {
            // Nobody gets these rows: they are the next run's.
            self.metrics.records_in.replace(len as u64, 0);
            self.metrics.records_out.replace(len as u64, 0);
            turn.pass();
            return Ok(());
        }
        let split = place.split;
        let Some(times) = times else {
            turn.with_baton(|progress| progress.reach(place.behind));
            self.chain.outbox.send().await?;
            turn.pass();
            return Ok(());
        };
        let mut late: Vec<LateRow> = Vec::new();
        let idle = self.idle.as_deref();
        let (before, after) = turn.with_baton(|progress| {
            progress.reach(place.behind);
            let watermark = &mut progress.watermark;
            if let Some(merged) = idle.and_then(|idle| idle.active(split)) {
                watermark.resume_at(merged);
            }
            let before = watermark.watermark();
            watermark.advance(&times, &mut Vec::with_capacity(times.len()), &mut late);
            let after = watermark.watermark();
            progress.tell();
            (before, after)
        });
        if let Some(idle) = idle {
            idle.reached(split, after);
        }
        if let Some(alignment) = &self.alignment {
            alignment.reached(split, after);
        }
        let of_idle = late.iter().filter(|row| row.reason == Lateness::Idle);
        self.metrics.late_idle.add(of_idle.count());
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
        turn.pass();
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

    /// A split has ended.
    async fn end(&mut self, place: Place<'_>) -> Result<(), TaskError> {
        let mut turn = self.turn(place.held).await?;
        let barrier = turn.with_baton(|progress| {
            let barrier = self.barriers.cut(progress, self.sent);
            progress.end();
            barrier
        });
        if let Some(barrier) = barrier {
            self.send_barrier(barrier).await?;
        }
        if self.is_over {
            turn.pass();
            return Ok(());
        }
        if let Some(idle) = &self.idle {
            idle.ended(place.split);
        }
        if let Some(alignment) = &self.alignment {
            alignment.ended(place.split);
        }
        let lane = self.lane + place.split;
        let end = Message::LaneEnd { lane };
        self.chain.outbox.broadcast(&end).await?;
        turn.pass();
        Ok(())
    }

    fn error(&self, message: String) -> TaskError {
        TaskError::Row {
            source_name: self.name.clone(),
            message,
        }
    }
}

#[cfg(test)]
mod tests;
