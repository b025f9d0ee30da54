//! Sinks, opened and set to work.

use wasmill_core::{
    checkpoint::CheckpointId,
    pipeline::{self, Pipeline, Producer, SinkId, SinkKind, StreamId},
    plan::{Root, TaskPlan},
};

use super::Builder;
use crate::{
    checkpoint,
    connector::{
        ConnectorError, FollowError,
        sink::{
            self, Opening, Output,
            patience::{Patience, patiently},
        },
    },
    job::JobError,
    metrics::{Node, NodeKind},
    task::sink::SinkTask,
};

impl Builder<'_> {
    /// Opens every sink that writes something.
    pub(super) fn open_sinks(&mut self) -> Result<(), JobError> {
        for task in &self.plan.tasks {
            let (Root::Gate(_), [], Some((id, stream))) =
                (&task.root, &task.operators[..], task.sinks.first())
            else {
                continue;
            };
            let spec = self.pipeline.sink(*id);
            if spec.kind == SinkKind::Discard {
                continue;
            }
            let schema = self.plan.stream(*stream).schema.clone();
            let opened = match &self.attempt {
                None => sink::open(spec, &schema, (&self.pipeline.name, false)).map(Output::Plain),
                Some(attempt) => {
                    let manifest = attempt.restored.manifest.as_ref();
                    let opening = Opening {
                        job: &self.pipeline.name,
                        fence: attempt.checkpoints.fence(),
                        is_fresh: attempt.is_fresh,
                        since: manifest.map(|manifest| manifest.checkpoint),
                        spool: &attempt.spool,
                    };
                    let opened = sink::open_for(spec, &schema, &opening);
                    opened.and_then(|output| not_ahead(output, opening.since))
                }
            };
            let opened = opened.map_err(|source| JobError::Open {
                name: spec.name.clone(),
                source,
            })?;
            self.sinks.insert(task.id, (*id, opened));
        }
        Ok(())
    }

    /// Starts a sink's thread.
    pub(super) fn sink(&mut self, task: &TaskPlan, (id, output): (SinkId, Output)) {
        let gate = self
            .gates
            .remove(&task.id)
            .and_then(|mut gates| gates.pop());
        let name = self.pipeline.sink(id).name.clone();
        let task = SinkTask {
            name: name.clone(),
            gate: gate.expect("a sink has one gate"),
            metrics: self.sink_nodes[id.0].metrics.clone(),
            reporter: self.reporter(task, 0),
        };
        let orders = matches!(output, Output::Follower(_)).then(|| {
            let (sender, receiver) = checkpoint::orders();
            self.handle.sinks.insert(name.clone(), sender);
            receiver
        });
        self.threads.push((name, task.start(output, orders)));
    }
}

/// Refuses an output that is further than the checkpoint that the job goes on from: sooner than at
/// the first checkpoint that it would have to take in.
fn not_ahead(mut output: Output, since: Option<CheckpointId>) -> Result<Output, ConnectorError> {
    if let Output::Follower(follower) = &mut output {
        let marker = patiently(&mut Patience::default(), || follower.marker())?;
        if let Some(marker) = marker.filter(|marker| Some(*marker) > since) {
            return Err(FollowError::Ahead { marker, since }.into());
        }
    }
    Ok(output)
}

/// A sink's name and counters.
pub(super) fn node(pipeline: &Pipeline, sink: &pipeline::Sink) -> Node {
    let is_named =
        |stream: &StreamId| !matches!(pipeline.stream(*stream).producer, Producer::DeadLetters(_));
    Node {
        has_input: sink.inputs.iter().any(is_named),
        ..Node::new(&sink.name, NodeKind::Sink)
    }
}
