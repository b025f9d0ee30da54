//! What subtasks tell the coordinator, and what sinks are told.

use async_channel::{Receiver, Sender, bounded};
use wasmill_core::checkpoint::{CheckpointId, SubtaskIndex, Verdict};

use super::TaskImage;
use crate::{
    connector::Share,
    exchange::gate::{Barrier, Gone},
};

/// Reports that may wait for the coordinator.
const REPORTS_MAX: usize = 64;

/// What a subtask tells.
pub enum Report {
    /// Its share of a checkpoint.
    Snapshot {
        /// The barrier that it was taken at.
        barrier: Barrier,
        /// Who took it.
        subtask: SubtaskIndex,
        /// What it is.
        image: TaskImage,
    },
    /// A source subtask has no more rows.
    InputEnded,
    /// What a sink's own marker says.
    Applied {
        /// The sink.
        sink: String,
        /// The newest checkpoint that it has applied.
        marker: Option<CheckpointId>,
    },
    /// The deciding sink has committed a checkpoint.
    Committed {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// A sink has ended with an error, which it tells when its thread is joined.
    SinkFailed {
        /// The sink.
        sink: String,
    },
    /// A subtask cannot take part in a checkpoint.
    Declined {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Who.
        subtask: SubtaskIndex,
        /// Why.
        reason: String,
    },
}

/// What a sink that follows checkpoints is told.
pub enum SinkOrder {
    /// The checkpoint is decided: what was handed in for it is out of the sink's hands.
    Decided(CheckpointId),
    /// Bring out what a decided checkpoint names.
    Apply(CheckpointId, Share),
    /// Commit what came before a checkpoint's barrier, with the verdict: that decides it.
    Commit(Verdict),
    /// The checkpoint is given up. Only a sink that decides is told.
    Aborted(CheckpointId),
}

/// The way of reports.
pub fn reports() -> (Sender<Report>, Receiver<Report>) {
    bounded(REPORTS_MAX)
}

/// A subtask's way to the coordinator.
#[derive(Clone)]
pub struct Reporter {
    subtask: SubtaskIndex,
    reports: Sender<Report>,
}

impl Reporter {
    /// The way of a subtask.
    pub fn new(subtask: SubtaskIndex, reports: Sender<Report>) -> Self {
        Self { subtask, reports }
    }

    /// Hands over the subtask's share of a checkpoint.
    ///
    /// # Errors
    /// If nobody listens any more: the job is ending.
    pub async fn snapshot(&self, barrier: Barrier, image: TaskImage) -> Result<(), Gone> {
        let subtask = self.subtask;
        self.send(Report::Snapshot {
            barrier,
            subtask,
            image,
        })
        .await
    }

    /// Tells that a source subtask has come to the end of its input.
    ///
    /// # Errors
    /// As for [`Reporter::snapshot`].
    pub async fn input_ended(&self) -> Result<(), Gone> {
        self.send(Report::InputEnded).await
    }

    /// Tells what a sink's marker says.
    ///
    /// # Errors
    /// As for [`Reporter::snapshot`].
    pub async fn applied(&self, sink: &str, marker: Option<CheckpointId>) -> Result<(), Gone> {
        let sink = sink.to_owned();
        self.send(Report::Applied { sink, marker }).await
    }

    /// Tells that a checkpoint is committed.
    ///
    /// # Errors
    /// As for [`Reporter::snapshot`].
    pub async fn committed(&self, checkpoint: CheckpointId) -> Result<(), Gone> {
        self.send(Report::Committed { checkpoint }).await
    }

    /// Tells that a sink has ended with an error: no rows may come that would show it.
    ///
    /// # Errors
    /// As for [`Reporter::snapshot`].
    pub async fn failed(&self, sink: &str) -> Result<(), Gone> {
        let sink = sink.to_owned();
        self.send(Report::SinkFailed { sink }).await
    }

    /// Tells that the subtask has no share to hand over.
    ///
    /// # Errors
    /// As for [`Reporter::snapshot`].
    pub async fn decline(&self, checkpoint: CheckpointId, reason: String) -> Result<(), Gone> {
        let subtask = self.subtask;
        self.send(Report::Declined {
            checkpoint,
            subtask,
            reason,
        })
        .await
    }

    async fn send(&self, report: Report) -> Result<(), Gone> {
        self.reports.send(report).await.map_err(|_| Gone)
    }
}
