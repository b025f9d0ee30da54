//! Rates and shares: counters of now against those of a few seconds ago.

use std::collections::VecDeque;

use wasmill_core::watermark;

use super::shape;
use crate::{
    checkpoint, clock,
    job::{Live, TaskView},
    metrics::{Extent, Node, NodeKind, SourceMetrics},
};

/// How far back rates look.
const WINDOW_US: i64 = 5_000_000;
/// The least time between two samples that are kept.
const APART_US: i64 = 500_000;
/// Samples that are kept.
const SAMPLES_MAX: usize = 16;

/// The counters of the last seconds.
#[derive(Clone, Default)]
pub(super) struct Samples {
    /// Oldest first, at least one.
    kept: VecDeque<Sample>,
    now: Sample,
}

#[derive(Clone, Default)]
struct Sample {
    at_us: i64,
    nodes: Vec<Counted>,
    /// Of each task: microseconds that its subtasks ran, and that they waited.
    tasks: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    records_in: u64,
    records_out: u64,
    writing_us: u64,
    cpu_ns: u64,
}

impl Sample {
    fn of(live: &Live) -> Self {
        let nodes = live.nodes.iter().map(|node| Counted {
            records_in: node.metrics.records_in.get(),
            records_out: node.metrics.records_out.get(),
            writing_us: node.metrics.writing_us.get(),
            cpu_ns: node.metrics.cpu_ns.get(),
        });
        Self {
            at_us: clock::monotonic_us(),
            nodes: nodes.collect(),
            tasks: live.tasks.iter().map(TaskView::spent_us).collect(),
        }
    }
}

/// What rows passed, and how fast.
#[derive(Clone, Copy)]
struct Flow {
    records_in: u64,
    records_out: u64,
    in_per_second: f64,
    out_per_second: f64,
}

/// How the time of subtasks was spent.
#[derive(Clone, Copy, Default)]
struct Load {
    busy: f64,
    back_pressure: f64,
}

/// What has changed between two samples.
struct Change<'a> {
    from: &'a Sample,
    to: &'a Sample,
    seconds: f64,
}

impl Samples {
    /// Rates count from here on.
    pub(super) fn new(live: &Live) -> Self {
        let now = Sample::of(live);
        Self {
            kept: VecDeque::from([now.clone()]),
            now,
        }
    }

    /// Remembers the counters of now.
    pub(super) fn add(&mut self, live: &Live) {
        self.now = Sample::of(live);
        let now_us = self.now.at_us;
        let last_us = self.kept.back().map_or(i64::MIN, |last| last.at_us);
        if now_us.saturating_sub(last_us) >= APART_US {
            self.kept.push_back(self.now.clone());
        }
        let is_old = |sample: &Sample| now_us - sample.at_us > WINDOW_US;
        while self.kept.len() > SAMPLES_MAX || self.kept.get(1).is_some_and(is_old) {
            self.kept.pop_front();
        }
    }

    fn change(&self) -> Change<'_> {
        let from = self.kept.front().unwrap_or(&self.now);
        Change {
            from,
            to: &self.now,
            seconds: shape::seconds(self.now.at_us - from.at_us),
        }
    }

    /// Everything that is known of a job.
    pub(super) fn status(&self, job: shape::Job, live: &Live) -> shape::Status {
        let change = self.change();
        let of = |kind: NodeKind| {
            let nodes = live.nodes.iter().enumerate();
            nodes.filter(move |(_, node)| node.kind == kind)
        };
        let ledger = live.checkpoints.as_ref().map(|ledger| ledger.look());
        let sources: Vec<_> = of(NodeKind::Source)
            .map(|(at, node)| change.source(at, node, live))
            .collect();
        let operators: Vec<_> = of(NodeKind::Operator)
            .map(|(at, node)| change.operator(at, node, live, ledger.as_ref()))
            .collect();
        let sinks: Vec<_> = of(NodeKind::Sink)
            .map(|(at, node)| change.sink(at, node))
            .collect();
        let written = of(NodeKind::Sink).filter(|(_, node)| node.has_input);
        let written: Vec<Flow> = written.map(|(at, _)| change.flow(at)).collect();
        let count = |count: fn(&Node) -> u64, with_operators: bool| -> u64 {
            let nodes = live.nodes.iter().filter(|node| match node.kind {
                NodeKind::Source => true,
                NodeKind::Operator => with_operators,
                NodeKind::Sink => false,
            });
            nodes.map(count).sum()
        };
        let reads = live.tasks.iter().filter(|task| task.source.is_some());
        let watermark = reads.map(TaskView::watermark).min();
        let watermark = watermark.unwrap_or(watermark::START);
        shape::Status {
            records_in: sources.iter().map(|it| it.records_in).sum(),
            records_in_per_second: sources.iter().map(|it| it.records_in_per_second).sum(),
            records_out: written.iter().map(|flow| flow.records_in).sum(),
            records_out_per_second: written.iter().map(|flow| flow.in_per_second).sum(),
            late_rows: count(|node| node.metrics.late.get(), false),
            rejected: count(|node| node.metrics.rejected.get(), true),
            dead_letters: count(|node| node.metrics.dead_letters.get(), true),
            faults: count(|node| node.metrics.faults.get(), true),
            lost_rows: count(|node| node.metrics.lost.get(), true),
            state_bytes: count(|node| node.metrics.state_bytes.get(), true),
            watermark: shape::event_time(watermark),
            lag_seconds: lag(watermark),
            checkpoints: ledger.as_ref().map(checkpoints),
            sources,
            operators,
            sinks,
            ..shape::Status::of(job)
        }
    }
}

impl Change<'_> {
    fn rate(&self, from: u64, to: u64) -> f64 {
        match self.seconds > 0.0 {
            true => to.saturating_sub(from) as f64 / self.seconds,
            false => 0.0,
        }
    }

    fn counted(&self, at: usize) -> (Counted, Counted) {
        let of = |sample: &Sample| sample.nodes.get(at).copied().unwrap_or_default();
        (of(self.from), of(self.to))
    }

    fn flow(&self, at: usize) -> Flow {
        let (from, to) = self.counted(at);
        Flow {
            records_in: to.records_in,
            records_out: to.records_out,
            in_per_second: self.rate(from.records_in, to.records_in),
            out_per_second: self.rate(from.records_out, to.records_out),
        }
    }

    /// The shares of time of a task, on the average of its subtasks.
    fn load(&self, at: usize, subtasks: usize) -> Load {
        let of = |sample: &Sample| sample.tasks.get(at).copied().unwrap_or_default();
        let ((busy_from, waits_from), (busy_to, waits_to)) = (of(self.from), of(self.to));
        let share = |from, to| self.rate(from, to) / 1e6 / subtasks.max(1) as f64;
        Load {
            busy: share(busy_from, busy_to).min(1.0),
            back_pressure: share(waits_from, waits_to).min(1.0),
        }
    }

    fn source(&self, at: usize, node: &Node, live: &Live) -> shape::Source {
        let mut tasks = live.tasks.iter().enumerate();
        let reads = |task: &TaskView| {
            let source = task.source.as_ref();
            source.is_some_and(|(name, _)| **name == *node.name)
        };
        let found = tasks.find(|(_, task)| reads(task));
        let load = found.map(|(at, task)| self.load(at, task.subtasks.len()));
        let (flow, load) = (self.flow(at), load.unwrap_or_default());
        let watermark = found.map_or(watermark::START, |(_, task)| task.watermark());
        let metrics = found.and_then(|(_, task)| task.source.as_ref());
        let left = metrics.map(|(_, metrics)| Left::of(metrics));
        let left = left.unwrap_or_default();
        shape::Source {
            name: node.name.to_string(),
            records_in: flow.records_in,
            records_out: flow.records_out,
            records_in_per_second: flow.in_per_second,
            records_out_per_second: flow.out_per_second,
            busy: load.busy,
            back_pressure: load.back_pressure,
            late_rows: node.metrics.late.get(),
            late_idle_rows: node.metrics.late_idle.get(),
            rejected: node.metrics.rejected.get(),
            dead_letters: node.metrics.dead_letters.get(),
            watermark: shape::event_time(watermark),
            lag_seconds: lag(watermark),
            rows_left: left.rows,
            bytes_left: left.bytes,
            splits: left.splits,
            splits_ended: left.ended,
        }
    }

    fn operator(
        &self,
        at: usize,
        node: &Node,
        live: &Live,
        ledger: Option<&checkpoint::State>,
    ) -> shape::Operator {
        let mut tasks = live.tasks.iter().enumerate();
        let runs = |task: &TaskView| task.operators.iter().any(|name| **name == *node.name);
        let found = tasks.find(|(_, task)| runs(task));
        let load = found.map(|(at, task)| self.load(at, task.subtasks.len()));
        let (flow, load) = (self.flow(at), load.unwrap_or_default());
        let watermark = found.map_or(watermark::START, |(_, task)| task.watermark());
        let (from, to) = self.counted(at);
        let newest = ledger.and_then(|ledger| ledger.newest.as_ref());
        shape::Operator {
            name: node.name.to_string(),
            task: found.map(|(_, task)| task.name.clone()).unwrap_or_default(),
            records_in: flow.records_in,
            records_out: flow.records_out,
            records_in_per_second: flow.in_per_second,
            records_out_per_second: flow.out_per_second,
            busy: load.busy,
            back_pressure: load.back_pressure,
            late_rows: node.metrics.late.get(),
            rejected: node.metrics.rejected.get(),
            dead_letters: node.metrics.dead_letters.get(),
            faults: node.metrics.faults.get(),
            lost_rows: node.metrics.lost.get(),
            counters: node.metrics.own.get(),
            plugin_cpu: self.rate(from.cpu_ns, to.cpu_ns) / 1e9,
            state_bytes: node.metrics.state_bytes.get(),
            watermark: shape::event_time(watermark),
            lag_seconds: lag(watermark),
            checkpoint_bytes: newest.and_then(|newest| newest.operators.get(&*node.name).copied()),
        }
    }

    fn sink(&self, at: usize, node: &Node) -> shape::Sink {
        let (from, to) = self.counted(at);
        shape::Sink {
            name: node.name.to_string(),
            records_in: to.records_in,
            records_in_per_second: self.rate(from.records_in, to.records_in),
            busy: (self.rate(from.writing_us, to.writing_us) / 1e6).min(1.0),
        }
    }
}

/// What a source has not read.
#[derive(Default)]
struct Left {
    rows: Option<u64>,
    bytes: Option<u64>,
    splits: usize,
    ended: usize,
}

impl Left {
    /// Asks the system how long files are. A sum is known only if every split's part of it is.
    fn of(source: &SourceMetrics) -> Self {
        let splits = source.splits();
        let mut left = Self {
            rows: Some(0),
            bytes: Some(0),
            splits: splits.len(),
            ended: splits.iter().filter(|split| split.is_end()).count(),
        };
        for split in splits.iter().filter(|split| !split.is_end()) {
            let (rows, bytes) = match split.extent() {
                Extent::Rows(rows) => (Some(rows.saturating_sub(split.rows())), None),
                Extent::File(path) => {
                    let file = std::fs::metadata(path).ok();
                    let file = file.filter(|file| file.is_file());
                    (
                        None,
                        file.map(|file| file.len().saturating_sub(split.bytes())),
                    )
                }
                Extent::Unknown => (None, None),
            };
            left.rows = left.rows.zip(rows).map(|(sum, rows)| sum + rows);
            left.bytes = left.bytes.zip(bytes).map(|(sum, bytes)| sum + bytes);
        }
        if left.splits == 0 {
            (left.rows, left.bytes) = (None, None);
        }
        left
    }
}

/// How far event time is behind the clock on the wall.
fn lag(watermark: i64) -> Option<f64> {
    shape::event_time(watermark)?;
    Some(shape::seconds(clock::wall_us().saturating_sub(watermark)))
}

fn checkpoints(ledger: &checkpoint::State) -> shape::Checkpoints {
    let newest = ledger.newest.as_ref();
    let pending = ledger.pending.as_ref();
    let age = newest.map(|newest| clock::wall_us().saturating_sub(newest.triggered_us));
    shape::Checkpoints {
        interval_seconds: ledger.interval_us.map(shape::seconds),
        decided: ledger.decided,
        given_up: ledger.aborted,
        age_seconds: age.map(shape::seconds),
        last: newest.map(Into::into),
        pending: pending.map(|pending| shape::Pending {
            checkpoint: pending.checkpoint.0,
            reason: pending.reason,
            since_seconds: shape::seconds(clock::monotonic_us() - pending.since_us),
        }),
        failure: ledger.failure.as_ref().map(|(at, reason)| shape::Failure {
            at: shape::time(*at),
            reason: reason.clone(),
        }),
        restored: ledger
            .restored
            .as_ref()
            .map(|(checkpoint, origin)| shape::Restored {
                checkpoint: checkpoint.0,
                origin: origin.clone(),
            }),
    }
}
