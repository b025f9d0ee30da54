//! Sinks, opened and set to work.

use arrow_schema::SchemaRef;
use wasmill_core::{
    pipeline::{self, Pipeline, Producer, SinkId, SinkKind, StreamId},
    plan::{Root, TaskPlan},
};

use super::Builder;
use crate::{
    checkpoint::{self, Restored},
    connector::{
        ConnectorError, FollowError,
        sink::{
            self, Opening, Output,
            patience::{Patience, patiently},
        },
    },
    crash_point::{CrashPoint, reach},
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
                    let opening = Opening {
                        job: &self.pipeline.name,
                        fence: attempt.checkpoints.fence(),
                        is_fresh: attempt.is_fresh,
                        since: attempt.restored.base(),
                        is_detour: attempt.restored.detour.is_some(),
                        spool: &attempt.spool,
                    };
                    open_for(spec, &schema, (&opening, &attempt.restored))
                }
            };
            let opened = opened.map_err(|source| JobError::Open {
                name: spec.name.clone(),
                source,
            })?;
            reach(CrashPoint::SinkOpened);
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

/// Opens a sink that may follow checkpoints. Where the job goes back or comes from elsewhere, its
/// rows go behind what the output holds. Otherwise an output that is further than the checkpoint
/// that the job goes on from is refused: sooner than at the first checkpoint that it would have to
/// take in.
fn open_for(
    spec: &pipeline::Sink,
    schema: &SchemaRef,
    (opening, restored): (&Opening<'_>, &Restored),
) -> Result<Output, ConnectorError> {
    let since = match spec.decides() {
        true => restored.since(&spec.name, None),
        false => opening.since,
    };
    let opening = &Opening { since, ..*opening };
    let opened = sink::open_for(spec, schema, opening)?;
    let Output::Follower(mut follower) = opened else {
        return Ok(opened);
    };
    let marker = patiently(&mut Patience::default(), || follower.marker())?;
    let since = restored.since(&spec.name, marker);
    if let Some(marker) = marker.filter(|marker| Some(*marker) > since) {
        return Err(FollowError::Ahead { marker, since }.into());
    }
    if since == opening.since {
        return Ok(Output::Follower(follower));
    }
    drop(follower);
    let opening = Opening { since, ..*opening };
    sink::open_for(spec, schema, &opening)
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
