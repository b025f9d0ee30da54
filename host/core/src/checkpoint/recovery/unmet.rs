//! Whether outputs end where a job begins that goes back or comes from elsewhere.

use std::collections::BTreeMap;

use super::Recovered;
use crate::checkpoint::{CheckpointId, Scope};

/// Why an output does not end where a job begins that goes back or comes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unmet {
    /// The sink is further.
    #[error(
        "sink `{sink}` has applied checkpoint {marker} of this job, and the job shall begin with \
         checkpoint {checkpoint}: rows behind that would come out again; run it under another \
         name with another output, bring the sink's data back, or say --repeat-rows"
    )]
    Repeats {
        /// The sink.
        sink: String,
        /// What it has applied.
        marker: CheckpointId,
        /// The base.
        checkpoint: CheckpointId,
    },
    /// The sink is not as far.
    #[error(
        "sink `{sink}` has applied checkpoint {marker}, and not the rows of checkpoint \
         {checkpoint}, with which the job shall begin: they would be missing; run the job where \
         that checkpoint was taken first"
    )]
    Missing {
        /// The sink.
        sink: String,
        /// What it has applied.
        marker: CheckpointId,
        /// The base.
        checkpoint: CheckpointId,
    },
}

impl Recovered {
    /// Checks that no row comes out twice, and none is missing, if the job goes back or comes from
    /// elsewhere; `markers` is what each sink has applied of this job.
    ///
    /// # Errors
    /// If a sink's output does not end where the base was taken. Rows that come twice may be
    /// wanted all the same; missing ones never are.
    pub fn meets(
        &self,
        scope: &Scope,
        markers: &BTreeMap<String, Option<CheckpointId>>,
    ) -> Result<(), Unmet> {
        let Some((base, manifest)) = self.base.as_ref().zip(self.manifest.as_ref()) else {
            return Ok(());
        };
        let is_same = manifest.place.is_of(scope);
        let checkpoint = base.decided.checkpoint;
        for (sink, marker) in markers {
            let (sink, Some(marker)) = (sink.clone(), *marker) else {
                continue;
            };
            if !is_same || marker > checkpoint {
                return Err(Unmet::Repeats {
                    sink,
                    marker,
                    checkpoint,
                });
            }
            // Rows that the base itself holds can be applied only from this log.
            if marker < checkpoint && base.origin.is_some() {
                return Err(Unmet::Missing {
                    sink,
                    marker,
                    checkpoint,
                });
            }
        }
        Ok(())
    }
}
