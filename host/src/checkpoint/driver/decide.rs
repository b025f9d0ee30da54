//! Checkpoints that a sink's transaction decides: prepare, have it committed, enter it in the log.

use std::time::Duration;

use bytes::Bytes;
use wasmill_core::checkpoint::{
    AttemptError, CheckpointId, Created, Digest, Entry, Notes, Position, Recovered, Scope, Settled,
    Verdict, settle, undecided,
};

use super::{Checkpoints, CheckpointsError, Found, Handle, Plan, recover};
use crate::{
    checkpoint::{SinkOrder, Storage},
    connector::sink,
    crash_point::{CrashPoint, reach},
    spawn,
};

/// Between two tries to store a prepared manifest.
const PREPARE_AGAIN: Duration = Duration::from_millis(200);
/// Such tries at most when a log is brought up to its newest verdict.
const ENTER_TRIES: usize = 25;

/// A manifest on its way to its decision.
pub(super) struct Deciding {
    position: Position,
    verdict: Verdict,
    bytes: Bytes,
    is_committed: bool,
}

/// What is stored of a job whose checkpoints a sink may decide, with the newest of them entered in
/// the log. From then on no earlier attempt can decide anything.
///
/// # Errors
/// If the storage or the sink's notes cannot be read, or contradict each other.
pub(super) async fn settled(storage: &Storage, plan: &Plan) -> Result<Found, CheckpointsError> {
    // Whoever has been overtaken, or does not fit, leaves others' transactions alone.
    let found = recover(storage, plan).await?;
    let goes_on = !plan.is_fresh && plan.beginning.from.is_none();
    if goes_on {
        let name = plan.decider.as_ref().map(|decider| &*decider.sink.name);
        undecided(&found.recovered, name)?;
    }
    let Some(decider) = &plan.decider else {
        return Ok(found);
    };
    if goes_on {
        fits(storage, plan, (&found.recovered, decider)).await?;
    }
    let (place, notes) = noted(decider, true).await?;
    reach(CrashPoint::VerdictRead);
    // What an earlier attempt has decided until now may be in the log now.
    let found = recover(storage, plan).await?;
    if !goes_on {
        return Ok(found);
    }
    let told = (&*decider.sink.name, &*place);
    let settled = settle(&plan.scope, &found.recovered, told, &notes)?;
    let Settled::Ahead(verdict) = settled else {
        return Ok(found);
    };
    enter(storage, plan, &found.recovered, told, &verdict).await?;
    reach(CrashPoint::VerdictEntered);
    let checkpoint = verdict.checkpoint;
    tracing::info!(%checkpoint, "a checkpoint was committed, and is in the log now");
    recover(storage, plan).await
}

/// Refuses a run whose storage knows nothing of what its sink has decided, before it ends what
/// another one has open: a second job of the same name has its checkpoints elsewhere.
async fn fits(
    storage: &Storage,
    plan: &Plan,
    (recovered, decider): (&Recovered, &sink::DecidingSink),
) -> Result<(), CheckpointsError> {
    let (place, notes) = noted(decider, false).await?;
    let told = (&*decider.sink.name, &*place);
    // All else may look different as soon as nobody else writes there.
    let Ok(Settled::Ahead(verdict)) = settle(&plan.scope, recovered, told, &notes) else {
        return Ok(());
    };
    let prepared = plan.scope.object(&verdict.name());
    if storage.get(&prepared).await?.is_some() {
        return Ok(());
    }
    // Whoever prepared it has entered it since, and perhaps gone on.
    let again = recover(storage, plan).await?.recovered;
    match again.position == recovered.position {
        true => Err(verdict.unprepared(&plan.scope, told, "is not there").into()),
        false => Ok(()),
    }
}

/// Writes the entry that is missing. Whoever has committed the checkpoint may be writing it, too.
async fn enter(
    storage: &Storage,
    plan: &Plan,
    recovered: &Recovered,
    told: (&str, &str),
    verdict: &Verdict,
) -> Result<(), CheckpointsError> {
    let scope = &plan.scope;
    let (entry, prepared) = (
        scope.entry(recovered.position),
        scope.object(&verdict.name()),
    );
    let unprepared = |reason: &str| verdict.unprepared(scope, told, reason);
    for _ in 0..ENTER_TRIES {
        let stands = storage.get(&entry).await;
        if let Ok(Some(bytes)) = &stands {
            return match is_of(scope, recovered.position, bytes, verdict) {
                true => Ok(()),
                false => Err(AttemptError::Fenced { entry }.into()),
            };
        }
        match storage.get(&prepared).await {
            Ok(Some(bytes)) => {
                let bytes = placed(recovered, verdict, bytes);
                let bytes = bytes.map_err(|reason| unprepared(&reason))?;
                if storage.create(&entry, bytes).await == Created::Done {
                    return Ok(());
                }
            }
            // The entry was looked for first: its writer has removed what it needs no more since,
            // or nobody has either.
            Ok(None) if stands.is_ok() && storage.get(&entry).await?.is_none() => {
                return Err(unprepared("is not there").into());
            }
            Ok(None) | Err(_) => {}
        }
        spawn::rest(PREPARE_AGAIN).await;
    }
    Err(unprepared("cannot be entered in the log: its storage does not answer").into())
}

/// Whether an entry is the manifest that was committed: of a number there is one in a log.
fn is_of(scope: &Scope, position: Position, bytes: &[u8], verdict: &Verdict) -> bool {
    match Entry::decode_at(scope, position, bytes) {
        Ok(Entry::Checkpoint(manifest)) => manifest.checkpoint == verdict.checkpoint,
        Ok(Entry::Attempt(_)) | Err(_) => false,
    }
}

/// Prepared bytes as the log's next entry; in words what is wrong with them.
fn placed(recovered: &Recovered, verdict: &Verdict, bytes: Bytes) -> Result<Bytes, String> {
    if Digest::of(&bytes) != verdict.digest {
        return Err("is another than was committed".into());
    }
    match Entry::decode(&bytes).map_err(|error| error.to_string())? {
        Entry::Attempt(_) => Err("is no manifest".into()),
        Entry::Checkpoint(manifest) => {
            let place = &manifest.place;
            let is_next = place.position == recovered.position;
            if is_next && place.previous == recovered.previous {
                return Ok(bytes);
            }
            let manifest = manifest.replaced(recovered);
            Ok(Entry::Checkpoint(Box::new(manifest)).encode().into())
        }
    }
}

impl Checkpoints {
    /// Creates an entry, a manifest behind its commit where a sink decides.
    pub(super) fn write(&mut self, position: Position, bytes: Vec<u8>) {
        let pending = self.coordinator.pending();
        let (Some(_), Some((checkpoint, _)), true) = (&self.decider, pending, self.has_begun)
        else {
            return self.create(position, bytes);
        };
        if let Some(deciding) = &self.deciding
            && deciding.position == position
        {
            // It is asked for again: it may be on its way to the sink still.
            if deciding.is_committed {
                self.create(position, bytes);
            }
            return;
        }
        let digest = Digest::of(&bytes);
        let verdict = Verdict {
            attempt: self.attempt,
            checkpoint,
            digest,
        };
        let bytes = Bytes::from(bytes);
        self.deciding = Some(Deciding {
            position,
            verdict,
            bytes: bytes.clone(),
            is_committed: false,
        });
        let (storage, prepared) = (self.storage.clone(), self.prepared.0.clone());
        let name = self.scope.object(&verdict.name());
        spawn::task(async move {
            while let Err(error) = storage.put(&name, bytes.clone()).await {
                tracing::warn!(%error, "a manifest cannot be prepared");
                spawn::rest(PREPARE_AGAIN).await;
                if prepared.is_closed() {
                    return;
                }
            }
            reach(CrashPoint::ManifestPrepared);
            let _ = prepared.send(position).await;
        });
    }

    /// A manifest is prepared: the sink's commit is the decision.
    pub(super) async fn have_committed(&mut self, position: Position, job: &Handle) {
        let deciding = self.deciding.as_ref();
        let deciding = deciding.filter(|deciding| deciding.position == position);
        let sink = self.decider.as_ref().and_then(|sink| job.sinks.get(sink));
        if let (Some(deciding), Some(orders)) = (deciding, sink) {
            // A sink that is gone has failed, and its own error says why.
            let _ = orders.send(SinkOrder::Commit(deciding.verdict)).await;
        }
    }

    /// A checkpoint is committed: its entry is due.
    pub(super) fn committed(&mut self, checkpoint: CheckpointId) {
        reach(CrashPoint::VerdictKnown);
        let Some(deciding) = &mut self.deciding else {
            return;
        };
        if deciding.verdict.checkpoint == checkpoint {
            deciding.is_committed = true;
            let (position, bytes) = (deciding.position, deciding.bytes.to_vec());
            self.create(position, bytes);
        }
    }

    /// A prepared manifest has an entry, and is of no more use. One that stays is deleted by a
    /// later attempt.
    pub(super) fn entered(&mut self) {
        let Some(deciding) = self.deciding.take() else {
            return;
        };
        let (storage, name) = (self.storage.clone(), deciding.verdict.name());
        let name = self.scope.object(&name);
        spawn::task(async move {
            let _ = storage.delete(&name).await;
        });
    }

    /// A checkpoint was given up: the deciding sink goes on with the rows that it holds back.
    pub(super) async fn forgo(&self, checkpoint: CheckpointId, job: &Handle) {
        let sink = self.decider.as_ref().and_then(|sink| job.sinks.get(sink));
        if let Some(orders) = sink {
            let _ = orders.send(SinkOrder::Aborted(checkpoint)).await;
        }
    }
}

/// What a deciding sink has noted, and where.
async fn noted(
    decider: &sink::DecidingSink,
    ends: bool,
) -> Result<(String, Notes), CheckpointsError> {
    let of = decider.clone();
    let noted = blocking(move || sink::verdict(&of, ends)).await;
    noted.map_err(|source| CheckpointsError::sink(&decider.sink.name, source))
}

/// Runs what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = async_channel::bounded(1);
    spawn::thread("settle", move || {
        let _ = sender.send_blocking(work());
    });
    receiver
        .recv()
        .await
        .expect("the thread ends with a result")
}
