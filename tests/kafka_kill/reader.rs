//! Whoever reads the output while everything goes wrong: what was committed once stays.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::client::{PARTITIONS, Record, Records};
use crate::oracle::Balance;

/// A thread that reads, until it is told to stop.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Seen>,
}

/// The rows of each partition, with their offsets, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(Vec<Vec<(i64, Balance)>>);

/// A stretch of rows that stand in a partition twice: their offsets, from the first to the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Twice {
    partition: usize,
    first: (i64, i64),
    again: (i64, i64),
}

impl fmt::Display for Twice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            first: (from, to),
            again: (from_again, to_again),
        } = self;
        write!(
            f,
            "partition {partition}: {from} to {to} again at {from_again} to {to_again}"
        )
    }
}

impl Twice {
    fn goes_on_with(&self, next: &Self) -> bool {
        self.partition == next.partition
            && self.first.1 + 1 == next.first.0
            && self.again.1 + 1 == next.again.0
    }
}

impl Reader {
    pub(crate) fn start(brokers: &str, topic: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let mut records = Records::of(brokers, topic, PARTITIONS);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::new();
            while !stopped.load(Ordering::Acquire) {
                if let Some(record) = records.next() {
                    seen.see(&record);
                    counted.fetch_add(1, Ordering::AcqRel);
                }
            }
            seen
        });
        Self {
            stop,
            count,
            thread,
        }
    }

    /// How many rows it has seen.
    pub(crate) fn count(&self) -> u64 {
        // One that has panicked sees nothing more: its words come with `stop`.
        self.count.load(Ordering::Acquire)
    }

    /// Whether it still reads.
    pub(crate) fn is_reading(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Stops; gives what was seen.
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Release);
        let seen = self.thread.join();
        seen.expect("a reader says what it does not like")
    }
}

impl Seen {
    fn new() -> Self {
        Self(vec![Vec::new(); PARTITIONS as usize])
    }

    /// What somebody sees who begins now, to the end.
    pub(crate) fn now(brokers: &str, topic: &str) -> Self {
        let mut seen = Self::new();
        for record in Records::of(brokers, topic, PARTITIONS).all() {
            seen.see(&record);
        }
        seen
    }

    fn see(&mut self, record: &Record) {
        let rows = &mut self.0[record.partition];
        let last = rows.last().map_or(-1, |(offset, _)| *offset);
        assert!(record.offset > last, "behind {last}: {record:?}");
        let row = Balance::of_json(&record.value);
        let key = record.key.as_deref();
        assert_eq!(key, Some(row.account.to_string().as_bytes()), "{record:?}");
        rows.push((record.offset, row));
    }

    /// What was seen is the beginning of what is there in the end.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub(crate) fn check(&self, end: &Self) {
        for (partition, (seen, end)) in self.0.iter().zip(&end.0).enumerate() {
            let same = seen.iter().zip(end).take_while(|(seen, end)| seen == end);
            let same = same.count();
            assert_eq!(
                same,
                seen.len(),
                "partition {partition}: row {same} was seen as {:?} and is {:?}",
                seen.get(same),
                end.get(same)
            );
        }
    }

    /// Where rows stand that have stood before.
    pub(crate) fn twice(&self) -> Vec<Twice> {
        let mut all: Vec<Twice> = Vec::new();
        for (partition, rows) in self.0.iter().enumerate() {
            let mut places = HashMap::new();
            for (offset, row) in rows {
                let before = *places.entry(*row).or_insert(*offset);
                let next = Twice {
                    partition,
                    first: (before, before),
                    again: (*offset, *offset),
                };
                match all.last_mut() {
                    _ if before == *offset => {}
                    Some(last) if last.goes_on_with(&next) => {
                        (last.first.1, last.again.1) = (before, *offset);
                    }
                    _ => all.push(next),
                }
            }
        }
        all
    }

    /// All rows, those of an account in their order.
    ///
    /// # Panics
    ///
    /// If an account stands in several partitions.
    pub(crate) fn rows(self) -> Vec<Balance> {
        let mut places = HashMap::new();
        let mut all = Vec::new();
        for (partition, rows) in self.0.into_iter().enumerate() {
            for (_, row) in rows {
                let place = *places.entry(row.account).or_insert(partition);
                assert_eq!(place, partition, "account {} has one place", row.account);
                all.push(row);
            }
        }
        all
    }
}
