//! Why a sink cannot follow checkpoints: its output is not as the checkpoints left it.

use std::path::PathBuf;

use wasmill_core::checkpoint::{AttemptId, CheckpointId};

/// Why a sink cannot follow checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// A file stands where the output shall be, and nothing tells whose it is.
    #[error(
        "`{}` is there without its commit log `{}`, so it is not this job's; move it away, or \
         replace it with --fresh", path.display(), commits.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Its commit log.
        commits: PathBuf,
    },
    /// The output belongs to another sink.
    #[error(
        "`{}` belongs to sink `{sink}` of job `{job}`; write to another file, or replace it with \
         --fresh", path.display()
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// The job that wrote it.
        job: String,
        /// The sink that wrote it.
        sink: String,
    },
    /// A pipe, a device, a folder.
    #[error(
        "`{}` is not a file, and only in a file can rows stand exactly once; say `delivery: \
         at-least-once`", path.display()
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Committed bytes are gone.
    #[error(
        "`{}` has {found} bytes, and its commit log says that {committed} are committed; bring the \
         file back, or begin anew with --fresh", path.display()
    )]
    Shorter {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// How many bytes it should have at least.
        committed: u64,
    },
    /// Committed bytes are others than were written.
    #[error(
        "`{}` was changed: the rows of checkpoint {checkpoint}, from byte {offset} on, are others \
         than its commit log says; bring the file back, or begin anew with --fresh",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Where its rows begin.
        offset: u64,
    },
    /// There are bytes behind the committed ones that we did not write.
    #[error(
        "`{}` was changed: another program wrote behind byte {committed}, where the committed rows \
         end; cut the file there, or begin anew with --fresh", path.display()
    )]
    Tail {
        /// The file.
        path: PathBuf,
        /// How many bytes are committed.
        committed: u64,
    },
    /// A CSV file has a header for other columns.
    #[error(
        "`{}` begins with the columns {}, and the pipeline writes {}; write to another file, or \
         begin anew with --fresh", path.display(), found.trim_end(), wanted.trim_end()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// The header in it.
        found: String,
        /// The header of the pipeline's columns.
        wanted: String,
    },
    /// A commit log that cannot be read.
    #[error(
        "the commit log `{}` is damaged in line {line}; bring it back, or begin anew with --fresh",
        path.display()
    )]
    Log {
        /// The commit log.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// Someone else is applying a checkpoint at this moment.
    #[error("another process is writing to `{}`; let it end, then start again", path.display())]
    Busy {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The output is not as this run has left it.
    #[error(
        "another run has written to {place}: its marker stands at {}; let one run write there",
        told(.marker)
    )]
    Overtaken {
        /// The output.
        place: String,
        /// What its marker says.
        marker: Option<CheckpointId>,
    },
    /// A checkpoint was committed since the log was read.
    #[error(
        "checkpoint {marker} was committed while this run began with {}: the next start goes on \
         from it", told(.since)
    )]
    Committed {
        /// The checkpoint.
        marker: CheckpointId,
        /// What the run began with.
        since: Option<CheckpointId>,
    },
    /// A later attempt of the job has taken the output over.
    #[error(
        "attempt {attempt} of this job has taken over {place}, and this is attempt {own}: let one \
         run write there; if the job's checkpoints were deleted, begin anew with --fresh"
    )]
    Fenced {
        /// The output.
        place: String,
        /// The attempt that it belongs to.
        attempt: AttemptId,
        /// This attempt.
        own: AttemptId,
    },
    /// The output is as it was before.
    #[error(
        "{place} was brought back from a copy: its marker stands at {}, and this run had brought \
         it to {}; start the job again, which brings out what is missing as far as its \
         checkpoints are kept", told(.marker), told(.known)
    )]
    Older {
        /// The output.
        place: String,
        /// What its marker says.
        marker: Option<CheckpointId>,
        /// What it said before.
        known: Option<CheckpointId>,
    },
    /// The output is gone, and its marker is not.
    #[error(
        "{place} is gone, and its marker says that it holds the rows up to checkpoint {marker}; \
         bring it back, or begin anew with --fresh"
    )]
    Gone {
        /// The output.
        place: String,
        /// What its marker says.
        marker: CheckpointId,
    },
    /// The job goes on from an older checkpoint than the output has.
    #[error(
        "it holds the rows up to checkpoint {marker}, and the job goes on from {}: rows would be \
         doubled; give one of them another name if two jobs have this one, bring its data back as \
         of there, or empty it and begin anew with --fresh",
        told(.since)
    )]
    Ahead {
        /// What the output's marker says.
        marker: CheckpointId,
        /// What the job goes on from.
        since: Option<CheckpointId>,
    },
    /// A share does not begin where the output ends.
    #[error(
        "the rows of checkpoint {checkpoint} begin behind {}, and {place} holds those up to {}: \
         rows would be doubled or missing; bring its data back as of where the job begins, or \
         empty it and begin anew with --fresh", told(.since), told(.marker)
    )]
    Unchained {
        /// The output.
        place: String,
        /// What shall be applied.
        checkpoint: CheckpointId,
        /// Behind which checkpoint its rows begin.
        since: Option<CheckpointId>,
        /// What the output's marker says.
        marker: Option<CheckpointId>,
    },
    /// A share that we did not write, or no longer understand.
    #[error("the share of sink `{sink}` in a checkpoint cannot be read: {reason}")]
    Share {
        /// The sink.
        sink: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A marker in words.
fn told(marker: &Option<CheckpointId>) -> String {
    marker.map_or("nothing".to_owned(), |checkpoint| {
        format!("checkpoint {checkpoint}")
    })
}
