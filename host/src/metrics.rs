//! Counters of a running job. Tasks add to them once a batch; the summary and the progress line
//! read them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counters of one source, operator or sink, over all its subtasks.
#[derive(Debug, Default)]
pub struct NodeMetrics {
    /// Rows that came in: for a source, rows read.
    pub records_in: Counter,
    /// Rows that went out on the first output and all side outputs.
    pub records_out: Counter,
    /// Rows that the plugin refused, or that did not fit the source's columns.
    pub rejected: Counter,
    /// Rows sent to a dead-letter sink.
    pub dead_letters: Counter,
    /// Calls of the plugin that failed.
    pub faults: Counter,
    /// Rows behind the watermark.
    pub late: Counter,
    /// Bytes of keyed state, as of the last batch.
    pub state_bytes: Counter,
    /// CPU time of the plugin's calls in nanoseconds.
    pub cpu_ns: Counter,
}

/// A number that many threads add to and somebody reads now and then.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Replaces this caller's earlier share by a new one.
    pub fn replace(&self, earlier: u64, now: u64) {
        self.0
            .fetch_add(now.wrapping_sub(earlier), Ordering::Relaxed);
    }

    /// Nobody has a share any more.
    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a node is in the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Rows come from it.
    Source,
    /// Rows pass through it.
    Operator,
    /// Rows end in it.
    Sink,
}

/// A node's name and its counters.
#[derive(Debug, Clone)]
pub struct Node {
    /// The name in the pipeline document.
    pub name: Arc<str>,
    /// What it is.
    pub kind: NodeKind,
    /// SHA-256 of an operator's plugin.
    pub plugin: Option<Arc<str>>,
    /// Whether rows come to it by name; a dead-letter sink has no `input`.
    pub has_input: bool,
    /// Its counters.
    pub metrics: Arc<NodeMetrics>,
}

impl Node {
    /// A node that has counted nothing yet.
    pub fn new(name: &str, kind: NodeKind) -> Self {
        Self {
            name: name.into(),
            kind,
            plugin: None,
            has_input: true,
            metrics: Arc::default(),
        }
    }

    /// The node with the counters that it had in an attempt that is over, so that they go on; what
    /// that one kept in memory is gone.
    pub fn again(mut self, earlier: &[Self]) -> Self {
        if let Some(earlier) = earlier.iter().find(|node| node.name == self.name) {
            self.metrics = Arc::clone(&earlier.metrics);
            self.metrics.state_bytes.clear();
        }
        self
    }
}
