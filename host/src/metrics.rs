//! Counters of a running job. Tasks add to them once a batch; the summary and the progress line
//! read them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::clock;

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
    /// Rows, and results of windows, that failed calls cost and of which no dead letter tells.
    pub lost: Counter,
    /// Rows behind the watermark.
    pub late: Counter,
    /// Of these, those that only their split's idleness has made late.
    pub late_idle: Counter,
    /// Of a source: records without a value, where its format has no use for them. They are no
    /// rows.
    pub without_value: Arc<Counter>,
    /// Bytes of keyed state, as of the last batch.
    pub state_bytes: Counter,
    /// CPU time of the plugin's calls in nanoseconds.
    pub cpu_ns: Counter,
    /// Of a sink: microseconds in which it wrote.
    pub writing_us: Counter,
    /// What an operator's plugins count themselves.
    pub own: OwnCounters,
}

/// Counters that plugins name.
#[derive(Debug, Default)]
pub struct OwnCounters(Mutex<BTreeMap<String, u64>>);

/// Names of one operator; further ones are not counted.
const OWN_MAX: usize = 256;

impl OwnCounters {
    /// Adds what a call has counted.
    pub fn add(&self, counts: &[(String, u64)]) {
        if counts.is_empty() {
            return;
        }
        let mut all = self.0.lock();
        for (name, count) in counts {
            if let Some(sum) = all.get_mut(name) {
                *sum = sum.saturating_add(*count);
            } else if all.len() < OWN_MAX {
                all.insert(name.clone(), *count);
            }
        }
    }

    /// The sums so far, by name.
    pub fn get(&self) -> BTreeMap<String, u64> {
        self.0.lock().clone()
    }
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

/// A time of the event clock, in microseconds, that one thread tells and somebody reads now and
/// then.
#[derive(Debug)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Tells a new value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Gauge {
    /// Before the first row.
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

/// How long a subtask has waited for those behind it to take what it sends.
#[derive(Debug, Default)]
pub struct Waits {
    /// Microseconds of waits that are over.
    over_us: AtomicU64,
    /// Since when it waits now, by the monotonic clock; 0 if it does not.
    since_us: AtomicI64,
}

impl Waits {
    /// A wait begins.
    pub fn begin(&self) {
        self.since_us
            .store(clock::monotonic_us(), Ordering::Relaxed);
    }

    /// It is over.
    pub fn end(&self) {
        let since = self.since_us.swap(0, Ordering::Relaxed);
        let waited = clock::monotonic_us().saturating_sub(since).max(0);
        self.over_us
            .fetch_add(waited.unsigned_abs(), Ordering::Relaxed);
    }

    /// Microseconds so far, those of a wait that goes on included.
    pub fn total_us(&self) -> u64 {
        let since = self.since_us.load(Ordering::Relaxed);
        let now = match since {
            0 => 0,
            since => clock::monotonic_us()
                .saturating_sub(since)
                .max(0)
                .unsigned_abs(),
        };
        self.over_us.load(Ordering::Relaxed) + now
    }
}

/// How far the splits of a source are. The lock is taken where a split is opened and where somebody
/// looks, never on the way of rows.
#[derive(Debug, Default)]
pub struct SourceMetrics {
    splits: Mutex<BTreeMap<String, Arc<SplitMetrics>>>,
}

impl SourceMetrics {
    /// A split, which is new if it was not known.
    pub fn split(&self, name: &str) -> Arc<SplitMetrics> {
        let mut splits = self.splits.lock();
        Arc::clone(splits.entry(name.into()).or_default())
    }

    /// The least watermark of the splits that have not ended; once all have, that of the last.
    pub fn watermark(&self) -> i64 {
        let splits = self.splits();
        let open = splits.iter().filter(|split| !split.is_end());
        let least = open.map(|split| split.watermark.get()).min();
        least
            .or_else(|| splits.iter().map(|split| split.watermark.get()).max())
            .unwrap_or(i64::MIN)
    }

    /// All splits that are known.
    pub fn splits(&self) -> Vec<Arc<SplitMetrics>> {
        self.splits.lock().values().cloned().collect()
    }
}

/// How far a split is.
#[derive(Debug, Default)]
pub struct SplitMetrics {
    /// Rows that were handed on.
    rows: AtomicU64,
    /// Bytes up to there, where the split has any.
    bytes: AtomicU64,
    /// Its watermark.
    pub watermark: Gauge,
    is_end: AtomicBool,
    /// How long it is.
    extent: Mutex<Extent>,
}

/// How long a split is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Extent {
    /// Nobody knows.
    #[default]
    Unknown,
    /// So many rows.
    Rows(u64),
    /// As long as this file, whose bytes are those that are read.
    File(PathBuf),
}

impl SplitMetrics {
    /// Tells how long it is.
    pub fn measure(&self, extent: Extent) {
        *self.extent.lock() = extent;
    }

    /// Tells how far it is.
    pub fn reach(&self, rows: u64, bytes: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Tells that it has come to its end.
    pub fn end(&self) {
        self.is_end.store(true, Ordering::Relaxed);
    }

    /// Whether it has come to its end.
    pub fn is_end(&self) -> bool {
        self.is_end.load(Ordering::Relaxed)
    }

    /// Rows that were handed on.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes up to there.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long it is.
    pub fn extent(&self) -> Extent {
        self.extent.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_before_it_is_over() {
        let waits = Waits::default();
        assert_eq!(waits.total_us(), 0);
        waits.begin();
        let began = clock::monotonic_us();
        while clock::monotonic_us() < began + 50 {}
        let before = waits.total_us();
        assert!(before >= 50);
        waits.end();
        assert!(waits.total_us() >= before);
    }

    #[test]
    fn a_split_is_one_whoever_asks_first() {
        let source = SourceMetrics::default();
        source.split("a").measure(Extent::Rows(10));
        source.split("a").reach(4, 0);
        let splits = source.splits();
        assert_eq!(splits.len(), 1);
        assert_eq!(
            (splits[0].extent(), splits[0].rows()),
            (Extent::Rows(10), 4)
        );
    }
}
