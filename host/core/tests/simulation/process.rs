//! A run of the program: it recovers, coordinates and works, until it ends or is killed.

use std::collections::BTreeMap;

use wasmill_core::checkpoint::{CheckpointId, Coordinator, Fact, Recovery, RestoreFrom};

use crate::job::{Barrier, Job};

/// A process, alive or not.
pub(crate) struct Process {
    pub(crate) state: State,
    /// It gets no time. Others may take it for dead.
    pub(crate) is_frozen: bool,
    /// What is on its way inside, in no order.
    pub(crate) letters: Vec<Letter>,
    pub(crate) has_asked_to_finish: bool,
    /// What each sink was last told to apply.
    pub(crate) told: BTreeMap<String, CheckpointId>,
    /// The last entry that its listing showed.
    pub(crate) listed: u64,
}

/// How far a process is.
pub(crate) enum State {
    /// It has asked for a listing.
    Listing(RestoreFrom),
    /// It reads entries.
    Reading(Recovery, RestoreFrom),
    /// It has a coordinator, and once that has begun, a job.
    Running(Box<Coordinator>, Option<Box<Job>>),
    /// Killed, fenced or done.
    Dead,
}

/// A message between the coordinator and the subtasks of one process.
pub(crate) enum Letter {
    /// To the coordinator.
    Fact(Fact),
    /// To a subtask: a checkpoint has been triggered.
    Inject(u32, Barrier),
    /// To a subtask: a checkpoint has been aborted.
    Abort(u32, CheckpointId),
}

impl Process {
    pub(crate) fn new(from: RestoreFrom) -> Self {
        Self {
            state: State::Listing(from),
            is_frozen: false,
            letters: Vec::new(),
            has_asked_to_finish: false,
            told: BTreeMap::new(),
            listed: 0,
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, State::Dead)
    }

    /// Whether it can do something now.
    pub(crate) fn is_active(&self) -> bool {
        self.is_alive() && !self.is_frozen
    }
}
