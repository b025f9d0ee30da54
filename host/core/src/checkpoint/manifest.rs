//! What the entries of a job's log say. These types are the format: a change of theirs is a new
//! version of `docs/formats/checkpoint.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{AttemptId, CheckpointId, Digest, Position, Scope};
use crate::key::KeyGroupRange;

/// What every entry says about itself and about what came before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Place {
    /// The tenant; `default` today.
    pub tenant: String,
    /// The job.
    pub job: String,
    /// The key groups that this log is about.
    pub range: KeyGroupRange,
    /// Where the entry stands in the log.
    pub position: Position,
    /// Digest of the bytes of the entry before it; none for the first.
    pub previous: Option<Digest>,
    /// The attempt that wrote it.
    pub attempt: AttemptId,
    /// The highest number that a checkpoint has got so far, this one's included; 0 before any.
    pub checkpoint_last: CheckpointId,
    /// Microseconds since 1970 by the clock of the machine that wrote it; for people.
    pub written_us: i64,
    /// The checkpoints that were decided before and are kept, oldest first: with this entry's own,
    /// all that may be restored, and all whose objects may be needed. One that is gone was retired
    /// after this was written.
    pub decided: Vec<Decided>,
}

/// A decided checkpoint as later entries name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Decided {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Where its manifest stands in the log.
    pub position: Position,
    /// Digest of the manifest's bytes.
    pub digest: Digest,
}

/// The first entry of an attempt. It stands in its predecessor's way: behind it, no earlier attempt
/// can decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AttemptStart {
    /// Where it stands.
    pub place: Place,
    /// What it restores; none if it begins without state.
    pub base: Option<Base>,
    /// The program that wrote it, such as `wasmill 0.1.0`; for people.
    pub program: String,
    /// A word of chance: of two attempts that begin alike and at the same instant, each knows by it
    /// which one's entry stands. Entries of before it was written have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// A decided checkpoint that an attempt begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Base {
    /// Which.
    pub decided: Decided,
    /// Where its log lies, if it is not this one: as the user named it.
    pub origin: Option<String>,
}

/// A decided checkpoint: where every source stood, and the state of everything as of there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// Where it stands.
    pub place: Place,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The decided checkpoint right before it: sinks that have applied that one, or a later one,
    /// miss no row. None if the job began without state since.
    pub since: Option<CheckpointId>,
    /// Why it was taken.
    pub reason: Reason,
    /// Whether the job has come to the end of its input: there is nothing to resume.
    pub is_finished: bool,
    /// Microseconds since 1970 when its barriers set out, by the clock of the machine; for people.
    pub triggered_us: i64,
    /// How keys become key groups.
    pub key_hash: KeyHash,
    /// The least watermark of the sources as of the barrier, in microseconds of event time.
    pub watermark: i64,
    /// The sources, by name in the document.
    pub sources: BTreeMap<String, SourceState>,
    /// The operators, by uid.
    pub operators: BTreeMap<String, OperatorState>,
    /// The sinks that follow checkpoints, by name in the document.
    pub sinks: BTreeMap<String, SinkState>,
    /// The sink whose transaction decided it; none where the entry itself is the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decider: Option<String>,
}

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its time had come. Ours to delete.
    Periodic,
    /// Someone asked for it. The user's to keep: it stands until it is disposed of, and names only
    /// objects that were written for it.
    Savepoint,
    /// The job ends with it.
    Final,
}

/// How keys become key groups (`docs/formats/state.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyHash {
    /// Seed of the 64-bit XXH3.
    pub seed: u64,
    /// Number of key groups.
    pub groups: u16,
}

/// Where a source stood.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceState {
    /// Its splits, by name.
    pub splits: BTreeMap<String, SplitState>,
}

/// Where a source's split stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SplitState {
    /// What the connector needs to go on right behind the last row before the barrier.
    pub position: Json,
    /// The split's watermark as of there, in microseconds of event time.
    pub watermark: i64,
}

/// An operator's state as of the barrier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OperatorState {
    /// What it is.
    pub identity: Identity,
    /// Its watermark as of the barrier: the least over its subtasks.
    pub watermark: i64,
    /// Its keyed state. Those of one subtask stand together: a base, then its deltas in order.
    pub segments: Vec<Segment>,
    /// What is not by key.
    pub parts: Vec<Part>,
}

/// What decides whether an operator's state fits, and which code made it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Identity {
    /// Digest of its plugin; none if it is built in.
    pub plugin: Option<Digest>,
    /// The types of its key's columns as `docs/formats/state.md` writes them, such as
    /// `u64, string?`; none without a key.
    pub key: Option<String>,
    /// Its states, by name.
    pub states: BTreeMap<String, StateSchema>,
}

/// The schema of a state: its id, and what the id is the digest of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StateSchema {
    /// Equal ids mean bytes that read alike.
    pub id: Digest,
    /// The kind's name in descriptors.
    pub kind: String,
    /// The type of a map's key.
    pub key: Option<String>,
    /// The type of the value, or of a list's item.
    pub value: String,
}

/// A file of keyed state, sorted by (tenant, key group, key).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Segment {
    /// The file.
    pub object: ObjectRef,
    /// Whether earlier ones still count.
    pub kind: SegmentKind,
    /// The key groups that it covers.
    pub range: KeyGroupRange,
    /// Where each key group of the range begins in the file, and where the last one ends, in bytes:
    /// one more than there are groups. Empty if only the file's own index tells.
    pub offsets: Vec<u64>,
}

/// Whether a segment replaces or changes what earlier ones say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentKind {
    /// All of its range's state.
    Base,
    /// What changed since the segment before it.
    Delta,
}

/// State of one subtask that is not by key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Part {
    /// The subtask within its task, counted from 0.
    pub subtask: u16,
    /// What is small, in its owner's own terms.
    pub state: Json,
    /// What is large.
    pub objects: Vec<ObjectRef>,
}

/// What a sink has to do once the checkpoint is decided.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SinkState {
    /// The rows of each of its subtasks since the checkpoint before, or what tells where they are.
    pub parts: Vec<Part>,
}

/// An object in the store, complete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ObjectRef {
    /// Its name below the log's own folder ([`Scope::object_name`]).
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Digest of its bytes.
    pub digest: Digest,
}

impl Place {
    /// Whose log it is part of.
    pub fn is_of(&self, scope: &Scope) -> bool {
        self.tenant == scope.tenant() && self.job == scope.job() && self.range == scope.range()
    }
}

impl Manifest {
    /// Every object that it names; one that two parts share comes twice.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let operators = self.operators.values();
        let segments = operators.clone().flat_map(|operator| &operator.segments);
        let sinks = self.sinks.values().flat_map(|sink| &sink.parts);
        let parts = operators.flat_map(|operator| &operator.parts).chain(sinks);
        let large = parts.flat_map(|part| &part.objects);
        segments.map(|segment| &segment.object).chain(large)
    }
}
