//! From a plan to subtasks, gates and threads.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use wasmill_core::{
    key::{KeyCodec, KeyGroupRange, Partitioner},
    pipeline::document::OrderWord,
    pipeline::{self, Pipeline, Producer, SinkKind, SourceId, SourceKind, StreamId},
    plan::{EdgePlan, OperatorPlan, Partition as Deal, Plan, Root, TaskId, TaskPlan},
    watermark::{self, SplitWatermark},
};

use super::{Job, JobError, Stop, Subtask, readers, splits};
use crate::{
    connector::{self, generator::Generator},
    exchange::{
        gate::{Gate, Sender, gate},
        turn::Turns,
    },
    feature::FeatureSet,
    format::Decoder,
    metrics::{Node, NodeKind},
    operator::{self, Keyed, Make, Operator},
    state::{BatchKeys, KeyIndex, KeyedStates, Secret},
    task::{
        chain::{Chain, Routes, Target},
        gated::{GateInput, GatedTask},
        outbox::{Outbox, Output, Partition},
        sink::{self, SinkSender},
        sorter::Sorter,
        source::{Feed, Generated, SourceTask},
    },
};

/// Lanes that one task may have: splits of a source, or subtasks.
const LANES_PER_TASK: u32 = 1 << 20;
/// Rows that a gated task gathers under load.
const ROWS_MAX: usize = 4_096;

/// Bytes of rows that one subtask may hold back for the watermark.
const WAITING_BYTES_MAX: usize = 1 << 30;

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
) -> Result<Job, JobError> {
    let mut builder = Builder::new(pipeline, plan, plugins, folder)?;
    for task in &plan.tasks {
        match &task.root {
            Root::Source(source) => builder.source(task, *source)?,
            Root::Gate(_) if builder.sinks.contains_key(&task.id) => {}
            Root::Gate(_) => builder.gated(task)?,
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
    /// The sinks' threads, by the task that stands for each in the plan.
    sinks: HashMap<TaskId, SinkSender>,
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
}

impl<'a> Builder<'a> {
    fn new(
        pipeline: &'a Pipeline,
        plan: &'a Plan,
        plugins: &'a Plugins,
        folder: &'a Path,
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
        };
        this.open_sinks()?;
        this.connect();
        Ok(this)
    }

    /// Opens every sink that writes something, and starts its thread.
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
            let sink =
                connector::sink::open(spec, &schema, &self.pipeline.name).map_err(|source| {
                    JobError::Open {
                        name: spec.name.clone(),
                        source,
                    }
                })?;
            let metrics = self.sink_nodes[id.0].metrics.clone();
            let (sender, thread) = sink::start(&spec.name, sink, metrics);
            self.sinks.insert(task.id, sender);
            self.threads.push((spec.name.clone(), thread));
        }
        Ok(())
    }

    /// Makes the gates of all tasks, and gives every upstream subtask its senders.
    fn connect(&mut self) {
        for task in &self.plan.tasks {
            let Root::Gate(root) = &task.root else {
                continue;
            };
            if self.sinks.contains_key(&task.id) {
                continue;
            }
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
        let parts = operator::Parts {
            make: self.plugins[plan.operator.0].clone(),
            states: (!states.is_empty()).then(|| KeyedStates::new(states)),
            features: plan.features.clone(),
            subtask: (subtask, task.parallelism),
            metrics: self.operators[plan.operator.0].metrics.clone(),
        };
        Operator::new(spec, parts)
    }

    fn output(&self, edge: &EdgePlan, subtask: usize) -> Result<Output, JobError> {
        if let Some(sink) = self.sinks.get(&edge.to) {
            return Ok(Output::Sink(sink.clone()));
        }
        let to = self.plan.task(edge.to);
        let partition = match &edge.partition {
            Deal::Hash(columns) => Partition::Hash {
                codec: self.codec(edge.stream, columns)?,
                partitioner: Partitioner::new(self.plan.key_groups, small(to.parallelism)),
                rows: vec![Vec::new(); to.parallelism],
            },
            Deal::Gather | Deal::Rebalance => Partition::Rebalance { next: subtask },
        };
        let inputs = self.gate_streams(to);
        let input = inputs.iter().position(|stream| *stream == edge.stream);
        let input = input.expect("an edge's stream is an input of its gate");
        let senders = self.senders[&(edge.from, edge.to)][subtask].clone();
        Ok(Output::Edge {
            input: small(input),
            partition,
            senders,
        })
    }

    fn codec(&self, stream: StreamId, columns: &[usize]) -> Result<KeyCodec, JobError> {
        let schema = &self.plan.stream(stream).schema;
        let names: Vec<&str> = columns
            .iter()
            .map(|column| schema.field(*column).name().as_str())
            .collect();
        KeyCodec::new(schema, &names).map_err(|error| JobError::Build(readers::explain(&error)))
    }

    /// The streams that come in through a task's gate, each once.
    fn gate_streams(&self, task: &TaskPlan) -> Vec<StreamId> {
        let Root::Gate(root) = &task.root else {
            return Vec::new();
        };
        let mut streams = Vec::new();
        for edge in root.edges.iter().map(|edge| self.plan.edge(*edge)) {
            if !streams.contains(&edge.stream) {
                streams.push(edge.stream);
            }
        }
        streams
    }

    fn gated(&mut self, task: &TaskPlan) -> Result<(), JobError> {
        let gates = self.gates.remove(&task.id).unwrap_or_default();
        for (subtask, gate) in gates.into_iter().enumerate() {
            let gated = self.gated_subtask(task, subtask, gate)?;
            self.subtasks
                .push((subtask, Subtask::Gated(Box::new(gated))));
        }
        Ok(())
    }

    fn gated_subtask(
        &self,
        task: &TaskPlan,
        subtask: usize,
        gate: Gate,
    ) -> Result<GatedTask, JobError> {
        let Root::Gate(root) = &task.root else {
            return Err(JobError::Build(format!("task `{}` has no gate", task.name)));
        };
        let chain = self.chain(task, subtask)?;
        let mut inputs = Vec::new();
        let mut is_word = true;
        for stream in self.gate_streams(task) {
            let hash = root
                .edges
                .iter()
                .map(|edge| self.plan.edge(*edge))
                .find_map(|edge| match &edge.partition {
                    Deal::Hash(columns) if edge.stream == stream => Some(columns),
                    _ => None,
                });
            let codec = hash
                .map(|columns| self.codec(stream, columns))
                .transpose()?;
            is_word &= codec.as_ref().is_none_or(KeyCodec::is_word);
            let readers = |stream: StreamId| chain.targets(stream.0).to_vec();
            let late = task
                .operators
                .iter()
                .filter(|operator| operator.inputs.contains(&stream));
            inputs.push(GateInput {
                targets: readers(stream),
                late: late
                    .filter_map(|operator| operator.late)
                    .flat_map(readers)
                    .collect(),
                codec,
                sorter: (root.order == OrderWord::EventTime)
                    .then(|| Sorter::new(WAITING_BYTES_MAX)),
                features: self.features(task, stream)?,
            });
        }
        let range = KeyGroupRange::of_subtask(
            small(subtask),
            small(task.parallelism),
            self.plan.key_groups,
        );
        let keyed = root.key.as_ref().map(|_| Keyed {
            index: KeyIndex::new(range, self.plan.key_groups, is_word, self.secret.clone()),
            keys: BatchKeys::default(),
            features: Vec::new(),
        });
        let operators = task.operators.iter().map(|operator| operator.operator.0);
        Ok(GatedTask {
            gate,
            inputs,
            keyed,
            chain,
            lanes: self.lanes(task),
            lane: lane(task.id, subtask),
            rows_max: ROWS_MAX,
            failed: self.failed.clone(),
            clock: watermark::START,
            late: operators
                .map(|operator| self.operators[operator].metrics.clone())
                .collect(),
        })
    }

    /// The task's features over the rows of a stream, by the positions that its operators know.
    fn features(&self, task: &TaskPlan, stream: StreamId) -> Result<Option<FeatureSet>, JobError> {
        if task.features.is_empty() {
            return Ok(None);
        }
        let features = task
            .features
            .iter()
            .map(|plan| plan.feature.clone())
            .collect();
        FeatureSet::new(features, &self.plan.stream(stream).schema)
            .map(Some)
            .map_err(|error| JobError::Build(readers::explain(&error)))
    }

    /// Lanes that hold a task's clock back from the start.
    fn lanes(&self, task: &TaskPlan) -> Vec<u32> {
        let Root::Gate(root) = &task.root else {
            return Vec::new();
        };
        let mut lanes = Vec::new();
        for from in root.edges.iter().map(|edge| self.plan.edge(*edge).from) {
            let upstream = self.plan.task(from);
            let count = match upstream.root {
                Root::Source(source) if self.pipeline.source(source).event_time.is_none() => 0,
                Root::Source(_) => self.splits.get(&from).copied().unwrap_or(1) as usize,
                Root::Gate(_) => upstream.parallelism,
            };
            lanes.extend((0..count).map(|number| lane(from, number)));
        }
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    fn source(&mut self, task: &TaskPlan, id: SourceId) -> Result<(), JobError> {
        let feeds = self.feeds(task, id)?;
        let spec = self.pipeline.source(id);
        for (subtask, feed) in feeds.into_iter().enumerate() {
            let chain = self.chain(task, subtask)?;
            let targets = |stream: StreamId| chain.targets(stream.0).to_vec();
            let source = SourceTask {
                name: spec.name.as_str().into(),
                subtask: (subtask, task.parallelism),
                event_time: spec.event_time,
                needs_clocks: self.plan.stream(spec.stream).engine.clocks,
                targets: targets(spec.stream),
                late: spec.late.map(targets).unwrap_or_default(),
                policy: spec.on_error,
                chain,
                metrics: self.sources[id.0].metrics.clone(),
                lane: lane(task.id, 0),
                stopping: self.stop.flag.clone(),
            };
            self.subtasks
                .push((subtask, Subtask::Source(Box::new(source), Box::new(feed))));
        }
        Ok(())
    }

    fn feeds(&mut self, task: &TaskPlan, id: SourceId) -> Result<Vec<Feed>, JobError> {
        let spec = self.pipeline.source(id);
        let disorder = spec.event_time.map_or(0, |time| time.out_of_orderness_us);
        let subtasks = task.parallelism;
        let new_turns = move || Turns::new(subtasks, SplitWatermark::new(disorder));
        let format = match &spec.kind {
            SourceKind::Generator(generator) => {
                return self.generated(task, generator, &new_turns);
            }
            SourceKind::File(_, format) | SourceKind::Stdin(format) => format,
        };
        let failed = |source| JobError::Open {
            name: spec.name.clone(),
            source,
        };
        let opened = match &spec.kind {
            SourceKind::File(file, _) => {
                let stopping = self.stop.flag.clone();
                splits::files(file, format, self.folder, stopping).map_err(failed)?
            }
            _ => splits::stdin(format),
        };
        self.splits.insert(task.id, opened.count);
        let (sender, receiver) = readers::channel();
        let closer = receiver.clone();
        self.stop.closers.push(Arc::new(move || {
            closer.close();
        }));
        let stopping = self.stop.flag.clone();
        readers::start(&spec.name, opened, new_turns, &sender, &stopping);
        (0..subtasks)
            .map(|_| {
                let decoder = Decoder::new(format)
                    .map_err(|error| JobError::Build(readers::explain(&error)))?;
                Ok(Feed::Chunks {
                    work: receiver.clone(),
                    decoder: Box::new(decoder),
                })
            })
            .collect()
    }

    fn generated(
        &mut self,
        task: &TaskPlan,
        generator: &pipeline::Generator,
        new_turns: &dyn Fn() -> Turns<SplitWatermark>,
    ) -> Result<Vec<Feed>, JobError> {
        let splits = u64::from(generator.splits.max(1));
        self.splits.insert(task.id, generator.splits);
        let computed =
            Generator::new(generator).map_err(|error| JobError::Build(readers::explain(&error)))?;
        let each = (0..splits).map(|_| (Arc::new(new_turns()), AtomicU64::new(0)));
        let feed = Generated {
            generator: Arc::new(computed),
            splits: Arc::new(each.collect()),
            rate: generator.rate.map(|rate| rate.div_ceil(splits)),
        };
        Ok((0..task.parallelism)
            .map(|_| Feed::Generated(feed.clone()))
            .collect())
    }

    fn finish(self) -> Job {
        let nodes = self
            .sources
            .into_iter()
            .chain(self.operators)
            .chain(self.sink_nodes);
        Job {
            name: self.pipeline.name.clone(),
            parallelism: self.plan.parallelism,
            nodes: nodes.collect(),
            subtasks: self.subtasks,
            sinks: self.threads,
            stop: self.stop,
            failed: self.failed,
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
