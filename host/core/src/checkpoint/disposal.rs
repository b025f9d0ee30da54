//! Whether a savepoint may go while nobody runs the job.

use std::collections::BTreeMap;

use super::{CheckpointId, Kept, Manifest, ObjectRef, Reason, Recovered, Scope};

/// Why a savepoint stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisposalError {
    /// There is no such savepoint.
    #[error("there is no savepoint {checkpoint}; there are {savepoints}")]
    Unknown {
        /// What was asked for.
        checkpoint: CheckpointId,
        /// Those that are there.
        savepoints: String,
    },
    /// Not a savepoint.
    #[error(
        "checkpoint {checkpoint} is no savepoint: it is deleted by itself when newer ones have \
         taken its place"
    )]
    Periodic {
        /// What was asked for.
        checkpoint: CheckpointId,
    },
    /// The job's next run begins with it.
    #[error(
        "the job goes on from savepoint {checkpoint}: run it, and dispose of the savepoint once a \
         newer checkpoint is decided"
    )]
    InUse {
        /// The savepoint.
        checkpoint: CheckpointId,
    },
    /// Rows of it are not out.
    #[error(
        "sink `{sink}` has not brought out the rows of savepoint {checkpoint}: run the job, and \
         dispose of the savepoint then"
    )]
    Unapplied {
        /// The savepoint.
        checkpoint: CheckpointId,
        /// The sink.
        sink: String,
    },
    /// Nobody knows what an unreadable manifest names.
    #[error(
        "checkpoint {damaged} cannot be read, and while that is so nothing is deleted: {reason}"
    )]
    Damaged {
        /// The checkpoint.
        damaged: CheckpointId,
        /// Why it cannot be read.
        reason: String,
    },
}

/// The full names of what goes with a savepoint, in the order in which it goes: the manifest, then
/// what it alone names. `recovered` is what a new attempt would begin with, `markers` what each
/// sink of the job has applied. Nobody must be running the job.
///
/// # Errors
/// If something still needs the savepoint.
pub fn disposal(
    scope: &Scope,
    recovered: &Recovered,
    checkpoint: CheckpointId,
    markers: &BTreeMap<String, Option<CheckpointId>>,
) -> Result<Vec<String>, DisposalError> {
    if let Some(damage) = recovered.damaged.first() {
        return Err(DisposalError::Damaged {
            damaged: damage.decided.checkpoint,
            reason: damage.reason.clone(),
        });
    }
    let found = savepoint(recovered, checkpoint)?;
    let base = recovered.base.as_ref().filter(|base| base.origin.is_none());
    let is_base = base.is_some_and(|base| base.decided == found.decided);
    // The last entry of a log never goes: its number must not be given away again.
    if is_base || found.decided.position.next() == recovered.position {
        return Err(DisposalError::InUse { checkpoint });
    }
    let mut unapplied = found.manifest.sinks.keys().filter(|sink| {
        let marker = markers.get(*sink);
        marker.is_some_and(|marker| *marker < Some(checkpoint))
    });
    if let Some(sink) = unapplied.next() {
        let sink = sink.clone();
        return Err(DisposalError::Unapplied { checkpoint, sink });
    }
    let others = recovered.kept.iter();
    let others = others.filter(|kept| kept.decided != found.decided);
    let named: Vec<&ObjectRef> = others.flat_map(|kept| kept.manifest.objects()).collect();
    let mut names = vec![scope.entry(found.decided.position)];
    for object in found.manifest.objects() {
        let name = scope.object(&object.name);
        let is_shared = named.iter().any(|other| other.name == object.name);
        if !is_shared && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn savepoint(recovered: &Recovered, checkpoint: CheckpointId) -> Result<&Kept, DisposalError> {
    let mut kept = recovered.kept.iter();
    let is_savepoint = |manifest: &Manifest| manifest.reason == Reason::Savepoint;
    match kept.find(|kept| kept.decided.checkpoint == checkpoint) {
        Some(found) if is_savepoint(&found.manifest) => Ok(found),
        Some(_) => Err(DisposalError::Periodic { checkpoint }),
        None => {
            let all = recovered.kept.iter();
            let all = all.filter(|kept| is_savepoint(&kept.manifest));
            let all: Vec<_> = all
                .map(|kept| kept.decided.checkpoint.to_string())
                .collect();
            let savepoints = match all.is_empty() {
                true => "none".into(),
                false => all.join(", "),
            };
            Err(DisposalError::Unknown {
                checkpoint,
                savepoints,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checkpoint::{
        AttemptId, Base, Decided, Digest, KeyHash, Part, Place, Position, SinkState,
    };
    use crate::key::KeyGroupRange;

    fn scope() -> Scope {
        Scope::new("default", "j", KeyGroupRange::all(8)).expect("good names")
    }

    fn kept(number: u64, reason: Reason, objects: &[&str]) -> Kept {
        let object = |name: &&str| ObjectRef {
            name: (*name).to_owned(),
            bytes: 0,
            digest: Digest::of(b""),
        };
        let part = Part {
            subtask: 0,
            state: serde_json::Value::Null,
            objects: objects.iter().map(object).collect(),
        };
        let place = Place {
            tenant: "default".into(),
            job: "j".into(),
            range: KeyGroupRange::all(8),
            position: Position(number + 1),
            previous: None,
            attempt: AttemptId(1),
            checkpoint_last: CheckpointId(number),
            written_us: 0,
            decided: Vec::new(),
        };
        let manifest = Manifest {
            place,
            checkpoint: CheckpointId(number),
            since: None,
            reason,
            is_finished: false,
            triggered_us: 0,
            key_hash: KeyHash { seed: 0, groups: 8 },
            watermark: 0,
            sources: BTreeMap::new(),
            operators: BTreeMap::new(),
            sinks: [("out".to_owned(), SinkState { parts: vec![part] })].into(),
            decider: None,
        };
        let decided = Decided {
            checkpoint: manifest.checkpoint,
            position: manifest.place.position,
            digest: Digest::of(&number.to_le_bytes()),
        };
        Kept {
            decided,
            manifest: Arc::new(manifest),
        }
    }

    fn recovered() -> Recovered {
        let all = vec![
            kept(1, Reason::Savepoint, &["objects/a", "objects/b"]),
            kept(2, Reason::Periodic, &["objects/b", "objects/c"]),
            kept(3, Reason::Savepoint, &["objects/d"]),
        ];
        Recovered {
            position: Position(5),
            previous: None,
            attempt: AttemptId(2),
            checkpoint_last: CheckpointId(3),
            base: Some(Base {
                decided: all[2].decided,
                origin: None,
            }),
            manifest: None,
            kept: all,
            damaged: Vec::new(),
        }
    }

    fn dispose(checkpoint: u64, marker: u64) -> Result<Vec<String>, String> {
        let markers = [("out".to_owned(), Some(CheckpointId(marker)))].into();
        let names = disposal(&scope(), &recovered(), CheckpointId(checkpoint), &markers);
        names.map_err(|error| error.to_string())
    }

    #[test]
    fn the_manifest_goes_first_and_with_it_what_it_alone_names() {
        let names = dispose(1, 3).expect("nobody needs it");
        let wanted = ["default/j/0-7/log/0000000002", "default/j/0-7/objects/a"];
        assert_eq!(names, wanted);
    }

    #[test]
    fn what_is_needed_stays() {
        for (checkpoint, marker, words) in [
            (3, 3, "the job goes on from savepoint 3"),
            (2, 3, "no savepoint"),
            (9, 3, "there are 1, 3"),
            (1, 0, "sink `out` has not brought out"),
        ] {
            let error = dispose(checkpoint, marker).expect_err(words);
            assert!(error.contains(words), "`{words}` in: {error}");
        }
    }
}
