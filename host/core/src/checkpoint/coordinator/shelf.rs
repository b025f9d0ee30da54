//! Decided checkpoints that are kept, and what may be deleted.
//!
//! Deleting fails closed. A manifest goes first, and what it alone named only once it is known to
//! be gone: at no time does a manifest stand that names what does not. An object that no kept
//! manifest names goes only if nobody can still come to name it: it was written by an attempt
//! before ours, or for a checkpoint of ours that is over. While any manifest cannot be read,
//! nothing goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::checkpoint::{AttemptId, CheckpointId, Decided, Kept, Manifest, Name, Reason, Scope};

use super::Action;

/// All decided checkpoints of the log that this attempt knows of.
#[derive(Debug)]
pub(super) struct Shelf {
    scope: Scope,
    attempt: AttemptId,
    /// Oldest first.
    kept: Vec<Kept>,
    /// Unreadable ones, named on in each entry.
    damaged: Vec<Decided>,
    /// How many kept manifests name an object.
    names: BTreeMap<String, u32>,
    /// Those whose manifest is being deleted.
    retiring: Vec<Kept>,
    /// Savepoints that their owner has no use for.
    disposed: BTreeSet<CheckpointId>,
    /// Whether there may be objects that only a listing shows.
    is_dirty: bool,
}

impl Shelf {
    pub(super) fn new(
        scope: Scope,
        attempt: AttemptId,
        kept: Vec<Kept>,
        damaged: Vec<Decided>,
    ) -> Self {
        let mut shelf = Self {
            scope,
            attempt,
            kept: Vec::new(),
            damaged,
            names: BTreeMap::new(),
            retiring: Vec::new(),
            disposed: BTreeSet::new(),
            is_dirty: true,
        };
        kept.into_iter().for_each(|kept| shelf.add(kept));
        shelf
    }

    /// A checkpoint has been decided.
    pub(super) fn add(&mut self, kept: Kept) {
        for object in kept.manifest.objects() {
            *self.names.entry(object.name.clone()).or_default() += 1;
        }
        self.kept.push(kept);
    }

    /// What the next entry says about those before it: also the ones on their way out, until they
    /// are known to be gone.
    pub(super) fn decided(&self) -> Vec<Decided> {
        let readable = self.kept.iter().chain(&self.retiring);
        let mut all: Vec<_> = readable.map(|kept| kept.decided).collect();
        all.extend(&self.damaged);
        all.sort_unstable_by_key(|decided| decided.checkpoint);
        all
    }

    /// The manifest of a kept checkpoint.
    pub(super) fn manifest(&self, checkpoint: CheckpointId) -> Option<&Arc<Manifest>> {
        let mut kept = self.kept.iter();
        let found = kept.find(|kept| kept.decided.checkpoint == checkpoint)?;
        Some(&found.manifest)
    }

    /// The readable ones, oldest first.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Arc<Manifest>> + Clone {
        self.kept.iter().map(|kept| &kept.manifest)
    }

    /// Whether this one is named in the log and could not be read.
    pub(super) fn is_unreadable(&self, checkpoint: CheckpointId) -> bool {
        let mut damaged = self.damaged.iter();
        damaged.any(|decided| decided.checkpoint == checkpoint)
    }

    /// A savepoint may go, as far as sinks allow.
    pub(super) fn dispose(&mut self, checkpoint: CheckpointId) {
        if self.manifest(checkpoint).is_some() {
            self.disposed.insert(checkpoint);
        }
    }

    /// Something was written that no manifest names.
    pub(super) fn soil(&mut self) {
        self.is_dirty = true;
    }

    /// Deletes the manifests that have had their time: all but the newest `retained`, the one that
    /// the job goes on from, savepoints, and those above `applied`, whose rows some sink still
    /// needs.
    pub(super) fn retire(
        &mut self,
        retained: usize,
        current: Option<CheckpointId>,
        applied: CheckpointId,
        out: &mut Vec<Action>,
    ) {
        if !self.damaged.is_empty() {
            return;
        }
        let is_ours = |kept: &&Kept| kept.manifest.reason != Reason::Savepoint;
        let newest = self.kept.iter().rev().filter(is_ours).take(retained.max(1));
        let newest: BTreeSet<_> = newest.map(|kept| kept.decided.checkpoint).collect();
        let disposed = &self.disposed;
        let is_over = |kept: &mut Kept| {
            let checkpoint = kept.decided.checkpoint;
            let is_wanted = match kept.manifest.reason {
                Reason::Savepoint => !disposed.contains(&checkpoint),
                Reason::Periodic | Reason::Final => newest.contains(&checkpoint),
            };
            !is_wanted && Some(checkpoint) != current && checkpoint <= applied
        };
        for kept in self.kept.extract_if(.., is_over) {
            for object in kept.manifest.objects() {
                let count = self.names.get_mut(&object.name);
                *count.expect("every name is counted") -= 1;
            }
            self.retiring.push(kept);
        }
        self.names.retain(|_, count| *count > 0);
        let gone = |checkpoint| {
            self.retiring
                .iter()
                .any(|it| it.decided.checkpoint == checkpoint)
        };
        self.disposed.retain(|checkpoint| !gone(*checkpoint));
        let entries = self
            .retiring
            .iter()
            .map(|kept| self.scope.entry(kept.decided.position));
        out.extend(entries.map(|name| Action::Delete { name }));
    }

    /// Something is gone: if it was a manifest, so goes what it alone named.
    pub(super) fn deleted(&mut self, name: &str, out: &mut Vec<Action>) {
        let Some(Name::Entry(position)) = self.scope.parse(name) else {
            return;
        };
        let mut retiring = self.retiring.iter();
        let Some(at) = retiring.position(|kept| kept.decided.position == position) else {
            return;
        };
        let gone = self.retiring.remove(at);
        let objects: BTreeSet<_> = gone.manifest.objects().map(|object| &object.name).collect();
        let alone = objects.into_iter().filter(|name| !self.is_named(name));
        out.extend(alone.map(|name| Action::Delete {
            name: self.scope.object(name),
        }));
    }

    /// Wants a listing, if there may be something that only a listing shows.
    pub(super) fn sweep(&mut self, out: &mut Vec<Action>) {
        if self.is_dirty && self.damaged.is_empty() {
            self.is_dirty = false;
            out.push(Action::List);
        }
    }

    /// Deletes what a listing shows and nobody will ever name. Checkpoints of ours below `over` are
    /// decided or aborted.
    pub(super) fn listed(&self, names: &[String], over: CheckpointId, out: &mut Vec<Action>) {
        if !self.damaged.is_empty() {
            return;
        }
        for name in names {
            let Some(Name::Object {
                attempt,
                checkpoint,
            }) = self.scope.parse(name)
            else {
                continue;
            };
            let is_over = attempt < self.attempt || (attempt == self.attempt && checkpoint < over);
            let short = name.strip_prefix(&self.scope.prefix()).unwrap_or(name);
            if is_over && !self.is_named(short) {
                out.push(Action::Delete { name: name.clone() });
            }
        }
    }

    /// Whether a manifest that stands, or may still stand, names the object.
    fn is_named(&self, name: &str) -> bool {
        let names = |kept: &Kept| kept.manifest.objects().any(|object| object.name == name);
        self.names.contains_key(name) || self.retiring.iter().any(names)
    }

    /// The decided checkpoints that the job's rows went through, newest first: back from `newest`
    /// over what each one followed. (One that was decided and then not restored is none of them.)
    pub(super) fn lineage(
        &self,
        newest: Option<CheckpointId>,
    ) -> impl Iterator<Item = &Arc<Manifest>> {
        let find = |checkpoint: Option<CheckpointId>| self.manifest(checkpoint?);
        std::iter::successors(find(newest), move |manifest| find(manifest.since))
    }
}
