//! What must be true, computed from the input alone.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_core::checkpoint::{
    AttemptId, CheckpointId, Digest, Entry, Manifest, Name, Position, Reason, Scope,
};
use wasmill_core::key::KeyGroupRange;
use wasmill_core::watermark;

use crate::rng::mix;
use crate::store::Store;

/// Key groups, which here are the keys.
pub(crate) const KEYS: u16 = 8;

/// A row: its source, and its number in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) source: u8,
    pub(crate) number: u32,
}

/// The state of a key: how many rows, and what they add up to.
pub(crate) type Counts = BTreeMap<u8, (u32, u64)>;

impl Row {
    pub(crate) fn key(self) -> u8 {
        (self.weight() % u64::from(KEYS)) as u8
    }

    pub(crate) fn weight(self) -> u64 {
        mix(u64::from(self.source) << 32 | u64::from(self.number))
    }

    pub(crate) fn count(self, counts: &mut Counts) {
        let (rows, sum) = counts.entry(self.key()).or_default();
        *rows += 1;
        *sum = sum.wrapping_add(self.weight());
    }
}

/// What a decided checkpoint came to.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    pub(crate) attempt: AttemptId,
    pub(crate) position: Position,
    pub(crate) reason: Reason,
    pub(crate) since: Option<CheckpointId>,
    /// Rows of each source before the barrier.
    pub(crate) rows: Vec<u32>,
}

/// All that ever stood in the log, and what the outside world must look like.
pub(crate) struct Model {
    scope: Scope,
    retained: usize,
    /// Digest of each entry, from the first on.
    log: Vec<Digest>,
    attempts: BTreeSet<Position>,
    attempt_last: u64,
    begun: BTreeSet<AttemptId>,
    aborted: BTreeSet<(AttemptId, CheckpointId)>,
    decided: BTreeSet<(AttemptId, CheckpointId)>,
    pub(crate) base_last: Option<CheckpointId>,
    pub(crate) cuts: BTreeMap<CheckpointId, Cut>,
    pub(crate) disposed: BTreeSet<CheckpointId>,
    /// What a sink's transaction decided last: that counts, whoever has begun since.
    pub(crate) committed: Option<(AttemptId, CheckpointId)>,
    /// Objects that a standing manifest names.
    named: BTreeMap<Position, Vec<String>>,
}

/// What a create led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    /// It is the log's new end.
    Stands,
    /// It fills the place of a deleted entry, long behind the end. Nobody may build on it.
    Ghost,
}

impl Model {
    pub(crate) fn new(scope: Scope, retained: usize) -> Self {
        Self {
            scope,
            retained,
            log: Vec::new(),
            attempts: BTreeSet::new(),
            attempt_last: 0,
            begun: BTreeSet::new(),
            aborted: BTreeSet::new(),
            decided: BTreeSet::new(),
            base_last: None,
            cuts: BTreeMap::new(),
            disposed: BTreeSet::new(),
            committed: None,
            named: BTreeMap::new(),
        }
    }

    /// Whether these bytes are what stood there first.
    pub(crate) fn has(&self, position: Position, digest: Digest) -> bool {
        self.log.get(position.0 as usize - 1) == Some(&digest)
    }

    /// Entries that ever stood.
    pub(crate) fn entries(&self) -> u64 {
        self.log.len() as u64
    }

    /// The newest attempt that stands.
    pub(crate) fn attempt(&self) -> u64 {
        self.attempt_last
    }

    /// Whether the manifest that was decided there still stands. (A late create may have put it
    /// back since; it does not count.)
    pub(crate) fn stands(&self, position: Position) -> bool {
        self.named.contains_key(&position)
    }

    /// A coordinator believes that its attempt stands.
    pub(crate) fn begun(&mut self, attempt: AttemptId) -> Result<(), String> {
        if attempt.0 > self.attempt_last || !self.begun.insert(attempt) {
            return Err(format!(
                "attempt {attempt} begins, and its entry is not in the log"
            ));
        }
        Ok(())
    }

    /// A coordinator says that a checkpoint never was.
    pub(crate) fn aborted(
        &mut self,
        attempt: AttemptId,
        checkpoint: CheckpointId,
    ) -> Result<(), String> {
        self.aborted.insert((attempt, checkpoint));
        self.check_aborted(attempt, checkpoint)
    }

    fn check_aborted(&self, attempt: AttemptId, checkpoint: CheckpointId) -> Result<(), String> {
        let both = (attempt, checkpoint);
        if self.aborted.contains(&both) && self.decided.contains(&both) {
            return Err(format!(
                "checkpoint {checkpoint} was aborted, and is decided"
            ));
        }
        Ok(())
    }

    /// An entry has landed in the store.
    pub(crate) fn landed(
        &mut self,
        position: Position,
        bytes: &[u8],
        store: &Store,
    ) -> Result<Landed, String> {
        let end = self.log.len() as u64 + 1;
        if position.0 < end {
            if self.attempts.contains(&position) {
                return Err(format!(
                    "the start of an attempt at {position} was overwritten"
                ));
            }
            return Ok(Landed::Ghost);
        }
        if position.0 > end {
            return Err(format!("an entry at {position}, and the log ends at {end}"));
        }
        let entry = Entry::decode_at(&self.scope, position, bytes).map_err(|e| e.to_string())?;
        if entry.place().previous != self.log.last().copied() {
            return Err(format!("the entry at {position} names another predecessor"));
        }
        match &entry {
            Entry::Attempt(start) => {
                if start.place.attempt.0 != self.attempt_last + 1 {
                    return Err(format!("attempt {} follows", start.place.attempt));
                }
                self.attempt_last += 1;
                self.attempts.insert(position);
                self.base_last = start.base.as_ref().map(|base| base.decided.checkpoint);
            }
            Entry::Checkpoint(manifest) => self.decided(position, manifest, store)?,
        }
        self.log.push(Digest::of(bytes));
        Ok(Landed::Stands)
    }

    /// A manifest stands: what it says must be so.
    fn decided(
        &mut self,
        position: Position,
        manifest: &Manifest,
        store: &Store,
    ) -> Result<(), String> {
        let checkpoint = manifest.checkpoint;
        if manifest.place.attempt.0 != self.attempt_last {
            return Err(format!(
                "attempt {} decided checkpoint {checkpoint} after attempt {} had begun",
                manifest.place.attempt, self.attempt_last
            ));
        }
        if self
            .cuts
            .last_key_value()
            .is_some_and(|(last, _)| *last >= checkpoint)
        {
            return Err(format!("checkpoint {checkpoint} was decided before"));
        }
        if manifest.since != self.base_last {
            return Err(format!(
                "checkpoint {checkpoint} follows {:?}, and the job stood at {:?}",
                manifest.since, self.base_last
            ));
        }
        for object in manifest.objects() {
            store
                .whole(&self.scope, object)
                .map_err(|e| format!("{checkpoint} names {e}"))?;
        }
        let strange = manifest.objects().find(|it| !is_own(manifest, &it.name));
        // One that lost its number says that another attempt has entered it.
        let is_committed = self.committed.is_some_and(|(_, it)| it == checkpoint);
        let is_savepoint = manifest.reason == Reason::Savepoint;
        if let Some(strange) = strange.filter(|_| is_savepoint && !is_committed) {
            let name = &strange.name;
            return Err(format!(
                "the savepoint {checkpoint} names `{name}`, which is not its own"
            ));
        }
        self.decided.insert((manifest.place.attempt, checkpoint));
        self.check_aborted(manifest.place.attempt, checkpoint)?;
        let mut splits = manifest.sources["rows"].splits.values();
        if !manifest.is_finished && splits.any(|split| split.watermark == watermark::END) {
            return Err(format!(
                "checkpoint {checkpoint} lies behind the cut of a drain, and is not the last"
            ));
        }
        let rows = self.check_cut(manifest, store)?;
        let cut = Cut {
            attempt: manifest.place.attempt,
            position,
            reason: manifest.reason,
            since: manifest.since,
            rows,
        };
        self.cuts.insert(checkpoint, cut);
        self.base_last = Some(checkpoint);
        let names = manifest
            .objects()
            .map(|object| self.scope.object(&object.name));
        self.named.insert(position, names.collect());
        Ok(())
    }

    /// The state and the rows for the sinks are those of exactly the rows before the barriers.
    fn check_cut(&self, manifest: &Manifest, store: &Store) -> Result<Vec<u32>, String> {
        let checkpoint = manifest.checkpoint;
        let rows: Vec<u32> = manifest.sources["rows"]
            .splits
            .values()
            .map(|split| split.position.as_u64().expect("a number") as u32)
            .collect();
        let mut expected = Counts::new();
        all(&rows).for_each(|row| row.count(&mut expected));
        let state = &manifest.operators["count"];
        let found = store.counts(&self.scope, &state.segments, KeyGroupRange::all(KEYS));
        if found != expected {
            return Err(format!(
                "the state of checkpoint {checkpoint} is not that of {rows:?}"
            ));
        }
        let before = manifest.since.map(|since| self.cuts[&since].rows.clone());
        let before = before.unwrap_or_else(|| vec![0; rows.len()]);
        let expected: BTreeSet<Row> = all(&rows)
            .filter(|row| row.number >= before[usize::from(row.source)])
            .collect();
        for (sink, state) in &manifest.sinks {
            let found = store.rows(&self.scope, state);
            if found.len() != expected.len() || found.iter().any(|row| !expected.contains(row)) {
                return Err(format!(
                    "checkpoint {checkpoint} has {} rows for `{sink}`, and {} came since {before:?}",
                    found.len(),
                    expected.len()
                ));
            }
        }
        Ok(rows)
    }

    /// An object is about to go: nothing that counts may need it. `markers`: what sinks have
    /// applied. If it is a manifest, gives how many of its own objects others name on.
    pub(crate) fn deleting(&mut self, name: &str, markers: &[CheckpointId]) -> Result<u64, String> {
        let cuts = self.cuts.iter();
        let manifest = cuts
            .clone()
            .find(|(_, cut)| self.scope.entry(cut.position) == name);
        let starts = self.attempts.iter();
        if starts
            .into_iter()
            .any(|position| self.scope.entry(*position) == name)
        {
            return Err(format!("`{name}`, the start of an attempt, was deleted"));
        }
        if let Some((checkpoint, cut)) = manifest {
            let kept = cuts
                .rev()
                .filter(|(_, cut)| cut.reason != Reason::Savepoint);
            let newest = kept.take(self.retained).any(|(kept, _)| kept == checkpoint);
            let is_savepoint = cut.reason == Reason::Savepoint;
            let is_kept = if is_savepoint {
                !self.disposed.contains(checkpoint)
            } else {
                newest
            };
            let is_unapplied =
                self.is_in_lineage(*checkpoint) && markers.iter().any(|marker| marker < checkpoint);
            if is_kept || is_unapplied || self.base_last == Some(*checkpoint) {
                return Err(format!(
                    "checkpoint {checkpoint} was deleted, and is still wanted"
                ));
            }
            let names = self.named.remove(&cut.position).unwrap_or_default();
            let own = Name::Object {
                attempt: cut.attempt,
                checkpoint: *checkpoint,
            };
            let own = names
                .iter()
                .filter(|name| self.scope.parse(name).as_ref() == Some(&own));
            let outlived = own.filter(|name| self.named.values().flatten().any(|it| it == *name));
            return Ok(outlived.count() as u64);
        } else if let Some((position, _)) = self
            .named
            .iter()
            .find(|(_, names)| names.iter().any(|it| it == name))
        {
            return Err(format!(
                "`{name}` was deleted, and the manifest at {position} names it"
            ));
        }
        Ok(0)
    }

    /// Whether the job's rows, as it stands, went through a checkpoint.
    fn is_in_lineage(&self, checkpoint: CheckpointId) -> bool {
        let mut at = self.base_last;
        while let Some(current) = at {
            if current == checkpoint {
                return true;
            }
            at = self.cuts[&current].since;
        }
        false
    }
}

/// Whether an object was written for the checkpoint that names it.
pub(crate) fn is_own(manifest: &Manifest, name: &str) -> bool {
    let own = Name::Object {
        attempt: manifest.place.attempt,
        checkpoint: manifest.checkpoint,
    };
    Name::parse(name) == own
}

/// All rows before these numbers.
pub(crate) fn all(rows: &[u32]) -> impl Iterator<Item = Row> {
    let sources = (0..).zip(rows.iter());
    sources.flat_map(|(source, end)| (0..*end).map(move |number| Row { source, number }))
}
