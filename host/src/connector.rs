//! The ends of a pipeline: readers of splits and writers of batches. All of them block, so each
//! runs on a thread of its own and never on a slot.

pub mod file;
pub mod generator;
mod position;
mod reader;
pub mod sink;

use std::{io, path::PathBuf};

use wasmill_core::{batch::Batch, checkpoint::CheckpointId, lineage::Chunk};

pub use position::Position;
pub use reader::ROW_BYTES_MAX;
pub use sink::{
    FollowError,
    share::{Share, Spooled},
};

use crate::crash_point::CrashPoint;

/// Reads one split from its start, in order.
pub trait SplitReader: Send {
    /// The next rows: about `bytes_max` bytes of them under load, fewer where no more are there
    /// yet. Blocks until there is a row; none at the end of the split.
    fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Chunk>, ConnectorError>;
}

/// Waits between two looks at an input that may grow.
pub trait Waiter: Send {
    /// Returns after a while, or at once when there is something new; false asks the reader to
    /// stop.
    fn wait(&mut self) -> bool;
}

/// Takes the rows at the end of a pipeline.
pub trait Sink: Send {
    /// Takes a batch; its rows may stay in a buffer until [`Sink::flush`].
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError>;

    /// Hands everything written so far to the outside.
    fn flush(&mut self) -> Result<(), ConnectorError>;

    /// Flushes and lets go of the output.
    fn close(&mut self) -> Result<(), ConnectorError> {
        self.flush()
    }
}

/// A sink whose output holds the rows of decided checkpoints, each once: it gathers rows, hands
/// them in as its share of a checkpoint, and brings them out when that is decided.
///
/// A share chains to the one before: it says behind which decided checkpoint its rows begin, and is
/// applied only to an output whose marker says just that. So a notice that was lost, or an output
/// that another run has written to, is an error and never a row too many or too few.
pub trait Follower: Send {
    /// Gathers the rows of a batch. They are encoded at once; beyond a few MiB they lie in an
    /// unnamed file.
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError>;

    /// The rows since the newest decided checkpoint, at the barrier of `checkpoint`. What was
    /// handed in for a checkpoint that was aborted is in it again: as if that had never been
    /// triggered.
    fn share(&mut self, checkpoint: CheckpointId) -> Result<Share, ConnectorError>;

    /// The checkpoint is decided: what was handed in for it, or before, is forgotten. To be told
    /// before the next [`Follower::share`].
    fn decided(&mut self, checkpoint: CheckpointId);

    /// Brings out the share of a decided checkpoint together with the marker; both are durable when
    /// it returns. What the marker says is done is skipped. After a crash at any point, or an
    /// error, the same call gives the same output.
    fn apply(&mut self, checkpoint: CheckpointId, share: &Share) -> Result<(), ConnectorError>;

    /// The newest checkpoint of this job that is applied, durably; none if there is no marker.
    fn marker(&mut self) -> Result<Option<CheckpointId>, ConnectorError>;

    /// The crash point right behind its commits, for tests that die between those of two sinks.
    fn commit_point(&self) -> Option<CrashPoint> {
        None
    }
}

/// Why a source or sink cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// An input cannot be opened or read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An output cannot be made or written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A database cannot be written.
    #[error(
        "the database `{}` cannot be written; is it another program's, or has its table other \
         columns?",
        path.display()
    )]
    Sqlite {
        /// The database's file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// No file matches.
    #[error(
        "no file matches `{pattern}`; check the path, or `follow` the folder to wait for files"
    )]
    NoMatch {
        /// The path or pattern as it was given.
        pattern: String,
    },
    /// A glob that is none.
    #[error("`{pattern}` is not a pattern of paths: {reason}")]
    Pattern {
        /// The pattern as it was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A followed file became shorter.
    #[error(
        "`{}` became shorter while it was followed; append to files, or write new ones",
        path.display()
    )]
    Shrunk {
        /// The file.
        path: PathBuf,
    },
    /// Rows that wait for a checkpoint have no room.
    #[error("rows that wait for a checkpoint cannot be kept in `{}`", folder.display())]
    Spool {
        /// The folder of the unnamed file.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A sink cannot follow checkpoints.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// A file that a checkpoint was taken of is not as it was.
    #[error(
        "`{}` has {found} bytes, and the checkpoint was taken {wanted} bytes into it; bring the \
         file back, or begin anew with --fresh",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// How far it had been read.
        wanted: u64,
    },
    /// The batch cannot be written in the sink's format.
    #[error("the rows cannot be encoded")]
    Encode(#[from] crate::format::FormatError),
}
