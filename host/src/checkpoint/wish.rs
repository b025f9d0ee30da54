//! What someone outside wants of a job's checkpoints, and where the answer goes.

use async_channel::Sender;
use wasmill_core::checkpoint::{CheckpointId, Request};

/// What someone wants.
#[derive(Debug)]
pub enum Wish {
    /// A checkpoint with which the job ends.
    Take(Request),
    /// A savepoint; the job goes on. The answer is its number.
    Savepoint(Sender<Result<CheckpointId, String>>),
    /// The input is to be cut off, and the job to finish.
    Drain,
    /// A savepoint has had its time. The answer is whether it is gone already.
    Dispose(CheckpointId, Sender<Result<bool, String>>),
}

/// Those who wait for an answer; dropped without one, they learn that the attempt has ended.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    savepoints: Vec<Sender<Result<CheckpointId, String>>>,
}

impl Waiting {
    /// Someone waits for the next savepoint.
    pub(super) fn add(&mut self, answer: Sender<Result<CheckpointId, String>>) {
        // Whoever has gone waits no more.
        self.savepoints.retain(|waiting| !waiting.is_closed());
        self.savepoints.push(answer);
    }

    /// A savepoint is decided.
    pub(super) fn answer(&mut self, savepoint: CheckpointId) {
        for waiting in self.savepoints.drain(..) {
            // A channel for one answer has room for it.
            let _ = waiting.try_send(Ok(savepoint));
        }
    }
}
