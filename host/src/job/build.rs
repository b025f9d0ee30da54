//! From a plan to subtasks, gates and threads.

mod features;
mod feeds;
mod gated;
mod keys;
mod sinks;
mod source;
mod windows;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use wasmill_core::{
    checkpoint::SubtaskIndex,
    join::Side,
    key::{KeyCodec, Partitioner},
    pipeline::{OperatorKind, Pipeline, SinkId, StreamId},
    plan::{EdgePlan, OperatorPlan, Partition as Deal, Plan, Root, TaskId, TaskPlan},
};

use super::{Job, JobError, Stop, Subtask, SubtaskView, TaskView, readers};
use crate::{
    checkpoint::{Checkpoints, Handle, Report, Reporter, Restored, RestoredOperator},
    clock, connector,
    crash_point::{CrashPoint, reach},
    exchange::gate::{Gate, Sender, gate},
    join::{self, JoinOperator},
    metrics::{Gauge, Node, NodeKind, SourceMetrics},
    operator::{self, Make, Operator, OperatorRestore},
    state::{self, KeyedStates, Scratch, Secret},
    task::slot::TaskClock,
    task::{
        chain::{Chain, Routes, Target},
        chained::Chained,
        outbox::{Outbox, Output, Partition},
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
    /// The counters of the attempt before in this process, which go on; none in the first one.
    pub counters: Vec<Node>,
}

/// How the instances of each operator are made, by the operator's position in the pipeline; none
/// where the operator is built in.
pub type Plugins = Vec<Option<Make>>;

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
    subtasks: Vec<(usize, Arc<TaskClock>, Subtask)>,
    /// What may be watched of the tasks.
    tasks: Vec<TaskView>,
    stop: Stop,
    failed: Arc<AtomicBool>,
    /// Splits that each source has from the start.
    splits: HashMap<TaskId, u32>,
    secret: Secret,
    /// Where keys go that leave memory, if they may.
    scratch: Option<Arc<Scratch>>,
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
        let counters = attempt.as_ref().map_or(&[][..], |it| &it.counters[..]);
        let counted = |node: Node| node.again(counters);
        let node = |name: &str, kind| counted(Node::new(name, kind));
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
                    plugin: make.as_ref().and_then(Make::digest),
                    ..node(&operator.name, NodeKind::Operator)
                })
                .collect(),
            sink_nodes: pipeline
                .sinks
                .iter()
                .map(|sink| counted(sinks::node(pipeline, sink)))
                .collect(),
            sinks: HashMap::new(),
            threads: Vec::new(),
            gates: HashMap::new(),
            senders: HashMap::new(),
            subtasks: Vec::new(),
            tasks: Vec::new(),
            stop: Stop {
                flag: Arc::default(),
                cutters: Vec::new(),
                closers: Vec::new(),
            },
            failed: Arc::default(),
            splits: HashMap::new(),
            secret: Secret::random(),
            scratch: keys::scratch(pipeline)?,
            attempt,
            handle: Handle::default(),
        };
        this.open_sinks()?;
        this.connect();
        Ok(this)
    }

    /// What the checkpoint that the job goes on from holds for an operator or a gate.
    fn restored(&self, uid: &str) -> Option<&RestoredOperator> {
        self.attempt.as_ref()?.restored.operators.get(uid)
    }

    /// Puts back what a chain's operators keep that is not by key.
    fn restore_operators(&self, chain: &mut Chain) -> Result<(), JobError> {
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
                clocks: clocks(restored),
                parts: &parts,
            };
            let taken = operator.restore(from);
            taken.map_err(|error| JobError::Build(readers::explain(&error)))?;
            reach(CrashPoint::StateRestored);
        }
        Ok(())
    }

    /// Has a task be watched, with no subtask yet.
    fn watch(&mut self, task: &TaskPlan, source: Option<(String, Arc<SourceMetrics>)>) {
        let operators = task.operators.iter();
        let name = |plan: &OperatorPlan| self.pipeline.operator(plan.operator).name.clone();
        self.tasks.push(TaskView {
            name: task.name.clone(),
            source,
            operators: operators.map(name).collect(),
            subtasks: Vec::new(),
        });
    }

    /// Adds a subtask to the task that is watched last, and to those that will run.
    fn add(&mut self, slot: usize, subtask: Subtask) {
        let (waits, watermark) = match &subtask {
            Subtask::Source(task, _) => (task.chain.outbox.waits(), Arc::<Gauge>::default()),
            Subtask::Gated(task) => (task.chain.outbox.waits(), task.watermark.clone()),
        };
        let view = SubtaskView {
            clock: TaskClock::new(100),
            waits: Arc::clone(waits),
            watermark,
        };
        let clock = view.clock.clone();
        if let Some(task) = self.tasks.last_mut() {
            task.subtasks.push(view);
        }
        self.subtasks.push((slot, clock, subtask));
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
            operators.push(self.operator(task, operator, subtask)?);
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

    fn operator(
        &self,
        task: &TaskPlan,
        plan: &OperatorPlan,
        subtask: usize,
    ) -> Result<Chained, JobError> {
        let spec = self.pipeline.operator(plan.operator);
        let inputs = spec.inputs.iter().map(|input| {
            self.carried(task, input.stream)
                .map_or_else(|| input.clone(), |columns| input.project(columns))
        });
        // Keys that wake before their first row came are decoded by these.
        let key_fields = spec.inputs.first().map(|input| {
            let schema = &self.plan.stream(input.stream).schema;
            let columns = input.key_columns.iter();
            columns.map(|at| schema.field(*at).clone()).collect()
        });
        let inputs = inputs.collect();
        let metrics = self.operators[plan.operator.0].metrics.clone();
        let plugin = match &spec.kind {
            OperatorKind::Plugin(plugin) => plugin,
            OperatorKind::Window(windowing) => {
                return self.window((task, plan, subtask), windowing, (inputs, metrics));
            }
            OperatorKind::Join(join) => {
                let has_time = |side: Side| {
                    let input = spec.inputs.get(side.index());
                    input.is_some_and(|input| self.plan.stream(input.stream).has_time)
                };
                let parts = join::Parts {
                    inputs,
                    has_times: Side::BOTH.map(has_time),
                    subtask: small(subtask),
                    metrics,
                };
                let operator = JoinOperator::new(spec, join, parts);
                return Ok(Chained::Join(Box::new(operator)));
            }
        };
        let make = self.plugins[plan.operator.0].clone();
        let make = make.ok_or_else(|| {
            let name = &spec.name;
            JobError::Build(format!("the plugin of operator `{name}` was not loaded"))
        })?;
        let states = &plugin.descriptor.states;
        let parts = operator::Parts {
            key_fields: key_fields.unwrap_or_default(),
            inputs,
            job: self.pipeline.name.as_str().into(),
            make,
            states: (!states.is_empty()).then(|| KeyedStates::new(states)),
            features: plan.features.clone(),
            subtask: (subtask, task.parallelism),
            metrics,
        };
        let operator = Operator::new(spec, plugin, parts);
        Ok(Chained::Plugin(Box::new(operator)))
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
            Deal::Broadcast => Partition::Broadcast,
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
        if names.is_empty() {
            return Ok(KeyCodec::whole());
        }
        KeyCodec::new(left.as_ref().unwrap_or(schema), &names)
            .map_err(|error| JobError::Build(readers::explain(&error)))
    }

    fn finish(mut self) -> Job {
        let stop = self.stop.clone();
        self.handle.cut = Some(Box::new(move || stop.cut()));
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
            tasks: self.tasks,
            sinks: self.threads,
            stop: self.stop,
            failed: self.failed,
            checkpoints: self
                .attempt
                .map(|attempt| (attempt.checkpoints, self.handle)),
            asking,
            requests,
            asked: Arc::default(),
        }
    }
}

/// The clocks as of a restored operator's barrier.
fn clocks(restored: &RestoredOperator) -> state::Restored {
    state::Restored {
        watermark: restored.watermark,
        now: clock::wall_us(),
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
