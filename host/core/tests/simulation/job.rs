//! The subtasks of a run: sources, counting operators, one sink task, and the channels between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::json;
use wasmill_core::checkpoint::{
    AttemptId, BarrierAligner, CheckpointId, Digest, Manifest, ObjectRef, OperatorSnapshot, Part,
    Scope, Segment, SegmentKind, SinkState, Snapshot, SourceState, SplitState,
};
use wasmill_core::key::{KeyGroupRange, subtask_of};
use wasmill_core::watermark;

use crate::model::{Counts, KEYS, Row};
use crate::rng::Rng;
use crate::store::{Store, encode_counts, encode_rows};

/// What goes through a channel.
#[derive(Debug, Clone, Copy)]
enum Item {
    Row(Row),
    Barrier(Barrier),
    End,
}

/// A barrier, and what goes with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Barrier {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) base: Option<CheckpointId>,
    pub(crate) since: Option<CheckpointId>,
    pub(crate) is_last: bool,
}

/// What a subtask wants stored before it acknowledges.
#[derive(Clone)]
pub(crate) struct Taken {
    pub(crate) subtask: u32,
    pub(crate) checkpoint: CheckpointId,
    pub(crate) snapshot: Snapshot,
    /// Full names and bytes.
    pub(crate) uploads: Vec<(String, Vec<u8>)>,
}

/// The names of the sinks; the sink task writes for both.
pub(crate) const SINKS: [&str; 2] = ["files", "table"];

/// Rows that wait in a channel.
const CHANNEL_LEN_MAX: usize = 4;

/// A running job.
pub(crate) struct Job {
    scope: Scope,
    attempt: AttemptId,
    sources: Vec<Source>,
    counters: Vec<Counter>,
    sink: Sink,
    /// Some snapshots name what earlier ones wrote, whether or not those were decided.
    pub(crate) is_careless: bool,
}

struct Source {
    next: u32,
    injected: CheckpointId,
    /// Nothing is sent until this one is aborted.
    paused: Option<CheckpointId>,
    /// Rows that it has.
    end: u32,
    /// Whether that is fewer than there were.
    is_cut: bool,
    has_ended: bool,
}

struct Counter {
    aligner: BarrierAligner,
    inputs: Vec<VecDeque<Item>>,
    counts: Counts,
    /// What snapshots were taken, newest last: the state and its segments.
    taken: BTreeMap<CheckpointId, (Counts, Vec<Segment>)>,
    told: BTreeMap<CheckpointId, Barrier>,
    has_ended: bool,
}

struct Sink {
    aligner: BarrierAligner,
    inputs: Vec<VecDeque<Item>>,
    /// Rows by the snapshot in which they came first; the current ones are under the highest.
    rows: BTreeMap<CheckpointId, Vec<Row>>,
    open: Vec<Row>,
    told: BTreeMap<CheckpointId, Barrier>,
}

impl Job {
    /// Starts from a manifest, or from nothing. `Err`: what the manifest names is not there.
    pub(crate) fn start(
        (scope, attempt): (&Scope, AttemptId),
        (sources, counters, total): (usize, usize, u32),
        manifest: Option<&Arc<Manifest>>,
        store: &Store,
    ) -> Result<Self, String> {
        let objects = manifest.iter().flat_map(|manifest| manifest.objects());
        for object in objects {
            store.whole(scope, object)?;
        }
        let source = |at: usize| {
            let split = |manifest: &Arc<Manifest>| {
                manifest.sources["rows"].splits[&at.to_string()]
                    .position
                    .as_u64()
            };
            Source {
                next: manifest.and_then(split).unwrap_or(0) as u32,
                injected: CheckpointId(0),
                paused: None,
                end: total,
                is_cut: false,
                has_ended: false,
            }
        };
        let counter = |at: usize| {
            let range = KeyGroupRange::of_subtask(at as u16, counters as u16, KEYS);
            let mut taken = BTreeMap::new();
            let mut counts = Counts::new();
            if let Some(manifest) = manifest {
                let segments = &manifest.operators["count"].segments;
                let segments = segments.iter().filter(|segment| segment.range == range);
                let segments: Vec<Segment> = segments.cloned().collect();
                counts = store.counts(scope, &segments, range);
                taken.insert(manifest.checkpoint, (counts.clone(), segments));
            }
            Counter {
                aligner: BarrierAligner::new(sources),
                inputs: vec![VecDeque::new(); sources],
                counts,
                taken,
                told: BTreeMap::new(),
                has_ended: false,
            }
        };
        Ok(Self {
            scope: scope.clone(),
            attempt,
            sources: (0..sources).map(source).collect(),
            counters: (0..counters).map(counter).collect(),
            sink: Sink {
                aligner: BarrierAligner::new(counters),
                inputs: vec![VecDeque::new(); counters],
                rows: BTreeMap::new(),
                open: Vec::new(),
                told: BTreeMap::new(),
            },
            is_careless: false,
        })
    }

    /// Subtasks: sources, counters, the sink task.
    pub(crate) fn subtasks(&self) -> u32 {
        (self.sources.len() + self.counters.len() + 1) as u32
    }

    /// Whether every source has come to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.sources.iter().all(|source| source.has_ended)
    }

    /// A subtask is told that a checkpoint was triggered.
    pub(crate) fn inject(&mut self, subtask: u32, barrier: Barrier) -> Option<Taken> {
        let at = subtask as usize;
        if at < self.sources.len() {
            return self.inject_source(at, barrier);
        }
        let checkpoint = barrier.checkpoint;
        let at = at - self.sources.len();
        if let Some(counter) = self.counters.get_mut(at) {
            counter.told.insert(checkpoint, barrier);
            let due = counter.aligner.trigger(checkpoint)?;
            return Some(self.snapshot_counter(at, due));
        }
        self.sink.told.insert(checkpoint, barrier);
        let due = self.sink.aligner.trigger(checkpoint)?;
        Some(self.snapshot_sink(due))
    }

    /// A subtask is told that a checkpoint was aborted.
    pub(crate) fn abort(&mut self, subtask: u32, checkpoint: CheckpointId) {
        let at = subtask as usize;
        if let Some(source) = self.sources.get_mut(at) {
            if source.paused == Some(checkpoint) {
                source.paused = None;
            }
        } else if let Some(counter) = self.counters.get_mut(at - self.sources.len()) {
            counter.aligner.abort(checkpoint);
        } else {
            self.sink.aligner.abort(checkpoint);
        }
    }

    /// Some subtask does one thing, if it can.
    pub(crate) fn work(&mut self, rng: &mut Rng) -> Option<Taken> {
        let at = rng.index(self.subtasks() as usize);
        if at < self.sources.len() {
            self.emit(at);
            return None;
        }
        let at = at - self.sources.len();
        if at < self.counters.len() {
            let channel = rng.index(self.sources.len());
            return self.work_counter(at, channel);
        }
        let channel = rng.index(self.counters.len());
        self.work_sink(channel)
    }

    /// The input ends where it stands.
    pub(crate) fn cut(&mut self) {
        for source in &mut self.sources {
            source.is_cut |= source.next < source.end;
            source.end = source.next;
        }
    }

    fn inject_source(&mut self, at: usize, barrier: Barrier) -> Option<Taken> {
        let source = &mut self.sources[at];
        if barrier.checkpoint <= source.injected {
            return None;
        }
        source.injected = barrier.checkpoint;
        source.paused = barrier.is_last.then_some(barrier.checkpoint);
        // Behind a cut event time has come to its end.
        let is_over = source.is_cut && source.has_ended;
        let split = SplitState {
            position: json!(source.next),
            watermark: if is_over {
                watermark::END
            } else {
                i64::from(source.next)
            },
        };
        if !source.has_ended {
            for counter in &mut self.counters {
                counter.inputs[at].push_back(Item::Barrier(barrier));
            }
        }
        let mut snapshot = Snapshot::default();
        let state = SourceState {
            splits: [(at.to_string(), split)].into(),
        };
        snapshot.sources.insert("rows".into(), state);
        Some(Taken {
            subtask: at as u32,
            checkpoint: barrier.checkpoint,
            snapshot,
            uploads: Vec::new(),
        })
    }

    fn emit(&mut self, at: usize) {
        let source = &mut self.sources[at];
        if source.paused.is_some() || source.has_ended {
            return;
        }
        if source.next == source.end {
            source.has_ended = true;
            self.counters
                .iter_mut()
                .for_each(|counter| counter.inputs[at].push_back(Item::End));
            return;
        }
        let row = Row {
            source: at as u8,
            number: source.next,
        };
        let owner = subtask_of(u16::from(row.key()), self.counters.len() as u16, KEYS);
        let channel = &mut self.counters[usize::from(owner)].inputs[at];
        if channel.len() < CHANNEL_LEN_MAX {
            source.next += 1;
            channel.push_back(Item::Row(row));
        }
    }

    fn work_counter(&mut self, at: usize, channel: usize) -> Option<Taken> {
        let counter = &mut self.counters[at];
        let is_full = self.sink.inputs[at].len() >= CHANNEL_LEN_MAX;
        if is_full || counter.aligner.is_blocked(channel) {
            return None;
        }
        let due = match counter.inputs[channel].pop_front()? {
            Item::Row(row) => {
                row.count(&mut counter.counts);
                self.sink.inputs[at].push_back(Item::Row(row));
                return None;
            }
            Item::Barrier(barrier) => {
                counter.told.insert(barrier.checkpoint, barrier);
                counter.aligner.barrier(channel, barrier.checkpoint)
            }
            Item::End => counter.aligner.end(channel),
        };
        let taken = due.map(|due| self.snapshot_counter(at, due));
        let counter = &mut self.counters[at];
        if counter.aligner.has_ended() && !counter.has_ended {
            counter.has_ended = true;
            self.sink.inputs[at].push_back(Item::End);
        }
        taken
    }

    /// What changed since the base, or everything where that is shorter or there is none.
    fn snapshot_counter(&mut self, at: usize, checkpoint: CheckpointId) -> Taken {
        const SEGMENTS_MAX: usize = 3;
        let counter = &mut self.counters[at];
        let barrier = counter.told[&checkpoint];
        counter.told.retain(|told, _| *told > checkpoint);
        let is_careless = self.is_careless && checkpoint.0.is_multiple_of(4);
        if let Some(base) = barrier.base {
            counter.taken.retain(|taken, _| *taken >= base);
        }
        let base = match is_careless {
            true => counter.taken.values().next_back(),
            false => barrier.base.and_then(|base| counter.taken.get(&base)),
        };
        let base = base.filter(|(_, segments)| segments.len() < SEGMENTS_MAX);
        let (kind, changed, mut segments) = match base {
            Some((before, segments)) => {
                let is_changed =
                    |(key, value): &(&u8, &(u32, u64))| before.get(*key) != Some(*value);
                let changed = counter.counts.iter().filter(is_changed);
                let changed: Counts = changed.map(|(key, value)| (*key, *value)).collect();
                (SegmentKind::Delta, changed, segments.clone())
            }
            None => (SegmentKind::Base, counter.counts.clone(), Vec::new()),
        };
        let name = Scope::object_name(self.attempt, checkpoint, &format!("count/{at}"));
        let bytes = encode_counts(&changed);
        segments.push(Segment {
            object: object(&name, &bytes),
            kind,
            range: KeyGroupRange::of_subtask(at as u16, self.counters.len() as u16, KEYS),
            offsets: Vec::new(),
        });
        let counter = &mut self.counters[at];
        counter
            .taken
            .insert(checkpoint, (counter.counts.clone(), segments.clone()));
        if !counter.has_ended {
            self.sink.inputs[at].push_back(Item::Barrier(barrier));
        }
        let share = OperatorSnapshot {
            watermark: 0,
            segments,
            parts: Vec::new(),
        };
        let mut snapshot = Snapshot::default();
        snapshot.operators.insert("count".into(), share);
        Taken {
            subtask: (self.sources.len() + at) as u32,
            checkpoint,
            snapshot,
            uploads: vec![(self.scope.object(&name), bytes)],
        }
    }

    fn work_sink(&mut self, channel: usize) -> Option<Taken> {
        let sink = &mut self.sink;
        if sink.aligner.is_blocked(channel) {
            return None;
        }
        let due = match sink.inputs[channel].pop_front()? {
            Item::Row(row) => {
                sink.open.push(row);
                None
            }
            Item::Barrier(barrier) => {
                sink.told.insert(barrier.checkpoint, barrier);
                sink.aligner.barrier(channel, barrier.checkpoint)
            }
            Item::End => sink.aligner.end(channel),
        };
        due.map(|due| self.snapshot_sink(due))
    }

    /// All rows since the decided checkpoint before.
    fn snapshot_sink(&mut self, checkpoint: CheckpointId) -> Taken {
        let sink = &mut self.sink;
        let barrier = sink.told[&checkpoint];
        sink.told.retain(|told, _| *told > checkpoint);
        sink.rows.insert(checkpoint, std::mem::take(&mut sink.open));
        if let Some(since) = barrier.since {
            sink.rows.retain(|taken, _| *taken > since);
        }
        let bytes = encode_rows(sink.rows.values().flatten());
        let name = Scope::object_name(self.attempt, checkpoint, "rows");
        let part = Part {
            subtask: 0,
            state: json!({}),
            objects: vec![object(&name, &bytes)],
        };
        let mut snapshot = Snapshot::default();
        for sink in SINKS {
            let parts = vec![part.clone()];
            snapshot.sinks.insert(sink.into(), SinkState { parts });
        }
        Taken {
            subtask: self.subtasks() - 1,
            checkpoint,
            snapshot,
            uploads: vec![(self.scope.object(&name), bytes)],
        }
    }
}

fn object(name: &str, bytes: &[u8]) -> ObjectRef {
    ObjectRef {
        name: name.into(),
        bytes: bytes.len() as u64,
        digest: Digest::of(bytes),
    }
}
