//! What a new attempt goes on from.

use wasmill_core::checkpoint::{
    AttemptError, AttemptId, Identity, Migrated, Recovered, Recovery, RestoreFrom, compatibility,
};

use super::{CheckpointsError, Plan, migrate};
use crate::checkpoint::Storage;

/// What is stored of a job, checked against what it is now, and which states are to be migrated.
pub(super) async fn recover(
    storage: &Storage,
    plan: &Plan,
) -> Result<(Recovered, Vec<Migrated>), CheckpointsError> {
    let names = storage.list(&plan.scope.job_prefix()).await?;
    let mut recovery = Recovery::new(plan.scope.clone(), &names)?;
    while let Some(position) = recovery.wants() {
        let read = storage.get(&plan.scope.entry(position)).await;
        let bytes = match read {
            Ok(bytes) => Ok(bytes.map(|bytes| bytes.to_vec())),
            Err(error) => Err(error.to_string()),
        };
        recovery.read(position, bytes)?;
    }
    let from = match plan.is_fresh {
        true => RestoreFrom::Nothing,
        false => RestoreFrom::Newest,
    };
    let recovered = recovery.finish(&from)?;
    let is_overtaken = |own: AttemptId| recovered.attempt != own.next();
    if plan.after.is_some_and(is_overtaken) {
        let entry = plan.scope.entry(recovered.position);
        return Err(AttemptError::Fenced { entry }.into());
    }
    let mut migrated = Vec::new();
    if let Some(manifest) = &recovered.manifest {
        let planned = migrate::planned(plan);
        let compatible = compatibility(manifest, &planned, false)?;
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
        migrated = compatible.migrated;
    }
    Ok((recovered, migrated))
}
