//! Sinks at work: each on a thread of its own, behind a gate.

use std::{sync::Arc, thread::JoinHandle};

use async_channel::Receiver;
use futures_executor::block_on;
use futures_util::future::{Either, select};

use crate::{
    checkpoint::{Reporter, SinkOrder, TaskImage},
    connector::{ConnectorError, Follower, Sink, sink::Output},
    crash_point::{CrashPoint, give_way, reach},
    exchange::{
        gate::{Barrier, Gate, Message},
        intake::{Intake, Taken},
    },
    metrics::NodeMetrics,
    spawn,
};

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
            match output {
                Output::Plain(sink) => serve(sink, intake, &accounts),
                Output::Follower(sink) => Following {
                    sink,
                    orders: orders.unwrap_or_else(|| async_channel::bounded(1).1),
                    accounts,
                }
                .serve(intake),
            }
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
    fn snapshot(&self, barrier: Barrier, image: TaskImage) {
        if let Some(reporter) = &self.reporter {
            // Where nobody listens the job ends for another reason.
            let _ = block_on(reporter.snapshot(barrier, image));
        }
    }
}

/// Rows go out as they come. The sink flushes whenever its queue runs empty and at barriers, so
/// that no checkpoint covers rows that are not out.
fn serve(
    mut sink: Box<dyn Sink>,
    mut intake: Intake,
    accounts: &Accounts,
) -> Result<(), ConnectorError> {
    loop {
        let taken = match intake.try_recv() {
            Some(taken) => taken,
            None => {
                sink.flush()?;
                match block_on(intake.recv()) {
                    Some(taken) => taken,
                    None => return sink.close(),
                }
            }
        };
        match taken {
            Taken::Received(received) => {
                if let Message::Rows { batch, .. } = &received.message {
                    sink.write(batch)?;
                    accounts.metrics.records_in.add(batch.len());
                }
            }
            Taken::Barrier(barrier) => {
                sink.flush()?;
                accounts.snapshot(barrier, TaskImage::default());
            }
            Taken::End => {}
        }
    }
}

/// A sink whose output follows decided checkpoints.
struct Following {
    sink: Box<dyn Follower>,
    orders: Receiver<SinkOrder>,
    accounts: Accounts,
}

impl Following {
    fn serve(mut self, mut intake: Intake) -> Result<(), ConnectorError> {
        let marker = self.sink.marker()?;
        self.tell(marker);
        loop {
            // What is decided is to be known before the next barrier.
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order)?;
            }
            let next = block_on(select(
                Box::pin(self.orders.recv()),
                Box::pin(intake.recv()),
            ));
            match next {
                Either::Left((Ok(order), _)) => self.obey(order)?,
                Either::Left((Err(_), _)) => return Ok(()),
                Either::Right((Some(taken), _)) => self.take(taken)?,
                Either::Right((None, _)) => break,
            }
        }
        while let Ok(order) = self.orders.recv_blocking() {
            self.obey(order)?;
        }
        Ok(())
    }

    fn take(&mut self, taken: Taken) -> Result<(), ConnectorError> {
        match taken {
            Taken::Received(received) => {
                if let Message::Rows { batch, .. } = &received.message {
                    self.sink.write(batch)?;
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
            Taken::End => {}
        }
        Ok(())
    }

    fn obey(&mut self, order: SinkOrder) -> Result<(), ConnectorError> {
        match order {
            SinkOrder::Decided(checkpoint) => self.sink.decided(checkpoint),
            SinkOrder::Apply(checkpoint, share) => {
                reach(CrashPoint::BeforeApply);
                give_way(self.sink.commit_point());
                self.sink.apply(checkpoint, &share)?;
                reach(CrashPoint::Applied);
                self.tell(Some(checkpoint));
            }
        }
        Ok(())
    }

    fn tell(&self, marker: Option<wasmill_core::checkpoint::CheckpointId>) {
        if let Some(reporter) = &self.accounts.reporter {
            let _ = block_on(reporter.applied(&self.accounts.name, marker));
        }
    }
}
