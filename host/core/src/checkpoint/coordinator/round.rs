//! One checkpoint, from its trigger to its decision or its abort.

use std::sync::Arc;

use crate::checkpoint::{CheckpointId, Decided, Digest, Entry, Kept, Manifest, Reason};

use super::pending::Pending;
use super::{Action, AttemptError, Coordinator, Now, Request, Snapshot, SubtaskIndex};

impl Coordinator {
    /// Begins a checkpoint, if someone asked for one or its time has come.
    pub(super) fn trigger(&mut self, now: Now, out: &mut Vec<Action>) {
        let request = self.next_request();
        let is_due = now.monotonic_us >= self.due_us && !self.is_crowded() && !self.is_draining;
        if now.monotonic_us < self.free_us || (request.is_none() && !is_due) {
            return;
        }
        self.checkpoint_last = self.checkpoint_last.next();
        let base = self
            .base
            .filter(|_| request.is_none_or(|it| it.reason() != Reason::Savepoint));
        let manifest = base
            .and_then(|base| self.shelf.manifest(base))
            .map(Arc::as_ref);
        let subtasks = self.start.subtasks.len();
        let mut pending = Pending::new(self.checkpoint_last, request, manifest, now, subtasks);
        pending.deadline_us = now
            .monotonic_us
            .saturating_add(self.start.settings.timeout_us);
        self.schedule(now);
        out.push(Action::Inject {
            checkpoint: pending.checkpoint,
            reason: pending.reason(),
            is_last: request.is_some_and(Request::ends_job),
            base,
            since: self.newest,
        });
        self.pending = Some(pending);
    }

    /// A subtask's share has come; with the last one, the manifest goes out.
    pub(super) fn acknowledged(
        &mut self,
        now: Now,
        (checkpoint, subtask): (CheckpointId, SubtaskIndex),
        snapshot: Snapshot,
        out: &mut Vec<Action>,
    ) -> Result<(), AttemptError> {
        let attempt = self.attempt();
        let is_pending = |pending: &&mut Pending| pending.checkpoint == checkpoint;
        let Some(pending) = self.pending.as_mut().filter(is_pending) else {
            // What it wrote is garbage.
            self.shelf.soil();
            return Ok(());
        };
        if pending.sent.is_some() {
            return Ok(());
        }
        if let Some(stray) = pending.stray(attempt, &snapshot) {
            let subtask = self.subtask(subtask);
            let reason = format!(
                "{subtask} names `{}`, which was written neither for this checkpoint nor for the \
                 one before it",
                stray.name
            );
            return self.abort(now, checkpoint, reason, out);
        }
        pending.acknowledge(subtask, snapshot);
        if pending.is_complete() {
            self.decide(now, out)?;
        }
        Ok(())
    }

    /// Sends the manifest of the pending checkpoint.
    fn decide(&mut self, now: Now, out: &mut Vec<Action>) -> Result<(), AttemptError> {
        let Some(mut pending) = self.pending.take() else {
            return Ok(());
        };
        let checkpoint = pending.checkpoint;
        let assembled = pending.assemble(&self.start.operators);
        let assembled = match assembled {
            Ok(assembled) => assembled,
            Err(reason) => {
                self.pending = Some(pending);
                return self.abort(now, checkpoint, reason, out);
            }
        };
        let manifest = Manifest {
            place: self.place(now),
            checkpoint,
            since: self.newest,
            reason: pending.reason(),
            is_finished: pending.request == Some(Request::Finish),
            triggered_us: pending.triggered.wall_us,
            key_hash: self.start.key_hash,
            watermark: assembled.watermark,
            sources: assembled.sources,
            operators: assembled.operators,
            sinks: assembled.sinks,
            decider: self.start.decider.clone(),
        };
        let entry = Entry::Checkpoint(Box::new(manifest));
        self.log.write(entry.encode(), false, out);
        if let Entry::Checkpoint(manifest) = entry {
            pending.sent = Some(manifest);
            // The store has as much time as the subtasks had.
            let timeout_us = self.start.settings.timeout_us;
            pending.deadline_us = now.monotonic_us.saturating_add(timeout_us);
        }
        self.pending = Some(pending);
        Ok(())
    }

    /// The manifest stands.
    pub(super) fn decided(&mut self, now: Now, digest: Digest, out: &mut Vec<Action>) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let manifest = pending
            .sent
            .expect("only a manifest that was sent can stand");
        let manifest = Arc::<Manifest>::from(manifest);
        let checkpoint = manifest.checkpoint;
        let decided = Decided {
            checkpoint,
            position: manifest.place.position,
            digest,
        };
        self.shelf.add(Kept {
            decided,
            manifest: Arc::clone(&manifest),
        });
        self.newest = Some(checkpoint);
        if manifest.reason != Reason::Savepoint {
            self.base = Some(checkpoint);
        }
        self.failures = 0;
        self.free_us = now
            .monotonic_us
            .saturating_add(self.start.settings.pause_us);
        if let Some(request) = pending.request {
            self.requests.retain(|waiting| *waiting != request);
            // What someone asked for does not wait for the pause.
            self.free_us = now.monotonic_us;
            if request.ends_job() {
                self.closing = Some((checkpoint, request == Request::Finish));
            }
        }
        out.push(Action::Decided { manifest });
        self.retire(out);
        self.shelf.sweep(out);
    }

    /// Gives the pending checkpoint up, if it is this one and its manifest has not been sent.
    pub(super) fn abort(
        &mut self,
        now: Now,
        checkpoint: CheckpointId,
        reason: String,
        out: &mut Vec<Action>,
    ) -> Result<(), AttemptError> {
        match self.abort_by_order(now, checkpoint, reason.clone(), out) {
            true => self.fail(reason),
            false => Ok(()),
        }
    }

    /// As [`Self::abort`], where that is no failure. False if it cannot be given up any more.
    pub(super) fn abort_by_order(
        &mut self,
        now: Now,
        checkpoint: CheckpointId,
        reason: String,
        out: &mut Vec<Action>,
    ) -> bool {
        let is_open = |it: &mut Pending| it.checkpoint == checkpoint && it.sent.is_none();
        if self.pending.take_if(is_open).is_none() {
            return false;
        }
        let settings = &self.start.settings;
        let pause_us = settings.pause_us.max(settings.retry_us);
        self.free_us = now.monotonic_us.saturating_add(pause_us);
        self.shelf.soil();
        out.push(Action::Abort { checkpoint, reason });
        true
    }

    /// Counts a failure; there may be one too many.
    fn fail(&mut self, reason: String) -> Result<(), AttemptError> {
        self.failures += 1;
        if self.failures <= self.start.settings.failures_max {
            return Ok(());
        }
        let failures = self.failures;
        Err(AttemptError::Failures { failures, reason })
    }

    /// Aborts what has taken too long. A manifest on its way cannot be aborted; but while the store
    /// does not tell what became of it, each such time counts as a failure.
    pub(super) fn time_out(&mut self, now: Now, out: &mut Vec<Action>) -> Result<(), AttemptError> {
        let Some(pending) = &mut self.pending else {
            return Ok(());
        };
        if now.monotonic_us < pending.deadline_us {
            return Ok(());
        }
        let timeout_us = self.start.settings.timeout_us;
        if pending.sent.is_some() {
            pending.deadline_us = now.monotonic_us.saturating_add(timeout_us);
            let name = self.start.scope.entry(self.log.next());
            return self.fail(format!("the store does not tell whether `{name}` stands"));
        }
        let (checkpoint, late) = (pending.checkpoint, pending.late());
        let late = late
            .map(|subtask| self.subtask(subtask))
            .unwrap_or_default();
        let reason = format!(
            "{late} did not acknowledge within {} ms",
            timeout_us / 1_000
        );
        self.abort(now, checkpoint, reason, out)
    }
}
