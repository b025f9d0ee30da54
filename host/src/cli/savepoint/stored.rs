//! Savepoints of a job that does not run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use wasmill_core::{
    checkpoint::{CheckpointId, Reason, Recovered, RecoveryError, RestoreFrom, Scope, disposal},
    plan,
};

use crate::{
    api::shape::Checkpoint,
    checkpoint::{self, Storage},
    cli::{
        failure::Failure,
        jobs,
        load::{self, Loaded},
        run::attempt,
    },
    clock,
    connector::sink::Fence,
    job,
};

/// What is stored of a pipeline's job.
struct Stored {
    storage: Storage,
    location: String,
    scope: Scope,
    recovered: Recovered,
}

impl Stored {
    async fn of(loaded: &Loaded) -> Result<Self, Failure> {
        let (storage, _, location) = open(loaded).await?;
        let scope = job::scope(&loaded.pipeline).map_err(Failure::invalid)?;
        let recovered = recovered(&storage, &scope).await?;
        Ok(Self {
            storage,
            location,
            scope,
            recovered,
        })
    }
}

/// The savepoints that are stored for a pipeline.
pub(super) fn list(word: &str) -> Result<Vec<Checkpoint>, Failure> {
    let loaded = loaded(word)?;
    jobs::block_on(async {
        let stored = Stored::of(&loaded).await?;
        let all = stored.recovered.kept.iter().map(|kept| &kept.manifest);
        let savepoints = all.filter(|manifest| manifest.reason == Reason::Savepoint);
        let completed = savepoints
            .map(|manifest| checkpoint::completed(&stored.scope, &stored.location, manifest));
        Ok(completed.map(|it| Checkpoint::from(&it)).collect())
    })
}

/// Deletes a savepoint, unless something needs it.
pub(super) fn dispose(word: &str, savepoint: CheckpointId) -> Result<(), Failure> {
    let loaded = loaded(word)?;
    let pipeline = &loaded.pipeline;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let (mut storage, folder, _) = runtime.block_on(open(&loaded))?;
    // Nobody runs the job while its log is looked at.
    storage
        .lock(&folder, (&pipeline.name, false))
        .map_err(Failure::failed)?;
    let stored = runtime.block_on(Stored::of(&loaded))?;
    let plan = plan::plan(pipeline, load::parallelism(pipeline, None));
    let entered = runtime.enter();
    // Nothing is written, so nobody has to be kept out.
    let fence = Fence {
        attempt: stored.recovered.attempt,
        begun_us: clock::wall_us(),
    };
    let followers = job::followers(pipeline, &plan, (None, &folder), fence);
    let mut markers = BTreeMap::new();
    for (name, mut follower) in followers.map_err(Failure::failed)? {
        markers.insert(name, follower.marker().map_err(Failure::failed)?);
    }
    drop(entered);
    let names = disposal(&stored.scope, &stored.recovered, savepoint, &markers);
    runtime.block_on(async {
        for name in names.map_err(Failure::failed)? {
            let deleted = stored.storage.delete(&name).await;
            deleted.map_err(Failure::failed)?;
        }
        Ok(())
    })
}

/// Copies a savepoint with all that belongs to it, and gives where its manifest lies then.
pub(super) fn copy(pipeline: &Path, savepoint: CheckpointId, to: &Path) -> Result<String, Failure> {
    let loaded = load::load(pipeline, load::Inputs::Unread)?;
    jobs::block_on(async {
        let stored = Stored::of(&loaded).await?;
        let all = stored.recovered.kept.iter();
        let mut all = all.filter(|kept| kept.manifest.reason == Reason::Savepoint);
        let kept = all.find(|kept| kept.decided.checkpoint == savepoint);
        let kept = kept.ok_or_else(|| {
            Failure::Invalid(format!(
                "there is no savepoint {savepoint}; `wasmill savepoint ls {}` lists them",
                pipeline.display()
            ))
        })?;
        let target = Storage::folder(to).map_err(Failure::failed)?;
        let entry = stored.scope.entry(kept.decided.position);
        let objects = kept.manifest.objects();
        let names = objects.map(|object| stored.scope.object(&object.name));
        // The manifest comes last: where it is, everything is.
        for name in names.chain([entry.clone()]) {
            let bytes = stored.storage.get(&name).await.map_err(Failure::failed)?;
            let bytes = bytes.ok_or_else(|| {
                Failure::Failed(format!("`{name}` is gone from `{}`", stored.location))
            })?;
            target.put(&name, bytes).await.map_err(Failure::failed)?;
        }
        Ok(format!("{}/{entry}", jobs::absolute(to)))
    })
}

fn loaded(word: &str) -> Result<Loaded, Failure> {
    let path = Path::new(word);
    if !path.is_file() {
        return Err(Failure::Invalid(format!(
            "no job `{word}` runs, and there is no file of that name: say the path of its \
             pipeline document"
        )));
    }
    load::load(path, load::Inputs::Unread)
}

/// The storage of a pipeline's checkpoints, a folder for locks, and its name for people.
async fn open(loaded: &Loaded) -> Result<(Storage, PathBuf, String), Failure> {
    let checkpointing = loaded.pipeline.checkpoint.as_ref();
    let checkpointing = checkpointing.ok_or_else(|| {
        let name = &loaded.pipeline.name;
        Failure::Invalid(format!(
            "`{name}` takes no checkpoints, so it has no savepoints"
        ))
    })?;
    let instead = std::env::var("WASMILL_STORAGE").ok();
    let place = attempt::place(checkpointing.storage.as_ref(), instead.as_deref())?;
    attempt::storage(&place).await
}

async fn recovered(storage: &Storage, scope: &Scope) -> Result<Recovered, Failure> {
    let read = checkpoint::read_log(storage, scope).await;
    let read = read.map_err(Failure::failed)?;
    let finished: Result<Recovered, RecoveryError> = read.finish(&RestoreFrom::Newest);
    finished.map_err(Failure::failed)
}
