//! State of older schemas, between reading a checkpoint and beginning an attempt.

use std::collections::BTreeMap;

use wasmill_core::checkpoint::{CheckpointId, Digest, Migrated, Planned};

use super::{CheckpointsError, Found, Plan, Restored, recover, restore};
use crate::{
    checkpoint::{MigratedState, Offer, Offers, Storage, migration},
    crash_point::{CrashPoint, reach},
};

/// What a start would migrate.
#[derive(Debug)]
pub struct DryRun {
    /// The checkpoint; none if there is none to go on from.
    pub checkpoint: Option<CheckpointId>,
    /// The states.
    pub migrated: Vec<MigratedState>,
}

/// Reads what a job would go on from and migrates it, but begins nothing.
///
/// # Errors
/// As for `Checkpoints::begin`.
pub async fn dry_run(storage: &Storage, plan: &Plan) -> Result<DryRun, CheckpointsError> {
    let found = recover(storage, plan).await?;
    let (restored, migrated) = load(storage, plan, &found).await?;
    let checkpoint = restored.manifest.map(|manifest| manifest.checkpoint);
    Ok(DryRun {
        checkpoint,
        migrated,
    })
}

/// Reads all state that the recovered checkpoint names, in the schemas of the plugins.
///
/// # Errors
/// If an object is gone or is not what was written, or a plugin fails.
pub(super) async fn load(
    storage: &Storage,
    plan: &Plan,
    found: &Found,
) -> Result<(Restored, Vec<MigratedState>), CheckpointsError> {
    let mut restored = restore::load_found(storage, plan, found).await?;
    let migrated = migrate(plan, &mut restored, &found.migrated).await?;
    Ok((restored, migrated))
}

/// Brings restored state to the schemas of the plugins.
async fn migrate(
    plan: &Plan,
    restored: &mut Restored,
    migrated: &[Migrated],
) -> Result<Vec<MigratedState>, CheckpointsError> {
    let Some(manifest) = restored.manifest.clone().filter(|_| !migrated.is_empty()) else {
        return Ok(Vec::new());
    };
    let operators = &mut restored.operators;
    let told = migration::migrate(&manifest, operators, migrated, &plan.offers).await?;
    for state in &told {
        let Migrated {
            operator,
            state: name,
            from,
            to,
        } = &state.what;
        let (values, dropped) = (state.values, state.dropped);
        tracing::info!(operator, state = name, %from, %to, values, dropped, "state was migrated");
    }
    reach(CrashPoint::Migrated);
    Ok(told)
}

/// What a job would keep in checkpoints.
pub(super) fn planned(plan: &Plan) -> Planned {
    Planned {
        key_hash: plan.key_hash,
        sources: plan.sources.clone(),
        operators: plan.operators.clone(),
        migrations: offered(&plan.offers),
        sinks: plan.followers.clone(),
    }
}

/// Which older schemas are migrated, by operator and state.
fn offered(offers: &Offers) -> BTreeMap<(String, String), Vec<Digest>> {
    let of_operator = offers.iter().flat_map(|(uid, offer)| {
        let states = offer.descriptor.states.iter();
        states.map(|state| ((uid.clone(), state.name.clone()), Offer::ids(state)))
    });
    of_operator.collect()
}
