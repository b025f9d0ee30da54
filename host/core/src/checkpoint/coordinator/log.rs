//! The log as its one writer sees it: one entry at a time, created only if absent.

use crate::checkpoint::{Created, Digest, LookedUp, Position};

use super::Action;

/// The end of the log, and the entry that is being written behind it.
#[derive(Debug)]
pub(super) struct Log {
    next: Position,
    previous: Option<Digest>,
    writing: Option<Writing>,
}

/// An entry on its way. Once sent, it may land at any time, so it is never given up: it is found to
/// stand there, or something else is.
#[derive(Debug)]
struct Writing {
    bytes: Vec<u8>,
    digest: Digest,
    /// Whether to look behind it before believing that it stands at the end.
    is_doubtful: bool,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Creating,
    LookingUp,
    /// The store does not answer: look again at this time.
    Waiting(i64),
}

/// How writing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The entry stands.
    Stands(Digest),
    /// Another entry stands in its place, or has passed it by.
    Lost,
}

impl Log {
    pub(super) fn new(next: Position, previous: Option<Digest>) -> Self {
        Self {
            next,
            previous,
            writing: None,
        }
    }

    /// Where the next entry goes.
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// What the next entry calls its predecessor.
    pub(super) fn previous(&self) -> Option<Digest> {
        self.previous
    }

    /// Sends an entry. `is_doubtful`: its place may have been in use before, and been freed, since
    /// the log was listed: true for an attempt's first entry. (Later ones cannot be: the place
    /// where an attempt is overtaken holds its successor's first entry, and that is never deleted.)
    pub(super) fn write(&mut self, bytes: Vec<u8>, is_doubtful: bool, out: &mut Vec<Action>) {
        debug_assert!(self.writing.is_none(), "one entry at a time");
        let writing = Writing {
            digest: Digest::of(&bytes),
            bytes,
            is_doubtful,
            step: Step::Creating,
        };
        out.push(Action::Create {
            position: self.next,
            bytes: writing.bytes.clone(),
        });
        self.writing = Some(writing);
    }

    /// The store has answered a create.
    pub(super) fn created(
        &mut self,
        position: Position,
        created: Created,
        again_us: i64,
        out: &mut Vec<Action>,
    ) -> Option<Written> {
        let writing = self.writing.as_mut()?;
        if position != self.next || writing.step != Step::Creating {
            return None;
        }
        match created {
            Created::Done if !writing.is_doubtful => return Some(self.advance()),
            Created::Done | Created::Exists => self.look_up(out),
            Created::Unknown => writing.step = Step::Waiting(again_us),
        }
        None
    }

    /// The store has told what stands at a place.
    pub(super) fn looked_up(
        &mut self,
        position: Position,
        looked_up: LookedUp,
        again_us: i64,
        out: &mut Vec<Action>,
    ) -> Option<Written> {
        let writing = self.writing.as_mut()?;
        if position != self.next || writing.step != Step::LookingUp {
            return None;
        }
        match looked_up {
            LookedUp::Found { digest, is_last } if digest == writing.digest && is_last => {
                return Some(self.advance());
            }
            LookedUp::Found { .. } | LookedUp::Absent { is_last: false } => {
                return Some(Written::Lost);
            }
            LookedUp::Absent { is_last: true } => {
                // An earlier try may still land, and be overtaken, and be deleted, before this one.
                writing.is_doubtful = true;
                writing.step = Step::Creating;
                let bytes = writing.bytes.clone();
                out.push(Action::Create { position, bytes });
            }
            LookedUp::Unknown => writing.step = Step::Waiting(again_us),
        }
        None
    }

    /// Asks again what it is time to ask.
    pub(super) fn tick(&mut self, now_us: i64, out: &mut Vec<Action>) {
        if self.wake_at_us().is_some_and(|at| at <= now_us) {
            self.look_up(out);
        }
    }

    /// When to ask again.
    pub(super) fn wake_at_us(&self) -> Option<i64> {
        match self.writing.as_ref()?.step {
            Step::Waiting(at) => Some(at),
            Step::Creating | Step::LookingUp => None,
        }
    }

    fn look_up(&mut self, out: &mut Vec<Action>) {
        if let Some(writing) = &mut self.writing {
            writing.step = Step::LookingUp;
            out.push(Action::LookUp {
                position: self.next,
            });
        }
    }

    /// The entry stands: the next one comes behind it.
    fn advance(&mut self) -> Written {
        let writing = self.writing.take().expect("an entry was being written");
        self.next = self.next.next();
        self.previous = Some(writing.digest);
        Written::Stands(writing.digest)
    }
}
