//! From a logical graph to tasks and edges.
//!
//! Rows cross an edge only where they must: to meet those of the same key, to meet those of another
//! task, or to reach a sink. Whatever else can happen in the task of its producer happens there.
//! All operators that group the same streams by the same columns in the same order share one task
//! behind one exchange, however many they are.

mod build;
mod carried;
mod columns;

use arrow_schema::SchemaRef;

use crate::feature::Feature;
use crate::key::KEY_GROUPS_DEFAULT;
use crate::pipeline::document::OrderWord;
use crate::pipeline::{OperatorId, Pipeline, Producer, SinkId, SourceId, StreamId};

/// A task's position in [`Plan::tasks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub usize);

/// An edge's position in [`Plan::edges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub usize);

/// What runs, and how rows get from one to the other. Tasks stand after those that feed them.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Subtasks of a task, unless it writes to a sink.
    pub parallelism: usize,
    /// Key groups that the subtasks of a keyed task share (`key::KeyGroupRange::of_subtask`).
    pub key_groups: u16,
    /// A plan for each stream of the pipeline, by the same ids.
    pub streams: Vec<StreamPlan>,
    /// The tasks.
    pub tasks: Vec<TaskPlan>,
    /// The edges.
    pub edges: Vec<EdgePlan>,
}

/// A stream, and what its batches must carry.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// The name by which the document knows it.
    pub name: String,
    /// The columns.
    pub schema: SchemaRef,
    /// Whether rows have an event time.
    pub has_time: bool,
    /// Who produces it.
    pub producer: Producer,
    /// The tasks in which it is produced: one, but any number for dead letters.
    pub tasks: Vec<TaskId>,
    /// The engine columns that someone downstream needs. Lineage is always there.
    pub engine: EngineColumns,
    /// Whether anyone reads it. What nobody reads need not be built, only counted.
    pub is_read: bool,
}

/// Engine columns of a stream's batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineColumns {
    /// Event times.
    pub times: bool,
    /// The watermark as of each row.
    pub clocks: bool,
}

/// What one subtask does from its root on: each operator feeds the later ones directly.
#[derive(Debug, Clone)]
pub struct TaskPlan {
    /// Its position.
    pub id: TaskId,
    /// What people call it; unique.
    pub name: String,
    /// How many subtasks it has.
    pub parallelism: usize,
    /// Where its rows come from.
    pub root: Root,
    /// The features of its keyed operators, each computed once.
    pub features: Vec<FeaturePlan>,
    /// Its operators, each after those whose streams it reads.
    pub operators: Vec<OperatorPlan>,
    /// Its sinks and the streams they take.
    pub sinks: Vec<(SinkId, StreamId)>,
    /// The edges that leave it.
    pub outputs: Vec<EdgeId>,
}

/// Where a task's rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// From a source. Chunks of a split are decoded by any of the subtasks.
    Source(SourceId),
    /// From other tasks.
    Gate(Gate),
}

/// The entrance of a task that is fed by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The edges that end here; no two with the same stream from the same task.
    pub edges: Vec<EdgeId>,
    /// The names of the key columns, an empty list where all rows have one key; none where rows
    /// come as they are.
    pub key: Option<Vec<String>>,
    /// The order in which a key's rows leave the gate.
    pub order: OrderWord,
}

/// A feature that a task computes for the rows of its gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeaturePlan {
    /// What is computed; its name is that of the first operator that wants it.
    pub feature: Feature,
    /// The streams whose rows it covers.
    pub streams: Vec<StreamId>,
}

/// An operator within a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPlan {
    /// Which.
    pub operator: OperatorId,
    /// The streams it reads, in the order of its input bindings.
    pub inputs: Vec<StreamId>,
    /// For each of the operator's features, its position in [`TaskPlan::features`].
    pub features: Vec<usize>,
    /// A stream for each output of its descriptor.
    pub outputs: Vec<StreamId>,
    /// The stream of its late rows.
    pub late: Option<StreamId>,
    /// That of the late rows of the right side of a join; `late` is that of the left one.
    pub late_right: Option<StreamId>,
}

/// Bounded queues from each subtask of one task to each of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgePlan {
    /// Its position.
    pub id: EdgeId,
    /// What it carries.
    pub stream: StreamId,
    /// The task that fills it.
    pub from: TaskId,
    /// The task that it feeds.
    pub to: TaskId,
    /// Which subtask gets a row.
    pub partition: Partition,
    /// The columns of the stream that it carries, ascending: those that somebody behind it reads.
    pub columns: Vec<usize>,
}

/// Which subtask gets a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partition {
    /// The owner of the row's key group, by the hash of these columns of the stream.
    Hash(Vec<usize>),
    /// The only one.
    Gather,
    /// Any, so that all have as much to do.
    Rebalance,
    /// All of them.
    Broadcast,
}

/// Turns a sound graph into tasks and edges; `parallelism` is cut to 1 to 128, the number of key
/// groups.
///
/// ```
/// use wasmill_core::{pipeline, plan};
///
/// let text = "{ name: copy, sources: { lines: { stdin: {} } }, \
///             sinks: { out: { input: lines, discard: {} } } }";
/// let written = pipeline::parse(text).expect("a document");
/// let pipeline = written.validate(&|_| Err("there are no plugins".into())).expect("it is sound");
/// let plan = plan::plan(&pipeline, 4);
/// assert_eq!(plan.tasks.len(), 1, "what discards rows needs no task of its own");
/// assert_eq!(plan.tasks[0].parallelism, 4);
/// ```
pub fn plan(pipeline: &Pipeline, parallelism: usize) -> Plan {
    let parallelism = parallelism.clamp(1, usize::from(KEY_GROUPS_DEFAULT));
    let mut plan = build::build(pipeline, parallelism, KEY_GROUPS_DEFAULT);
    columns::fill(pipeline, &mut plan);
    carried::fill(pipeline, &mut plan);
    plan
}

impl OperatorPlan {
    /// The stream of late rows of one of its streams.
    pub fn late_of(&self, stream: StreamId) -> impl Iterator<Item = StreamId> {
        let is_right = |at: usize| self.late_right.is_some() && at == 1;
        let inputs = self.inputs.iter().enumerate();
        let of_stream = inputs.filter(move |(_, input)| **input == stream);
        of_stream.filter_map(move |(at, _)| match is_right(at) {
            true => self.late_right,
            false => self.late,
        })
    }
}

impl Plan {
    /// A task.
    pub fn task(&self, id: TaskId) -> &TaskPlan {
        &self.tasks[id.0]
    }

    /// An edge.
    pub fn edge(&self, id: EdgeId) -> &EdgePlan {
        &self.edges[id.0]
    }

    /// A stream.
    pub fn stream(&self, id: StreamId) -> &StreamPlan {
        &self.streams[id.0]
    }

    /// The edges of a stream that leave a task.
    pub fn edges_of(&self, task: TaskId, stream: StreamId) -> impl Iterator<Item = &EdgePlan> {
        let outputs = &self.task(task).outputs;
        let edges = outputs.iter().map(|id| self.edge(*id));
        edges.filter(move |edge| edge.stream == stream)
    }
}

#[cfg(test)]
mod tests;
