//! What a job's log tells a new attempt.

mod unmet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    AttemptId, Base, CheckpointId, Decided, Digest, Entry, EntryError, Manifest, Name, Position,
    Reason, Scope,
};

pub use unmet::Unmet;

/// Finds out what to restore, in two rounds of reading: the last entry of the log, then the
/// manifests that it says are kept. Nothing else in a store is believed.
///
/// ```
/// use wasmill_core::checkpoint::{Recovery, RestoreFrom, Scope};
/// use wasmill_core::key::KeyGroupRange;
///
/// let scope = Scope::new("default", "card-fraud", KeyGroupRange::all(128)).expect("good names");
/// let names: Vec<String> = Vec::new(); // all below `scope.job_prefix()`
/// let mut recovery = Recovery::new(scope, &names).expect("a sound listing");
/// while let Some(position) = recovery.wants() {
///     recovery.read(position, Ok(None)).expect("a readable last entry");
/// }
/// let recovered = recovery.finish(&RestoreFrom::Newest).expect("a job that never ran");
/// assert!(recovered.base.is_none());
/// ```
#[derive(Debug)]
pub struct Recovery {
    scope: Scope,
    entries: BTreeSet<Position>,
    top: Option<Top>,
    /// What the last entry says is kept and the listing shows, as it is read.
    manifests: BTreeMap<Position, (Decided, Option<Read>)>,
}

/// A manifest, or why it cannot be read.
type Read = Result<Arc<Manifest>, String>;

/// The last entry of the log.
#[derive(Debug)]
struct Top {
    digest: Digest,
    entry: Entry,
}

/// What a new attempt is to begin with.
#[derive(Debug, Clone, PartialEq)]
pub enum RestoreFrom {
    /// Where the job stands: its newest decided checkpoint.
    Newest,
    /// No state. What is there stays until newer checkpoints retire it.
    Nothing,
    /// A checkpoint or savepoint of this log that is kept. What was decided after it is given up;
    /// sinks that have applied that will see its rows again.
    Checkpoint(CheckpointId),
    /// One of another log. The caller has read it, and says where.
    Elsewhere {
        /// The place, as the user named it.
        origin: String,
        /// Where it stands in its log.
        decided: Decided,
        /// Its manifest.
        manifest: Arc<Manifest>,
    },
}

/// Why nothing can be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The job has a log for other key groups.
    #[error(
        "`{name}` belongs to other key groups than `{prefix}`: the number of key groups is fixed \
         at a job's first run; run it with as many as then, or under another name"
    )]
    OtherRange {
        /// An object's name.
        name: String,
        /// Where ours begin.
        prefix: String,
    },
    /// Objects without a log.
    #[error(
        "there is `{name}`, and `{prefix}log/` is empty: the log has been lost; bring it back, or \
         move what is left away to begin anew"
    )]
    LogMissing {
        /// An object's name.
        name: String,
        /// Where ours begin.
        prefix: String,
    },
    /// The last entry cannot be fetched.
    #[error("`{name}` cannot be read: {reason}; see to the store and start again")]
    Unreadable {
        /// The entry.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The last entry has gone since the listing: whoever runs has decided more, and retired it. A
    /// new listing shows what is last now.
    #[error("`{name}` has gone since it was listed: another run is at work; start again")]
    Outrun {
        /// The entry.
        name: String,
    },
    /// An entry is not what was written.
    #[error("`{name}` cannot be used, bring back a whole copy or restore another checkpoint")]
    Damaged {
        /// The entry.
        name: String,
        /// What is wrong with it.
        #[source]
        source: EntryError,
    },
    /// What is to be restored is not there, or not as it was.
    #[error(
        "checkpoint {checkpoint} cannot be restored: {reason}; kept and whole are {whole}: bring \
         it back, or choose one of these by number"
    )]
    Base {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why not.
        reason: String,
        /// Those that can.
        whole: String,
    },
}

/// What a new attempt begins with.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Where its own entry goes.
    pub position: Position,
    /// Digest of the entry before that; none in an empty log.
    pub previous: Option<Digest>,
    /// Its number.
    pub attempt: AttemptId,
    /// The highest number that a checkpoint has got so far, that of a base in another log included;
    /// 0 before any.
    pub checkpoint_last: CheckpointId,
    /// What it restores; none: it begins without state.
    pub base: Option<Base>,
    /// The manifest of the base. None with a base only where that lies in another log
    /// ([`Base::origin`]): whoever can read that one fills it in.
    pub manifest: Option<Arc<Manifest>>,
    /// Every decided checkpoint that is kept, oldest first.
    pub kept: Vec<Kept>,
    /// Manifests that should be readable and are not. While there are any, nothing is deleted:
    /// nobody knows what they name.
    pub damaged: Vec<Damage>,
}

/// A decided checkpoint that is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Where it stands.
    pub decided: Decided,
    /// What it says.
    pub manifest: Arc<Manifest>,
}

/// A manifest that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Which.
    pub decided: Decided,
    /// Why not, in words.
    pub reason: String,
}

impl Recovery {
    /// From the full names of all objects below [`Scope::job_prefix`].
    pub fn new(scope: Scope, names: &[String]) -> Result<Self, RecoveryError> {
        let prefix = scope.prefix();
        if let Some(name) = names.iter().find(|name| !name.starts_with(&prefix)) {
            let name = name.clone();
            return Err(RecoveryError::OtherRange { name, prefix });
        }
        let entry = |name: &String| match scope.parse(name) {
            Some(Name::Entry(position)) => Some(position),
            _ => None,
        };
        let entries: BTreeSet<Position> = names.iter().filter_map(entry).collect();
        let is_object = |name: &&String| matches!(scope.parse(name), Some(Name::Object { .. }));
        if entries.is_empty()
            && let Some(name) = names.iter().find(is_object)
        {
            let name = name.clone();
            return Err(RecoveryError::LogMissing { name, prefix });
        }
        Ok(Self {
            scope,
            entries,
            top: None,
            manifests: BTreeMap::new(),
        })
    }

    /// The next entry to read; none when all is known.
    pub fn wants(&self) -> Option<Position> {
        if self.top.is_none() {
            return self.entries.last().copied();
        }
        let mut unread = self
            .manifests
            .iter()
            .filter(|(_, (_, read))| read.is_none());
        unread.next().map(|(position, _)| *position)
    }

    /// Takes an entry's bytes, none if it has gone since the listing, or why it cannot be read.
    /// Only the last entry must be readable: a manifest that is not is noted, and matters if it is
    /// the one to restore.
    pub fn read(
        &mut self,
        position: Position,
        bytes: Result<Option<Vec<u8>>, String>,
    ) -> Result<(), RecoveryError> {
        if self.top.is_none() {
            return self.read_top(position, bytes);
        }
        let Some((decided, read)) = self.manifests.get_mut(&position) else {
            return Ok(());
        };
        let found = bytes.and_then(|bytes| match bytes {
            Some(bytes) => read_manifest(&self.scope, *decided, &bytes),
            None => Ok(None),
        });
        match found.transpose() {
            Some(found) => *read = Some(found),
            // As if the listing had not shown it.
            None => drop(self.manifests.remove(&position)),
        }
        Ok(())
    }

    /// What the new attempt begins with.
    ///
    /// # Panics
    /// If an entry that was wanted has not been read.
    pub fn finish(self, from: &RestoreFrom) -> Result<Recovered, RecoveryError> {
        assert_eq!(
            self.wants(),
            None,
            "every entry that is wanted is read first"
        );
        let base = self.base(from);
        let manifest = match (from, &base) {
            (RestoreFrom::Elsewhere { manifest, .. }, _) => Some(Arc::clone(manifest)),
            (_, Some(base)) if base.origin.is_none() => Some(self.whole(base.decided)?),
            _ => None,
        };
        let (mut kept, mut damaged) = (Vec::new(), Vec::new());
        for (decided, read) in self.manifests.into_values() {
            match read {
                Some(Ok(manifest)) => kept.push(Kept { decided, manifest }),
                Some(Err(reason)) => damaged.push(Damage { decided, reason }),
                None => {}
            }
        }
        let place = self.top.as_ref().map(|top| top.entry.place());
        let mut last = place.map_or(CheckpointId(0), |place| place.checkpoint_last);
        if let RestoreFrom::Elsewhere { decided, .. } = from {
            // A sink may have applied it: its marker must not look newer than what comes next.
            last = last.max(decided.checkpoint);
        }
        Ok(Recovered {
            position: place.map_or(Position::FIRST, |place| place.position.next()),
            previous: self.top.as_ref().map(|top| top.digest),
            attempt: place.map_or(AttemptId::FIRST, |place| place.attempt.next()),
            checkpoint_last: last,
            base,
            manifest,
            kept,
            damaged,
        })
    }

    /// Reads the last entry, which names all others that count.
    fn read_top(
        &mut self,
        position: Position,
        bytes: Result<Option<Vec<u8>>, String>,
    ) -> Result<(), RecoveryError> {
        let name = self.scope.entry(position);
        let bytes = match bytes {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(RecoveryError::Outrun { name }),
            Err(reason) => return Err(RecoveryError::Unreadable { name, reason }),
        };
        let entry = Entry::decode_at(&self.scope, position, &bytes);
        let entry = entry.map_err(|source| RecoveryError::Damaged { name, source })?;
        let digest = Digest::of(&bytes);
        for decided in &entry.place().decided {
            // One that is gone was retired after the last entry was written.
            if self.entries.contains(&decided.position) {
                self.manifests.insert(decided.position, (*decided, None));
            }
        }
        if let Entry::Checkpoint(manifest) = &entry {
            let decided = decided_of(manifest, digest);
            let manifest = Arc::new(manifest.as_ref().clone());
            self.manifests
                .insert(position, (decided, Some(Ok(manifest))));
        }
        self.top = Some(Top { digest, entry });
        Ok(())
    }

    /// What is to be restored.
    fn base(&self, from: &RestoreFrom) -> Option<Base> {
        let here = |decided| Base {
            decided,
            origin: None,
        };
        match from {
            RestoreFrom::Nothing => None,
            RestoreFrom::Newest => match &self.top.as_ref()?.entry {
                // It decided nothing: what it began with still counts.
                Entry::Attempt(start) => start.base.clone(),
                Entry::Checkpoint(manifest) => {
                    let digest = self.top.as_ref()?.digest;
                    Some(here(decided_of(manifest, digest)))
                }
            },
            RestoreFrom::Checkpoint(checkpoint) => {
                let mut all = self.manifests.values().map(|(decided, _)| *decided);
                let found = all.find(|decided| decided.checkpoint == *checkpoint);
                // One that is not there gets its error where it is looked for.
                Some(here(found.unwrap_or(Decided {
                    checkpoint: *checkpoint,
                    position: Position(0),
                    digest: Digest::of(b""),
                })))
            }
            RestoreFrom::Elsewhere {
                origin, decided, ..
            } => Some(Base {
                decided: *decided,
                origin: Some(origin.clone()),
            }),
        }
    }

    /// The manifest of what is to be restored, if it is there and as it was written.
    fn whole(&self, base: Decided) -> Result<Arc<Manifest>, RecoveryError> {
        let found = self.manifests.get(&base.position);
        let found = found.filter(|(decided, _)| *decided == base);
        let reason = match found {
            Some((_, Some(Ok(manifest)))) => return Ok(Arc::clone(manifest)),
            Some((_, Some(Err(reason)))) => reason.clone(),
            _ => "it is not kept".to_owned(),
        };
        let whole = self.manifests.values().filter_map(|(decided, read)| {
            let is_whole = matches!(read, Some(Ok(_)));
            is_whole.then(|| decided.checkpoint.to_string())
        });
        let whole: Vec<String> = whole.collect();
        let whole = if whole.is_empty() {
            "none".to_owned()
        } else {
            whole.join(", ")
        };
        Err(RecoveryError::Base {
            checkpoint: base.checkpoint,
            reason,
            whole,
        })
    }
}

impl Recovered {
    /// Whether the job has come to the end of its input, so that there is nothing to run. Its sinks
    /// may still have something to apply: a coordinator sees to that, and then ends.
    pub fn is_finished(&self) -> bool {
        let is_here = self.base.as_ref().is_some_and(|base| base.origin.is_none());
        let manifest = self.manifest.as_ref();
        is_here && manifest.is_some_and(|manifest| manifest.is_finished)
    }

    /// Whether the job goes back, or comes from elsewhere: it begins with something else than the
    /// newest decided checkpoint of its own log, so what sinks have applied of that one's rows
    /// comes again.
    pub fn goes_back(&self) -> bool {
        let kept = self.kept.iter().map(|kept| kept.decided);
        let all = kept.chain(self.damaged.iter().map(|damage| damage.decided));
        let newest = all.max_by_key(|decided| decided.checkpoint);
        let base = self.base.as_ref();
        base.is_some_and(|base| base.origin.is_some() || newest != Some(base.decided))
    }

    /// Whether checkpoints of the new attempt may name objects of the base. Only the newest decided
    /// checkpoint is sure to stay: an attempt that is being overtaken may still be deleting older
    /// ones, and a savepoint is its owner's to delete.
    pub fn is_base_shared(&self) -> bool {
        let kept = self.kept.iter().map(|kept| kept.decided);
        let all = kept.chain(self.damaged.iter().map(|damage| damage.decided));
        let newest = all.max_by_key(|decided| decided.checkpoint);
        let Some((base, manifest)) = self.base.as_ref().zip(self.manifest.as_ref()) else {
            return false;
        };
        let is_newest = base.origin.is_none() && newest == Some(base.decided);
        is_newest && manifest.reason != Reason::Savepoint
    }
}

/// How later entries name a manifest.
fn decided_of(manifest: &Manifest, digest: Digest) -> Decided {
    Decided {
        checkpoint: manifest.checkpoint,
        position: manifest.place.position,
        digest,
    }
}

/// Reads a manifest that a later entry names. None: a whole entry stands there, and another one. So
/// the one that is named has been retired, and a create that came far too late has taken its place.
fn read_manifest(
    scope: &Scope,
    named: Decided,
    bytes: &[u8],
) -> Result<Option<Arc<Manifest>>, String> {
    let name = scope.entry(named.position);
    let entry = Entry::decode_at(scope, named.position, bytes);
    match entry.map_err(|error| format!("`{name}`: {error}"))? {
        Entry::Checkpoint(manifest) if decided_of(&manifest, Digest::of(bytes)) == named => {
            Ok(Some(Arc::from(manifest)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
pub(super) mod tests;
