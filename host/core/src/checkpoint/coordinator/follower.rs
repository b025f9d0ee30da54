//! Sinks that follow: each applies what is decided, one checkpoint after the other.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::checkpoint::{CheckpointId, Manifest, Part};

use super::shelf::Shelf;
use super::{Action, AttemptError};

/// A transactional sink.
#[derive(Debug)]
pub(super) struct Follower {
    sink: String,
    /// What its own marker says; none before it has told. 0: it has applied nothing.
    marker: Option<CheckpointId>,
    /// What it has been told to apply.
    applying: Option<CheckpointId>,
}

impl Follower {
    pub(super) fn new(sink: String) -> Self {
        Self {
            sink,
            marker: None,
            applying: None,
        }
    }

    pub(super) fn sink(&self) -> &str {
        &self.sink
    }

    /// Everything up to this checkpoint has been applied.
    pub(super) fn applied(&self) -> CheckpointId {
        self.marker.unwrap_or(CheckpointId(0))
    }

    /// Its marker, as it tells it.
    pub(super) fn tell(
        &mut self,
        marker: Option<CheckpointId>,
        newest: CheckpointId,
    ) -> Result<(), AttemptError> {
        let marker = marker.unwrap_or(CheckpointId(0));
        if marker > newest {
            let sink = self.sink.clone();
            return Err(AttemptError::SinkAhead {
                sink,
                marker,
                newest,
            });
        }
        if self.applying.is_some_and(|applying| applying <= marker) {
            self.applying = None;
        }
        self.marker = self.marker.max(Some(marker));
        Ok(())
    }

    /// Tells it to apply the oldest checkpoint that it has not, if it is not at it already.
    pub(super) fn follow(
        &mut self,
        shelf: &Shelf,
        newest: Option<CheckpointId>,
        out: &mut Vec<Action>,
    ) -> Result<(), AttemptError> {
        self.marker = self
            .marker
            .map(|marker| self.joined(marker, shelf, newest).unwrap_or(marker));
        let (Some(marker), None) = (self.marker, self.applying) else {
            return Ok(());
        };
        let behind = shelf.lineage(newest);
        let behind = behind.take_while(|manifest| manifest.checkpoint > marker);
        let Some(oldest) = behind.last().map(Arc::clone) else {
            return Ok(());
        };
        if oldest.since.is_some_and(|since| since > marker) {
            return Err(self.gap(&oldest));
        }
        self.applying = Some(oldest.checkpoint);
        out.push(Action::Apply {
            sink: self.sink.clone(),
            manifest: oldest,
        });
        Ok(())
    }

    /// Behind which checkpoint the rows begin that a sink still gets: the pipeline did not have it
    /// then. None if it had it all along, as far as that can be told.
    fn joined(
        &self,
        marker: CheckpointId,
        shelf: &Shelf,
        newest: Option<CheckpointId>,
    ) -> Option<CheckpointId> {
        let behind = shelf.lineage(newest);
        for manifest in behind.take_while(|manifest| manifest.checkpoint > marker) {
            let Some(state) = manifest.sinks.get(&self.sink) else {
                return Some(manifest.checkpoint);
            };
            let begins = |part: &Part| part.state.get("since").is_some_and(Json::is_null);
            if marker.0 == 0 && state.parts.first().is_some_and(begins) {
                return manifest.since;
            }
        }
        None
    }

    /// How many decided checkpoints it has not applied.
    pub(super) fn behind(&self, shelf: &Shelf, newest: Option<CheckpointId>) -> usize {
        let marker = self.applied();
        let lineage = shelf.lineage(newest);
        lineage
            .take_while(|manifest| manifest.checkpoint > marker)
            .count()
    }

    fn gap(&self, oldest: &Manifest) -> AttemptError {
        AttemptError::SinkBehind {
            sink: self.sink.clone(),
            marker: self.marker.filter(|marker| marker.0 > 0),
            oldest: oldest.checkpoint,
        }
    }
}
