//! What an attempt begins with: read from the log, or from another one.

use std::sync::Arc;

use wasmill_core::checkpoint::{
    AttemptError, AttemptId, Decided, Digest, Entry, Identity, Manifest, Migrated, Recovered,
    Recovery, RecoveryError, RestoreFrom, Scope, compatibility,
};

use super::{CheckpointsError, Plan, migrate};
use crate::{
    checkpoint::{
        Storage, StorageError,
        origin::{Origin, Place},
    },
    crash_point::{CrashPoint, reach},
};

/// How often a log is listed whose last entry is gone when it is read.
const LIST_TRIES: usize = 20;

/// What an attempt begins with, and where its objects lie if that is not its own storage.
pub struct Found {
    /// What is stored.
    pub recovered: Recovered,
    /// The states that are to be brought to other schemas.
    pub(super) migrated: Vec<Migrated>,
    /// Another log's storage.
    pub(super) elsewhere: Option<(Storage, Scope)>,
}

impl Plan {
    /// Whether a place lies in the job's own log.
    fn is_own(&self, place: &Place) -> bool {
        let full = |path: &str| std::fs::canonicalize(path).ok();
        let is_here = place.storage == self.location
            || full(&place.storage).is_some_and(|path| full(&self.location) == Some(path));
        is_here && place.scope == self.scope
    }

    /// Where another log lies. To look for a savepoint makes nothing.
    fn open(&self, place: &Place) -> Result<Storage, CheckpointsError> {
        let parsed = self.place.beside(&place.storage);
        let parsed = parsed.map_err(|error| gone(&place.to_string(), &error.to_string()))?;
        match Storage::existing(&parsed) {
            Err(StorageError::Missing { .. }) => Err(gone(&place.to_string(), "is not there")),
            opened => Ok(opened?),
        }
    }
}

/// What is stored of a job, checked against what it is now.
///
/// # Errors
/// If the storage cannot be read, or what is in it does not fit.
pub async fn recover(storage: &Storage, plan: &Plan) -> Result<Found, CheckpointsError> {
    let recovery = read_log(storage, &plan.scope).await?;
    let mut elsewhere = None;
    let from = match (&plan.beginning.from, plan.is_fresh) {
        (_, true) => RestoreFrom::Nothing,
        (None, false) => RestoreFrom::Newest,
        (Some(Origin::Number(checkpoint)), false) => RestoreFrom::Checkpoint(*checkpoint),
        (Some(Origin::Place(place)), false) => {
            let other = plan.open(place)?;
            let (decided, manifest) = read_manifest(&other, place).await?;
            if plan.is_own(place) {
                RestoreFrom::Checkpoint(decided.checkpoint)
            } else {
                elsewhere = Some((other, place.scope.clone()));
                RestoreFrom::Elsewhere {
                    origin: absolute(place).to_string(),
                    decided,
                    manifest,
                }
            }
        }
    };
    let mut recovered = recovery.finish(&from)?;
    reach(CrashPoint::LogRead);
    if recovered.manifest.is_none()
        && let Some(base) = &recovered.base
        && let Some(origin) = &base.origin
    {
        // The attempt before came from elsewhere, and ended before it decided anything.
        let Ok(Origin::Place(place)) = origin.parse() else {
            return Err(gone(origin, "is no place that this program knows"));
        };
        let other = plan.open(&place)?;
        let (decided, manifest) = read_manifest(&other, &place).await?;
        if decided != base.decided {
            return Err(gone(
                origin,
                "is not the savepoint with which the job began",
            ));
        }
        recovered.manifest = Some(manifest);
        elsewhere = Some((other, place.scope.clone()));
    }
    let is_overtaken = |own: AttemptId| recovered.attempt != own.next();
    if plan.after.is_some_and(is_overtaken) {
        let entry = plan.scope.entry(recovered.position);
        return Err(AttemptError::Fenced { entry }.into());
    }
    let migrated = fits(&recovered, plan)?;
    Ok(Found {
        recovered,
        migrated,
        elsewhere,
    })
}

/// Reads a log as far as a new attempt must know it, also while another one retires entries.
///
/// # Errors
/// If the storage or the log cannot be read.
pub async fn read_log(storage: &Storage, scope: &Scope) -> Result<Recovery, CheckpointsError> {
    let mut tries = 1;
    loop {
        match read_listed(storage, scope).await {
            Err(CheckpointsError::Recovery(RecoveryError::Outrun { .. })) if tries < LIST_TRIES => {
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Reads what a listing shows.
async fn read_listed(storage: &Storage, scope: &Scope) -> Result<Recovery, CheckpointsError> {
    let names = storage.list(&scope.job_prefix()).await?;
    reach(CrashPoint::RestoreListed);
    let mut recovery = Recovery::new(scope.clone(), &names)?;
    while let Some(position) = recovery.wants() {
        let read = storage.get(&scope.entry(position)).await;
        let bytes = match read {
            Ok(bytes) => Ok(bytes.map(|bytes| bytes.to_vec())),
            Err(error) => Err(error.to_string()),
        };
        recovery.read(position, bytes)?;
    }
    Ok(recovery)
}

/// A place that means the same wherever the job is started next.
fn absolute(place: &Place) -> Place {
    let full = std::fs::canonicalize(&place.storage).ok();
    let full = full.map(|path| path.display().to_string());
    Place {
        storage: full.unwrap_or_else(|| place.storage.clone()),
        ..place.clone()
    }
}

/// The manifest at a place, and how others name it.
async fn read_manifest(
    storage: &Storage,
    place: &Place,
) -> Result<(Decided, Arc<Manifest>), CheckpointsError> {
    let (scope, position) = (&place.scope, place.position);
    let text = place.to_string();
    let bytes = storage.get(&scope.entry(position)).await?;
    let bytes = bytes.ok_or_else(|| gone(&text, "is not there"))?;
    let entry = Entry::decode_at(scope, position, &bytes);
    let Entry::Checkpoint(manifest) = entry.map_err(|error| gone(&text, &error.to_string()))?
    else {
        return Err(gone(&text, "is the start of an attempt and no savepoint"));
    };
    if manifest.is_finished {
        let reason = "is the end of a job that has come to the end of its input: nothing is left";
        return Err(gone(&text, reason));
    }
    let decided = Decided {
        checkpoint: manifest.checkpoint,
        position,
        digest: Digest::of(&bytes),
    };
    Ok((decided, Arc::new(*manifest)))
}

fn gone(place: &str, reason: &str) -> CheckpointsError {
    CheckpointsError::Origin {
        place: place.into(),
        reason: reason.into(),
    }
}

/// Whether the state fits the pipeline, and what of it is to be migrated; tells what is worth
/// telling.
fn fits(recovered: &Recovered, plan: &Plan) -> Result<Vec<Migrated>, CheckpointsError> {
    let Some(manifest) = &recovered.manifest else {
        return Ok(Vec::new());
    };
    let planned = migrate::planned(plan);
    let compatible = compatibility(manifest, &planned, &plan.beginning.drops);
    let compatible = compatible.map_err(CheckpointsError::Incompatible)?;
    for operator in compatible.changed_code {
        let digest = |identity: Option<&Identity>| {
            let plugin = identity.and_then(|identity| identity.plugin);
            plugin.map(|digest| digest.to_string())
        };
        let was = digest(manifest.operators.get(&operator).map(|it| &it.identity));
        let is = digest(plan.operators.get(&operator));
        tracing::warn!(
            operator,
            was,
            is,
            "other code than made its state goes on with it"
        );
    }
    for name in compatible.dropped {
        tracing::warn!(name, "its state is dropped, as was asked for");
    }
    for name in compatible.needless {
        tracing::warn!(name, "no state of that name is left over to be dropped");
    }
    Ok(compatible.migrated)
}
