//! Readers: the threads that read splits and hand their chunks to source subtasks.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
/// What a reader hands over: a piece of work, or why it cannot go on.
type Handover = Result<Work, ReadFailure>;

/// The channel between a source's readers and its subtasks.
pub(super) fn channel() -> (Sender<Handover>, Receiver<Handover>) {
    bounded(CHUNKS_MAX)
}

/// Starts the readers of a source; they share its splits.
pub(super) fn start(
    name: &str,
    splits: Splits,
    new_turns: impl Fn(&str, Position) -> Arc<SplitTurns> + Send + Sync + 'static,
    work: &Sender<Handover>,
    stopping: &Arc<AtomicBool>,
) {
    let open = Arc::new(Mutex::new(splits.open));
    let new_turns = Arc::new(new_turns);
    for number in 0..splits.at_once {
        let (open, new_turns) = (open.clone(), new_turns.clone());
        let (work, stopping) = (work.clone(), stopping.clone());
        // Nobody joins a reader: one that waits for standard input cannot be woken, and holds
        // nothing that matters.
        spawn::thread(&format!("read-{name}-{number}"), move || {
            loop {
                let next = (open.lock())();
                let Some(opened) = next else { return };
                let split = opened.split;
                let read = || {
                    let read = opened.reader.and_then(|reader| {
                        let turns = new_turns(&opened.name, opened.from);
                        read(reader, split, turns, &work, &stopping)
                    });
                    read.map_err(|error| ReadFailure {
                        message: explain(&error),
                        is_lasting: error.is_lasting(),
                    })
                };
                // A reader that panics must not look like the end of its split.
                let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
                    Err(ReadFailure {
                        message: JobError::Panic(super::panic_message(&*panic)).to_string(),
                        is_lasting: true,
                    })
                });
                if let Err(failure) = read {
                    // If nobody listens the job has ended for another reason.
                    let _ = work.send_blocking(Err(failure));
                    return;
                }
            }
        });
    }
}

fn read(
    mut reader: Box<dyn SplitReader>,
    split: u32,
    turns: Arc<SplitTurns>,
    work: &Sender<Handover>,
    stopping: &AtomicBool,
) -> Result<(), ConnectorError> {
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
            return Ok(());
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
