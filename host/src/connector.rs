//! The ends of a pipeline: readers of splits and writers of batches. All of them block, so each
//! runs on a thread of its own and never on a slot.

pub mod file;
pub mod generator;
pub mod kafka;
mod position;
mod reader;
pub mod sink;

use std::{error::Error, io, path::PathBuf, time::Duration};

use wasmill_core::{
    batch::Batch,
    checkpoint::{CheckpointId, Verdict},
    lineage::Chunk,
};

pub use kafka::KafkaError;
pub use position::Position;
pub use reader::ROW_BYTES_MAX;
pub use sink::{
    FollowError, PostgresError,
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

    /// Hands everything written so far to the outside, because nothing more is there to write at
    /// the moment.
    fn flush(&mut self) -> Result<(), ConnectorError>;

    /// Everything written so far stands outside when it returns: a checkpoint may count on it.
    fn settle(&mut self) -> Result<(), ConnectorError> {
        self.flush()
    }

    /// Settles, and lets go of the output.
    fn close(&mut self) -> Result<(), ConnectorError> {
        self.settle()
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
    /// error, the same call gives the same output. It may be tried again after
    /// [`ConnectorError::Away`].
    fn apply(&mut self, checkpoint: CheckpointId, share: &Share) -> Result<(), ConnectorError>;

    /// The newest checkpoint of this job that is applied, durably; none if there is no marker.
    fn marker(&mut self) -> Result<Option<CheckpointId>, ConnectorError>;

    /// Bytes of rows that wait for their checkpoint: asked while the output is away, when no rows
    /// are taken beyond a bound; 0 for an output that is never away. Of a sink that decides the
    /// bytes that it holds back.
    fn waiting_bytes(&self) -> u64 {
        0
    }

    /// The sink as one that decides, where its transactions do.
    fn decider(&mut self) -> Option<&mut dyn Decider> {
        None
    }

    /// The crash point right behind its commits, for tests that die between those of two sinks.
    fn commit_point(&self) -> Option<CrashPoint> {
        None
    }
}

/// A follower whose own transactions decide the job's checkpoints: its rows go out as they come,
/// into an open transaction, and [`Follower::share`] hands in none of them. Behind a barrier it
/// holds rows back until that checkpoint is committed or given up: what is behind must not get into
/// the transaction that decides.
pub trait Decider: Follower {
    /// Commits all rows before the barrier together with the verdict, durably. Of an error nobody
    /// knows whether the commit happened: then the attempt ends, and the next one reads the newest
    /// verdict.
    fn commit(&mut self, verdict: &Verdict) -> Result<(), ConnectorError>;

    /// The checkpoint was given up: rows go on as if its barrier had never come.
    fn aborted(&mut self, checkpoint: CheckpointId) -> Result<(), ConnectorError>;
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
    /// A table of PostgreSQL cannot be written.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A topic of Kafka cannot be read or written.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A database is away; it may come back.
    #[error("{place} is away: {cause}")]
    Away {
        /// The database.
        place: String,
        /// How long it may be away before the job fails.
        give_up_after: Duration,
        /// What happened.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A database has been away for too long.
    #[error(
        "{place} has been away for {waited}; start it, then start the job again: nothing is lost. \
         A job waits longer with `give-up-after`"
    )]
    GaveUp {
        /// The database.
        place: String,
        /// How long it has been away.
        waited: String,
        /// What happened.
        source: Box<dyn Error + Send + Sync>,
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
    /// A file that a checkpoint was taken of holds other rows.
    #[error(
        "`{}` was changed: before byte {before}, up to which it had been read when the checkpoint \
         was taken, stand other bytes now; bring the file back, or begin anew with --fresh",
        path.display()
    )]
    Rewritten {
        /// The file.
        path: PathBuf,
        /// How far it had been read.
        before: u64,
    },
    /// The batch cannot be written in the sink's format.
    #[error("the rows cannot be encoded")]
    Encode(#[from] crate::format::FormatError),
}

impl ConnectorError {
    /// Of an input that is too short: how long it should be.
    fn wanting(self, bytes: u64) -> Self {
        match self {
            Self::Changed { path, found, .. } => Self::Changed {
                path,
                found,
                wanted: bytes,
            },
            other => other,
        }
    }

    /// Whether the same would happen again if it was tried later: something must be changed first.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::Spool { .. } => false,
            Self::Away { .. } | Self::GaveUp { .. } => false,
            Self::Kafka(error) => !error.is_away(),
            Self::Encode(error) => error.is_lasting(),
            Self::Follow(FollowError::Busy { .. } | FollowError::Committed { .. }) => false,
            Self::Sqlite { source, .. } => sink::sqlite::is_lasting(source),
            _ => true,
        }
    }
}
