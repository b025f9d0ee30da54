//! What a job did, in numbers: docs/summary.md names every field, and a field never changes its
//! meaning.

use std::{collections::BTreeMap, fs, time::Duration};

use serde::Serialize;

use crate::metrics::{Node, NodeKind};

/// The report at a job's end.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "docs/summary.md says what each field means")]
pub struct Summary {
    pub summary: u32,
    pub pipeline: String,
    pub outcome: Ended,
    pub error: Option<String>,
    pub parallelism: usize,
    pub restarts: u32,
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub records_in: u64,
    pub records_out: u64,
    pub records_per_second: f64,
    pub late_rows: u64,
    pub rejected: u64,
    pub dead_letters: u64,
    pub faults: u64,
    pub lost_rows: u64,
    pub peak_memory_bytes: u64,
    pub state_bytes: u64,
    pub sources: Vec<NodeSummary>,
    pub operators: Vec<NodeSummary>,
    pub sinks: Vec<NodeSummary>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Its input ended.
    Done,
    /// A signal stopped it, and everything read so far was processed.
    Stopped,
    /// It was drained: its input ended where it was asked to, and it is finished.
    Drained,
    /// A task or a sink failed.
    Failed,
}

/// The counters of one source, operator or sink; those that it cannot have are left out.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "docs/summary.md says what each field means")]
pub struct NodeSummary {
    pub name: String,
    pub records_in: u64,
    pub records_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_idle_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
}

impl Summary {
    /// Reads the counters.
    pub fn new(pipeline: &str, nodes: &[Node], wall: Duration, cpu: Duration) -> Self {
        let of = |kind: NodeKind| -> Vec<NodeSummary> {
            nodes
                .iter()
                .filter(|node| node.kind == kind)
                .map(NodeSummary::new)
                .collect()
        };
        let (sources, operators, sinks) = (
            of(NodeKind::Source),
            of(NodeKind::Operator),
            of(NodeKind::Sink),
        );
        let sum = |count: fn(&NodeSummary) -> Option<u64>| -> u64 {
            sources.iter().chain(&operators).filter_map(count).sum()
        };
        let records_in: u64 = sources.iter().map(|source| source.records_in).sum();
        let wall_seconds = wall.as_secs_f64();
        let written = nodes
            .iter()
            .filter(|node| node.kind == NodeKind::Sink && node.has_input);
        Self {
            summary: 1,
            pipeline: pipeline.into(),
            outcome: Ended::Done,
            error: None,
            parallelism: 0,
            restarts: 0,
            wall_seconds,
            cpu_seconds: cpu.as_secs_f64(),
            records_in,
            records_out: written.map(|node| node.metrics.records_in.get()).sum(),
            records_per_second: records_in as f64 / wall_seconds.max(f64::EPSILON),
            late_rows: sources.iter().filter_map(|source| source.late_rows).sum(),
            rejected: sum(|node| node.rejected),
            dead_letters: sum(|node| node.dead_letters),
            faults: sum(|node| node.faults),
            lost_rows: sum(|node| node.lost_rows),
            peak_memory_bytes: peak_memory_bytes(),
            state_bytes: sum(|node| node.state_bytes),
            sources,
            operators,
            sinks,
        }
    }
}

impl Summary {
    /// Adds the time of an attempt before, whose counters went on.
    pub fn add_time(&mut self, earlier: &Self) {
        self.wall_seconds += earlier.wall_seconds;
        self.cpu_seconds += earlier.cpu_seconds;
        self.records_per_second = self.records_in as f64 / self.wall_seconds.max(f64::EPSILON);
    }
}

impl NodeSummary {
    fn new(node: &Node) -> Self {
        let metrics = &node.metrics;
        let records_in = metrics.records_in.get();
        let common = Self {
            name: node.name.to_string(),
            records_in,
            ..Self::default()
        };
        let failing = Self {
            records_out: metrics.records_out.get(),
            rejected: Some(metrics.rejected.get()),
            dead_letters: Some(metrics.dead_letters.get()),
            late_rows: Some(metrics.late.get()),
            ..common.clone()
        };
        match node.kind {
            NodeKind::Sink => Self {
                records_out: records_in,
                ..common
            },
            NodeKind::Source => Self {
                // Only splits that were idle have such rows.
                late_idle_rows: Some(metrics.late_idle.get()).filter(|count| *count > 0),
                // Only topics have such records.
                without_value: Some(metrics.without_value.get()).filter(|count| *count > 0),
                ..failing
            },
            NodeKind::Operator => Self {
                faults: Some(metrics.faults.get()),
                lost_rows: Some(metrics.lost.get()),
                cpu_seconds: Some(Duration::from_nanos(metrics.cpu_ns.get()).as_secs_f64()),
                state_bytes: Some(metrics.state_bytes.get()),
                plugin: node.plugin.as_ref().map(ToString::to_string),
                counters: metrics.own.get(),
                ..failing
            },
        }
    }
}

/// The kernel's high-water mark of resident memory; 0 where there is none.
fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
