//! Why a job has no checkpoints.

use wasmill_core::checkpoint::{
    AttemptError, CheckpointId, Incompatible, RecoveryError, VerdictError,
};

use super::super::{MigrationError, StorageError};
use crate::connector::ConnectorError;

/// Why a job has no checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointsError {
    /// The storage cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is stored cannot be restored.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// What is stored is another pipeline's.
    #[error("{0}; change the pipeline back, run it under another name, or begin anew with --fresh")]
    Incompatible(Incompatible),
    /// An object that the checkpoint names is gone or damaged.
    #[error("checkpoint {checkpoint} cannot be restored: `{name}` {reason}")]
    Damaged {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The object.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// State cannot be brought to a new schema.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// A savepoint that was named cannot be used.
    #[error("`{place}` {reason}")]
    Origin {
        /// Where it should lie.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What a deciding sink says and what is stored contradict each other.
    #[error(transparent)]
    Verdict(#[from] VerdictError),
    /// The attempt cannot go on.
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    /// A sink has no marker; the text says where it would stand.
    #[error("{0}; if it has been written to, its marker is lost: bring back {1}")]
    NoMarker(AttemptError, String),
    /// A sink has ended.
    #[error("sink `{0}` has failed")]
    SinkFailed(String),
    /// A sink cannot bring out what is decided.
    #[error("`{name}`")]
    Sink {
        /// The sink.
        name: String,
        /// Why.
        source: Box<ConnectorError>,
    },
}

impl CheckpointsError {
    /// What is wrong with a sink.
    pub(super) fn sink(name: &str, source: ConnectorError) -> Self {
        Self::Sink {
            name: name.into(),
            source: Box::new(source),
        }
    }
}
