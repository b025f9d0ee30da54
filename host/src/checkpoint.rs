//! Checkpoints at work: what subtasks report, where it is stored, and the loop that has the
//! coordinator of `core` decide.

mod barriers;
mod driver;
mod image;
mod ledger;
mod migration;
mod origin;
mod reporter;
mod storage;
mod wish;

pub use barriers::{Progress, SourceBarriers, SplitTurns};
pub use driver::{
    Begun, Checkpoints, CheckpointsError, Detour, DryRun, Found, Handle, Plan, Restored,
    RestoredOperator, dry_run, orders, read_log, recover,
};
pub use image::{Encoded, Image, SharedImage, StateImage, TaskImage};
pub use ledger::{Completed, Ledger, State, Underway, completed};
pub use migration::{MigratedState, MigrationError, Offer, Offers};
pub use origin::{Beginning, NoOrigin, Origin, Place};
pub use reporter::{Report, Reporter, SinkOrder, reports};
pub use storage::{Storage, StorageError};
pub use wish::Wish;
