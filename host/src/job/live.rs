//! What may be watched of a job while it runs: counters, and nothing that its tasks wait for.

use std::sync::Arc;

use super::Ending;
use crate::{
    checkpoint::Ledger,
    metrics::{Gauge, Node, SourceMetrics, Waits},
    task::slot::TaskClock,
};

/// A running job as others may look at it and ask it to end.
#[derive(Clone)]
pub struct Live {
    /// The pipeline's name.
    pub name: String,
    /// Subtasks of a task.
    pub parallelism: usize,
    /// Sources, operators and sinks with their counters.
    pub nodes: Vec<Node>,
    /// The tasks on slots.
    pub tasks: Vec<TaskView>,
    /// Its checkpoints, if it takes any.
    pub checkpoints: Option<Arc<Ledger>>,
    /// Asks it to end, and for savepoints.
    pub ending: Ending,
}

/// A task and its subtasks.
#[derive(Clone)]
pub struct TaskView {
    /// Its name in the plan.
    pub name: String,
    /// The source that it reads, and how far its splits are.
    pub source: Option<(String, Arc<SourceMetrics>)>,
    /// The operators of its chain.
    pub operators: Vec<String>,
    /// Its subtasks.
    pub subtasks: Vec<SubtaskView>,
}

/// One subtask.
#[derive(Clone, Default)]
pub struct SubtaskView {
    /// How long it has run.
    pub clock: Arc<TaskClock>,
    /// How long it has waited for those behind it.
    pub waits: Arc<Waits>,
    /// The event time up to which it has come; of a source its splits tell that.
    pub watermark: Arc<Gauge>,
}

impl TaskView {
    /// The least watermark; none where no row has come.
    pub fn watermark(&self) -> i64 {
        match &self.source {
            Some((_, metrics)) => metrics.watermark(),
            None => {
                let subtasks = self.subtasks.iter().map(|subtask| subtask.watermark.get());
                subtasks.min().unwrap_or(i64::MIN)
            }
        }
    }

    /// Microseconds that its subtasks have run, and that they have waited for those behind them.
    pub fn spent_us(&self) -> (u64, u64) {
        let busy = self.subtasks.iter().map(|subtask| {
            let busy = subtask.clock.busy().as_micros();
            u64::try_from(busy).unwrap_or(u64::MAX)
        });
        let waits = self.subtasks.iter().map(|subtask| subtask.waits.total_us());
        (busy.sum(), waits.sum())
    }
}
