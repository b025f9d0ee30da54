//! What someone outside asks of the checkpoints of a running job.

use std::sync::Arc;

use async_channel::Sender;
use wasmill_core::checkpoint::{CheckpointId, Fact, Reason, Recovered, Request};

use super::{Checkpoints, Plan};
use crate::checkpoint::{Ledger, Wish};

/// What those who watch see of an attempt that begins.
pub(super) fn ledger(plan: &Plan, recovered: &Recovered) -> Arc<Ledger> {
    let ledger = Ledger::new(plan.scope.clone(), plan.location.clone());
    ledger.begin(|state| {
        let base = recovered.base.as_ref();
        state.attempt = Some(recovered.attempt);
        state.interval_us = plan.settings.interval_us;
        state.restored = base.map(|base| (base.decided.checkpoint, base.origin.clone()));
    });
    Arc::new(ledger)
}

impl Checkpoints {
    /// What is known of them, for those who watch.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Passes a wish on to the coordinator, and remembers who waits.
    pub(super) fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Take(request) => self.tell(Fact::Requested(request)),
            Wish::Savepoint(answer) => {
                self.waiting.add(answer);
                self.tell(Fact::Requested(Request::Savepoint));
            }
            Wish::Drain => self.tell(Fact::Draining),
            Wish::Dispose(savepoint, answer) => self.dispose(savepoint, &answer),
        }
    }

    fn dispose(&mut self, savepoint: CheckpointId, answer: &Sender<Result<bool, String>>) {
        let kept = |this: &Self| {
            let mut kept = this.coordinator.kept();
            let found = kept.find(|manifest| manifest.checkpoint == savepoint);
            found.map(|manifest| manifest.reason)
        };
        let disposed = match kept(self) {
            None if self.coordinator.is_unreadable(savepoint) => Err(format!(
                "checkpoint {savepoint} could not be read when this run began, and as long as \
                 that is so nothing is deleted: try again when the job has been started anew"
            )),
            None => Err(format!("there is no savepoint {savepoint}")),
            Some(Reason::Savepoint) => {
                self.tell(Fact::Disposed(savepoint));
                Ok(kept(self).is_none())
            }
            Some(_) => Err(format!(
                "checkpoint {savepoint} is no savepoint: it goes by itself when newer ones have \
                 taken its place"
            )),
        };
        // A channel for one answer has room for it.
        let _ = answer.try_send(disposed);
    }

    /// Has those who watch see which checkpoints are kept.
    pub(super) fn keep(&self) {
        self.ledger.keep(self.coordinator.kept());
    }
}
