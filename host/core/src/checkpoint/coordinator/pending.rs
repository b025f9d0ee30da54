//! A checkpoint between its trigger and its decision.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::{
    AttemptId, CheckpointId, Identity, Manifest, Name, ObjectRef, OperatorState, Part, Reason,
    SinkState, SourceState,
};
use crate::watermark;

use super::{Now, Request, Snapshot, SubtaskIndex};

/// The one checkpoint that is under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) checkpoint: CheckpointId,
    /// The request that it answers; none: its time had come.
    pub(super) request: Option<Request>,
    /// What the base names: its snapshots may name that too.
    shared: BTreeSet<ObjectRef>,
    pub(super) triggered: Now,
    /// When it has taken too long.
    pub(super) deadline_us: i64,
    /// The manifest, once it has been sent: it can no longer be aborted.
    pub(super) sent: Option<Box<Manifest>>,
    snapshots: Vec<Option<Snapshot>>,
    missing: usize,
}

/// The parts of a manifest that subtasks contribute.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) watermark: i64,
    pub(super) sources: BTreeMap<String, SourceState>,
    pub(super) operators: BTreeMap<String, OperatorState>,
    pub(super) sinks: BTreeMap<String, SinkState>,
}

impl Request {
    /// Whether the job ends with it.
    pub(super) fn ends_job(self) -> bool {
        self != Self::Savepoint
    }

    /// Why the checkpoint is taken.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Savepoint | Self::StopWithSavepoint => Reason::Savepoint,
            Self::Stop | Self::Finish => Reason::Final,
        }
    }
}

impl Pending {
    pub(super) fn new(
        checkpoint: CheckpointId,
        request: Option<Request>,
        base: Option<&Manifest>,
        triggered: Now,
        subtasks: usize,
    ) -> Self {
        Self {
            checkpoint,
            request,
            shared: base
                .into_iter()
                .flat_map(Manifest::objects)
                .cloned()
                .collect(),
            triggered,
            deadline_us: i64::MAX,
            sent: None,
            snapshots: vec![None; subtasks],
            missing: subtasks,
        }
    }

    /// Why it is taken.
    pub(super) fn reason(&self) -> Reason {
        self.request.map_or(Reason::Periodic, Request::reason)
    }

    /// Whether every subtask has acknowledged.
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The first subtask that has not acknowledged.
    pub(super) fn late(&self) -> Option<SubtaskIndex> {
        let at = self.snapshots.iter().position(Option::is_none)?;
        u32::try_from(at).ok().map(SubtaskIndex)
    }

    /// The first object that a snapshot must not name: one that was not written for this
    /// checkpoint, and that the base does not name either. Such a one may be deleted at any time.
    pub(super) fn stray<'a>(
        &self,
        attempt: AttemptId,
        snapshot: &'a Snapshot,
    ) -> Option<&'a ObjectRef> {
        let checkpoint = self.checkpoint;
        let own = Name::Object {
            attempt,
            checkpoint,
        };
        let is_own = |object: &ObjectRef| Name::parse(&object.name) == own;
        let mut objects = snapshot.objects();
        objects.find(|object| !is_own(object) && !self.shared.contains(object))
    }

    /// Takes a subtask's snapshot; a second one of the same subtask changes nothing.
    pub(super) fn acknowledge(&mut self, subtask: SubtaskIndex, snapshot: Snapshot) {
        let Some(slot) = self.snapshots.get_mut(subtask.0 as usize) else {
            return;
        };
        if slot.is_none() {
            self.missing -= 1;
            *slot = Some(snapshot);
        }
    }

    /// Puts the subtasks' shares together, in the order of the subtasks.
    pub(super) fn assemble(
        &mut self,
        identities: &BTreeMap<String, Identity>,
    ) -> Result<Assembled, String> {
        let mut all = Assembled {
            watermark: watermark::END,
            sources: BTreeMap::new(),
            operators: BTreeMap::new(),
            sinks: BTreeMap::new(),
        };
        for snapshot in self.snapshots.iter_mut().filter_map(Option::take) {
            all.add(snapshot, identities)?;
        }
        let splits = all
            .sources
            .values()
            .flat_map(|source| source.splits.values());
        all.watermark = splits
            .map(|split| split.watermark)
            .min()
            .unwrap_or(watermark::END);
        Ok(all)
    }
}

impl Assembled {
    fn add(
        &mut self,
        snapshot: Snapshot,
        identities: &BTreeMap<String, Identity>,
    ) -> Result<(), String> {
        for (name, source) in snapshot.sources {
            let splits = &mut self.sources.entry(name.clone()).or_default().splits;
            for (split, state) in source.splits {
                if splits.insert(split.clone(), state).is_some() {
                    return Err(format!(
                        "two subtasks speak for split `{split}` of `{name}`"
                    ));
                }
            }
        }
        for (uid, share) in snapshot.operators {
            let Some(identity) = identities.get(&uid) else {
                return Err(format!("`{uid}` has state, and is no operator with state"));
            };
            let state = self.operators.entry(uid).or_insert_with(|| OperatorState {
                identity: identity.clone(),
                watermark: watermark::END,
                segments: Vec::new(),
                parts: Vec::new(),
            });
            state.watermark = state.watermark.min(share.watermark);
            state.segments.extend(share.segments);
            state.parts.extend(share.parts);
        }
        for (name, sink) in snapshot.sinks {
            self.sinks.entry(name).or_default().parts.extend(sink.parts);
        }
        Ok(())
    }
}

impl Snapshot {
    /// Every object that it names.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let operators = self.operators.values();
        let segments = operators.clone().flat_map(|share| &share.segments);
        let sinks = self.sinks.values().flat_map(|sink| &sink.parts);
        let parts = operators.flat_map(|share| &share.parts).chain(sinks);
        let large = parts.flat_map(|part: &Part| &part.objects);
        segments.map(|segment| &segment.object).chain(large)
    }
}
