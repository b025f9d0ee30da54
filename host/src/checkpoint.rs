//! Checkpoints at work: what subtasks report, where it is stored, and the loop that has the
//! coordinator of `core` decide.

mod barriers;
mod driver;
mod image;
mod reporter;
mod storage;

pub use barriers::{Progress, SourceBarriers, SplitTurns};
pub use driver::{
    Begun, Checkpoints, CheckpointsError, Handle, Plan, Restored, RestoredOperator, orders,
};
pub use image::{Encoded, Image, StateImage, TaskImage};
pub use reporter::{Report, Reporter, SinkOrder, reports};
pub use storage::{Storage, StorageError};
