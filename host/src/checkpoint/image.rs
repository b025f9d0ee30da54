//! What a subtask hands over at a barrier: taken on its slot, encoded elsewhere.

use bytes::Bytes;
use serde_json::Value;
use wasmill_core::checkpoint::SourceState;

use crate::{connector::Share, segment};

/// State as of a barrier. It does not change any more, whatever its owner goes on to do.
pub trait Image: Send {
    /// Writes it down; called on a thread that may take its time.
    ///
    /// # Errors
    /// In words, if the state cannot be written: the checkpoint is then declined.
    fn encode(self: Box<Self>) -> Result<Encoded, String>;
}

/// State of one owner in one subtask, written down.
#[derive(Debug, Default)]
pub struct Encoded {
    /// What is by key.
    pub segment: Option<segment::Encoded>,
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
