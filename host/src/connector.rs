//! The ends of a pipeline: readers of splits and writers of batches. All of them block, so each
//! runs on a thread of its own and never on a slot.

pub mod file;
pub mod generator;
mod reader;
pub mod sink;

use std::{io, path::PathBuf};

use wasmill_core::{batch::Batch, lineage::Chunk};

pub use reader::ROW_BYTES_MAX;

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
    /// The batch cannot be written in the sink's format.
    #[error("the rows cannot be encoded")]
    Encode(#[from] crate::format::FormatError),
}
