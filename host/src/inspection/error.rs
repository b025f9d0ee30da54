//! Why a checkpoint cannot be looked at.

use arrow_schema::ArrowError;
use wasmill_core::checkpoint::{CheckpointId, RecoveryError};

use crate::{checkpoint::StorageError, format::FormatError, segment::SegmentError};

/// Why a checkpoint, or state in it, cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectionError {
    /// The storage cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// No such job.
    #[error(
        "there are no checkpoints of a job `{job}`{hint}: name the pipeline's file, or --storage"
    )]
    NoJob {
        /// The name.
        job: String,
        /// The nearest right name, or nothing.
        hint: String,
    },
    /// More than one job, or range of key groups, where one is meant.
    #[error("there are several: {names}; name one")]
    Several {
        /// Their names.
        names: String,
    },
    /// No checkpoint has been decided.
    #[error("job `{job}` has no decided checkpoint yet")]
    Nothing {
        /// The job.
        job: String,
    },
    /// No such checkpoint.
    #[error("checkpoint {checkpoint} is not kept, there are {kept}")]
    NoCheckpoint {
        /// Its number.
        checkpoint: CheckpointId,
        /// Those that are.
        kept: String,
    },
    /// A checkpoint whose manifest cannot be read.
    #[error("checkpoint {checkpoint} cannot be read: {reason}")]
    Manifest {
        /// Its number.
        checkpoint: CheckpointId,
        /// Why not.
        reason: String,
    },
    /// An object is gone, or is not what was written.
    #[error("`{name}` {reason}; `wasmill checkpoint verify` finds every damage")]
    Object {
        /// Its full name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A segment is not what the format says.
    #[error("`{name}` cannot be read")]
    Segment {
        /// Its full name.
        name: String,
        /// Why not.
        #[source]
        source: SegmentError,
    },
    /// The manifest says of an operator's schema what cannot be.
    #[error("operator `{operator}`: {reason}")]
    Schema {
        /// The operator's uid.
        operator: String,
        /// What is wrong.
        reason: String,
    },
    /// No such operator.
    #[error("the checkpoint has no state of an operator `{operator}`; {hint}")]
    NoOperator {
        /// The uid.
        operator: String,
        /// What there is.
        hint: String,
    },
    /// No such state.
    #[error("operator `{operator}` has no state `{state}` in the checkpoint; {hint}")]
    NoState {
        /// The operator.
        operator: String,
        /// The state.
        state: String,
        /// What there is.
        hint: String,
    },
    /// A key that the operator cannot have.
    #[error("`{text}` is no key of operator `{operator}`: {reason}")]
    Key {
        /// The operator.
        operator: String,
        /// What was given.
        text: String,
        /// What a key looks like.
        reason: String,
    },
    /// State that does not decode.
    #[error("{place}: {reason}; `wasmill checkpoint verify` finds every damage")]
    Value {
        /// Operator, state and key.
        place: String,
        /// Why not.
        reason: String,
    },
    /// The question is wrong.
    #[error("{0}")]
    Sql(String),
    /// Rows cannot be put into columns.
    #[error(transparent)]
    Columns(#[from] ArrowError),
    /// Rows cannot be written as text.
    #[error(transparent)]
    Text(#[from] FormatError),
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Write(#[from] std::io::Error),
}
