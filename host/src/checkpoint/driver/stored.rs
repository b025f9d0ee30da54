//! What the coordinator wants done in the storage, each on a task that tells how it went.

use std::time::Duration;

use wasmill_core::checkpoint::{Fact, LookedUp, Name, Position};

use super::{Checkpoints, restore};
use crate::{
    crash_point::{CrashPoint, reach},
    spawn,
};

/// Between two tries to list the storage.
const LIST_AGAIN: Duration = Duration::from_secs(5);

impl Checkpoints {
    pub(super) fn create(&self, position: Position, bytes: Vec<u8>) {
        let (storage, facts) = (self.storage.clone(), self.facts.0.clone());
        let name = self.scope.entry(position);
        let (before, after) = match (self.has_begun, self.closing.is_some()) {
            (false, _) => (CrashPoint::BeforeAttempt, CrashPoint::AfterAttempt),
            (true, false) => (CrashPoint::BeforeManifest, CrashPoint::AfterManifest),
            (true, true) => (CrashPoint::BeforeManifest, CrashPoint::FinalManifest),
        };
        spawn::task(async move {
            reach(before);
            let created = storage.create(&name, bytes.into()).await;
            reach(after);
            let _ = facts.send(Fact::Created { position, created }).await;
        });
    }

    pub(super) fn look_up(&self, position: Position) {
        let (storage, facts) = (self.storage.clone(), self.facts.0.clone());
        let scope = self.scope.clone();
        spawn::task(async move {
            let looked_up = restore::look_up(&storage, &scope, position).await;
            let looked_up = looked_up.unwrap_or(LookedUp::Unknown);
            let fact = Fact::LookedUp {
                position,
                looked_up,
            };
            let _ = facts.send(fact).await;
        });
    }

    pub(super) fn list(&self) {
        let (storage, facts) = (self.storage.clone(), self.facts.0.clone());
        let prefix = self.scope.prefix();
        spawn::task(async move {
            let names = loop {
                match storage.list(&prefix).await {
                    Ok(names) => break names,
                    Err(error) => {
                        tracing::warn!(%error, "the checkpoints' storage cannot be listed");
                        spawn::rest(LIST_AGAIN).await;
                    }
                }
            };
            reach(CrashPoint::GarbageListed);
            let _ = facts.send(Fact::Listed(names)).await;
        });
    }

    pub(super) fn delete(&self, name: String) {
        let (storage, facts) = (self.storage.clone(), self.facts.0.clone());
        let deleted = match self.scope.parse(&name) {
            Some(Name::Entry(_)) => CrashPoint::ManifestDeleted,
            _ => CrashPoint::ObjectDeleted,
        };
        spawn::task(async move {
            reach(CrashPoint::BeforeDelete);
            let fact = match storage.delete(&name).await {
                Ok(()) => {
                    reach(deleted);
                    Fact::Deleted(name)
                }
                Err(_) => Fact::NotDeleted(name),
            };
            let _ = facts.send(fact).await;
        });
    }
}
