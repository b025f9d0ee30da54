//! librdkafka alone: reads records and writes them as bytes, with the transactions of the others
//! and without a look into them. No program that goes through it is faster.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer, producer::Producer};
use wasmill_host::{clock, spawn};

use super::{
    batch::{Batches, Found},
    client::{self, PARTITIONS, PATIENCE, READ_FAST, READ_SOON, Sender, WRITE_FAST, WRITE_SOON},
    order::{Guarantee, Order},
};
use crate::{job, scenario::Measured};

/// The word by which `wasmill-bench` starts it.
pub(crate) const NAME: &str = "raw";
/// A thread that has nothing to read looks at its transaction so often.
const WAIT: Duration = Duration::from_millis(5);

/// Follows an order to its end; one without end until the process is ended.
pub(crate) fn run(words: &[&str]) -> Result<Measured> {
    let order = Order::parse(words)?;
    let threads = job::cores().min(PARTITIONS as usize);
    let cpu = clock::process_cpu();
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let order = order.clone();
            spawn::thread("raw", move || Worker::new(&order, worker, threads)?.run())
        })
        .collect();
    let (mut records, mut first) = (0, None::<Instant>);
    for worker in workers {
        let Ok(passed) = worker.join() else {
            bail!("a thread panicked");
        };
        let passed = passed?;
        records += passed.records;
        first = first.into_iter().chain(passed.first).min();
    }
    let seconds = (clock::monotonic() - first.context("nothing came")?).as_secs_f64();
    let cpu = (clock::process_cpu() - cpu).as_secs_f64();
    Ok(Measured {
        cpu: Some(cpu * 1e6 / records as f64),
        ..Measured::rate(records, seconds)
    })
}

/// What a thread has read.
struct Passed {
    records: u64,
    first: Option<Instant>,
}

/// A thread with its partitions, its consumer and its producer.
struct Worker {
    order: Order,
    partitions: usize,
    batches: Batches,
    sender: Sender,
    /// Where each partition goes on.
    next: [Option<i64>; PARTITIONS as usize],
}

impl Worker {
    fn new(order: &Order, worker: usize, workers: usize) -> Result<Self> {
        let own = |partition: &i32| *partition as usize % workers == worker;
        let partitions: Vec<i32> = (0..PARTITIONS).filter(own).collect();
        let (read, write) = match order.records {
            0 => (READ_SOON, WRITE_SOON),
            _ => (READ_FAST, WRITE_FAST),
        };
        let id = format!("{}-{worker}", order.to);
        let is_exact = order.guarantee == Guarantee::ExactlyOnce;
        let sender = Sender::new(&order.brokers, is_exact.then_some(&*id), write)?;
        if is_exact {
            sender.producer().init_transactions(PATIENCE)?;
            sender.producer().begin_transaction()?;
        }
        let place = (&*order.brokers, &*order.from);
        let count = partitions.len();
        Ok(Self {
            order: order.clone(),
            partitions: count,
            batches: client::reader(place, partitions.into_iter(), "read_committed", read)?,
            sender,
            next: [None; PARTITIONS as usize],
        })
    }

    fn run(mut self) -> Result<Passed> {
        let interval = Duration::from_millis(self.order.milliseconds);
        let is_exact = self.order.guarantee == Guarantee::ExactlyOnce;
        let (mut passed, mut ends) = (
            Passed {
                records: 0,
                first: None,
            },
            0,
        );
        let mut begun = clock::monotonic();
        loop {
            let (order, sender, next) = (&self.order, &self.sender, &mut self.next);
            let records = &mut passed.records;
            let count = self.batches.read(WAIT, |found| {
                let Found::Record(record) = found else {
                    ends += 1;
                    return Ok(());
                };
                *records += 1;
                next[record.partition as usize] = Some(record.offset + 1);
                if records.is_multiple_of(order.every) {
                    let place = (&*order.to, Some(record.partition));
                    sender.send(place, record.key, record.value)?;
                }
                Ok(())
            })?;
            if count > 0 && passed.first.is_none() {
                passed.first = Some(clock::monotonic());
            }
            let is_done = self.order.records > 0 && ends >= self.partitions;
            if is_exact && (is_done || clock::monotonic() - begun >= interval) {
                self.commit()?;
                begun = clock::monotonic();
                if !is_done {
                    self.sender.producer().begin_transaction()?;
                }
            }
            if is_done {
                self.sender.finish()?;
                return Ok(passed);
            }
        }
    }

    fn commit(&self) -> Result<()> {
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in (0..).zip(self.next) {
            if let Some(next) = next {
                offsets.add_partition_offset(&self.order.from, partition, Offset::Offset(next))?;
            }
        }
        let group = self
            .batches
            .consumer()
            .group_metadata()
            .context("it has a group")?;
        let producer = self.sender.producer();
        if offsets.count() > 0 {
            producer.send_offsets_to_transaction(&offsets, &group, PATIENCE)?;
        }
        Ok(producer.commit_transaction(PATIENCE)?)
    }
}
