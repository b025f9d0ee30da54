//! A run of the program: it recovers, coordinates and works, until it ends or is killed.

use std::collections::BTreeMap;

use wasmill_core::checkpoint::{
    CheckpointId, Coordinator, Fact, Notes, Position, Recovery, RestoreFrom, Verdict,
};

use crate::job::{Barrier, Job};

/// A process, alive or not.
pub(crate) struct Process {
    pub(crate) state: State,
    /// It gets no time. Others may take it for dead.
    pub(crate) is_frozen: bool,
    /// What is on its way inside, in no order, with the number under which it was sent.
    pub(crate) letters: Vec<(u64, Letter)>,
    letters_sent: u64,
    pub(crate) has_asked_to_finish: bool,
    /// What each sink was last told to apply.
    pub(crate) told: BTreeMap<String, CheckpointId>,
    /// The last entry that its listing showed.
    pub(crate) listed: u64,
    /// What the deciding sink has told, once it has been asked.
    pub(crate) notes: Option<Notes>,
    /// The number of its transactions' producer.
    pub(crate) epoch: u64,
    /// The manifest that is on its way to the deciding sink.
    pub(crate) deciding: Option<Deciding>,
}

/// A manifest that a sink is to decide.
pub(crate) struct Deciding {
    pub(crate) position: Position,
    pub(crate) verdict: Verdict,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_committed: bool,
}

/// How far a process is.
pub(crate) enum State {
    /// It has asked for a listing.
    Listing(RestoreFrom),
    /// It has asked the deciding sink for its notes.
    Settling(RestoreFrom),
    /// It has asked for the log to be brought up to these notes.
    Entering(RestoreFrom, Notes),
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
            letters_sent: 0,
            has_asked_to_finish: false,
            told: BTreeMap::new(),
            listed: 0,
            notes: None,
            epoch: 0,
            deciding: None,
        }
    }

    /// Sends a message inside.
    pub(crate) fn send(&mut self, letter: Letter) {
        self.letters_sent += 1;
        self.letters.push((self.letters_sent, letter));
    }

    /// Takes a message out; tells whether it has overtaken another one.
    pub(crate) fn take(&mut self, at: usize) -> (Letter, bool) {
        let (number, letter) = self.letters.swap_remove(at);
        let is_first = self.letters.iter().all(|(other, _)| *other > number);
        (letter, !is_first)
    }

    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, State::Dead)
    }

    /// Whether it can do something now.
    pub(crate) fn is_active(&self) -> bool {
        self.is_alive() && !self.is_frozen
    }
}
