//! What a subtask hands over at a barrier: taken on its slot, encoded elsewhere.

use bytes::Bytes;
use serde_json::Value;
use wasmill_core::checkpoint::{Segment, SourceState};

use crate::{connector::Share, segment::Put};

/// State as of a barrier. It does not change any more, whatever its owner goes on to do.
pub trait Image: Send {
    /// Writes it down; called on a thread that may take its time. What is by key goes to `put`,
    /// segment by segment. `earlier` is what the checkpoint that it may build on has of the same
    /// owner, in all subtasks; nothing if it stands alone.
    ///
    /// # Errors
    /// In words, if the state cannot be written: the checkpoint is then declined.
    fn encode(self: Box<Self>, earlier: &[Segment], put: Put<'_>) -> Result<Encoded, String>;
}

/// State of one owner in one subtask, beside the segments that were written for it.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The earlier segments that still count, before those that were written.
    pub kept: Vec<Segment>,
    /// What is not: small things, and large ones.
    pub parts: Vec<(Value, Vec<Bytes>)>,
}

/// What one operator keeps in one subtask, or what its gate keeps for several.
pub struct StateImage {
    /// The operator's name in the document, or the gate's in the plan.
    pub uid: String,
    /// Its watermark.
    pub watermark: i64,
    /// The subtask within its task.
    pub subtask: u16,
    /// The state.
    pub image: Box<dyn Image>,
}

/// A subtask's share of a checkpoint.
#[derive(Default)]
pub struct TaskImage {
    /// Where the splits of a source stood, told by the last of its subtasks.
    pub source: Option<(String, SourceState)>,
    /// The operators with state.
    pub operators: Vec<StateImage>,
    /// What a sink has to do once the checkpoint is decided.
    pub sink: Option<(String, Share)>,
}
