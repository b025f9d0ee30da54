//! What the coordinator is told, and what it wants done.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checkpoint::{
    AttemptId, CheckpointId, Digest, Identity, KeyHash, Manifest, Part, Position, Reason,
    Recovered, Scope, Segment, SinkState, SourceState,
};

/// The time at which a fact is told, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// From any start on, never falling: all decisions go by it.
    pub monotonic_us: i64,
    /// Since 1970 by the machine's clock, which may jump: only written down.
    pub wall_us: i64,
}

/// A subtask of the job, counted from 0 over all tasks that take part: its position in
/// [`Start::subtasks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubtaskIndex(pub u32);

/// How often, how long, how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From the start of one periodic checkpoint to that of the next; `None`: only on request.
    pub interval_us: Option<i64>,
    /// A checkpoint that is not acknowledged by then is aborted.
    pub timeout_us: i64,
    /// The least time from the end of one checkpoint to the start of a periodic one.
    pub pause_us: i64,
    /// The least time from a failure to the next try: of a checkpoint, of a question to the store.
    pub retry_us: i64,
    /// Failures in a row that the attempt outlives: one more ends it.
    pub failures_max: u32,
    /// Decided checkpoints that are kept, the newest; at least one. Savepoints come on top.
    pub retained: usize,
    /// No periodic checkpoint begins while a sink has so many decided ones to apply; at least one.
    pub unapplied_max: usize,
}

/// All that an attempt begins with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Whose log.
    pub scope: Scope,
    /// How often.
    pub settings: Settings,
    /// The program, such as `wasmill 0.1.0`.
    pub program: String,
    /// A number by chance, which no other attempt has.
    pub nonce: u64,
    /// How keys become key groups.
    pub key_hash: KeyHash,
    /// What each operator with state is, by uid.
    pub operators: BTreeMap<String, Identity>,
    /// What people call each subtask: all of these acknowledge every checkpoint.
    pub subtasks: Vec<String>,
    /// The sinks that follow checkpoints.
    pub followers: Vec<String>,
    /// The sink whose transactions decide checkpoints, if there is one; one of the followers.
    pub decider: Option<String>,
    /// What [`super::super::Recovery`] found.
    pub recovered: Recovered,
}

/// What a subtask contributes to a checkpoint. It is sent when every object that it names is
/// complete and durable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The splits that it is the one to speak for, by source.
    pub sources: BTreeMap<String, SourceState>,
    /// Its share of each operator's state, by uid.
    pub operators: BTreeMap<String, OperatorSnapshot>,
    /// What sinks have to do once this is decided, by sink.
    pub sinks: BTreeMap<String, SinkState>,
}

/// One subtask's share of an operator's state.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorSnapshot {
    /// The operator's watermark in this subtask as of the barrier.
    pub watermark: i64,
    /// Its keyed state: a base, then its deltas in order.
    pub segments: Vec<Segment>,
    /// What is not by key.
    pub parts: Vec<Part>,
}

/// Something that has happened.
#[derive(Debug, Clone)]
pub enum Fact {
    /// Time has passed: wanted at [`super::Coordinator::wake_at_us`].
    Tick,
    /// The answer to [`Action::Create`].
    Created {
        /// The entry.
        position: Position,
        /// What became of it.
        created: Created,
    },
    /// The answer to [`Action::LookUp`].
    LookedUp {
        /// The entry.
        position: Position,
        /// What stands there.
        looked_up: LookedUp,
    },
    /// A subtask has taken its snapshot, and all of it is durable.
    Acknowledged {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The subtask.
        subtask: SubtaskIndex,
        /// Its share.
        snapshot: Box<Snapshot>,
    },
    /// A subtask cannot take or store its snapshot.
    Declined {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The subtask.
        subtask: SubtaskIndex,
        /// Why, in words.
        reason: String,
    },
    /// What a sink's own marker says, when it has opened, and when it has done an
    /// [`Action::Apply`].
    Applied {
        /// The sink.
        sink: String,
        /// The newest checkpoint that it has applied; none if it has no marker of this job.
        marker: Option<CheckpointId>,
    },
    /// Someone wants a checkpoint.
    Requested(Request),
    /// The input is to end here, wherever it stands; answered by [`Action::Cut`], unless the job
    /// stops already. From then on only [`Request::Finish`] is answered: state beyond the cut,
    /// where event time has come to its end, must not be gone on from.
    Draining,
    /// Its owner has no more use for a savepoint.
    Disposed(CheckpointId),
    /// The answer to [`Action::List`]: the full name of every object below [`Scope::prefix`].
    /// A listing that fails is tried again.
    Listed(Vec<String>),
    /// The object of [`Action::Delete`] is gone, or was not there.
    Deleted(String),
    /// [`Action::Delete`] failed, or may have.
    NotDeleted(String),
}

/// What became of a create-if-absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was absent, and now is there, durably.
    Done,
    /// Something was there already, perhaps this very entry by an earlier try.
    Exists,
    /// There was an error or no answer: it may have been applied, or may yet be.
    Unknown,
}

/// What a look at the log showed. The place itself is read first, what stands behind it after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookedUp {
    /// Something stands there.
    Found {
        /// Digest of its bytes, whatever they are.
        digest: Digest,
        /// Whether no entry has a higher number.
        is_last: bool,
    },
    /// Nothing stands there.
    Absent {
        /// Whether no entry has a higher number.
        is_last: bool,
    },
    /// There was an error or no answer.
    Unknown,
}

/// A checkpoint that someone wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// A savepoint; the job goes on.
    Savepoint,
    /// A savepoint, and with it the job stops.
    StopWithSavepoint,
    /// The job stops, and goes on from there another time.
    Stop,
    /// The job has come to the end of its input.
    Finish,
}

/// Something to be done. What fails is told as a fact where there is one for it; everything is done
/// in the order in which it was asked for, as far as it concerns the same object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create the object [`Scope::entry`] with these bytes if nothing is there; durable before it
    /// is told. Answered by [`Fact::Created`].
    Create {
        /// Where.
        position: Position,
        /// What.
        bytes: Vec<u8>,
    },
    /// Read the entry at a place, then see whether any stands behind it. Answered by
    /// [`Fact::LookedUp`].
    LookUp {
        /// Where.
        position: Position,
    },
    /// The attempt stands in the log: restore what was recovered, and start.
    Begin {
        /// Its number.
        attempt: AttemptId,
    },
    /// Have the sources send a barrier, and tell every other subtask too
    /// ([`super::super::BarrierAligner::trigger`]): where all input has ended no barrier comes.
    Inject {
        /// The number on the barrier.
        checkpoint: CheckpointId,
        /// What for. A savepoint's snapshots are whole.
        reason: Reason,
        /// Whether nothing is to be sent behind the barrier until this checkpoint has been
        /// decided, when the job ends, or aborted, when it goes on.
        is_last: bool,
        /// The decided checkpoint whose objects a snapshot may name; it goes with the barrier.
        /// None: a snapshot names only what was written for this checkpoint.
        base: Option<CheckpointId>,
        /// The decided checkpoint right before, which goes with the barrier too: a sink's snapshot
        /// is about the rows since that one. None: since the job began without state.
        since: Option<CheckpointId>,
    },
    /// As if it had never been triggered: the next one covers it. Subtasks lift its barriers, and
    /// what they wrote for it is gone.
    Abort {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why, for people.
        reason: String,
    },
    /// Have the sources' input end where it stands, as if no more rows came.
    Cut,
    /// The checkpoint is decided, for good.
    Decided {
        /// Its manifest.
        manifest: Arc<Manifest>,
    },
    /// Have a sink apply what the manifest names for it, together with its marker. Answered by
    /// [`Fact::Applied`]; the next one comes after that.
    Apply {
        /// The sink.
        sink: String,
        /// The decided checkpoint.
        manifest: Arc<Manifest>,
    },
    /// List the objects of the range. Answered by [`Fact::Listed`].
    List,
    /// Delete an object of this full name. Answered by [`Fact::Deleted`] or [`Fact::NotDeleted`].
    Delete {
        /// The name.
        name: String,
    },
    /// The attempt is over; whatever is told from here on changes nothing.
    End(End),
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As it was asked to: the last checkpoint is decided, and all sinks have applied it.
    Done {
        /// The last checkpoint.
        checkpoint: CheckpointId,
        /// Whether the input has come to its end.
        is_finished: bool,
    },
    /// It cannot go on.
    Broken(AttemptError),
}

/// Why an attempt cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// Another attempt has begun: stop quietly, nothing of this one counts any more.
    #[error("another run of this job has taken over: `{entry}` is not ours")]
    Fenced {
        /// The entry that another one wrote, or should have been ours.
        entry: String,
    },
    /// No checkpoint comes about.
    #[error("{failures} checkpoints failed in a row, the last one because {reason}")]
    Failures {
        /// How many.
        failures: u32,
        /// Why the last one did.
        reason: String,
    },
    /// The rows that a sink lacks are gone.
    #[error(
        "sink `{sink}` has applied {}, and the oldest checkpoint that it could go on with, \
         {oldest}, begins behind that: rows would be missing; restore the sink's data as of a \
         later checkpoint, or begin anew with --fresh", told(.marker)
    )]
    SinkBehind {
        /// The sink.
        sink: String,
        /// What it has applied.
        marker: Option<CheckpointId>,
        /// The oldest that is left to apply.
        oldest: CheckpointId,
    },
    /// A sink has seen a checkpoint that the log does not know.
    #[error(
        "sink `{sink}` has applied checkpoint {marker}, and the log knows none after {newest}: \
         another run has gone on, or the checkpoints are older than the sink's data; then bring \
         back the newer ones, or begin anew with --fresh"
    )]
    SinkAhead {
        /// The sink.
        sink: String,
        /// What it has applied.
        marker: CheckpointId,
        /// The newest that has got a number.
        newest: CheckpointId,
    },
}

/// A marker in words.
fn told(marker: &Option<CheckpointId>) -> String {
    marker.map_or("nothing".to_owned(), |checkpoint| {
        format!("checkpoint {checkpoint}")
    })
}
