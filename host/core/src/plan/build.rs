//! Puts operators and sinks into tasks.

use std::collections::HashMap;

use super::{
    EdgeId, EdgePlan, EngineColumns, FeaturePlan, Gate, OperatorPlan, Partition, Plan, Root,
    StreamPlan, TaskId, TaskPlan,
};
use crate::feature::Feature;
use crate::pipeline::document::OrderWord;
use crate::pipeline::{
    Operator, OperatorId, OperatorKind, Pipeline, Policy, Producer, Sink, SinkId, SinkKind,
    SourceId, StreamId,
};

/// Plans a pipeline. Operators come in an order in which each stands behind those it reads, since
/// only what exists can be named as an input; so every stream has its tasks before somebody asks
/// for them.
pub(super) fn build(pipeline: &Pipeline, parallelism: usize, key_groups: u16) -> Plan {
    let mut builder = Builder {
        plan: Plan {
            parallelism,
            key_groups,
            streams: streams(pipeline),
            tasks: Vec::new(),
            edges: Vec::new(),
        },
        groups: HashMap::new(),
    };
    for index in 0..pipeline.sources.len() {
        builder.source(pipeline, SourceId(index));
    }
    for index in 0..pipeline.operators.len() {
        builder.operator(pipeline, OperatorId(index));
    }
    for (index, sink) in pipeline.sinks.iter().enumerate() {
        builder.sink(SinkId(index), sink);
    }
    builder.plan
}

/// The pipeline's streams, before anything is known of who makes and reads them.
fn streams(pipeline: &Pipeline) -> Vec<StreamPlan> {
    let streams = pipeline.streams.iter().map(|stream| StreamPlan {
        name: stream.name.clone(),
        schema: stream.schema.clone(),
        has_time: stream.has_time,
        producer: stream.producer,
        tasks: Vec::new(),
        engine: EngineColumns::default(),
        is_read: false,
    });
    streams.collect()
}

/// What operators have in common that share a task: streams with their key columns, the order, and
/// whether they stand behind an exchange by key.
type Group = (Vec<(StreamId, Vec<usize>)>, OrderWord, bool);

/// A plan that grows, and the tasks that operators may join.
struct Builder {
    plan: Plan,
    groups: HashMap<Group, TaskId>,
}

impl Builder {
    /// A task for a source, one subtask a slot: they share its splits.
    fn source(&mut self, pipeline: &Pipeline, id: SourceId) {
        let source = pipeline.source(id);
        let task = self.task(&source.name, self.plan.parallelism, Root::Source(id));
        self.produces(source.stream, task);
        if let Some(late) = source.late {
            self.produces(late, task);
        }
        self.dead_letters(source.on_error, task);
    }

    /// Puts an operator into its task and notes what it makes.
    fn operator(&mut self, pipeline: &Pipeline, id: OperatorId) {
        let operator = pipeline.operator(id);
        let task = self.place(pipeline, operator);
        let features = operator
            .features()
            .iter()
            .map(|feature| self.feature(task, operator, feature))
            .collect();
        let inputs: Vec<StreamId> = operator.inputs.iter().map(|input| input.stream).collect();
        for stream in &inputs {
            self.plan.streams[stream.0].is_read = true;
        }
        self.plan.tasks[task.0].operators.push(OperatorPlan {
            operator: id,
            inputs,
            features,
            outputs: operator.outputs.clone(),
            late: operator.late,
            late_right: operator.late_right,
        });
        for stream in operator
            .outputs
            .iter()
            .copied()
            .chain(operator.late_streams())
        {
            self.produces(stream, task);
        }
        self.dead_letters(operator.on_error(), task);
    }

    /// The task that an operator belongs to: that of its producer, that of its group, or a new one.
    fn place(&mut self, pipeline: &Pipeline, operator: &Operator) -> TaskId {
        let mut sources: Vec<(StreamId, Vec<usize>)> = operator
            .inputs
            .iter()
            .map(|input| (input.stream, input.key_columns.clone()))
            .collect();
        sources.sort();
        sources.dedup();
        let is_keyed = operator.is_keyed();
        // All rows of one key: one subtask has them all.
        let is_whole = is_keyed && operator.key_by.is_empty();
        if !is_keyed && let Some(task) = self.common_task(&sources) {
            return task;
        }
        let group = (sources.clone(), operator.order, is_keyed);
        // A join merges its sides by itself, which nobody else behind its gate could bear.
        let is_join = matches!(operator.kind, OperatorKind::Join(_));
        if let Some(task) = self.groups.get(&group).filter(|_| !is_join) {
            return *task;
        }
        let gate = Gate {
            edges: Vec::new(),
            key: is_keyed.then(|| operator.key_by.clone()),
            order: operator.order,
        };
        let name = match is_join {
            true => format!(
                "{}: {}",
                operator.name,
                gate_name(pipeline, &sources, &gate)
            ),
            false => gate_name(pipeline, &sources, &gate),
        };
        let parallelism = if is_whole { 1 } else { self.plan.parallelism };
        let task = self.task(&name, parallelism, Root::Gate(gate));
        let is_broadcast = |stream: StreamId| {
            let mut inputs = operator.inputs.iter();
            inputs.any(|input| input.stream == stream && operator.is_broadcast(input))
        };
        for (stream, columns) in sources {
            let partition = match is_keyed {
                _ if is_broadcast(stream) => Partition::Broadcast,
                true => Partition::Hash(columns),
                false => Partition::Rebalance,
            };
            self.connect(stream, task, &partition);
        }
        if !is_join {
            self.groups.insert(group, task);
        }
        task
    }

    /// The one task that produces all of these streams, if it is one: an operator without a key is
    /// chained to it and costs no exchange.
    fn common_task(&self, streams: &[(StreamId, Vec<usize>)]) -> Option<TaskId> {
        let mut tasks = streams
            .iter()
            .flat_map(|(stream, _)| &self.plan.streams[stream.0].tasks);
        let first = tasks.next()?;
        tasks.all(|task| task == first).then_some(*first)
    }

    /// The position of a feature among its task's. Equal features over the same streams are
    /// computed once, whatever their names.
    fn feature(&mut self, task: TaskId, operator: &Operator, feature: &Feature) -> usize {
        let mut streams: Vec<StreamId> = operator.inputs.iter().map(|input| input.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        let features = &mut self.plan.tasks[task.0].features;
        let same = |known: &FeaturePlan| {
            known.streams == streams
                && Feature {
                    name: feature.name.clone(),
                    ..known.feature.clone()
                } == *feature
        };
        if let Some(position) = features.iter().position(same) {
            return position;
        }
        let feature = feature.clone();
        features.push(FeaturePlan { feature, streams });
        features.len() - 1
    }

    /// A task of one subtask for a sink, so that a file has one writer; a sink that discards needs
    /// none and counts where its rows are made.
    fn sink(&mut self, id: SinkId, sink: &Sink) {
        for stream in &sink.inputs {
            self.plan.streams[stream.0].is_read = true;
        }
        if sink.kind == SinkKind::Discard {
            for stream in &sink.inputs {
                for task in self.plan.streams[stream.0].tasks.clone() {
                    self.plan.tasks[task.0].sinks.push((id, *stream));
                }
            }
            return;
        }
        let gate = Gate {
            edges: Vec::new(),
            key: None,
            order: OrderWord::Arrival,
        };
        let task = self.task(&sink.name, 1, Root::Gate(gate));
        for stream in &sink.inputs {
            self.connect(*stream, task, &Partition::Gather);
            self.plan.tasks[task.0].sinks.push((id, *stream));
        }
    }

    /// Adds a task.
    fn task(&mut self, name: &str, parallelism: usize, root: Root) -> TaskId {
        let id = TaskId(self.plan.tasks.len());
        self.plan.tasks.push(TaskPlan {
            id,
            name: name.into(),
            parallelism,
            root,
            features: Vec::new(),
            operators: Vec::new(),
            sinks: Vec::new(),
            outputs: Vec::new(),
        });
        id
    }

    /// Adds an edge from each task in which the stream is produced.
    fn connect(&mut self, stream: StreamId, to: TaskId, partition: &Partition) {
        for from in self.plan.streams[stream.0].tasks.clone() {
            let id = EdgeId(self.plan.edges.len());
            self.plan.edges.push(EdgePlan {
                id,
                stream,
                from,
                to,
                partition: partition.clone(),
                columns: Vec::new(),
            });
            self.plan.tasks[from.0].outputs.push(id);
            if let Root::Gate(gate) = &mut self.plan.tasks[to.0].root {
                gate.edges.push(id);
            }
        }
    }

    /// Notes that a task makes rows of a stream.
    fn produces(&mut self, stream: StreamId, task: TaskId) {
        let tasks = &mut self.plan.streams[stream.0].tasks;
        if !tasks.contains(&task) {
            tasks.push(task);
        }
    }

    /// Notes that a task may send rows to the dead letters.
    fn dead_letters(&mut self, policy: Policy, task: TaskId) {
        if let Policy::DeadLetter(stream) = policy {
            debug_assert!(matches!(
                self.plan.streams[stream.0].producer,
                Producer::DeadLetters(_)
            ));
            self.produces(stream, task);
        }
    }
}

/// `transactions by account`, with the order where it is not the usual one.
fn gate_name(pipeline: &Pipeline, sources: &[(StreamId, Vec<usize>)], gate: &Gate) -> String {
    let names: Vec<&str> = sources
        .iter()
        .map(|(stream, _)| pipeline.stream(*stream).name.as_str())
        .collect();
    let mut name = names.join("+");
    match &gate.key {
        Some(key) if key.is_empty() => name += " as a whole",
        Some(key) => name = format!("{name} by {}", key.join("+")),
        None => {}
    }
    match gate.order {
        OrderWord::Arrival => name,
        OrderWord::EventTime => name + " in event time",
    }
}
