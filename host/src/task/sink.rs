//! Sinks at work: each on a thread of its own, behind a gate.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use async_channel::Receiver;
use futures_executor::block_on;
use futures_util::{
    FutureExt,
    future::{Either, select},
};

use wasmill_core::checkpoint::{CheckpointId, Verdict};

use crate::{
    checkpoint::{Reporter, SinkOrder, TaskImage},
    clock,
    connector::{
        ConnectorError, Follower, Share, Sink,
        sink::{Output, patience::Patience},
    },
    crash_point::{CrashPoint, give_way, reach},
    exchange::{
        gate::{Barrier, Gate, Message},
        intake::{Intake, Taken},
    },
    metrics::NodeMetrics,
    spawn,
};

/// While an output is away, no more rows are taken when so many bytes of them wait. Then their
/// senders wait too.
const WAITING_BYTES_MAX: u64 = 1 << 30;
/// So many bytes are held back, in memory, while a checkpoint is being decided by the sink.
const HELD_BYTES_MAX: u64 = 64 << 20;
/// Between two looks at what has come, while an output is away.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A sink before its thread runs.
pub struct SinkTask {
    /// The sink's name.
    pub name: String,
    /// Where rows come from.
    pub gate: Gate,
    /// Counters of the sink.
    pub metrics: Arc<NodeMetrics>,
    /// Where its share of checkpoints goes, if the job takes any.
    pub reporter: Option<Reporter>,
}

impl SinkTask {
    /// Starts the sink's thread; it ends when every sender is gone, and for a follower, when
    /// nobody gives orders any more.
    pub fn start(
        self,
        output: Output,
        orders: Option<Receiver<SinkOrder>>,
    ) -> JoinHandle<Result<(), ConnectorError>> {
        let name = format!("sink-{}", self.name);
        let body = move || {
            let intake = Intake::new(self.gate);
            let accounts = Accounts {
                name: self.name,
                metrics: self.metrics,
                reporter: self.reporter,
            };
            let (name, reporter) = (accounts.name.clone(), accounts.reporter.clone());
            let served = match output {
                Output::Plain(sink) => serve(sink, intake, &accounts),
                Output::Follower(mut sink) => Following {
                    is_decider: sink.decider().is_some(),
                    sink,
                    orders: orders.unwrap_or_else(|| async_channel::bounded(1).1),
                    accounts,
                    due: Some(Due::Marker),
                    again_at_us: 0,
                    // It was asked for its marker.
                    patience: Patience::answered(),
                }
                .serve(intake),
            };
            if let (Err(_), Some(reporter)) = (&served, reporter) {
                // Where nobody listens the job ends for another reason.
                let _ = block_on(reporter.failed(&name));
            }
            served
        };
        spawn::thread(&name, body)
    }
}

/// To whom a sink accounts for its rows.
struct Accounts {
    name: String,
    metrics: Arc<NodeMetrics>,
    reporter: Option<Reporter>,
}

impl Accounts {
    /// Does what writes, and counts how long it took.
    fn writing<T>(&self, write: impl FnOnce() -> T) -> T {
        let began = clock::monotonic_us();
        let done = write();
        let took = clock::monotonic_us().saturating_sub(began);
        self.metrics
            .writing_us
            .add(usize::try_from(took).unwrap_or(0));
        done
    }

    fn snapshot(&self, barrier: Barrier, image: TaskImage) {
        if let Some(reporter) = &self.reporter {
            // Where nobody listens the job ends for another reason.
            let _ = block_on(reporter.snapshot(barrier, image));
        }
    }
}

/// Rows go out as they come. The sink flushes whenever its queue runs empty, and settles at
/// barriers, so that no checkpoint covers rows that are not out.
fn serve(
    mut sink: Box<dyn Sink>,
    mut intake: Intake,
    accounts: &Accounts,
) -> Result<(), ConnectorError> {
    loop {
        let taken = match intake.try_recv() {
            Some(taken) => taken,
            None => {
                accounts.writing(|| sink.flush())?;
                match block_on(intake.recv()) {
                    Some(taken) => taken,
                    None => return sink.close(),
                }
            }
        };
        match taken {
            Taken::Received(received) => {
                if let Message::Rows { batch, .. } = &received.message {
                    accounts.writing(|| sink.write(batch))?;
                    accounts.metrics.records_in.add(batch.len());
                }
            }
            Taken::Barrier(barrier) => {
                accounts.writing(|| sink.settle())?;
                accounts.snapshot(barrier, TaskImage::default());
            }
            Taken::End | Taken::Watched => {}
        }
    }
}

/// What a sink has to do with its output, one thing at a time: it is told of the next checkpoint
/// when it has applied the one before.
enum Due {
    /// Tell what its marker says.
    Marker,
    /// Bring out what a decided checkpoint names.
    Apply(CheckpointId, Share),
}

/// A sink whose output follows decided checkpoints.
///
/// While the output is away, rows are gathered and handed in all the same, so that checkpoints go
/// on, until too many of them are not applied.
struct Following {
    sink: Box<dyn Follower>,
    orders: Receiver<SinkOrder>,
    accounts: Accounts,
    /// Whether its transactions decide.
    is_decider: bool,
    due: Option<Due>,
    /// When what is due is tried again.
    again_at_us: i64,
    patience: Patience,
}

/// What comes next.
enum Next {
    Order(SinkOrder),
    Taken(Taken),
    /// No more rows come.
    InputEnded,
    /// Nobody gives orders any more.
    Over,
    /// Nothing has come yet.
    Nothing,
}

impl Following {
    fn serve(mut self, mut intake: Intake) -> Result<(), ConnectorError> {
        let mut has_ended = false;
        loop {
            // What is decided is to be known before the next barrier.
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order)?;
            }
            self.try_due()?;
            match self.next((!has_ended).then_some(&mut intake)) {
                Next::Order(order) => self.obey(order)?,
                Next::Taken(taken) => self.take(taken)?,
                Next::InputEnded => has_ended = true,
                Next::Over => return Ok(()),
                Next::Nothing => spawn::pause(LOOK_AGAIN),
            }
        }
    }

    /// Waits for what comes next. While the output is away it does not wait: somebody has to look
    /// whether the output is back.
    fn next(&self, intake: Option<&mut Intake>) -> Next {
        let order = |order: Result<SinkOrder, _>| order.map_or(Next::Over, Next::Order);
        let taken = |taken: Option<Taken>| taken.map_or(Next::InputEnded, Next::Taken);
        let is_away = self.due.is_some();
        let intake = intake.filter(|_| !self.is_full());
        if is_away {
            let told = self.orders.recv().now_or_never().map(order);
            let rows = || Some(taken(intake?.recv().now_or_never()?));
            return told.or_else(rows).unwrap_or(Next::Nothing);
        }
        let Some(intake) = intake else {
            return order(self.orders.recv_blocking());
        };
        let both = select(Box::pin(self.orders.recv()), Box::pin(intake.recv()));
        match block_on(both) {
            Either::Left((told, _)) => order(told),
            Either::Right((rows, _)) => taken(rows),
        }
    }

    /// Whether rows have to wait with their senders.
    fn is_full(&self) -> bool {
        match (self.is_decider, self.due.is_some()) {
            (true, _) => self.sink.waiting_bytes() >= HELD_BYTES_MAX,
            (false, true) => self.sink.waiting_bytes() >= WAITING_BYTES_MAX,
            (false, false) => false,
        }
    }

    fn take(&mut self, taken: Taken) -> Result<(), ConnectorError> {
        match taken {
            Taken::Received(received) => {
                if let Message::Rows { batch, .. } = &received.message {
                    self.accounts.writing(|| self.sink.write(batch))?;
                    self.accounts.metrics.records_in.add(batch.len());
                }
            }
            Taken::Barrier(barrier) => {
                while let Ok(order) = self.orders.try_recv() {
                    self.obey(order)?;
                }
                reach(CrashPoint::SinkShare);
                let share = self.sink.share(barrier.checkpoint)?;
                let image = TaskImage {
                    sink: Some((self.accounts.name.clone(), share)),
                    ..TaskImage::default()
                };
                self.accounts.snapshot(barrier, image);
            }
            Taken::End | Taken::Watched => {}
        }
        Ok(())
    }

    fn obey(&mut self, order: SinkOrder) -> Result<(), ConnectorError> {
        match order {
            SinkOrder::Decided(checkpoint) => self.sink.decided(checkpoint),
            SinkOrder::Apply(checkpoint, share) => {
                self.due = Some(Due::Apply(checkpoint, share));
                self.again_at_us = 0;
            }
            SinkOrder::Commit(verdict) => self.commit(&verdict)?,
            SinkOrder::Aborted(checkpoint) => {
                if let Some(decider) = self.sink.decider() {
                    self.accounts.writing(|| decider.aborted(checkpoint))?;
                }
            }
        }
        Ok(())
    }

    /// Decides a checkpoint. There is no second try: of a commit that fails nobody knows whether it
    /// happened, until the next attempt asks.
    fn commit(&mut self, verdict: &Verdict) -> Result<(), ConnectorError> {
        let Some(decider) = self.sink.decider() else {
            return Ok(());
        };
        self.accounts.writing(|| decider.commit(verdict))?;
        if let Some(reporter) = &self.accounts.reporter {
            // Where nobody listens the job ends for another reason.
            let _ = block_on(reporter.committed(verdict.checkpoint));
        }
        Ok(())
    }

    /// Does what is due, unless it has to rest.
    fn try_due(&mut self) -> Result<(), ConnectorError> {
        let Some(due) = &self.due else {
            return Ok(());
        };
        if clock::monotonic_us() < self.again_at_us {
            return Ok(());
        }
        let done = match due {
            Due::Marker => self.sink.marker(),
            Due::Apply(checkpoint, share) => {
                reach(CrashPoint::BeforeApply);
                give_way(self.sink.commit_point());
                let apply = || self.sink.apply(*checkpoint, share);
                let applied = self.accounts.writing(apply);
                reach(CrashPoint::Applied);
                applied.map(|()| Some(*checkpoint))
            }
        };
        match done {
            Ok(marker) => {
                self.patience.over();
                self.due = None;
                self.tell(marker);
            }
            Err(error) => {
                let rest = self.patience.rest(error)?;
                let rest = i64::try_from(rest.as_micros()).unwrap_or(i64::MAX);
                self.again_at_us = clock::monotonic_us().saturating_add(rest);
            }
        }
        Ok(())
    }

    fn tell(&self, marker: Option<CheckpointId>) {
        if let Some(reporter) = &self.accounts.reporter {
            let _ = block_on(reporter.applied(&self.accounts.name, marker));
        }
    }
}
