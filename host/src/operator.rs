//! Operators at work: a plugin's instance, its state and its timers, in one subtask.
//!
//! A call is a transaction: state, rows, timers take effect only if it returns and everything it
//! returned is valid. Where it fails, `isolation` finds the row to blame, treats it by the
//! operator's policy and runs the rest again.

mod call;
mod effects;
mod image;
mod isolation;
mod reader;
mod resident;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow_array::ArrayRef;
use wasmill_core::{
    batch::Batch,
    boundary::{Decoder, Encoder, Layout, StateKind, StateLayout, ValueType},
    descriptor::{Descriptor, Kind, TimeDomain as Domain},
    pipeline,
    timer::{TimeDomain, TimerTable},
};

use crate::{
    metrics::NodeMetrics,
    state::{BatchKeys, KeyIndex, KeyedStates},
    task::slot,
    wasm::{CallError, Instance, InstanceOptions, Limits, Plugin},
};

pub use image::{EncodedOperator, OperatorImage, OperatorRestore};
pub use isolation::{Failures, place};

/// Keys that are woken with one call.
const WOKEN_KEYS_MAX: usize = 1_024;
/// A call of several rows takes no more than this part of an instance's memory: the plugin holds it
/// beside what it makes of it.
const CALL_PART: u64 = 4;

/// Why an operator ended its job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The plugin could not be started.
    #[error("operator `{operator}` cannot start")]
    Start {
        /// The operator.
        operator: Arc<str>,
        /// Why.
        source: CallError,
    },
    /// A row failed, and the policy is to fail or the budget is used up.
    #[error("operator `{operator}`: {message}")]
    Failed {
        /// The operator.
        operator: Arc<str>,
        /// The row's place, what is wrong with it, what to do.
        message: String,
    },
}

/// The keys of a task's rows, shared by all its operators.
pub struct Keyed {
    /// The keys of the subtask.
    pub index: KeyIndex,
    /// The keys of the batch.
    pub keys: BatchKeys,
    /// The task's features of the batch.
    pub features: Vec<ArrayRef>,
}

/// An operator of one subtask.
pub struct Operator {
    job: Arc<str>,
    name: Arc<str>,
    /// The binding of each input stream, by the stream's position in the pipeline.
    bindings: HashMap<usize, pipeline::InputBinding>,
    /// The types of the key columns, if it has a key: keys without rows are decoded.
    key_fields: Option<(pipeline::InputBinding, arrow_schema::Fields)>,
    descriptor: Arc<Descriptor>,
    layout: Layout,
    guest: Guest,
    encoder: Encoder,
    decoder: Decoder,
    states: Option<KeyedStates>,
    timers: Option<TimerTable>,
    /// For each feature of the operator its position among the task's.
    features: Vec<usize>,
    failures: Failures,
    /// CPU time of the last call, if the guest was called.
    ran: Option<Duration>,
    /// Streams of the outputs.
    outputs: Vec<usize>,
    rows_max: usize,
    output_rows_max: u64,
    /// Bytes of a call of several rows or keys.
    call_bytes_max: usize,
    metrics: Arc<NodeMetrics>,
    /// Counters that nobody reads: what another subtask counts already.
    unseen: Arc<NodeMetrics>,
    state_bytes: u64,
    /// The task's own share of `state_bytes`.
    task_bytes: usize,
    watermark: i64,
    /// Which subtask it is, and of how many.
    subtask: (u16, u16),
}

/// Where instances of a plugin come from, and the one in use.
pub struct Guest {
    make: Make,
    context: String,
    options: InstanceOptions,
    instance: Option<Instance>,
    digest: Arc<str>,
}

/// How instances are made.
#[derive(Clone)]
pub enum Make {
    /// From a plugin.
    Plugin(Plugin),
    /// From a native function, which benchmarks compare with.
    Native(Arc<dyn Fn() -> Instance + Send + Sync>),
    /// From the plugins of a window's aggregates, in their order: each makes its own.
    Aggregates(Arc<[Plugin]>),
}

impl Make {
    /// SHA-256 of the plugin.
    pub fn digest(&self) -> Option<Arc<str>> {
        match self {
            Self::Plugin(plugin) => Some(plugin.digest().into()),
            Self::Native(_) | Self::Aggregates(_) => None,
        }
    }
}

/// What an operator needs besides its description.
pub struct Parts {
    /// The pipeline's name, with which the ids of rows begin.
    pub job: Arc<str>,
    /// How instances are made.
    pub make: Make,
    /// How the columns that reach it become those of its inputs.
    pub inputs: Vec<pipeline::InputBinding>,
    /// The types of its key's columns; none without a key.
    pub key_fields: arrow_schema::Fields,
    /// Its states, if it is keyed or has an operator state.
    pub states: Option<KeyedStates>,
    /// For each of its features the position among the task's.
    pub features: Vec<usize>,
    /// Which subtask it is, and of how many.
    pub subtask: (usize, usize),
    /// Its counters.
    pub metrics: Arc<NodeMetrics>,
}

impl Operator {
    /// An operator of one subtask. Its instance is made at the first call.
    pub fn new(spec: &pipeline::Operator, plugin: &pipeline::PluginUse, parts: Parts) -> Self {
        let domains: Vec<TimeDomain> = plugin
            .descriptor
            .timers
            .iter()
            .map(|timer| domain(timer.time))
            .collect();
        let context = call::context(&spec.name, plugin, parts.subtask);
        let first = parts.inputs.first().cloned();
        let key_fields = first.zip(Some(parts.key_fields));
        let inputs = parts.inputs.into_iter();
        let bindings = inputs.map(|input| (input.stream.0, input));
        Self {
            job: parts.job,
            name: spec.name.as_str().into(),
            bindings: bindings.collect(),
            key_fields: key_fields.filter(|(_, fields)| !fields.is_empty()),
            layout: layout(&plugin.descriptor),
            descriptor: plugin.descriptor.clone(),
            guest: Guest::new(parts.make, context, &plugin.limits),
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            states: parts.states,
            timers: (!domains.is_empty()).then(|| TimerTable::new(domains)),
            features: parts.features,
            failures: Failures::new(&plugin.policy),
            ran: None,
            outputs: spec.outputs.iter().map(|stream| stream.0).collect(),
            rows_max: spec.batch.rows_max as usize,
            output_rows_max: plugin.limits.output_rows_max,
            call_bytes_max: usize::try_from(plugin.limits.memory_bytes_max / CALL_PART)
                .unwrap_or(usize::MAX),
            metrics: parts.metrics,
            unseen: Arc::default(),
            state_bytes: 0,
            task_bytes: 0,
            watermark: i64::MIN,
            subtask: (parts.subtask.0 as u16, parts.subtask.1 as u16),
        }
    }

    /// The operator's name in the document.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How far its event time has come.
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// Which subtask it is.
    pub fn subtask(&self) -> u16 {
        self.subtask.0
    }

    /// Whether it keeps anything from one batch to the next.
    pub fn has_state(&self) -> bool {
        self.states.is_some() || self.timers.is_some()
    }

    /// Processes rows of a stream and appends what is emitted.
    ///
    /// # Errors
    /// If a row fails and the policy is to fail, or the plugin cannot be started.
    pub async fn process(
        &mut self,
        stream: usize,
        batch: &Batch,
        keyed: Option<&mut Keyed>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), OperatorError> {
        let is_broadcast = self.is_broadcast(stream);
        // What every subtask does alike counts once, and comes out once.
        let is_echo = is_broadcast && self.subtask.0 > 0;
        let before = emitted.len();
        if is_echo {
            std::mem::swap(&mut self.metrics, &mut self.unseen);
        }
        let done = self.process_rows(stream, batch, keyed, emitted).await;
        if is_echo {
            std::mem::swap(&mut self.metrics, &mut self.unseen);
            emitted.truncate(before);
        }
        self.account();
        done
    }

    /// Whether a stream's rows go to every subtask.
    fn is_broadcast(&self, stream: usize) -> bool {
        let binding = self.bindings.get(&stream);
        binding.is_some_and(|binding| self.descriptor.inputs[binding.input].broadcast)
    }

    async fn process_rows(
        &mut self,
        stream: usize,
        batch: &Batch,
        keyed: Option<&mut Keyed>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), OperatorError> {
        self.metrics.records_in.add(batch.len());
        let mut keyed = keyed;
        let mut features = Vec::new();
        if let Some(keyed) = &keyed {
            features.extend(self.features.iter().map(|at| keyed.features[*at].clone()));
        }
        let mut run = isolation::Run {
            stream,
            batch,
            features: &features,
            emitted,
        };
        for start in (0..batch.len()).step_by(self.rows_max) {
            let end = batch.len().min(start + self.rows_max);
            self.isolate(&mut run, start..end, keyed.as_deref_mut())
                .await?;
        }
        Ok(())
    }

    /// Moves the event-time clock of keys without rows: those whose timers are due are woken.
    ///
    /// # Errors
    /// As for [`Operator::process`].
    pub async fn advance(
        &mut self,
        watermark: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), OperatorError> {
        self.watermark = self.watermark.max(watermark);
        self.wake(TimeDomain::Event, watermark, keyed, emitted)
            .await
    }

    /// Fires what is due in processing time, in microseconds.
    ///
    /// # Errors
    /// As for [`Operator::process`].
    pub async fn tick(
        &mut self,
        now: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), OperatorError> {
        self.wake(TimeDomain::Processing, now, keyed, emitted).await
    }

    /// Forgets some of the state that has expired: looks at `count` keys of each state.
    pub fn sweep(&mut self, count: u32, now: i64, index: &mut KeyIndex) {
        if let Some(states) = self.states.as_mut().filter(|states| states.expires()) {
            states.sweep(count, self.watermark, now, index);
            self.account();
        }
    }

    /// Counts bytes that are the task's, such as its keys, as this operator's.
    pub fn account_task(&mut self, bytes: usize) {
        self.task_bytes = bytes;
        self.account();
    }

    /// The earliest processing time at which a timer is due.
    pub fn next_tick(&self) -> Option<i64> {
        self.timers.as_ref()?.next_wake(TimeDomain::Processing)
    }

    async fn wake(
        &mut self,
        domain: TimeDomain,
        clock: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), OperatorError> {
        let Some(keyed) = keyed else { return Ok(()) };
        loop {
            let Some(timers) = &mut self.timers else {
                return Ok(());
            };
            let mut due = Vec::new();
            timers.due(domain, clock, WOKEN_KEYS_MAX, &mut due);
            if due.is_empty() {
                self.account();
                return Ok(());
            }
            self.fire(&due, (domain, clock), &mut keyed.index, emitted)
                .await?;
            slot::breathe().await;
        }
    }

    /// Keeps the counter of state bytes up to date.
    fn account(&mut self) {
        let states = self.states.as_ref().map_or(0, KeyedStates::bytes);
        let timers = self.timers.as_ref().map_or(0, TimerTable::bytes);
        let now = (states + timers + self.task_bytes) as u64;
        self.metrics.state_bytes.replace(self.state_bytes, now);
        self.state_bytes = now;
    }
}

/// Starts a plugin as a job would, and lets go of it: tells whether it takes its configuration, and
/// its limits leave it enough for that. The context is that of [`first_context`], or of
/// [`window::first_context`](crate::window::first_context) for an aggregate.
///
/// # Errors
/// If it cannot be started.
pub async fn try_start(
    plugin: Plugin,
    context: String,
    limits: &pipeline::Limits,
) -> Result<(), CallError> {
    let mut guest = Guest::new(Make::Plugin(plugin), context, limits);
    guest.instance().await.map(drop)
}

/// What an operator's plugin learns in its only subtask.
pub fn first_context(name: &str, used: &pipeline::PluginUse) -> String {
    call::context(name, used, (0, 1))
}

impl Guest {
    /// No instance yet.
    pub fn new(make: Make, context: String, limits: &pipeline::Limits) -> Self {
        Self {
            digest: make.digest().unwrap_or_default(),
            make,
            context,
            options: InstanceOptions {
                limits: Limits::from(limits),
                somebody_is_ready: slot::somebody_is_ready,
            },
            instance: None,
        }
    }

    /// SHA-256 of the plugin.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the plugin may draw random numbers.
    fn draws(&self) -> bool {
        matches!(&self.make, Make::Plugin(plugin) if plugin.draws())
    }

    /// Whether the plugin may ask for seeds of keys.
    fn draws_by_key(&self) -> bool {
        matches!(&self.make, Make::Plugin(plugin) if plugin.draws_by_key())
    }

    /// Whether there is an instance that has been called before.
    fn is_running(&self) -> bool {
        self.instance.as_ref().is_some_and(Instance::is_usable)
    }

    /// The instance in use, or a new one.
    ///
    /// # Errors
    /// If the plugin cannot be started.
    pub async fn instance(&mut self) -> Result<&mut Instance, CallError> {
        if !self.instance.as_ref().is_some_and(Instance::is_usable) {
            let mut made = match &self.make {
                Make::Plugin(plugin) => plugin.instantiate(&self.options).await?,
                Make::Native(make) => make(),
                Make::Aggregates(_) => return Err(CallError::Spent),
            };
            made.open(&self.context).await?;
            self.instance = Some(made);
        }
        Ok(self.instance.as_mut().expect("it was made just now"))
    }
}

fn domain(time: Domain) -> TimeDomain {
    match time {
        Domain::Event => TimeDomain::Event,
        Domain::Processing => TimeDomain::Processing,
    }
}

/// What the operator's buffers may contain.
pub fn layout(descriptor: &Descriptor) -> Layout {
    let value = |field: &arrow_schema::Field| {
        ValueType::new(field.data_type().clone(), field.is_nullable())
    };
    let states = descriptor.states.iter().map(|state| StateLayout {
        kind: match state.kind {
            Kind::List => StateKind::List,
            Kind::Map => StateKind::Map,
            Kind::Broadcast => StateKind::Broadcast,
            Kind::Operator => StateKind::Operator,
            Kind::Value | Kind::Reducing | Kind::Aggregating => StateKind::Value,
        },
        map_key: state.key.as_ref().map(value),
        value: value(&state.value),
    });
    Layout {
        inputs: descriptor
            .inputs
            .iter()
            .map(|input| input.schema.clone())
            .collect(),
        states: states.collect(),
        timers: u32::try_from(descriptor.timers.len()).expect("a descriptor has few timers"),
        outputs: descriptor
            .outputs
            .iter()
            .map(|output| output.schema.clone())
            .collect(),
    }
}
