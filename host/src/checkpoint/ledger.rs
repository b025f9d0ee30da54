//! What is known of a job's checkpoints, for those who watch. Only the loop of checkpoints writes
//! it, once for each step of one; no task ever takes its lock.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use wasmill_core::checkpoint::{AttemptId, CheckpointId, Manifest, Reason, Scope};

use crate::clock;

/// The checkpoints of a running job.
pub struct Ledger {
    scope: Scope,
    /// Where the storage lies, as people name it.
    location: String,
    state: Mutex<State>,
}

/// A look at a [`Ledger`].
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The attempt.
    pub attempt: Option<AttemptId>,
    /// From the start of one checkpoint to that of the next; none if only on request.
    pub interval_us: Option<i64>,
    /// What the job goes on from, and where that lies if it is another job's.
    pub restored: Option<(CheckpointId, Option<String>)>,
    /// The one that is under way.
    pub pending: Option<Underway>,
    /// Decided ones of this attempt.
    pub decided: u64,
    /// Those that were given up in this attempt.
    pub aborted: u64,
    /// When the last one was given up, in microseconds since 1970, and why.
    pub failure: Option<(i64, String)>,
    /// Decided ones that are kept, oldest first.
    pub kept: Vec<Completed>,
    /// The newest decided one.
    pub newest: Option<Completed>,
}

/// A checkpoint between its trigger and its decision.
#[derive(Debug, Clone)]
pub struct Underway {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// Why it is taken.
    pub reason: Reason,
    /// Whether the job ends with it.
    pub is_last: bool,
    /// When it was triggered, by the monotonic clock.
    pub since_us: i64,
}

/// A decided checkpoint.
#[derive(Debug, Clone)]
pub struct Completed {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// Why it was taken.
    pub reason: Reason,
    /// Whether the input had come to its end.
    pub is_finished: bool,
    /// Where its manifest lies.
    pub place: String,
    /// The attempt that took it.
    pub attempt: AttemptId,
    /// When it was triggered, in microseconds since 1970.
    pub triggered_us: i64,
    /// From the trigger to the decision.
    pub duration_us: i64,
    /// The least watermark of the sources as of it.
    pub watermark: i64,
    /// Bytes of all objects that it names.
    pub bytes: u64,
    /// Bytes of each operator's state.
    pub operators: BTreeMap<String, u64>,
}

impl Ledger {
    /// Of a log that lies in a storage at a place.
    pub fn new(scope: Scope, location: String) -> Self {
        Self {
            scope,
            location,
            state: Mutex::default(),
        }
    }

    /// Where the storage lies, as people name it.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// How things stand.
    pub fn look(&self) -> State {
        self.state.lock().clone()
    }

    /// The attempt begins.
    pub(super) fn begin(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
    }

    /// A checkpoint sets out.
    pub(super) fn triggered(&self, checkpoint: CheckpointId, reason: Reason, is_last: bool) {
        self.state.lock().pending = Some(Underway {
            checkpoint,
            reason,
            is_last,
            since_us: clock::monotonic_us(),
        });
    }

    /// A checkpoint is given up.
    pub(super) fn aborted(&self, reason: &str) {
        let mut state = self.state.lock();
        state.pending = None;
        state.aborted += 1;
        state.failure = Some((clock::wall_us(), reason.to_owned()));
    }

    /// A checkpoint is decided. Gives it, and what it was while it was under way.
    pub(super) fn decided(&self, manifest: &Manifest) -> (Completed, Option<Underway>) {
        let mut completed = self.completed(manifest);
        let mut state = self.state.lock();
        let pending = state.pending.take();
        if let Some(pending) = &pending {
            completed.duration_us = clock::monotonic_us().saturating_sub(pending.since_us);
        }
        state.decided += 1;
        state.newest = Some(completed.clone());
        state.kept.push(completed.clone());
        (completed, pending)
    }

    /// Keeps in step with what the coordinator keeps.
    pub(super) fn keep<'a>(&self, kept: impl Iterator<Item = &'a Arc<Manifest>> + Clone) {
        let mut state = self.state.lock();
        let numbers = state.kept.iter().map(|kept| kept.checkpoint);
        if numbers.eq(kept.clone().map(|manifest| manifest.checkpoint)) {
            return;
        }
        let mut known: BTreeMap<_, _> = std::mem::take(&mut state.kept)
            .into_iter()
            .map(|kept| (kept.checkpoint, kept))
            .collect();
        state.kept = kept
            .map(|manifest| {
                let known = known.remove(&manifest.checkpoint);
                known.unwrap_or_else(|| self.completed(manifest))
            })
            .collect();
    }

    /// A decided checkpoint as its manifest tells it.
    pub fn completed(&self, manifest: &Manifest) -> Completed {
        completed(&self.scope, &self.location, manifest)
    }
}

/// A decided checkpoint of a log in a storage, as its manifest tells it.
pub fn completed(scope: &Scope, location: &str, manifest: &Manifest) -> Completed {
    let operators = manifest.operators.iter().map(|(uid, state)| {
        let segments = state.segments.iter().map(|segment| segment.object.bytes);
        let objects = state.parts.iter().flat_map(|part| &part.objects);
        let bytes: u64 = segments.chain(objects.map(|object| object.bytes)).sum();
        (uid.clone(), bytes)
    });
    let entry = scope.entry(manifest.place.position);
    let written_us = manifest.place.written_us;
    Completed {
        checkpoint: manifest.checkpoint,
        reason: manifest.reason,
        is_finished: manifest.is_finished,
        place: format!("{}/{entry}", location.trim_end_matches('/')),
        attempt: manifest.place.attempt,
        triggered_us: manifest.triggered_us,
        duration_us: written_us.saturating_sub(manifest.triggered_us).max(0),
        watermark: manifest.watermark,
        bytes: manifest.objects().map(|object| object.bytes).sum(),
        operators: operators.collect(),
    }
}
