//! Checkpoints that a sink's transaction decides, and what a restart makes of them.
//!
//! Where a sink of high volume decides, its rows are not written twice. A checkpoint's manifest is
//! *prepared* first: an object beside those that it names, so that nobody's number is taken. Then
//! the sink commits the checkpoint's rows together with a *verdict*, which names the prepared
//! manifest. That commit is the decision; the log's entry is written behind it, with the same bytes.
//!
//! A crash between the two leaves the verdict one ahead of the log: the normal case. A new attempt
//! has the sink end what earlier attempts have open, so that no verdict comes any more, reads the
//! newest one, and writes the entry that is missing. All else is as in a job without a decider.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AttemptId, CheckpointId, Digest, Manifest, Position, Reason, Recovered, Scope};

/// What a deciding transaction says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Verdict {
    /// The attempt that prepared the manifest.
    pub attempt: AttemptId,
    /// The checkpoint that is decided.
    pub checkpoint: CheckpointId,
    /// Where its entry stands in the log, or will.
    pub position: Position,
    /// Digest of the manifest's bytes.
    pub digest: Digest,
}

/// What is to be done about the newest verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Nothing: the log has it.
    Entered,
    /// Its prepared manifest becomes the log's next entry.
    Prepared(Verdict),
}

/// Why nobody knows what is decided. Nothing is changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerdictError {
    /// The notes of a sink are gone.
    #[error(
        "checkpoint {checkpoint} was decided by a transaction of sink `{sink}`, and {place} holds \
         no note of any: it has been deleted or cut; bring it back, or say with \
         `--from CHECKPOINT` where to go on: rows behind that may come again"
    )]
    Gone {
        /// The sink.
        sink: String,
        /// Where its notes should be.
        place: String,
        /// The newest checkpoint of the log.
        checkpoint: CheckpointId,
    },
    /// The notes are older than the log.
    #[error(
        "{place} says that sink `{sink}` committed checkpoint {noted} last, and the log has \
         {checkpoint}: the notes have lost their newest part; bring it back, or say with \
         `--from CHECKPOINT` where to go on: rows behind that may come again"
    )]
    Older {
        /// The sink.
        sink: String,
        /// Where its notes are.
        place: String,
        /// What they say.
        noted: CheckpointId,
        /// The newest checkpoint of the log.
        checkpoint: CheckpointId,
    },
    /// The notes name a manifest that is not there, or is another.
    #[error(
        "{place} says that sink `{sink}` committed checkpoint {checkpoint}, whose manifest \
         `{name}` {reason}: the checkpoints are older than the sink's data, or another job's; \
         bring them back, or begin anew with --fresh: rows may then come again"
    )]
    Unprepared {
        /// The sink.
        sink: String,
        /// Where its notes are.
        place: String,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The manifest's full name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The job has been run with a sink that decides, and is not any more.
    #[error(
        "checkpoint {checkpoint} was decided by a transaction of sink `{sink}`, which decides no \
         more; say `decides: true` of it again, or say with `--from CHECKPOINT` where to go on: \
         rows behind that may come again"
    )]
    Undecided {
        /// The sink.
        sink: String,
        /// The newest checkpoint of the log.
        checkpoint: CheckpointId,
    },
}

impl Verdict {
    /// The name of the prepared manifest, as manifests call objects.
    pub fn name(&self) -> String {
        Scope::object_name(self.attempt, self.checkpoint, "manifest")
    }

    /// The error of a manifest that is not as the verdict says.
    pub fn unprepared(&self, scope: &Scope, (sink, place): (&str, &str), reason: &str) -> VerdictError {
        VerdictError::Unprepared {
            sink: sink.into(),
            place: place.into(),
            checkpoint: self.checkpoint,
            name: scope.object(&self.name()),
            reason: reason.into(),
        }
    }
}

/// Compares the newest verdict of a sink with the log as it stands; `place` is where the sink's
/// notes are, in words.
///
/// # Errors
/// If they contradict each other.
pub fn settle(
    scope: &Scope,
    recovered: &Recovered,
    (sink, place): (&str, &str),
    verdict: Option<Verdict>,
) -> Result<Settled, VerdictError> {
    let newest = decided_by(recovered, sink);
    let Some(verdict) = verdict else {
        return match newest {
            None => Ok(Settled::Entered),
            Some((_, manifest)) => Err(VerdictError::Gone {
                sink: sink.into(),
                place: place.into(),
                checkpoint: manifest.checkpoint,
            }),
        };
    };
    if verdict.position == recovered.position {
        return Ok(Settled::Prepared(verdict));
    }
    if verdict.position > recovered.position {
        let reason = "lies beyond the end of the log";
        return Err(verdict.unprepared(scope, (sink, place), reason));
    }
    match newest {
        Some((digest, manifest)) if manifest.checkpoint == verdict.checkpoint => {
            if digest == verdict.digest {
                return Ok(Settled::Entered);
            }
            let reason = "is another than was committed";
            Err(verdict.unprepared(scope, (sink, place), reason))
        }
        Some((_, manifest)) if manifest.place.position > verdict.position => {
            Err(VerdictError::Older {
                sink: sink.into(),
                place: place.into(),
                noted: verdict.checkpoint,
                checkpoint: manifest.checkpoint,
            })
        }
        // Its entry has had its time, or the job has gone back since.
        _ => Ok(Settled::Entered),
    }
}

/// Whether a job that has no deciding sink, or another one, may go on from where it stands: it must
/// know whether the newest checkpoint of its log is the newest decided one.
///
/// # Errors
/// If only a sink that decides no more could tell.
pub fn undecided(recovered: &Recovered, decider: Option<&str>) -> Result<(), VerdictError> {
    let manifest = recovered.manifest.as_ref();
    // Behind a job's last checkpoint nothing has been committed, if nobody has begun since.
    let is_last = |manifest: &&Arc<Manifest>| {
        manifest.reason == Reason::Final && manifest.place.position.next() == recovered.position
    };
    let open = manifest.filter(|manifest| !is_last(manifest));
    let by = open.and_then(|manifest| Some((manifest, manifest.decider.as_ref()?)));
    match by {
        Some((manifest, sink)) if decider != Some(sink) => {
            Err(VerdictError::Undecided {
                sink: sink.clone(),
                checkpoint: manifest.checkpoint,
            })
        }
        _ => Ok(()),
    }
}

/// The newest kept checkpoint that a sink's transaction decided.
fn decided_by<'a>(recovered: &'a Recovered, sink: &str) -> Option<(Digest, &'a Manifest)> {
    let kept = recovered.kept.iter().map(|kept| (kept.decided.digest, &*kept.manifest));
    let by = kept.filter(|(_, manifest)| manifest.decider.as_deref() == Some(sink));
    by.max_by_key(|(_, manifest)| manifest.place.position)
}

#[cfg(test)]
mod tests;
