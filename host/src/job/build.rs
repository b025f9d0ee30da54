//! From a plan to subtasks, gates and threads.

mod features;
mod gated;
mod source;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use wasmill_core::{
    checkpoint::SubtaskIndex,
    key::{KeyCodec, Partitioner},
    pipeline::{self, Pipeline, Producer, SinkId, SinkKind, StreamId},
    plan::{EdgePlan, OperatorPlan, Partition as Deal, Plan, Root, TaskId, TaskPlan},
};

use super::{Job, JobError, Stop, Subtask, readers};
use crate::{
    checkpoint::{self, Checkpoints, Handle, Report, Reporter, Restored, RestoredOperator},
    clock, connector,
    crash_point::{CrashPoint, reach},
    exchange::gate::{Gate, Sender, gate},
    metrics::{Node, NodeKind},
    operator::{self, Make, Operator, OperatorRestore},
    state::{self, KeyIndex, KeyedStates, Secret},
    task::{
        chain::{Chain, Routes, Target},
        outbox::{Outbox, Output, Partition},
        sink::SinkTask,
    },
};

/// Requests for checkpoints that may wait.
const REQUESTS_MAX: usize = 8;
/// Lanes that one task may have: splits of a source, or subtasks.
const LANES_PER_TASK: u32 = 1 << 20;
/// The attempt that a job with checkpoints is.
pub struct Attempt {
    /// Takes the checkpoints.
    pub checkpoints: Checkpoints,
    /// What the job goes on from.
    pub restored: Restored,
    /// The way of reports.
    pub reports: async_channel::Sender<Report>,
    /// Whether the job begins anew, and its outputs with it.
    pub is_fresh: bool,
    /// A folder for rows that wait for their checkpoint.
    pub spool: PathBuf,
}

/// How the instances of each operator are made, by the operator's position in the pipeline.
pub type Plugins = Vec<Make>;

/// Brings a plan to life, up to the point where it runs. `folder` is where relative input paths
/// start.
///
/// # Errors
/// If a source or sink cannot be opened.
pub fn build(
    pipeline: &Pipeline,
    plan: &Plan,
    plugins: &Plugins,
    folder: &Path,
    attempt: Option<Attempt>,
) -> Result<Job, JobError> {
    let mut builder = Builder::new(pipeline, plan, plugins, folder, attempt)?;
    for task in &plan.tasks {
        match &task.root {
            Root::Source(source) => builder.source(task, *source)?,
            Root::Gate(_) => match builder.sinks.remove(&task.id) {
                Some(sink) => builder.sink(task, sink),
                None => builder.gated(task)?,
            },
        }
    }
    Ok(builder.finish())
}

struct Builder<'a> {
    pipeline: &'a Pipeline,
    plan: &'a Plan,
    plugins: &'a Plugins,
    folder: &'a Path,
    sources: Vec<Node>,
    operators: Vec<Node>,
    sink_nodes: Vec<Node>,
    /// The sinks, opened, by the task that stands for each in the plan, until their threads start.
    sinks: HashMap<TaskId, (SinkId, connector::sink::Output)>,
    threads: Vec<(
        String,
        std::thread::JoinHandle<Result<(), connector::ConnectorError>>,
    )>,
    /// The gates of each task's subtasks, until they are built.
    gates: HashMap<TaskId, Vec<Gate>>,
    /// For each receiving task: sender subtasks, each with a sender for every receiving subtask.
    senders: HashMap<(TaskId, TaskId), Vec<Vec<Arc<Sender>>>>,
    subtasks: Vec<(usize, Subtask)>,
    stop: Stop,
    failed: Arc<AtomicBool>,
    /// Splits that each source has from the start.
    splits: HashMap<TaskId, u32>,
    secret: Secret,
    attempt: Option<Attempt>,
    /// What the checkpoints' loop speaks to.
    handle: Handle,
}

impl<'a> Builder<'a> {
    fn new(
        pipeline: &'a Pipeline,
        plan: &'a Plan,
        plugins: &'a Plugins,
        folder: &'a Path,
        attempt: Option<Attempt>,
    ) -> Result<Self, JobError> {
        let node = |name: &str, kind| Node::new(name, kind);
        let mut this = Self {
            pipeline,
            plan,
            plugins,
            folder,
            sources: pipeline
                .sources
                .iter()
                .map(|s| node(&s.name, NodeKind::Source))
                .collect(),
            operators: pipeline
                .operators
                .iter()
                .zip(plugins)
                .map(|(operator, make)| Node {
                    plugin: make.digest(),
                    ..node(&operator.name, NodeKind::Operator)
                })
                .collect(),
            sink_nodes: pipeline
                .sinks
                .iter()
                .map(|sink| sink_node(pipeline, sink))
                .collect(),
            sinks: HashMap::new(),
            threads: Vec::new(),
            gates: HashMap::new(),
            senders: HashMap::new(),
            subtasks: Vec::new(),
            stop: Stop {
                flag: Arc::default(),
                closers: Vec::new(),
            },
            failed: Arc::default(),
            splits: HashMap::new(),
            secret: Secret::random(),
            attempt,
            handle: Handle::default(),
        };
        this.open_sinks()?;
        this.connect();
        Ok(this)
    }

    /// Opens every sink that writes something.
    fn open_sinks(&mut self) -> Result<(), JobError> {
        for task in &self.plan.tasks {
            let (Root::Gate(_), [], Some((id, stream))) =
                (&task.root, &task.operators[..], task.sinks.first())
            else {
                continue;
            };
            let spec = self.pipeline.sink(*id);
            if spec.kind == SinkKind::Discard {
                continue;
            }
            let schema = self.plan.stream(*stream).schema.clone();
            let opened = match &self.attempt {
                None => connector::sink::open(spec, &schema, &self.pipeline.name)
                    .map(connector::sink::Output::Plain),
                Some(attempt) => {
                    let manifest = attempt.restored.manifest.as_ref();
                    let opening = connector::sink::Opening {
                        job: &self.pipeline.name,
                        is_fresh: attempt.is_fresh,
                        since: manifest.map(|manifest| manifest.checkpoint),
                        spool: &attempt.spool,
                    };
                    connector::sink::open_for(spec, &schema, &opening)
                }
            };
            let sink = opened.map_err(|source| JobError::Open {
                name: spec.name.clone(),
                source,
            })?;
            reach(CrashPoint::SinkOpened);
            self.sinks.insert(task.id, (*id, sink));
        }
        Ok(())
    }

    /// Starts a sink's thread.
    fn sink(&mut self, task: &TaskPlan, (id, output): (SinkId, connector::sink::Output)) {
        let gate = self
            .gates
            .remove(&task.id)
            .and_then(|mut gates| gates.pop());
        let name = self.pipeline.sink(id).name.clone();
        let sink = SinkTask {
            name: name.clone(),
            gate: gate.expect("a sink has one gate"),
            metrics: self.sink_nodes[id.0].metrics.clone(),
            reporter: self.reporter(task, 0),
        };
        let orders = matches!(output, connector::sink::Output::Follower(_)).then(|| {
            let (sender, receiver) = checkpoint::orders();
            self.handle.sinks.insert(name.clone(), sender);
            receiver
        });
        self.threads.push((name, sink.start(output, orders)));
    }

    /// What the checkpoint that the job goes on from holds for an operator or a gate.
    fn restored(&self, uid: &str) -> Option<&RestoredOperator> {
        self.attempt.as_ref()?.restored.operators.get(uid)
    }

    /// Puts back the state of a chain's operators.
    fn restore_operators(
        &self,
        chain: &mut Chain,
        mut index: Option<&mut KeyIndex>,
    ) -> Result<(), JobError> {
        for operator in chain.operators_mut() {
            let Some(restored) = self.restored(operator.name()) else {
                continue;
            };
            let parts: Vec<_> = restored
                .parts
                .iter()
                .map(|(part, _)| part.clone())
                .collect();
            let from = OperatorRestore {
                clocks: state::Restored {
                    watermark: restored.watermark,
                    now: clock::wall_us(),
                },
                segments: &restored.segments,
                parts: &parts,
            };
            let taken = operator.restore(from, index.as_deref_mut());
            taken.map_err(|error| JobError::Build(readers::explain(&error)))?;
            reach(CrashPoint::StateRestored);
        }
        Ok(())
    }

    /// A subtask's way to report to the checkpoints' loop, if there is one.
    fn reporter(&self, task: &TaskPlan, subtask: usize) -> Option<Reporter> {
        let attempt = self.attempt.as_ref()?;
        let before = self.plan.tasks[..task.id.0].iter();
        let before: usize = before.map(|task| task.parallelism).sum();
        let index = SubtaskIndex(small(before + subtask));
        Some(Reporter::new(index, attempt.reports.clone()))
    }

    /// Makes the gates of all tasks, and gives every upstream subtask its senders.
    fn connect(&mut self) {
        for task in &self.plan.tasks {
            let Root::Gate(root) = &task.root else {
                continue;
            };
            let mut upstream: Vec<TaskId> = root
                .edges
                .iter()
                .map(|edge| self.plan.edge(*edge).from)
                .collect();
            upstream.sort_unstable();
            upstream.dedup();
            let counts: Vec<usize> = upstream
                .iter()
                .map(|from| self.plan.task(*from).parallelism)
                .collect();
            let mut gates = Vec::new();
            for _ in 0..task.parallelism {
                let (gate, senders) = gate(counts.iter().sum());
                gates.push(gate);
                let mut senders = senders.into_iter().map(Arc::new);
                for (from, count) in upstream.iter().zip(&counts) {
                    let lists = self.senders.entry((*from, task.id)).or_default();
                    lists.resize_with(*count, Vec::new);
                    for list in lists.iter_mut() {
                        list.extend(senders.next());
                    }
                }
            }
            self.gates.insert(task.id, gates);
        }
    }

    fn chain(&self, task: &TaskPlan, subtask: usize) -> Result<Chain, JobError> {
        let mut routes: Routes = vec![Vec::new(); self.pipeline.streams.len()];
        let mut operators = Vec::new();
        for (at, operator) in task.operators.iter().enumerate() {
            for stream in &operator.inputs {
                let target = Target::Operator {
                    operator: at,
                    stream: stream.0,
                };
                if !routes[stream.0].contains(&target) {
                    routes[stream.0].push(target);
                }
            }
            operators.push(self.operator(task, operator, subtask));
        }
        let mut outputs = Vec::new();
        for edge in task.outputs.iter().map(|edge| self.plan.edge(*edge)) {
            routes[edge.stream.0].push(Target::Output(outputs.len()));
            outputs.push(self.output(edge, subtask)?);
        }
        for (sink, stream) in &task.sinks {
            routes[stream.0].push(Target::Output(outputs.len()));
            outputs.push(Output::Discard(self.sink_nodes[sink.0].metrics.clone()));
        }
        Ok(Chain::new(operators, routes, Outbox::new(outputs)))
    }

    fn operator(&self, task: &TaskPlan, plan: &OperatorPlan, subtask: usize) -> Operator {
        let spec = self.pipeline.operator(plan.operator);
        let states = &spec.descriptor.states;
        let inputs = spec.inputs.iter().map(|input| {
            self.carried(task, input.stream)
                .map_or_else(|| input.clone(), |columns| input.project(columns))
        });
        let parts = operator::Parts {
            inputs: inputs.collect(),
            job: self.pipeline.name.as_str().into(),
            make: self.plugins[plan.operator.0].clone(),
            states: (!states.is_empty()).then(|| KeyedStates::new(states)),
            features: plan.features.clone(),
            subtask: (subtask, task.parallelism),
            metrics: self.operators[plan.operator.0].metrics.clone(),
        };
        Operator::new(spec, parts)
    }

    fn output(&self, edge: &EdgePlan, subtask: usize) -> Result<Output, JobError> {
        let to = self.plan.task(edge.to);
        let partition = match &edge.partition {
            Deal::Hash(columns) => Partition::Hash {
                codec: self.codec(edge.stream, columns, None)?,
                partitioner: Partitioner::new(self.plan.key_groups, small(to.parallelism)),
                rows: vec![Vec::new(); to.parallelism],
            },
            Deal::Gather | Deal::Rebalance => Partition::Rebalance { next: subtask },
        };
        let inputs = self.gate_streams(to);
        let input = inputs.iter().position(|stream| *stream == edge.stream);
        let input = input.expect("an edge's stream is an input of its gate");
        let senders = self.senders[&(edge.from, edge.to)][subtask].clone();
        let all = self.plan.stream(edge.stream).schema.fields().len();
        Ok(Output::Edge {
            input: small(input),
            partition,
            columns: (edge.columns.len() < all).then(|| edge.columns.clone()),
            senders,
        })
    }

    /// The columns of a stream that reach a task; none where it is made within the task.
    fn carried(&self, task: &TaskPlan, stream: StreamId) -> Option<&[usize]> {
        let mut edges = self.plan.edges.iter().filter(|edge| edge.to == task.id);
        let edge = edges.find(|edge| edge.stream == stream)?;
        Some(&edge.columns)
    }

    /// The codec of a stream's key columns, for rows of which only `carried` is left, or all.
    fn codec(
        &self,
        stream: StreamId,
        columns: &[usize],
        carried: Option<&[usize]>,
    ) -> Result<KeyCodec, JobError> {
        let schema = &self.plan.stream(stream).schema;
        let names = columns.iter().map(|column| schema.field(*column).name());
        let names: Vec<&str> = names.map(String::as_str).collect();
        let left = carried.map(|carried| schema.project(carried));
        let left = left.transpose().map_err(JobError::bug)?;
        KeyCodec::new(left.as_ref().unwrap_or(schema), &names)
            .map_err(|error| JobError::Build(readers::explain(&error)))
    }

    fn finish(self) -> Job {
        let nodes = self
            .sources
            .into_iter()
            .chain(self.operators)
            .chain(self.sink_nodes);
        let (asking, requests) = async_channel::bounded(REQUESTS_MAX);
        Job {
            name: self.pipeline.name.clone(),
            parallelism: self.plan.parallelism,
            nodes: nodes.collect(),
            subtasks: self.subtasks,
            sinks: self.threads,
            stop: self.stop,
            failed: self.failed,
            checkpoints: self
                .attempt
                .map(|attempt| (attempt.checkpoints, self.handle)),
            asking,
            requests,
            is_ending: Arc::default(),
        }
    }
}

fn sink_node(pipeline: &Pipeline, sink: &pipeline::Sink) -> Node {
    let is_named =
        |stream: &StreamId| !matches!(pipeline.stream(*stream).producer, Producer::DeadLetters(_));
    Node {
        has_input: sink.inputs.iter().any(is_named),
        ..Node::new(&sink.name, NodeKind::Sink)
    }
}

fn lane(task: TaskId, number: usize) -> u32 {
    small::<u32>(task.0) * LANES_PER_TASK + small::<u32>(number)
}

fn small<T: TryFrom<usize>>(number: usize) -> T {
    T::try_from(number)
        .ok()
        .expect("plans are far smaller than this")
}
