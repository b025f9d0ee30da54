//! Subtasks behind gates.

use std::{sync::Arc, time::Duration};

use wasmill_core::{
    key::{KeyCodec, KeyGroupRange},
    pipeline::{OperatorKind, StreamId, document::OrderWord},
    plan::{OperatorPlan, Partition as Deal, Root, TaskPlan},
    watermark,
};

use super::{Builder, features::Covered, lane, small};
use crate::{
    checkpoint::RestoredOperator,
    exchange::{gate::Gate, intake::Intake},
    job::{JobError, Subtask, readers},
    metrics::Gauge,
    operator::Keyed,
    state::{BatchKeys, KeyIndex},
    task::{
        chain::Chain,
        gated::{GateInput, GatedTask},
        sorter::{Share, Sorter},
    },
};

/// Rows that a gated task gathers under load, unless an operator takes more at once.
const ROWS_MAX: usize = 4_096;
/// Bytes of rows that one subtask may hold back for the watermark.
const WAITING_BYTES_MAX: usize = 1 << 30;

impl Builder<'_> {
    pub(super) fn gated(&mut self, task: &TaskPlan) -> Result<(), JobError> {
        self.watch(task, None);
        let gates = self.gates.remove(&task.id).unwrap_or_default();
        let gates = gates.into_iter().enumerate();
        let subtasks = gates.map(|(subtask, gate)| self.gated_subtask(task, subtask, gate));
        let mut subtasks = subtasks.collect::<Result<Vec<GatedTask>, JobError>>()?;
        self.restore_keys(task, &mut subtasks)?;
        let subtasks = subtasks.into_iter().enumerate();
        for (at, gated) in subtasks {
            self.add(at, Subtask::Gated(Box::new(gated)));
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
        let mut chain = self.chain(task, subtask)?;
        let covered = Covered::new(self, task)?;
        let mut inputs = Vec::new();
        for (at, stream) in self.gate_streams(task).into_iter().enumerate() {
            let order = (root.order, at);
            let mut input = self.gate_input(task, &chain, stream, order)?;
            input.feature_columns = covered.as_ref().map(|covered| covered.columns[at].clone());
            inputs.push(input);
        }
        self.restore_operators(&mut chain)?;
        let keyed = match &root.key {
            Some(_) => Some(self.keyed((task, subtask), &mut inputs)?),
            None => None,
        };
        let operators = task.operators.iter().map(|operator| operator.operator.0);
        let rows_max = task.operators.iter().map(|operator| {
            let batch = &self.pipeline.operator(operator.operator).batch;
            batch.rows_max as usize
        });
        let lingers = task
            .operators
            .iter()
            .map(|operator| self.pipeline.operator(operator.operator).batch.linger_us);
        let mut intake = Intake::new(gate);
        if let Some((_, stream)) = chain.awaited() {
            intake.watch(self.channels_of(task, StreamId(stream)));
        }
        let is_join = |operator: &OperatorPlan| {
            let kind = &self.pipeline.operator(operator.operator).kind;
            matches!(kind, OperatorKind::Join(_))
        };
        let clock = self.restored_clock(task);
        let gauge = Gauge::default();
        gauge.set(clock);
        Ok(GatedTask {
            intake,
            merges_itself: task.operators.first().is_some_and(is_join),
            inputs,
            features: covered.map(|covered| covered.features),
            keyed,
            spill: None,
            chain,
            lanes: self.lanes(task),
            lane: lane(task.id, subtask),
            rows_max: rows_max.clone().max().unwrap_or(0).max(ROWS_MAX),
            linger: (
                Duration::from_micros(lingers.min().unwrap_or(0)),
                rows_max.min().unwrap_or(ROWS_MAX),
            ),
            failed: self.failed.clone(),
            name: task.name.as_str().into(),
            subtask: small(subtask),
            reporter: self.reporter(task, subtask),
            clock,
            watermark: Arc::new(gauge),
            late: operators
                .map(|operator| self.operators[operator].metrics.clone())
                .collect(),
        })
    }

    /// The keys of a subtask, of which nothing is known yet; rows that inputs held back come in.
    fn keyed(
        &self,
        (task, subtask): (&TaskPlan, usize),
        inputs: &mut [GateInput],
    ) -> Result<Keyed, JobError> {
        let mut codecs = inputs.iter().filter_map(|input| input.codec.as_ref());
        let is_word = codecs.all(KeyCodec::is_word);
        let key_groups = self.plan.key_groups;
        let range = KeyGroupRange::of_subtask(small(subtask), small(task.parallelism), key_groups);
        self.restore_gate(task, (inputs, range))?;
        Ok(Keyed {
            index: KeyIndex::new(range, key_groups, is_word, self.secret.clone()),
            keys: BatchKeys::default(),
            features: Vec::new(),
        })
    }

    /// One stream that comes in through a gate, `order` being the task's and the stream's place in
    /// it.
    fn gate_input(
        &self,
        task: &TaskPlan,
        chain: &Chain,
        stream: StreamId,
        (order, at): (OrderWord, usize),
    ) -> Result<GateInput, JobError> {
        let edges = self.plan.edges.iter().filter(|edge| edge.to == task.id);
        let hash =
            edges
                .filter(|edge| edge.stream == stream)
                .find_map(|edge| match &edge.partition {
                    Deal::Hash(columns) => Some(columns),
                    _ => None,
                });
        let codec = hash
            .map(|columns| self.codec(stream, columns, self.carried(task, stream)))
            .transpose()?;
        let readers = |stream: StreamId| chain.targets(stream.0).to_vec();
        let operators = task.operators.iter();
        let late = operators.flat_map(|operator| operator.late_of(stream));
        Ok(GateInput {
            targets: readers(stream),
            late: late.flat_map(readers).collect(),
            codec,
            sorter: (order == OrderWord::EventTime).then(|| Sorter::new(at, WAITING_BYTES_MAX)),
            feature_columns: None,
        })
    }

    /// The channels of a task's gate that bring a stream.
    fn channels_of(&self, task: &TaskPlan, stream: StreamId) -> Vec<usize> {
        let Root::Gate(root) = &task.root else {
            return Vec::new();
        };
        let edges = root.edges.iter().map(|edge| self.plan.edge(*edge));
        let mut upstream: Vec<_> = edges.clone().map(|edge| edge.from).collect();
        upstream.sort_unstable();
        upstream.dedup();
        let mut first = 0;
        let mut channels = Vec::new();
        for from in upstream {
            let count = self.plan.task(from).parallelism;
            let mut edges = edges.clone().filter(|edge| edge.from == from);
            if edges.any(|edge| edge.stream == stream) {
                channels.extend(first..first + count);
            }
            first += count;
        }
        channels
    }

    /// What a gate kept for the operators behind it.
    /// The rows that a gate held back for the operators behind it.
    fn restore_gate(
        &self,
        task: &TaskPlan,
        (inputs, range): (&mut [GateInput], KeyGroupRange),
    ) -> Result<(), JobError> {
        if let Some(restored) = self.restored(&task.name) {
            for (input, stream) in inputs.iter_mut().zip(self.gate_streams(task)) {
                self.restore_held(input, (task, stream), (restored, range))?;
            }
        }
        Ok(())
    }

    /// The rows that an input held back for the watermark.
    fn restore_held(
        &self,
        input: &mut GateInput,
        (task, stream): (&TaskPlan, StreamId),
        (restored, range): (&RestoredOperator, KeyGroupRange),
    ) -> Result<(), JobError> {
        let Some(sorter) = &mut input.sorter else {
            return Ok(());
        };
        let schema = &self.plan.stream(stream).schema;
        let schema = match self.carried(task, stream) {
            Some(carried) => Arc::new(schema.project(carried).map_err(JobError::bug)?),
            None => schema.clone(),
        };
        let share = match &input.codec {
            Some(codec) => Share::Keys {
                codec,
                range,
                key_groups: self.plan.key_groups,
            },
            None => Share::Alike,
        };
        let taken = sorter.restore(&restored.parts, &schema, &share);
        taken.map_err(|error| JobError::Build(readers::explain(&error)))
    }

    /// How far the task had come when the checkpoint was taken that the job goes on from.
    fn restored_clock(&self, task: &TaskPlan) -> i64 {
        let of_operator = |plan: &OperatorPlan| {
            let name = &self.pipeline.operator(plan.operator).name;
            self.restored(name).map(|restored| restored.watermark)
        };
        let gate = self.restored(&task.name).map(|restored| restored.watermark);
        let all = gate
            .into_iter()
            .chain(task.operators.iter().filter_map(of_operator));
        all.min().unwrap_or(watermark::START)
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

    /// The streams that come in through a task's gate, each once.
    pub(super) fn gate_streams(&self, task: &TaskPlan) -> Vec<StreamId> {
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
}
