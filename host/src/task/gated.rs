//! A subtask behind a gate: it gathers rows into batches, looks up their keys, orders them where
//! asked, and runs its chain.

mod release;
mod spilled;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};

use wasmill_core::{
    batch::Batch,
    key::KeyCodec,
    timer::TimeDomain,
    watermark::{self, WatermarkMerge},
};

use crate::{
    checkpoint::{Reporter, StateImage, TaskImage},
    clock,
    crash_point::{CrashPoint, reach},
    exchange::{
        gate::{Barrier, Credit, Gone, Message},
        intake::{Intake, Taken},
    },
    feature::{FeatureRows, FeatureSet},
    metrics::{Gauge, NodeMetrics},
    operator::Keyed,
    state::{Cut, Spill},
    task::{
        chain::{Chain, Target, TaskError},
        image::GateImage,
        slot,
        sorter::Sorter,
    },
};

/// One key is looked at for expired state after so many rows: in the long run each key is looked
/// at once while this many times as many rows pass as there are keys.
const ROWS_PER_SWEPT_KEY: usize = 8;
/// For each key that comes so many are looked at: if as many expire as come, at most half of those
/// that are kept have expired.
const SWEPT_PER_NEW_KEY: usize = 2;
/// The fewest keys that are looked at after a batch.
const SWEPT_KEYS_MIN: usize = 8;
/// The most: a restore brings very many keys.
const SWEPT_KEYS_MAX: usize = 1 << 15;

/// One stream that comes in through the gate.
pub struct GateInput {
    /// Who reads it.
    pub targets: Vec<Target>,
    /// Who reads its late rows, where the gate puts rows in order.
    pub late: Vec<Target>,
    /// The key columns, behind a hash exchange.
    pub codec: Option<KeyCodec>,
    /// Puts rows in the order of their event time, where the task asks for it.
    pub sorter: Option<Sorter>,
    /// Where its rows have the columns that the task's features read.
    pub feature_columns: Option<Vec<usize>>,
}

/// A subtask behind a gate.
pub struct GatedTask {
    /// Where rows come from.
    pub intake: Intake,
    /// The streams that come through it.
    pub inputs: Vec<GateInput>,
    /// Behind a hash exchange: the keys, which all operators share.
    pub keyed: Option<Keyed>,
    /// What is computed of each key's rows, over all streams.
    pub features: Option<FeatureSet>,
    /// Whether what is behind the gate merges the inputs by itself.
    pub merges_itself: bool,
    /// The keys that are not in memory, where not all are.
    pub spill: Option<Spill>,
    /// What is done with the rows.
    pub chain: Chain,
    /// Lanes that are open from the start.
    pub lanes: Vec<u32>,
    /// The lane under which this subtask promises its own watermark to those behind it.
    pub lane: u32,
    /// Rows that a batch is filled up to under load.
    pub rows_max: usize,
    /// How long rows may wait for company, and how many are company enough.
    pub linger: (Duration, usize),
    /// Set when a task has failed: then the end of the input means nothing.
    pub failed: Arc<AtomicBool>,
    /// The task's name, under which checkpoints keep what the gate keeps.
    pub name: Arc<str>,
    /// Which subtask it is.
    pub subtask: u16,
    /// Where snapshots go, if the job takes checkpoints.
    pub reporter: Option<Reporter>,
    /// Late rows are counted here.
    pub late: Vec<Arc<NodeMetrics>>,
    /// The merged watermark of all lanes.
    pub clock: i64,
    /// Where that is told, for those who watch.
    pub watermark: Arc<Gauge>,
}

/// What a gated task keeps between two messages.
struct Pending {
    input: usize,
    batches: Vec<Batch>,
    credits: Vec<Credit>,
    rows: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

/// The merged event-time clock of a gate's lanes.
struct Lanes {
    merge: WatermarkMerge,
    numbers: HashMap<u32, usize>,
}

impl Lanes {
    fn new(lanes: &[u32]) -> Self {
        let mut this = Self {
            merge: WatermarkMerge::new(),
            numbers: HashMap::new(),
        };
        for lane in lanes {
            this.number(*lane);
        }
        this
    }

    fn number(&mut self, lane: u32) -> usize {
        *self
            .numbers
            .entry(lane)
            .or_insert_with(|| self.merge.open())
    }
}

impl GatedTask {
    /// Runs until every sender has ended, then sends what is left.
    ///
    /// # Errors
    /// If an operator fails and its policy is to fail, or a receiver is gone.
    pub async fn run(&mut self) -> Result<(), TaskError> {
        let mut lanes = Lanes::new(&self.lanes);
        if self.clock > watermark::START {
            // Restored: those behind know again how far this subtask had come.
            self.promise(self.clock).await?;
        }
        let mut pending = Pending {
            input: 0,
            batches: Vec::new(),
            credits: Vec::new(),
            rows: 0,
            since: None,
        };
        while let Some(taken) = self.next(&mut pending).await? {
            let received = match taken {
                Taken::Received(received) => received,
                Taken::End => {
                    self.is_sound()?;
                    self.end(&mut pending).await?;
                    continue;
                }
                Taken::Watched => {
                    self.is_sound()?;
                    self.flush(&mut pending).await?;
                    self.load().await?;
                    continue;
                }
                Taken::Barrier(barrier) => {
                    self.flush(&mut pending).await?;
                    self.snapshot(barrier).await?;
                    if barrier.is_last {
                        return Ok(());
                    }
                    continue;
                }
            };
            let (message, credit) = received.split();
            let risen = match message {
                Message::Rows { input, batch } => {
                    self.gather(&mut pending, usize::from(input), batch, credit)
                        .await?;
                    continue;
                }
                Message::Barrier(_) | Message::End => continue,
                Message::Watermark { lane, time } => {
                    let number = lanes.number(lane);
                    lanes.merge.update(number, time)
                }
                Message::Idle { lane } => {
                    let number = lanes.number(lane);
                    lanes.merge.idle(number)
                }
                Message::LaneEnd { lane } => {
                    self.is_sound()?;
                    let number = lanes.number(lane);
                    lanes.merge.close(number)
                }
            };
            if let Some(watermark) = risen {
                self.flush(&mut pending).await?;
                self.advance(watermark).await?;
            }
        }
        self.is_sound()
    }

    /// No task has failed. After that an end means nothing: it is of an input that was cut off, and
    /// whoever failed has not come to one.
    fn is_sound(&self) -> Result<(), TaskError> {
        match self.failed.load(Ordering::Acquire) {
            true => Err(Gone.into()),
            false => Ok(()),
        }
    }

    /// Everything before the barrier has been processed, nothing behind it.
    async fn snapshot(&mut self, barrier: Barrier) -> Result<(), TaskError> {
        reach(CrashPoint::BarrierAligned);
        let message = Message::Barrier(barrier);
        self.chain.outbox.broadcast(&message).await?;
        reach(CrashPoint::BarrierPassed);
        let Some(reporter) = &self.reporter else {
            return Ok(());
        };
        let cut = Cut {
            checkpoint: barrier.checkpoint,
            base: barrier.base,
        };
        let mut keys = None;
        if let Some(keyed) = &mut self.keyed {
            let disk = match &mut self.spill {
                Some(spill) => Some(spill.image(&mut keyed.index).await?),
                None => None,
            };
            let image = keys.insert(keyed.index.image(cut));
            image.set_disk(disk);
        }
        let owner = self.chain.operators_mut().len();
        let mut operators = self.chain.images(keys.as_ref());
        if self.features.is_some() || self.inputs.iter().any(|input| input.sorter.is_some()) {
            let features = self.features.as_mut().zip(keys.as_ref());
            // What all subtasks hold alike is written once.
            let own = |input: &&GateInput| input.codec.is_some() || self.subtask == 0;
            let sorters = self.inputs.iter().filter(own);
            let sorters = sorters.filter_map(|input| input.sorter.as_ref());
            let image = GateImage {
                features: features.map(|(features, keys)| features.image(keys.of_owner(owner))),
                held: sorters.map(Sorter::image).collect(),
            };
            operators.push(StateImage {
                uid: self.name.to_string(),
                watermark: self.clock,
                subtask: self.subtask,
                image: Box::new(image),
            });
        }
        let image = TaskImage {
            operators,
            ..TaskImage::default()
        };
        Ok(reporter.snapshot(barrier, image).await?)
    }

    /// All input has come: what was held back is due, and every event timer.
    async fn end(&mut self, pending: &mut Pending) -> Result<(), TaskError> {
        self.flush(pending).await?;
        self.load().await?;
        self.advance(watermark::END).await?;
        Ok(self.chain.outbox.broadcast(&Message::End).await?)
    }

    /// A stream that was waited for has been read to its end.
    async fn load(&mut self) -> Result<(), TaskError> {
        if let Some((operator, _)) = self.chain.awaited() {
            self.chain.loaded(operator, self.keyed.as_mut()).await?;
        }
        Ok(())
    }

    /// The next message. What is pending is processed before the task would wait longer than it may
    /// linger.
    async fn next(&mut self, pending: &mut Pending) -> Result<Option<Taken>, TaskError> {
        loop {
            if let Some(taken) = self.intake.try_recv() {
                return Ok(Some(taken));
            }
            let now = clock::monotonic();
            let flush_at = pending.since.map(|since| since + self.linger.0);
            if flush_at.is_some_and(|at| at <= now) {
                self.flush(pending).await?;
                continue;
            }
            let tick_at = self.tick_at(now);
            if tick_at.is_some_and(|at| at <= now) {
                let now = clock::wall_us();
                self.chain.tick(now, self.keyed.as_mut()).await?;
                self.wake_others(TimeDomain::Processing, now).await?;
                self.chain.outbox.send().await?;
                continue;
            }
            let Some(wake) = flush_at.into_iter().chain(tick_at).min() else {
                return Ok(self.intake.recv().await);
            };
            let recv = self.intake.recv();
            let alarm = slot::sleep_until(wake);
            futures_util::pin_mut!(alarm, recv);
            if let Either::Left((taken, _)) = select(recv, alarm).await {
                return Ok(taken);
            }
        }
    }

    /// When an operator's timer is due in processing time.
    fn tick_at(&self, now: Instant) -> Option<Instant> {
        let on_disk = self.spill.as_ref().and_then(Spill::next_tick);
        let next = self.chain.next_tick().into_iter().chain(on_disk).min()?;
        let rest = next.saturating_sub(clock::wall_us());
        Some(now + Duration::from_micros(u64::try_from(rest).unwrap_or(0)))
    }

    async fn gather(
        &mut self,
        pending: &mut Pending,
        input: usize,
        batch: Batch,
        credit: Credit,
    ) -> Result<(), TaskError> {
        if pending.input != input {
            self.flush(pending).await?;
            pending.input = input;
        }
        if pending.since.is_none() {
            pending.since = Some(clock::monotonic());
        }
        pending.rows += batch.len();
        pending.batches.push(batch);
        pending.credits.push(credit);
        // To join batches costs a copy: half of what fits is enough, unless somebody asked to wait.
        let (is_alone, enough) = match self.linger {
            (Duration::ZERO, _) => (!self.intake.is_ready(), self.rows_max / 2),
            (_, company) => (false, company),
        };
        if pending.rows >= enough || is_alone {
            self.flush(pending).await?;
        }
        Ok(())
    }

    /// Processes what was gathered and gives the senders their credits back.
    async fn flush(&mut self, pending: &mut Pending) -> Result<(), TaskError> {
        if pending.batches.is_empty() {
            return Ok(());
        }
        let batch = Batch::concat(&pending.batches)?;
        let rows = std::mem::take(&mut pending.rows);
        pending.since = None;
        pending.batches.clear();
        let input = pending.input;
        match &mut self.inputs[input].sorter {
            Some(sorter) => {
                let late = sorter.push(batch)?;
                self.leave_out(input, late).await?;
            }
            None => self.run_chain(input, batch).await?,
        }
        self.chain.outbox.send().await?;
        pending.credits.clear();
        self.sweep(rows);
        Ok(())
    }

    /// Looks at some keys for what has expired, after so many rows, and accounts for the memory.
    fn sweep(&mut self, rows: usize) {
        let Some(keyed) = &mut self.keyed else { return };
        let count = rows / ROWS_PER_SWEPT_KEY + keyed.index.take_came() * SWEPT_PER_NEW_KEY;
        let count = count.clamp(SWEPT_KEYS_MIN, SWEPT_KEYS_MAX) as u32;
        let (clock, now, mut bytes) = (self.clock, clock::wall_us(), 0);
        self.chain.sweep(count, now, keyed);
        if let Some(spill) = &self.spill {
            spill.set_clocks(clock, now);
        }
        if let Some(features) = &mut self.features {
            features.sweep(count, clock, &mut keyed.index);
            bytes += features.bytes();
        }
        self.chain.account_task(keyed.index.bytes() + bytes);
    }

    /// Rows that came too late to be put in order.
    async fn leave_out(&mut self, input: usize, late: Option<Batch>) -> Result<(), TaskError> {
        let Some(late) = late else { return Ok(()) };
        if self.keyed.is_some() && self.inputs[input].codec.is_none() && self.subtask > 0 {
            // They went to every subtask, and are late in each: one tells of them.
            return Ok(());
        }
        for metrics in &self.late {
            metrics.late.add(late.len());
        }
        let targets = self.inputs[input].late.clone();
        self.chain.push(&targets, late, None).await
    }

    async fn run_chain(&mut self, input: usize, batch: Batch) -> Result<(), TaskError> {
        if batch.len() <= self.rows_max {
            return self.run_piece(input, batch).await;
        }
        for start in (0..batch.len()).step_by(self.rows_max) {
            let rows = self.rows_max.min(batch.len() - start);
            self.run_piece(input, batch.slice(start, rows)).await?;
        }
        Ok(())
    }

    async fn run_piece(&mut self, input: usize, batch: Batch) -> Result<(), TaskError> {
        let from = &mut self.inputs[input];
        if let (Some(keyed), Some(codec)) = (&mut self.keyed, &from.codec) {
            let keys = codec.keys(&batch.rows);
            let hashes = batch.hashes.clone().unwrap_or_else(|| keys.hashes());
            keyed.index.recycle();
            keyed.keys.clear();
            keyed.index.lookup(&keys, &hashes, &mut keyed.keys);
            if let Some(spill) = &mut self.spill {
                let mut residents = spilled::residents(&mut self.chain, self.features.as_mut());
                let fetched = spill.fetch(&keyed.keys, &mut keyed.index, &mut residents);
                fetched.await?;
            }
            if let (Some(features), Some(columns)) = (&mut self.features, &from.feature_columns) {
                let rows = FeatureRows {
                    rows: &batch.rows.project(columns)?,
                    times: batch.times.as_deref().unwrap_or_default(),
                    clocks: batch.clocks.as_deref().unwrap_or_default(),
                    keys: &keyed.keys,
                };
                keyed.features = features.compute(rows, &mut keyed.index)?;
            }
        }
        // Rows that go to every subtask belong to no key.
        let keyed = self.keyed.as_mut().filter(|_| from.codec.is_some());
        self.chain.push(&from.targets, batch, keyed).await?;
        self.settle().await
    }

    /// The gate's clock has moved: ordered rows become due, timers fire, and the promise is passed
    /// on.
    async fn advance(&mut self, watermark: i64) -> Result<(), TaskError> {
        self.clock = watermark;
        self.watermark.set(watermark);
        self.release(watermark).await?;
        self.chain.advance(watermark, self.keyed.as_mut()).await?;
        self.wake_others(TimeDomain::Event, watermark).await?;
        self.chain.outbox.send().await?;
        self.promise(watermark).await
    }

    async fn promise(&mut self, watermark: i64) -> Result<(), TaskError> {
        let promise = Message::Watermark {
            lane: self.lane,
            time: watermark,
        };
        Ok(self.chain.outbox.broadcast(&promise).await?)
    }
}
