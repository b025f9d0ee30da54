//! What a checkpoint's manifest names, read back and checked.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use wasmill_core::checkpoint::{
    Digest, LookedUp, Manifest, ObjectRef, Part, Position, Recovered, Scope,
};

use super::{CheckpointsError, Plan};
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
        for segment in &operator.segments {
            let bytes = read(storage, &plan.scope, manifest, &segment.object).await?;
            let opened = Reader::open(bytes, segment);
            let opened = opened.map_err(|error| CheckpointsError::Damaged {
                checkpoint: manifest.checkpoint,
                name: plan.scope.object(&segment.object.name),
                reason: error.to_string(),
            })?;
            state.segments.push(opened);
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
    let damaged = |reason: String| CheckpointsError::Damaged {
        checkpoint: manifest.checkpoint,
        name: scope.object(&object.name),
        reason,
    };
    let found = storage.get(&scope.object(&object.name)).await?;
    reach(CrashPoint::MidRestore);
    let bytes = found.ok_or_else(|| damaged("is gone; bring it back".into()))?;
    if bytes.len() as u64 != object.bytes || Digest::of(&bytes) != object.digest {
        let reason = "is not what was written: its digest is another; bring back a whole copy";
        return Err(damaged(reason.into()));
    }
    Ok(bytes)
}
