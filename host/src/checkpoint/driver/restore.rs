//! What a checkpoint's manifest names, read back and checked.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use wasmill_core::checkpoint::{
    CheckpointId, Digest, LookedUp, Manifest, ObjectRef, Part, Position, Recovered, Scope,
};

use super::{CheckpointsError, Found, Plan};
use crate::{
    checkpoint::{Storage, StorageError},
    connector::Share,
    crash_point::{CrashPoint, reach},
    segment::Reader,
};

/// What an attempt goes on from.
#[derive(Debug, Default)]
pub struct Restored {
    /// The manifest; none if the job begins without state.
    pub manifest: Option<Arc<Manifest>>,
    /// The state of each operator, by uid.
    pub operators: BTreeMap<String, RestoredOperator>,
    /// Set if the job goes back or comes from elsewhere.
    pub detour: Option<Detour>,
}

/// A job begins with something else than the newest checkpoint of its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detour {
    /// With an older one of its log.
    Back,
    /// With one of another log.
    Elsewhere,
}

impl Restored {
    /// The decided checkpoint of the job's own log that it goes on from.
    pub fn base(&self) -> Option<CheckpointId> {
        let manifest = self.manifest.as_ref();
        let own = manifest.filter(|_| self.detour != Some(Detour::Elsewhere));
        own.map(|manifest| manifest.checkpoint)
    }

    /// Behind which decided checkpoint the rows of a sink begin whose output ends with `marker`.
    /// None where its output begins: with the job, or with a sink that the pipeline has got since.
    /// What a sink has missed that was not in the pipeline for a while, it does not get.
    pub fn since(&self, sink: &str, marker: Option<CheckpointId>) -> Option<CheckpointId> {
        let manifest = self.manifest.as_ref();
        if manifest.is_some_and(|it| !it.sinks.contains_key(sink)) {
            return marker;
        }
        let base = manifest.map(|manifest| manifest.checkpoint);
        match self.detour {
            None => base,
            // Rows behind an older checkpoint come again, behind what is there.
            Some(Detour::Back) => base.max(marker),
            // What is there is another log's: its numbers mean nothing here but by the marker.
            Some(Detour::Elsewhere) => marker,
        }
    }
}

/// An operator's state, of all its subtasks.
#[derive(Debug, Default)]
pub struct RestoredOperator {
    /// Its watermark.
    pub watermark: i64,
    /// What is by key.
    pub segments: Vec<Reader>,
    /// What is not, each with the bytes of its object if it has one.
    pub parts: Vec<(Part, Option<Bytes>)>,
}

/// Reads all state that an attempt begins with, wherever that lies.
///
/// # Errors
/// As for [`load`].
pub(super) async fn load_found(
    storage: &Storage,
    plan: &Plan,
    found: &Found,
) -> Result<Restored, CheckpointsError> {
    let recovered = &found.recovered;
    let mut restored = match &found.elsewhere {
        None => load(storage, plan, recovered).await?,
        Some((storage, scope)) => {
            let scope = scope.clone();
            let plan = Plan {
                scope,
                ..plan.clone()
            };
            load(storage, &plan, recovered).await?
        }
    };
    restored.detour = match &found.elsewhere {
        Some(_) => Some(Detour::Elsewhere),
        None => recovered.goes_back().then_some(Detour::Back),
    };
    Ok(restored)
}

/// Reads all state that the recovered checkpoint names.
///
/// # Errors
/// If an object is gone or is not what was written.
pub(super) async fn load(
    storage: &Storage,
    plan: &Plan,
    recovered: &Recovered,
) -> Result<Restored, CheckpointsError> {
    let mut restored = Restored {
        manifest: recovered.manifest.clone(),
        ..Restored::default()
    };
    let Some(manifest) = &recovered.manifest else {
        return Ok(restored);
    };
    for (uid, operator) in &manifest.operators {
        let mut state = RestoredOperator {
            watermark: operator.watermark,
            ..RestoredOperator::default()
        };
        let mut opening = Vec::new();
        for segment in &operator.segments {
            let bytes = fetch(storage, &plan.scope, manifest, &segment.object).await?;
            let named = segment.clone();
            // To compare digests takes a while: several at the same time.
            let opened = tokio::task::spawn_blocking(move || Reader::open(bytes, &named));
            opening.push((opened, &segment.object.name));
        }
        for (opened, name) in opening {
            let opened = opened.await.map_err(|error| error.to_string());
            let opened = opened.and_then(|it| it.map_err(|error| error.to_string()));
            state
                .segments
                .push(opened.map_err(|reason| CheckpointsError::Damaged {
                    checkpoint: manifest.checkpoint,
                    name: plan.scope.object(name),
                    reason,
                })?);
        }
        for part in &operator.parts {
            let objects = read_part(storage, &plan.scope, manifest, part).await?;
            state.parts.push((part.clone(), objects.into_iter().next()));
        }
        restored.operators.insert(uid.clone(), state);
    }
    Ok(restored)
}

/// What a sink has to bring out of a decided checkpoint.
///
/// # Errors
/// As for [`load`].
pub(super) async fn share(
    storage: &Storage,
    scope: &Scope,
    manifest: &Manifest,
    sink: &str,
) -> Result<Share, CheckpointsError> {
    let state = manifest.sinks.get(sink);
    let part = state.and_then(|state| state.parts.first());
    let part = part.ok_or_else(|| CheckpointsError::Damaged {
        checkpoint: manifest.checkpoint,
        name: sink.into(),
        reason: "has no part in it".into(),
    })?;
    let objects = read_part(storage, scope, manifest, part).await?;
    Ok(Share {
        state: part.state.clone(),
        objects: objects.into_iter().map(Into::into).collect(),
    })
}

/// What stands in the log at a place.
///
/// # Errors
/// If the storage does not tell.
pub(super) async fn look_up(
    storage: &Storage,
    scope: &Scope,
    position: Position,
) -> Result<LookedUp, StorageError> {
    let found = storage.get_settled(&scope.entry(position)).await?;
    let names = storage.list(&format!("{}log/", scope.prefix())).await?;
    let own = scope.entry(position);
    // Names have as many digits as each other, so they stand in the order of their numbers.
    let is_last = names.iter().all(|name| *name <= own);
    Ok(match found {
        Some(bytes) => LookedUp::Found {
            digest: Digest::of(&bytes),
            is_last,
        },
        None => LookedUp::Absent { is_last },
    })
}

async fn read_part(
    storage: &Storage,
    scope: &Scope,
    manifest: &Manifest,
    part: &Part,
) -> Result<Vec<Bytes>, CheckpointsError> {
    let mut objects = Vec::new();
    for object in &part.objects {
        objects.push(read(storage, scope, manifest, object).await?);
    }
    Ok(objects)
}

/// One object, if it is what was written.
async fn read(
    storage: &Storage,
    scope: &Scope,
    manifest: &Manifest,
    object: &ObjectRef,
) -> Result<Bytes, CheckpointsError> {
    let bytes = fetch(storage, scope, manifest, object).await?;
    if bytes.len() as u64 != object.bytes || Digest::of(&bytes) != object.digest {
        let reason = "is not what was written: its digest is another; bring back a whole copy";
        return Err(damaged(scope, manifest, object, reason));
    }
    Ok(bytes)
}

/// The bytes of an object, whatever they are.
async fn fetch(
    storage: &Storage,
    scope: &Scope,
    manifest: &Manifest,
    object: &ObjectRef,
) -> Result<Bytes, CheckpointsError> {
    let found = storage.get(&scope.object(&object.name)).await?;
    reach(CrashPoint::MidRestore);
    found.ok_or_else(|| damaged(scope, manifest, object, "is gone; bring it back"))
}

fn damaged(
    scope: &Scope,
    manifest: &Manifest,
    object: &ObjectRef,
    reason: &str,
) -> CheckpointsError {
    CheckpointsError::Damaged {
        checkpoint: manifest.checkpoint,
        name: scope.object(&object.name),
        reason: reason.into(),
    }
}
