//! The attempts of a job with checkpoints: one for each start and restart.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use wasmill_core::{
    checkpoint::{AttemptId, Manifest},
    pipeline::{Checkpointing, Pipeline, Storage as Place},
    plan::Plan,
};

use super::Arguments;
use crate::{
    checkpoint::{self, Beginning, Begun, Checkpoints, Origin, Storage, reports},
    cli::{complain, failure::Failure, jobs},
    clock,
    connector::sink::Fence,
    job::{self, Attempt, JobError, Plugins},
    metrics::Node,
};

/// A job's checkpoints over all attempts of this process.
pub(super) struct Session {
    folder: PathBuf,
    storage: Storage,
    participants: checkpoint::Plan,
    /// Whether nothing has been restored since the job began anew.
    is_fresh: bool,
    last: Option<AttemptId>,
    /// Whether rows may come out again that sinks have brought out.
    repeats_rows: bool,
}

/// What there is to do.
pub(super) enum Next {
    /// A job to run.
    Run(Box<Attempt>),
    /// Nothing: the job has come to the end of its input.
    Finished(Arc<Manifest>),
}

impl Session {
    /// Opens the storage, which nobody else uses for this job then.
    pub(super) async fn open(
        pipeline: &Pipeline,
        (plan, plugins): (&Plan, &Plugins),
        checkpointing: &Checkpointing,
        arguments: &Arguments,
    ) -> Result<Self, Failure> {
        let told = (checkpointing, arguments.fresh);
        let mut participants =
            job::participants(pipeline, plan, plugins, told).map_err(Failure::invalid)?;
        let place = place(checkpointing.storage.as_ref(), arguments.storage.as_deref())?;
        let (mut storage, folder, location) = storage(&place).await?;
        participants.location = location;
        participants.place = place;
        participants.takes_over = arguments.take_over;
        participants.beginning = arguments.beginning();
        storage
            .lock(&folder, (&pipeline.name, arguments.take_over))
            .map_err(Failure::failed)?;
        Ok(Self {
            folder,
            storage,
            participants,
            is_fresh: arguments.fresh,
            last: None,
            repeats_rows: arguments.repeat_rows,
        })
    }

    /// Where checkpoints lie, as people name it.
    pub(super) fn location(&self) -> &str {
        &self.participants.location
    }

    /// Refuses to begin with a checkpoint where a sink's output does not end, unless rows may come
    /// out again.
    pub(super) async fn meets(&self, pipeline: &Pipeline, plan: &Plan) -> Result<(), Failure> {
        if self.participants.beginning.from.is_none() || self.repeats_rows {
            return Ok(());
        }
        let found = checkpoint::recover(&self.storage, &self.participants).await;
        let recovered = found.map_err(Failure::failed)?.recovered;
        // Nothing is written, so nobody has to be kept out.
        let fence = Fence {
            attempt: recovered.attempt,
            begun_us: clock::wall_us(),
        };
        let followers = job::followers(pipeline, plan, (None, &self.folder), fence);
        let mut markers = BTreeMap::new();
        for (name, mut follower) in followers.map_err(Failure::failed)? {
            markers.insert(name, follower.marker().map_err(Failure::failed)?);
        }
        let met = recovered.meets(&self.participants.scope, &markers);
        met.map_err(Failure::failed)
    }

    /// Begins the next attempt; `counters` are those of the one before.
    pub(super) async fn begin(
        &mut self,
        pipeline: &Pipeline,
        plan: &Plan,
        counters: Vec<Node>,
    ) -> Result<Next, JobError> {
        let participants = checkpoint::Plan {
            // A restart goes on from what has been decided since.
            is_fresh: self.is_fresh && self.last.is_none(),
            after: self.last,
            beginning: match self.last {
                None => self.participants.beginning.clone(),
                Some(_) => Beginning::default(),
            },
            ..self.participants.clone()
        };
        let (sender, receiver) = reports();
        let begun = Checkpoints::begin(self.storage.clone(), participants, receiver).await;
        let (checkpoints, restored) = match begun? {
            Begun::Running(running) => *running,
            Begun::Finished(checkpoints, manifest) => {
                let since = Some(manifest.checkpoint);
                let fence = checkpoints.fence();
                let followers = job::followers(pipeline, plan, (since, &self.folder), fence);
                checkpoints.catch_up(&mut followers?).await?;
                return Ok(Next::Finished(manifest));
            }
        };
        let is_first = self.last.replace(checkpoints.attempt()).is_none();
        if let Some(manifest) = &restored.manifest {
            let checkpoint = manifest.checkpoint;
            if is_first {
                let place = match &self.participants.beginning.from {
                    Some(Origin::Place(place)) => place.to_string(),
                    _ => self.location().to_owned(),
                };
                complain(&format!(
                    "wasmill: `{}` goes on from checkpoint {checkpoint} in {place}",
                    pipeline.name
                ));
            }
            tracing::info!(%checkpoint, "going on from a checkpoint");
            self.is_fresh = false;
        }
        Ok(Next::Run(Box::new(Attempt {
            checkpoints,
            restored,
            reports: sender,
            is_fresh: self.is_fresh,
            spool: self.folder.clone(),
            counters,
        })))
    }
}

/// Where checkpoints are kept: where the command line says, else the document, else among the
/// user's data. A bucket on the command line is reached as the document's.
pub(in crate::cli) fn place(
    written: Option<&Place>,
    instead: Option<&str>,
) -> Result<Place, Failure> {
    match (written, instead) {
        (None, None) => Storage::usual().map_err(Failure::invalid),
        (Some(written), None) => Ok(written.clone()),
        (None, Some(text)) => Place::parse(text).map_err(Failure::invalid),
        (Some(written), Some(text)) => written.beside(text).map_err(Failure::invalid),
    }
}

/// What is kept at a place, a folder of this machine for locks and rows that wait, and the place
/// as people name it, wherever they are.
pub(in crate::cli) async fn storage(place: &Place) -> Result<(Storage, PathBuf, String), Failure> {
    let (storage, folder) = Storage::open(place).await.map_err(Failure::failed)?;
    let location = match place {
        Place::Folder(folder) => jobs::absolute(folder.as_ref()),
        Place::S3(_) => place.to_string(),
    };
    Ok((storage, folder, location))
}
