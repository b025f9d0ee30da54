//! Checkpoints that a sink's transaction decides, and what a restart makes of them.
//!
//! Where a sink of high volume decides, its rows are not written twice. A checkpoint's manifest is
//! *prepared* first: an object beside those that it names, so that nobody's number is taken. Then
//! the sink commits the checkpoint's rows together with a *verdict*, which names the prepared
//! manifest. That commit is the decision; the log's entry is written behind it.
//!
//! A crash between the two leaves the verdict one ahead of the log: the normal case. A new attempt
//! has the sink end what earlier attempts have open, so that no verdict of theirs comes any more,
//! reads the newest one, and writes the entry that is missing. All else is as in a job without a
//! decider, but for two things:
//!
//! - Of several attempts that begin at once, one may commit while another's entry takes the number
//!   that the commit's own was meant for. So a sink that opens for an attempt compares the newest
//!   verdict with what the attempt goes on from *before* it notes that the attempt has taken over;
//!   and a manifest that has lost its number is entered under the next one.
//! - Until the sink has opened, an attempt deletes nothing that it does not know.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AttemptId, CheckpointId, Digest, Kept, Manifest, Reason, Recovered, Scope};

/// What a deciding transaction says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Verdict {
    /// The attempt that prepared the manifest.
    pub attempt: AttemptId,
    /// The checkpoint that is decided.
    pub checkpoint: CheckpointId,
    /// Digest of the prepared manifest's bytes.
    pub digest: Digest,
}

/// What a deciding sink has noted, as a new attempt finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes {
    /// The newest verdict.
    pub verdict: Option<Verdict>,
    /// The newest attempt that has taken the sink over. It knew the newest verdict, unless that is
    /// its own.
    pub taken: Option<AttemptId>,
}

/// What is to be done about the newest verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Nothing: the log has it, or has gone on from elsewhere since.
    Entered,
    /// Its prepared manifest becomes the log's next entry.
    Ahead(Verdict),
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
    pub fn unprepared(
        &self,
        scope: &Scope,
        (sink, place): (&str, &str),
        reason: &str,
    ) -> VerdictError {
        VerdictError::Unprepared {
            sink: sink.into(),
            place: place.into(),
            checkpoint: self.checkpoint,
            name: scope.object(&self.name()),
            reason: reason.into(),
        }
    }
}

impl Manifest {
    /// Puts a prepared manifest where it is to stand now, behind all that is in the log.
    pub fn replaced(mut self, recovered: &Recovered) -> Self {
        let kept = recovered.kept.iter().map(|kept| kept.decided);
        let all = kept.chain(recovered.damaged.iter().map(|damage| damage.decided));
        self.place.decided = all.collect();
        self.place.decided.sort_unstable_by_key(|it| it.checkpoint);
        self.place.position = recovered.position;
        self.place.previous = recovered.previous;
        // Attempts are counted on from the log's last entry.
        self.place.attempt = AttemptId(recovered.attempt.0.saturating_sub(1));
        self.place.checkpoint_last = self.checkpoint.max(recovered.checkpoint_last);
        self
    }
}

/// Compares the notes of a sink with the log as it stands; `place` says where the notes are.
///
/// # Errors
/// If they contradict each other.
pub fn settle(
    scope: &Scope,
    recovered: &Recovered,
    (sink, place): (&str, &str),
    notes: &Notes,
) -> Result<Settled, VerdictError> {
    let base = recovered.manifest.as_deref();
    let own = base.filter(|base| base.decider.as_deref() == Some(sink));
    let Some(verdict) = notes.verdict else {
        return match own {
            None => Ok(Settled::Entered),
            Some(base) => Err(VerdictError::Gone {
                sink: sink.into(),
                place: place.into(),
                checkpoint: base.checkpoint,
            }),
        };
    };
    let mut kept = recovered.kept.iter();
    // No two checkpoints of a log have one number.
    let entered = kept.find(|kept| kept.decided.checkpoint == verdict.checkpoint);
    let is_other = |kept: &Kept| kept.manifest.decider.as_deref() != Some(sink);
    if entered.is_some_and(is_other) {
        let reason = "is another than was committed";
        return Err(verdict.unprepared(scope, (sink, place), reason));
    }
    if base.is_none_or(|base| base.checkpoint < verdict.checkpoint) {
        let is_past = notes.taken > Some(verdict.attempt) || entered.is_some();
        return Ok(match is_past {
            true => Settled::Entered,
            false => Settled::Ahead(verdict),
        });
    }
    match own {
        Some(base) if base.checkpoint > verdict.checkpoint => Err(VerdictError::Older {
            sink: sink.into(),
            place: place.into(),
            noted: verdict.checkpoint,
            checkpoint: base.checkpoint,
        }),
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
        Some((manifest, sink)) if decider != Some(sink) => Err(VerdictError::Undecided {
            sink: sink.clone(),
            checkpoint: manifest.checkpoint,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
