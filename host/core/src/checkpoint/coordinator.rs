//! Who decides: a state machine from facts to actions.

mod follower;
mod log;
mod pending;
mod protocol;
mod round;
mod shelf;

use std::collections::VecDeque;
use std::sync::Arc;

use super::{AttemptId, AttemptStart, CheckpointId, Entry, Manifest, Place};

use follower::Follower;
use log::{Log, Written};
use pending::Pending;
use shelf::Shelf;

pub use protocol::{
    Action, AttemptError, Created, End, Fact, LookedUp, Now, OperatorSnapshot, Request, Settings,
    Snapshot, Start, SubtaskIndex,
};

/// Requests that wait; one more of a kind that already waits is the same one.
const REQUESTS_MAX: usize = 4;

/// Takes an attempt's checkpoints, from its first entry in the log to its end.
///
/// At most one checkpoint is pending at a time. It is *aborted* when a subtask declines, names an
/// object that it must not, or time runs out; once all have acknowledged, its manifest is sent, and
/// from then on it can only be found to be *decided*, or the attempt ends.
///
/// ```text
///            Inject                    Create                    Decided, Apply
/// (idle) -----------> acknowledging -----------> being decided -----------------> (idle)
///    ^                      |  Abort                    | something else stands there
///    +----------------------+                           +--> End: fenced
/// ```
#[derive(Debug)]
pub struct Coordinator {
    start: Start,
    phase: Phase,
    log: Log,
    shelf: Shelf,
    followers: Vec<Follower>,
    pending: Option<Pending>,
    requests: VecDeque<Request>,
    /// Whether the input is being cut off.
    is_draining: bool,
    /// The last checkpoint and whether the input has ended, once the job is to stop behind it.
    closing: Option<(CheckpointId, bool)>,
    checkpoint_last: CheckpointId,
    /// The decided checkpoint that the job's rows follow.
    newest: Option<CheckpointId>,
    /// The decided checkpoint whose objects the next one may name.
    base: Option<CheckpointId>,
    failures: u32,
    /// When the next periodic checkpoint is due, and when the next of any kind may begin.
    due_us: i64,
    free_us: i64,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its first entry does not stand yet.
    Entering,
    Running,
    Ended,
}

impl Coordinator {
    /// Begins an attempt: the first action creates its entry in the log.
    ///
    /// # Panics
    /// If the base lies in another log and its manifest has not been filled in.
    pub fn new(start: Start, now: Now, out: &mut Vec<Action>) -> Self {
        let recovered = &start.recovered;
        assert!(
            recovered.base.is_none() || recovered.manifest.is_some(),
            "the base has been read before the attempt begins"
        );
        let damaged = recovered.damaged.iter().map(|damage| damage.decided);
        let kept = recovered.kept.clone();
        let scope = start.scope.clone();
        let local = recovered.base.as_ref().filter(|base| base.origin.is_none());
        let newest = local.map(|base| base.decided.checkpoint);
        let followers = start.followers.iter().cloned().map(Follower::new);
        let mut coordinator = Self {
            phase: Phase::Entering,
            log: Log::new(recovered.position, recovered.previous),
            shelf: Shelf::new(scope, recovered.attempt, kept, damaged.collect()),
            followers: followers.collect(),
            pending: None,
            requests: VecDeque::with_capacity(REQUESTS_MAX),
            is_draining: false,
            closing: None,
            checkpoint_last: recovered.checkpoint_last,
            newest,
            base: newest.filter(|_| recovered.is_base_shared()),
            failures: 0,
            due_us: i64::MAX,
            free_us: i64::MIN,
            start,
        };
        let entry = Entry::Attempt(Box::new(AttemptStart {
            place: coordinator.place(now),
            base: coordinator.start.recovered.base.clone(),
            program: coordinator.start.program.clone(),
            nonce: Some(format!("{:016x}", coordinator.start.nonce)),
        }));
        coordinator.log.write(entry.encode(), true, out);
        coordinator
    }

    /// Takes a fact in, and appends what is to be done.
    pub fn step(&mut self, now: Now, fact: Fact, out: &mut Vec<Action>) {
        if self.phase == Phase::Ended {
            return;
        }
        if let Err(error) = self.take(now, fact, out) {
            return self.end(End::Broken(error), out);
        }
        if self.phase == Phase::Running
            && let Err(error) = self.advance(now, out)
        {
            self.end(End::Broken(error), out);
        }
    }

    /// The attempt's number.
    pub fn attempt(&self) -> AttemptId {
        self.start.recovered.attempt
    }

    /// The checkpoint that is under way, and since when.
    pub fn pending(&self) -> Option<(CheckpointId, Now)> {
        let pending = self.pending.as_ref()?;
        Some((pending.checkpoint, pending.triggered))
    }

    /// The newest decided checkpoint of the job as this attempt runs it.
    pub fn newest(&self) -> Option<&Arc<Manifest>> {
        self.shelf.manifest(self.newest?)
    }

    /// The decided checkpoints that are kept, oldest first, without those on their way out.
    pub fn kept(&self) -> impl Iterator<Item = &Arc<Manifest>> + Clone {
        self.shelf.kept()
    }

    /// Whether a checkpoint is named in the log and could not be read when the attempt began. As
    /// long as there is one, nothing is deleted.
    pub fn is_unreadable(&self, checkpoint: CheckpointId) -> bool {
        self.shelf.is_unreadable(checkpoint)
    }

    /// When a [`Fact::Tick`] is wanted at the latest, in monotonic microseconds.
    pub fn wake_at_us(&self) -> Option<i64> {
        if self.phase == Phase::Ended {
            return None;
        }
        let idle = match (&self.pending, self.next_request()) {
            (Some(pending), _) => Some(pending.deadline_us),
            (None, _) if self.closing.is_some() || self.phase != Phase::Running => None,
            (None, Some(_)) => Some(self.free_us),
            (None, None) if self.is_crowded() || self.is_draining => None,
            (None, None) => Some(self.due_us.max(self.free_us)).filter(|at| *at < i64::MAX),
        };
        [idle, self.log.wake_at_us()].into_iter().flatten().min()
    }

    /// What a fact changes at once.
    fn take(&mut self, now: Now, fact: Fact, out: &mut Vec<Action>) -> Result<(), AttemptError> {
        let again_us = now
            .monotonic_us
            .saturating_add(self.start.settings.retry_us);
        match fact {
            Fact::Tick => self.log.tick(now.monotonic_us, out),
            Fact::Created { position, created } => {
                let written = self.log.created(position, created, again_us, out);
                self.written(written, now, out)?;
            }
            Fact::LookedUp {
                position,
                looked_up,
            } => {
                let written = self.log.looked_up(position, looked_up, again_us, out);
                self.written(written, now, out)?;
            }
            Fact::Acknowledged {
                checkpoint,
                subtask,
                snapshot,
            } => self.acknowledged(now, (checkpoint, subtask), *snapshot, out)?,
            Fact::Declined {
                checkpoint,
                subtask,
                reason,
            } => {
                let reason = format!("{} declined: {reason}", self.subtask(subtask));
                self.abort(now, checkpoint, reason, out)?;
            }
            Fact::Applied { sink, marker } => {
                let newest = self
                    .start
                    .recovered
                    .checkpoint_last
                    .max(self.newest_number());
                let mut followers = self.followers.iter_mut();
                if let Some(follower) = followers.find(|follower| follower.sink() == sink) {
                    follower.tell(marker, newest)?;
                    if self.start.decider.as_ref() == Some(&sink) {
                        // Now it is known that no commit of an earlier attempt needs anything.
                        self.shelf.sweep(out);
                    }
                    self.retire(out);
                }
            }
            Fact::Requested(request) => self.request(request),
            Fact::Draining => self.drain(now, out),
            Fact::Disposed(checkpoint) => {
                self.shelf.dispose(checkpoint);
                self.retire(out);
            }
            Fact::Listed(names) => self.listed(&names, out),
            Fact::Deleted(name) => self.shelf.deleted(&name, out),
            Fact::NotDeleted(_) => self.shelf.soil(),
        }
        Ok(())
    }

    /// What time and order ask for: abort what took too long, follow, stop, begin the next.
    fn advance(&mut self, now: Now, out: &mut Vec<Action>) -> Result<(), AttemptError> {
        self.time_out(now, out)?;
        for follower in &mut self.followers {
            follower.follow(&self.shelf, self.newest, out)?;
        }
        if let Some((checkpoint, is_finished)) = self.closing {
            if self.applied() >= checkpoint {
                let done = End::Done {
                    checkpoint,
                    is_finished,
                };
                self.end(done, out);
            }
        } else if self.pending.is_none() {
            self.trigger(now, out);
        }
        Ok(())
    }

    /// An entry of ours stands, or another does.
    fn written(
        &mut self,
        written: Option<Written>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), AttemptError> {
        match written {
            None => {}
            Some(Written::Lost) => {
                let entry = self.start.scope.entry(self.log.next());
                return Err(AttemptError::Fenced { entry });
            }
            Some(Written::Stands(_)) if self.phase == Phase::Entering => self.begin(now, out),
            Some(Written::Stands(digest)) => self.decided(now, digest, out),
        }
        Ok(())
    }

    /// No earlier attempt can decide any more.
    fn begin(&mut self, now: Now, out: &mut Vec<Action>) {
        self.phase = Phase::Running;
        self.schedule(now);
        if let Some(newest) = self.newest.filter(|_| self.start.recovered.is_finished()) {
            // Nothing is left to do but what sinks have not applied.
            self.closing = Some((newest, true));
        }
        out.push(Action::Begin {
            attempt: self.attempt(),
        });
        if self.start.decider.is_none() {
            self.shelf.sweep(out);
        }
    }

    /// Sets the next periodic checkpoint one interval off.
    fn schedule(&mut self, now: Now) {
        let interval = self.start.settings.interval_us;
        let due = interval.map(|interval| now.monotonic_us.saturating_add(interval));
        self.due_us = due.unwrap_or(i64::MAX);
    }

    /// Keeps a request until a checkpoint has answered it.
    fn request(&mut self, request: Request) {
        let is_known = self.requests.contains(&request);
        if !is_known && self.requests.len() < REQUESTS_MAX {
            self.requests.push_back(request);
        }
    }

    /// What lies behind the cut must not get into a checkpoint that is not the last.
    fn drain(&mut self, now: Now, out: &mut Vec<Action>) {
        let pending = self.pending.as_ref();
        let ends_job = pending.is_some_and(|it| it.request.is_some_and(Request::ends_job));
        if ends_job || self.closing.is_some() {
            // Sources have sent their last barrier: nothing comes behind it.
            return;
        }
        self.is_draining = true;
        if let Some(checkpoint) = pending.map(|pending| pending.checkpoint) {
            let reason = "the job is being drained".to_owned();
            self.abort_by_order(now, checkpoint, reason, out);
        }
        out.push(Action::Cut);
    }

    /// The request that is answered next.
    fn next_request(&self) -> Option<Request> {
        let mut requests = self.requests.iter().copied();
        requests.find(|request| !self.is_draining || *request == Request::Finish)
    }

    /// Deletes manifests that have had their time.
    fn retire(&mut self, out: &mut Vec<Action>) {
        if self.phase == Phase::Running {
            let (retained, applied) = (self.start.settings.retained, self.applied());
            self.shelf.retire(retained, self.newest, applied, out);
        }
    }

    /// Deletes what a listing shows and no manifest names.
    fn listed(&mut self, names: &[String], out: &mut Vec<Action>) {
        if self.phase == Phase::Running {
            let pending = self.pending.as_ref().map(|pending| pending.checkpoint);
            let over = pending.unwrap_or(self.checkpoint_last.next());
            self.shelf.listed(names, over, out);
        }
    }

    /// Every sink has applied all up to here.
    fn applied(&self) -> CheckpointId {
        let applied = self.followers.iter().map(Follower::applied);
        applied.min().unwrap_or(CheckpointId(u64::MAX))
    }

    /// Whether some sink has as much to apply as it may.
    fn is_crowded(&self) -> bool {
        let max = self.start.settings.unapplied_max.max(1);
        let mut followers = self.followers.iter();
        followers.any(|follower| follower.behind(&self.shelf, self.newest) >= max)
    }

    fn newest_number(&self) -> CheckpointId {
        self.newest.unwrap_or(CheckpointId(0))
    }

    /// A subtask's name.
    fn subtask(&self, subtask: SubtaskIndex) -> String {
        let name = self.start.subtasks.get(subtask.0 as usize);
        name.cloned()
            .unwrap_or_else(|| format!("subtask {}", subtask.0))
    }

    /// What the next entry says about itself.
    fn place(&self, now: Now) -> Place {
        let scope = &self.start.scope;
        Place {
            tenant: scope.tenant().to_owned(),
            job: scope.job().to_owned(),
            range: scope.range(),
            position: self.log.next(),
            previous: self.log.previous(),
            attempt: self.attempt(),
            checkpoint_last: self.checkpoint_last,
            written_us: now.wall_us,
            decided: self.shelf.decided(),
        }
    }

    fn end(&mut self, end: End, out: &mut Vec<Action>) {
        self.phase = Phase::Ended;
        out.push(Action::End(end));
    }
}

#[cfg(test)]
mod tests;
