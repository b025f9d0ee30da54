//! Whether a checkpoint is whole: every object read, every rule of `docs/formats` looked at.

mod segment;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wasmill_core::{
    checkpoint::{
        CheckpointId, Digest, Entry, KeyHash, Manifest, Name, OperatorState, Part, Position,
        Segment, SegmentKind,
    },
    key::KeyGroupRange,
};

use super::{
    InspectionError, KeyColumns, Log, Table, Tables,
    log::{GONE, Store},
    pending::{Pending, unkeyed},
    stretch::Pieces,
};
use crate::task::sorter;
use segment::{Damages, Reading};

/// Something that is not as it was written, or as the formats say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object and the place in it.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// The checkpoints.
    pub checkpoints: Vec<CheckpointId>,
    /// Entries of the log.
    pub entries: u64,
    /// Objects that the checkpoints name.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows of state.
    pub rows: u64,
    /// Everything that is wrong.
    pub damages: Vec<Damage>,
}

/// Which checkpoints are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest.
    Newest,
    /// All that are kept.
    All,
    /// One of them.
    Number(CheckpointId),
}

/// Reads a job's log and all that the chosen checkpoints name.
///
/// # Errors
/// If the storage cannot be read, or there is no such checkpoint. What is damaged is told and not
/// an error.
pub fn verify(log: &Log, which: Which) -> Result<Verified, InspectionError> {
    let mut verifier = Verifier {
        log,
        verified: Verified::default(),
    };
    let found = verifier.entries()?;
    let manifests = match log.listed() {
        Ok(listed) => {
            for damage in &listed.damaged {
                let place = log.scope.entry(damage.decided.position);
                let reason = damage.reason.clone();
                verifier.note(
                    &place,
                    format!("checkpoint {} is kept: {reason}", damage.decided.checkpoint),
                );
            }
            listed.kept.into_iter().map(|kept| kept.manifest).collect()
        }
        // Without its last entry nobody knows which are kept.
        Err(InspectionError::Recovery(error)) => {
            verifier.note(&log.scope.prefix(), error.to_string());
            found
        }
        Err(error) => return Err(error),
    };
    let newest = manifests.iter().map(|manifest| manifest.checkpoint).max();
    let chosen: Vec<&Arc<Manifest>> = manifests
        .iter()
        .filter(|manifest| match which {
            Which::All => true,
            Which::Newest => Some(manifest.checkpoint) == newest,
            Which::Number(number) => manifest.checkpoint == number,
        })
        .collect();
    if chosen.is_empty() && verifier.verified.damages.is_empty() {
        // Gives the error that says why.
        let number = match which {
            Which::Number(number) => Some(number),
            _ => None,
        };
        log.checkpoint(number)?;
    }
    for manifest in chosen {
        verifier.checkpoint(manifest)?;
    }
    Ok(verifier.verified)
}

struct Verifier<'a> {
    log: &'a Log,
    verified: Verified,
}

impl Verifier<'_> {
    fn note(&mut self, place: &str, what: impl Into<String>) {
        self.verified.damages.push(Damage {
            place: place.to_owned(),
            what: what.into(),
        });
    }

    fn store(&self) -> &Store {
        &self.log.store
    }

    /// Reads every entry of the log, and sees whether each names the one before. Gives the
    /// manifests that can be read.
    fn entries(&mut self) -> Result<Vec<Arc<Manifest>>, InspectionError> {
        let scope = &self.log.scope;
        let positions: BTreeSet<Position> = self
            .log
            .names
            .iter()
            .filter_map(|name| match scope.parse(name) {
                Some(Name::Entry(position)) => Some(position),
                _ => None,
            })
            .collect();
        let mut manifests = Vec::new();
        let mut before: Option<(Position, Digest)> = None;
        for position in positions {
            let name = scope.entry(position);
            // It may have been retired since the listing.
            let Some(bytes) = self.store().get(&name)? else {
                continue;
            };
            self.verified.entries += 1;
            let digest = Digest::of(&bytes);
            match Entry::decode_at(scope, position, &bytes) {
                Err(error) => self.note(&name, error.to_string()),
                Ok(entry) => {
                    let previous = entry.place().previous;
                    if let Some((at, digest)) = before
                        && at.next() == position
                        && previous != Some(digest)
                    {
                        let what =
                            "it names another entry before it than the one that stands there";
                        self.note(&name, what);
                    }
                    if let Entry::Checkpoint(manifest) = entry {
                        manifests.push(Arc::from(manifest));
                    }
                }
            }
            before = Some((position, digest));
        }
        Ok(manifests)
    }

    fn checkpoint(&mut self, manifest: &Manifest) -> Result<(), InspectionError> {
        self.verified.checkpoints.push(manifest.checkpoint);
        let scope = self.log.scope.clone();
        let mut seen = BTreeSet::new();
        // Those that are gone, and those whose bytes are others.
        let (mut missing, mut damaged) = (BTreeSet::new(), BTreeSet::new());
        for object in manifest.objects() {
            let name = scope.object(&object.name);
            if !seen.insert(object.clone()) {
                continue;
            }
            if Name::parse(&object.name) == Name::Unknown {
                self.note(&name, "the manifest names what no checkpoint writes");
                missing.insert(object.name.clone());
                damaged.insert(object.name.clone());
                continue;
            }
            self.verified.objects += 1;
            self.verified.bytes += object.bytes;
            match self.store().check(&name, object) {
                Ok(()) => {}
                Err(InspectionError::Object { reason, .. }) => {
                    self.note(&name, format!("it {reason}"));
                    damaged.insert(object.name.clone());
                    if reason == GONE {
                        missing.insert(object.name.clone());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let tables = match Tables::new(self.log, manifest, &BTreeMap::new()) {
            Ok(tables) => tables,
            Err(error) => {
                let place = scope.entry(manifest.place.position);
                self.note(&place, error.to_string());
                return Ok(());
            }
        };
        for (uid, state) in &manifest.operators {
            let own: Vec<&Table> = tables.of(uid).collect();
            self.ranges(uid, state, manifest);
            let key = KeyColumns::new(uid, &state.identity, None)?;
            for segment in &state.segments {
                if !missing.contains(&segment.object.name) {
                    self.segment(segment, (&key, &own), manifest.key_hash)?;
                }
            }
            for part in &state.parts {
                self.part((uid, &own), part, &damaged)?;
            }
        }
        Ok(())
    }

    /// The segments of an operator cover key groups that there are, each by one base.
    fn ranges(&mut self, uid: &str, state: &OperatorState, manifest: &Manifest) {
        let groups = manifest.key_hash.groups;
        let mut bases: Vec<&Segment> = Vec::new();
        for segment in &state.segments {
            let KeyGroupRange { start, end } = segment.range;
            let name = self.log.scope.object(&segment.object.name);
            if start >= end || end > groups {
                let what = format!(
                    "the manifest says that it covers key groups {start} up to {end} of operator \
                     `{uid}`, and there are {groups}"
                );
                self.note(&name, what);
            }
            if segment.kind != SegmentKind::Base {
                continue;
            }
            let overlaps = |base: &&&Segment| base.range.start < end && start < base.range.end;
            if let Some(base) = bases.iter().find(overlaps) {
                let what = format!(
                    "it holds key groups of operator `{uid}` that `{}` holds too",
                    base.object.name
                );
                self.note(&name, what);
            }
            bases.push(segment);
        }
    }

    /// Reads a segment, whatever its digest is: what can be told of its rows is told.
    fn segment(
        &mut self,
        segment: &Segment,
        (key, tables): (&KeyColumns, &[&Table]),
        key_hash: KeyHash,
    ) -> Result<(), InspectionError> {
        let name = self.log.scope.object(&segment.object.name);
        if segment.range.start >= segment.range.end {
            return Ok(());
        }
        let store = Arc::clone(&self.log.store);
        let mut damages = Damages::new(&name);
        match Pieces::unchecked(&store, name.clone(), segment) {
            Ok(pieces) => {
                let reading = Reading {
                    pieces: &pieces,
                    key,
                    tables,
                    key_hash,
                };
                self.verified.rows += reading.groups(segment, &mut damages)?;
            }
            Err(InspectionError::Segment { source, .. }) => damages.add("", source.to_string()),
            Err(InspectionError::Object { reason, .. }) => damages.add("", format!("it {reason}")),
            Err(error) => return Err(error),
        }
        self.verified.damages.extend(damages.finish());
        Ok(())
    }

    /// What is not by key: states of subtasks, and rows that wait.
    fn part(
        &mut self,
        (uid, tables): (&str, &[&Table]),
        part: &Part,
        damaged: &BTreeSet<String>,
    ) -> Result<(), InspectionError> {
        let place = format!("operator `{uid}`, subtask {}", part.subtask);
        for table in tables
            .iter()
            .filter(|table| table.kept == super::KeptOf::Subtask)
        {
            let mut pending = Pending::default();
            let read = unkeyed(table, std::slice::from_ref(part), &mut pending);
            let read = read.and_then(|()| pending.finish(table).map(drop));
            if let Err(error) = read {
                self.note(&place, error.to_string());
            }
        }
        for object in part.objects.iter().filter(|it| !damaged.contains(&it.name)) {
            let name = self.log.scope.object(&object.name);
            let bytes = self.store().get(&name)?.unwrap_or_default();
            match sorter::check_held(part, &bytes) {
                Ok(rows) => self.verified.rows += rows,
                Err(error) => self.note(&name, error.to_string()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
