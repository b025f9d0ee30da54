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
    connector::{ConnectorError, Position, SplitReader},
    spawn,
    task::source::{ReadFailure, Work},
};

/// Bytes that a reader gives at once under load.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that may wait for the subtasks of a source.
const CHUNKS_MAX: usize = 8;
/// Between two looks whether the last rows of a split have been handed on.
const HAND_ON_WAIT: Duration = Duration::from_millis(1);

/// Makes the turns of a split, by its name and where it goes on.
pub(super) type NewTurns = Arc<dyn Fn(&str, Position) -> Arc<SplitTurns> + Send + Sync>;

/// What a reader hands over: a piece of work, or why it cannot go on.
type Handover = Result<Work, ReadFailure>;

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
    work: &Sender<Handover>,
    stopping: &Arc<AtomicBool>,
) -> Over {
    let (reading, over) = bounded(1);
    let (ended, failed) = (Ended::default(), Arc::<AtomicBool>::default());
    let open = Arc::new(Mutex::new(splits.open));
    for number in 0..splits.at_once {
        let (open, new_turns) = (open.clone(), Arc::clone(new_turns));
        let (work, stopping) = (work.clone(), stopping.clone());
        let (reading, ended) = (reading.clone(), Arc::clone(&ended));
        let failed = Arc::clone(&failed);
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
                    let last = read(reader, split, turns.clone(), &work, &stopping)?;
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
    split: u32,
    turns: Arc<SplitTurns>,
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
