//! What subtasks tell, as facts for the coordinator.

use std::sync::Arc;

use wasmill_core::checkpoint::{AttemptError, Fact, Manifest, Request};

use super::{Checkpoints, CheckpointsError, Handle, upload};
use crate::{
    checkpoint::Report,
    crash_point::{CrashPoint, reach},
    spawn,
};

impl Checkpoints {
    /// Why the attempt cannot go on, with where to look.
    pub(super) fn broken(&self, error: AttemptError) -> CheckpointsError {
        let place = match &error {
            AttemptError::SinkBehind {
                sink, marker: None, ..
            } => self.markers.get(sink).cloned(),
            _ => None,
        };
        match place {
            Some(place) => CheckpointsError::NoMarker(error, place),
            None => error.into(),
        }
    }

    /// Takes in what a subtask tells.
    pub(super) fn report(&mut self, report: Report, job: &Handle) {
        match report {
            Report::InputEnded => {
                self.ended_sources += 1;
                if self.ended_sources == job.source_subtasks {
                    self.tell(Fact::Requested(Request::Finish));
                }
            }
            Report::SinkFailed { sink } => self.failed_sink = Some(sink),
            Report::Applied { sink, marker } => self.tell(Fact::Applied { sink, marker }),
            Report::Committed { checkpoint } => self.committed(checkpoint),
            Report::Declined {
                checkpoint,
                subtask,
                reason,
            } => self.tell(Fact::Declined {
                checkpoint,
                subtask,
                reason,
            }),
            Report::Snapshot {
                barrier,
                subtask,
                image,
            } => {
                let checkpoint = barrier.checkpoint;
                reach(CrashPoint::MidSnapshot);
                if let Some((sink, share)) = &image.sink {
                    let key = (sink.clone(), checkpoint);
                    self.shares.insert(key, share.clone());
                }
                let (storage, facts) = (self.storage.clone(), self.facts.0.clone());
                let names = upload::Names::new(&self.scope, self.attempt, checkpoint, subtask);
                let is_base = |of: &Arc<Manifest>| Some(of.checkpoint) == barrier.base;
                let base = self.base.clone().filter(is_base);
                spawn::task(async move {
                    let base = base.as_deref();
                    let uploaded = upload::upload(&storage, &names, base, image).await;
                    reach(CrashPoint::Uploaded);
                    let fact = match uploaded {
                        Ok(snapshot) => Fact::Acknowledged {
                            checkpoint,
                            subtask,
                            snapshot: Box::new(snapshot),
                        },
                        Err(reason) => Fact::Declined {
                            checkpoint,
                            subtask,
                            reason,
                        },
                    };
                    let _ = facts.send(fact).await;
                });
            }
        }
    }
}
