//! Checkpoints that a sink's transaction decides: prepare, have it committed, enter it in the log.

use std::time::Duration;

use bytes::Bytes;
use wasmill_core::checkpoint::{
    AttemptError, CheckpointId, Created, Digest, Entry, Position, Settled, Verdict, settle,
    undecided,
};

use super::{Checkpoints, CheckpointsError, Found, Handle, Plan};
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
    verdict: Verdict,
    bytes: Bytes,
    is_committed: bool,
}

/// Brings the log up to the newest verdict of the deciding sink, before an attempt begins; tells
/// whether that wrote an entry. From then on no earlier attempt can decide anything.
///
/// # Errors
/// If the storage or the sink's notes cannot be read, or contradict each other.
pub(super) async fn catch_up(
    storage: &Storage,
    plan: &Plan,
    found: &Found,
) -> Result<bool, CheckpointsError> {
    let recovered = &found.recovered;
    if plan.is_fresh || plan.beginning.from.is_some() {
        return Ok(false);
    }
    let name = plan.decider.as_ref().map(|decider| &*decider.sink.name);
    undecided(recovered, name)?;
    let Some(decider) = &plan.decider else {
        return Ok(false);
    };
    let of = decider.clone();
    let (place, verdict) = blocking(move || sink::verdict(&of)).await?;
    reach(CrashPoint::VerdictRead);
    let told = (&*decider.sink.name, &*place);
    let Settled::Prepared(verdict) = settle(&plan.scope, recovered, told, verdict)? else {
        return Ok(false);
    };
    let name = plan.scope.object(&verdict.name());
    let unprepared = |reason: &str| verdict.unprepared(&plan.scope, told, reason);
    let bytes = storage.get(&name).await?;
    let bytes = bytes.ok_or_else(|| unprepared("is not there"))?;
    if Digest::of(&bytes) != verdict.digest {
        return Err(unprepared("is another than was committed").into());
    }
    let entry = Entry::decode_at(&plan.scope, verdict.position, &bytes);
    let entry = entry.map_err(|error| unprepared(&error.to_string()))?;
    if entry.place().previous != recovered.previous {
        return Err(unprepared("follows another entry than the log's last").into());
    }
    enter(storage, plan, &verdict, bytes).await?;
    reach(CrashPoint::VerdictEntered);
    let checkpoint = verdict.checkpoint;
    tracing::info!(%checkpoint, "a checkpoint was committed, and is in the log now");
    Ok(true)
}

/// Writes the missing entry. Whoever committed it may be writing it, too.
async fn enter(
    storage: &Storage,
    plan: &Plan,
    verdict: &Verdict,
    bytes: Bytes,
) -> Result<(), CheckpointsError> {
    let name = plan.scope.entry(verdict.position);
    for _ in 0..ENTER_TRIES {
        match storage.create(&name, bytes.clone()).await {
            Created::Done => return Ok(()),
            Created::Exists | Created::Unknown => {}
        }
        match storage.get(&name).await {
            Ok(Some(found)) if found == bytes => return Ok(()),
            Ok(Some(_)) => return Err(AttemptError::Fenced { entry: name }.into()),
            Ok(None) | Err(_) => spawn::rest(PREPARE_AGAIN).await,
        }
    }
    let there = storage.get(&name).await?;
    match there {
        Some(found) if found == bytes => Ok(()),
        _ => Err(AttemptError::Fenced { entry: name }.into()),
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
            && deciding.verdict.position == position
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
            position,
            digest,
        };
        let bytes = Bytes::from(bytes);
        self.deciding = Some(Deciding {
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
        let deciding = deciding.filter(|deciding| deciding.verdict.position == position);
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
            let (position, bytes) = (deciding.verdict.position, deciding.bytes.to_vec());
            self.create(position, bytes);
        }
    }

    /// A prepared manifest has an entry, and is of no more use. One that stays is deleted by a later
    /// attempt.
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

/// Runs what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = async_channel::bounded(1);
    spawn::thread("settle", move || {
        let _ = sender.send_blocking(work());
    });
    receiver.recv().await.expect("the thread ends with a result")
}
