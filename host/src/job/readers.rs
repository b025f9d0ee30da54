//! Readers: the threads that read splits and hand their chunks to source subtasks.

pub(super) mod topics;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use async_channel::{Receiver, Sender, bounded};

use super::{JobError, splits::Splits};
use crate::{
    checkpoint::SplitTurns,
    clock,
    connector::{ConnectorError, Position, SplitReader},
    spawn,
    task::{
        alignment::Alignment,
        idle::IdleWatch,
        source::{ReadFailure, Work},
    },
};

/// Bytes that a reader gives at once under load.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that may wait for the subtasks of a source.
const CHUNKS_MAX: usize = 8;
/// Between two looks whether the last rows of a split have been handed on.
const HAND_ON_WAIT: Duration = Duration::from_millis(1);

/// Between two looks of a reader that waits for other splits whether it shall stop.
const ALIGN_LOOK: Duration = Duration::from_millis(20);

/// What has readers wait.
#[derive(Clone, Default)]
pub(super) struct Pace {
    /// Watches for splits that are silent.
    pub idle: Option<Arc<IdleWatch>>,
    /// Knows which splits are too far ahead.
    pub alignment: Option<Arc<Alignment>>,
}

impl Pace {
    /// A split goes on where a checkpoint had it.
    pub(super) fn resumed(&self, at: Position, watermark: i64) {
        if let Some(alignment) = self.alignment.as_ref().filter(|_| !at.is_end) {
            alignment.reached(at.split, watermark);
            if at.is_idle {
                alignment.idle(at.split);
            }
        }
    }

    fn may_read(&self, split: u32) -> bool {
        let alignment = self.alignment.as_ref();
        alignment.is_none_or(|alignment| alignment.may_read(split))
    }

    /// A split is not being read for a while, or is read again.
    fn hold(&self, split: u32, is_held: bool) {
        if let Some(idle) = &self.idle {
            idle.hold(split, is_held);
        }
    }

    /// Waits until a split is no longer too far ahead, or the job ends.
    fn wait(&self, split: u32, work: &Sender<Handover>, stopping: &AtomicBool) {
        let Some(alignment) = &self.alignment else {
            return;
        };
        if alignment.may_read(split) {
            return;
        }
        self.hold(split, true);
        while !alignment.wait(split, ALIGN_LOOK, clock::monotonic())
            && !stopping.load(Ordering::Acquire)
            && !work.is_closed()
        {}
        self.hold(split, false);
    }
}

/// Makes the turns of a split, by its name and where it goes on.
pub(super) type NewTurns = Arc<dyn Fn(&str, Position) -> Arc<SplitTurns> + Send + Sync>;

/// What a reader hands over: a piece of work, or why it cannot go on.
type Handover = Result<Work, ReadFailure>;

/// Where readers hand over what they have read.
pub(super) type Handovers = Sender<Handover>;

/// The channel between a source's readers and its subtasks.
pub(super) fn channel() -> (Sender<Handover>, Receiver<Handover>) {
    bounded(CHUNKS_MAX)
}

/// Tells when all splits have been read and handed on.
pub(super) struct Over {
    /// Closed when the last reader has ended.
    reading: Receiver<()>,
    /// The splits that have come to their end, each with the number of its last turn.
    ended: Ended,
    stopping: Arc<AtomicBool>,
    /// Whether a reader has given up.
    failed: Arc<AtomicBool>,
}

type Ended = Arc<Mutex<Vec<(Arc<SplitTurns>, u64)>>>;

impl Over {
    /// Waits until then; false if the job ends before.
    pub(super) fn wait(self) -> bool {
        // Nothing is ever sent.
        let _ = self.reading.recv_blocking();
        if self.failed.load(Ordering::Acquire) {
            return false;
        }
        for (turns, last) in std::mem::take(&mut *self.ended.lock()) {
            while turns.next() <= last {
                if self.stopping.load(Ordering::Acquire) {
                    return false;
                }
                spawn::pause(HAND_ON_WAIT);
            }
        }
        !self.stopping.load(Ordering::Acquire)
    }
}

/// Starts the readers of a source; they share its splits.
pub(super) fn start(
    name: &str,
    splits: Splits,
    new_turns: &NewTurns,
    pace: &Pace,
    (work, stopping): (&Handovers, &Arc<AtomicBool>),
) -> Over {
    let (reading, over) = bounded(1);
    let (ended, failed) = (Ended::default(), Arc::<AtomicBool>::default());
    let open = Arc::new(Mutex::new(splits.open));
    for number in 0..splits.at_once {
        let (open, new_turns) = (open.clone(), Arc::clone(new_turns));
        let (work, stopping) = (work.clone(), stopping.clone());
        let (reading, ended) = (reading.clone(), Arc::clone(&ended));
        let (failed, pace) = (Arc::clone(&failed), pace.clone());
        // Nobody joins a reader: one that waits for standard input cannot be woken, and holds
        // nothing that matters.
        spawn::thread(&format!("read-{name}-{number}"), move || {
            let _reading = reading;
            loop {
                let next = (open.lock())();
                let Some(opened) = next else { return };
                let split = opened.split;
                let read = || {
                    let reader = opened.reader?;
                    let turns = new_turns(&opened.name, opened.from);
                    let last = read(reader, (split, turns.clone()), &pace, &work, &stopping)?;
                    ended.lock().push((turns, last));
                    Ok(())
                };
                if let Err(failure) = guarded(read) {
                    // What would come behind this split must not.
                    failed.store(true, Ordering::Release);
                    // If nobody listens the job has ended for another reason.
                    let _ = work.send_blocking(Err(failure));
                    return;
                }
            }
        });
    }
    Over {
        reading: over,
        ended,
        stopping: stopping.clone(),
        failed,
    }
}

/// Runs a reader: one that panics must not look like the end of its split.
fn guarded(read: impl FnOnce() -> Result<(), ConnectorError>) -> Result<(), ReadFailure> {
    let read = catch_unwind(AssertUnwindSafe(read)).map_err(|panic| ReadFailure {
        message: JobError::Panic(super::panic_message(&*panic)).to_string(),
        is_lasting: true,
    });
    read?.map_err(|error| ReadFailure {
        message: explain(&error),
        is_lasting: error.is_lasting(),
    })
}

fn read(
    mut reader: Box<dyn SplitReader>,
    (split, turns): (u32, Arc<SplitTurns>),
    pace: &Pace,
    work: &Sender<Handover>,
    stopping: &AtomicBool,
) -> Result<u64, ConnectorError> {
    let mut number = 0;
    loop {
        let chunk = match stopping.load(Ordering::Acquire) {
            true => None,
            false => reader.next_chunk(CHUNK_BYTES)?,
        };
        let is_end = chunk.is_none();
        let next = Work {
            split,
            turns: turns.clone(),
            number,
            chunk,
        };
        if work.send_blocking(Ok(next)).is_err() || is_end {
            return Ok(number);
        }
        number += 1;
        pace.wait(split, work, stopping);
    }
}

/// An error with its causes, in one line.
pub(super) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
