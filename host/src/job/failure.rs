//! Which failures of a job a restart may mend.

use wasmill_core::{
    checkpoint::{AttemptError, RecoveryError},
    restart::Failure,
};

use super::{JobError, readers};
use crate::{
    checkpoint::{CheckpointsError, StorageError},
    connector::{ConnectorError, FollowError},
    operator::OperatorError,
    task::chain::TaskError,
};

impl JobError {
    /// Whether a restart may mend it.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Open { source, .. } | Self::Sink { source, .. } => connector(source),
            Self::Build(_) => Failure::Lasting,
            Self::Disk(_) => Failure::Passing,
            Self::Task(error) => self.task(error),
            Self::Checkpoints(error) => checkpoints(error),
            // Ours to mend; until then it hangs on the rows, or on how threads met.
            Self::Panic(_) => self.here(),
        }
    }

    /// Whether another run of the job has taken over.
    pub fn is_fenced(&self) -> bool {
        let overtaken = |error: &ConnectorError| {
            matches!(
                error,
                ConnectorError::Follow(FollowError::Overtaken { .. } | FollowError::Fenced { .. })
            )
        };
        match self {
            Self::Checkpoints(CheckpointsError::Attempt(AttemptError::Fenced { .. })) => true,
            Self::Sink { source, .. } | Self::Open { source, .. } => overtaken(source),
            Self::Checkpoints(CheckpointsError::Sink { source, .. }) => overtaken(source),
            _ => false,
        }
    }

    fn task(&self, error: &TaskError) -> Failure {
        match error {
            // The row has been tried alone, in an instance of its own, before it was blamed; and
            // decoding knows nothing but the row.
            // An instance that cannot be started fails on nothing but its plugin's bytes.
            TaskError::Operator(OperatorError::Failed { .. } | OperatorError::Start { .. })
            | TaskError::Row { .. } => Failure::Lasting,
            TaskError::Source { is_lasting, .. } => match is_lasting {
                true => Failure::Lasting,
                false => Failure::Passing,
            },
            TaskError::Gone(_) | TaskError::Lost(_) => Failure::Passing,
            _ => self.here(),
        }
    }

    /// What failed is known by the words: they name the place.
    fn here(&self) -> Failure {
        Failure::At(readers::explain(self))
    }
}

fn connector(error: &ConnectorError) -> Failure {
    match error.is_lasting() {
        true => Failure::Lasting,
        false => Failure::Passing,
    }
}

fn checkpoints(error: &CheckpointsError) -> Failure {
    match error {
        CheckpointsError::Storage(StorageError::Running { .. }) => Failure::Lasting,
        CheckpointsError::Storage(_) => Failure::Passing,
        CheckpointsError::Recovery(
            RecoveryError::Unreadable { .. } | RecoveryError::Outrun { .. },
        ) => Failure::Passing,
        CheckpointsError::Attempt(AttemptError::Failures { .. }) => Failure::Passing,
        CheckpointsError::Sink { source, .. } => connector(source),
        // Its own error comes in place of this one.
        CheckpointsError::SinkFailed(_) => Failure::Passing,
        _ => Failure::Lasting,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_is_around_a_job_may_pass_and_what_is_in_it_does_not() {
        let write = |kind: io::ErrorKind| JobError::Sink {
            name: "out".into(),
            source: ConnectorError::Write {
                path: "out".into(),
                source: kind.into(),
            },
        };
        let full = write(io::ErrorKind::StorageFull);
        assert_eq!(full.failure(), Failure::Passing);
        let row = OperatorError::Failed {
            operator: "rules".into(),
            message: "row 4 of `in`: no".into(),
        };
        let row = JobError::Task(TaskError::Operator(row));
        assert_eq!(row.failure(), Failure::Lasting);
        let panic = JobError::Panic("index out of bounds".into());
        assert!(matches!(panic.failure(), Failure::At(place) if place.contains("out of bounds")));
        let entry = "default/j/0-127/log/0000000009".into();
        let fenced = CheckpointsError::Attempt(AttemptError::Fenced { entry });
        let fenced = JobError::Checkpoints(fenced);
        assert!(fenced.is_fenced() && fenced.failure() == Failure::Lasting);
        assert!(!full.is_fenced() && !row.is_fenced());
    }
}
