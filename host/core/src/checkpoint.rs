//! Checkpoints: what is written down, who decides, and what a restart may believe.
//!
//! A job has one **log**: objects numbered from 1 without a gap, each created only if it is absent
//! and each naming its predecessor's digest. An entry is the start of an *attempt* (a run of the
//! job between two restarts) or the *manifest* of a checkpoint, and the manifest **is** the
//! decision. Both stand in the same sequence, so that an attempt's entry takes the very number at
//! which its predecessor would have decided next: whoever lives on behind it loses its next create
//! and knows that it is over.
//!
//! | piece | does |
//! |---|---|
//! | [`Coordinator`] | facts in, actions out: triggers, decides, aborts, retains, collects |
//! | [`BarrierAligner`] | tells a task when the barrier has come on all of its channels |
//! | [`Recovery`] | from a listing and the entries that matter to what is restored |
//! | [`settle()`] | what a sink that decides by its transactions has decided beyond the log |
//! | [`disposal()`] | what goes with a savepoint while nobody runs the job |
//! | [`compatibility()`] | whether a manifest's state fits a changed pipeline |
//! | [`Entry`], [`Manifest`], [`Scope`] | the documents and names (`docs/formats/checkpoint.md`) |
//!
//! Rules that the pieces rely on, and that the host must keep:
//!
//! 1. A subtask acknowledges a checkpoint only after every object that it names is complete and
//!    durable. It names objects that it wrote for this checkpoint, or that the decided checkpoint
//!    named which came with the barrier ([`Action::Inject`]); nothing else, not even what it wrote
//!    for a checkpoint that was aborted.
//! 2. A create that brought no clear answer is told as [`Created::Unknown`], never as a failure: it
//!    may still be applied. A manifest that has been sent is never aborted.
//! 3. Outputs follow: a transactional sink applies what a decided manifest names, together with its
//!    own marker, when told by [`Action::Apply`], and skips what its marker says is done.
//! 4. Where a sink decides ([`Verdict`]), the host creates a manifest's entry only behind the
//!    commit that names it, and settles the newest verdict before an attempt begins.

mod aligner;
mod compatibility;
mod coordinator;
mod digest;
mod disposal;
mod entry;
mod id;
mod manifest;
mod name;
mod recovery;
mod verdict;

pub use aligner::BarrierAligner;
pub use compatibility::{Compatible, Incompatible, Migrated, Planned, compatibility};
pub use coordinator::{
    Action, AttemptError, Coordinator, Created, End, Fact, LookedUp, Now, OperatorSnapshot,
    Request, Settings, Snapshot, Start, SubtaskIndex,
};
pub use digest::Digest;
pub use disposal::{DisposalError, disposal};
pub use entry::{ENTRY_BYTES_MAX, Entry, EntryError, FORMAT_VERSION};
pub use id::{AttemptId, CheckpointId, Position};
pub use manifest::{
    AttemptStart, Base, Decided, Identity, KeyHash, Manifest, ObjectRef, OperatorState, Part,
    Place, Reason, Segment, SegmentKind, SinkState, SourceState, SplitState, StateSchema,
};
pub use name::{Name, NameError, Scope};
pub use recovery::{Damage, Kept, Recovered, Recovery, RecoveryError, RestoreFrom, Unmet};
pub use verdict::{Notes, Settled, Verdict, VerdictError, settle, undecided};
