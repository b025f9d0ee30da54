//! Checkpoints at work: what subtasks report, where it is stored, and the loop that has the
//! coordinator of `core` decide.

mod barriers;
mod driver;
mod image;
mod migration;
mod reporter;
mod storage;

pub use barriers::{Progress, SourceBarriers, SplitTurns};
pub use driver::{
    Begun, Checkpoints, CheckpointsError, DryRun, Handle, Plan, Restored, RestoredOperator,
    dry_run, orders,
};
pub use image::{Encoded, Image, StateImage, TaskImage};
pub use migration::{MigratedState, MigrationError, Offer, Offers};
pub use reporter::{Report, Reporter, SinkOrder, reports};
pub use storage::{Storage, StorageError};
