//! The attempt that a run of a job with checkpoints is.

use wasmill_core::{
    checkpoint::Manifest,
    pipeline::{Checkpointing, Pipeline},
    plan::Plan,
};

use crate::{
    checkpoint::{Begun, Checkpoints, Storage, reports},
    cli::failure::Failure,
    job::{self, Attempt, Plugins},
};

/// Begins an attempt; none if there is nothing to run.
pub(super) async fn begin(
    pipeline: &Pipeline,
    plan: &Plan,
    plugins: &Plugins,
    (checkpointing, is_fresh): (&Checkpointing, bool),
) -> Result<Option<Attempt>, Failure> {
    let told = (checkpointing, is_fresh);
    let participants =
        job::participants(pipeline, plan, plugins, told).map_err(Failure::invalid)?;
    let opened = Storage::open(checkpointing.storage.as_ref()).await;
    let (mut storage, folder) = opened.map_err(Failure::failed)?;
    storage
        .lock(&folder, &pipeline.name)
        .map_err(Failure::failed)?;
    let (sender, receiver) = reports();
    let begun = Checkpoints::begin(storage, participants, receiver).await;
    let (checkpoints, restored) = match begun.map_err(Failure::failed)? {
        Begun::Running(running) => *running,
        Begun::Finished(checkpoints, manifest) => {
            let since = Some(manifest.checkpoint);
            let followers = job::followers(pipeline, plan, (since, &folder));
            let mut followers = followers.map_err(Failure::failed)?;
            let caught_up = checkpoints.catch_up(&mut followers).await;
            caught_up.map_err(Failure::failed)?;
            tell_finished(pipeline, &manifest);
            return Ok(None);
        }
    };
    if let Some(manifest) = &restored.manifest {
        tracing::info!(checkpoint = %manifest.checkpoint, "going on from a checkpoint");
    }
    Ok(Some(Attempt {
        checkpoints,
        restored,
        reports: sender,
        is_fresh,
        spool: folder,
    }))
}

fn tell_finished(pipeline: &Pipeline, manifest: &Manifest) {
    crate::cli::complain(&format!(
        "`{}` has come to the end of its input (checkpoint {}): there is nothing left to do; \
         `--fresh` begins anew",
        pipeline.name, manifest.checkpoint,
    ));
}
