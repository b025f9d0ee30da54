//! Subtasks that read.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};

use wasmill_core::{
    checkpoint::{CheckpointId, SourceState},
    pipeline::{self, SourceId, SourceKind, StreamId},
    plan::TaskPlan,
};

use super::{Builder, lane};
use crate::{
    checkpoint::SourceBarriers,
    connector::{Position, generator::Generator, kafka},
    format::Decoder,
    job::{
        JobError, Subtask,
        readers::{self, NewTurns, Pace},
    },
    metrics::{Extent, SourceMetrics},
    task::{
        alignment::Alignment,
        idle::IdleWatch,
        source::{Feed, Generated, GeneratedSplit, Promise, SourceTask},
    },
};

/// Where splits stood, and their watermarks, by name.
pub(super) type KnownSplits = BTreeMap<String, (Position, i64)>;

impl Builder<'_> {
    pub(super) fn source(&mut self, task: &TaskPlan, id: SourceId) -> Result<(), JobError> {
        let stood = self.stood(id).cloned().unwrap_or_default();
        let barriers = SourceBarriers::going_on(task.parallelism, stood.splits);
        let barriers = Arc::new(barriers);
        let known = self.known_splits(id);
        let spec = self.pipeline.source(id);
        let metrics = Arc::new(SourceMetrics::default());
        self.watch(task, Some((spec.name.clone(), metrics.clone())));
        let idle_after_us = spec.event_time.and_then(|time| time.idle_after_us);
        let max_drift_us = spec.event_time.and_then(|time| time.max_drift_us);
        let pace = Pace {
            idle: idle_after_us.map(|after_us| Arc::new(IdleWatch::new(after_us, 0))),
            alignment: max_drift_us.map(|drift_us| Arc::new(Alignment::new(drift_us))),
        };
        let promises = self.promises(id, &known);
        for Promise { at, watermark } in &promises {
            pace.resumed(*at, *watermark);
        }
        let feeds = self.feeds(task, id, &pace, (&barriers, &known, &metrics))?;
        if let Some(idle) = &pace.idle {
            idle.watch(self.splits.get(&task.id).copied().unwrap_or(1));
            for Promise { at, watermark } in &promises {
                idle.resumed(*at, *watermark);
            }
        }
        for (subtask, feed) in feeds.into_iter().enumerate() {
            let mut chain = self.chain(task, subtask)?;
            self.restore_operators(&mut chain)?;
            let targets = |stream: StreamId| chain.targets(stream.0).to_vec();
            let source = SourceTask {
                name: spec.name.as_str().into(),
                number: id.0,
                subtask: (subtask, task.parallelism),
                event_time: spec.event_time,
                needs_clocks: self.plan.stream(spec.stream).engine.clocks,
                targets: targets(spec.stream),
                late: spec.late.map(targets).unwrap_or_default(),
                policy: spec.on_error,
                chain,
                metrics: self.sources[id.0].metrics.clone(),
                lane: lane(task.id, 0),
                idle: pace.idle.clone(),
                alignment: pace.alignment.clone(),
                stopping: self.stop.flag.clone(),
                barriers: barriers.clone(),
                reporter: self.reporter(task, subtask),
                sent: CheckpointId(0),
                is_over: false,
                before: None,
                restored: promises.clone(),
            };
            self.add(subtask, Subtask::Source(Box::new(source), Box::new(feed)));
        }
        let closing = barriers.clone();
        self.stop.closers.push(Arc::new(move || closing.close()));
        self.handle.source_subtasks += task.parallelism;
        self.handle.sources.push(barriers);
        Ok(())
    }

    /// What the restored checkpoint says of a source.
    pub(super) fn stood(&self, id: SourceId) -> Option<&SourceState> {
        let manifest = self.attempt.as_ref()?.restored.manifest.as_ref()?;
        manifest.sources.get(&self.pipeline.source(id).name)
    }

    /// Where the splits stood that the restored checkpoint knows, with their watermarks.
    fn known_splits(&self, id: SourceId) -> KnownSplits {
        let splits = self.stood(id).into_iter().flat_map(|source| &source.splits);
        let is_endless = match &self.pipeline.source(id).kind {
            SourceKind::Kafka(input, _) => input.kafka.stop.is_none(),
            _ => false,
        };
        let known = splits.filter_map(|(name, split)| {
            let mut position = Position::from_json(&split.position)?;
            if is_endless && position.until.take().is_some() {
                // The document no longer says that it ends.
                position.is_end = false;
            }
            Some((name.clone(), (position, split.watermark)))
        });
        known.collect()
    }

    /// What the splits had promised that the restored checkpoint knows. Nobody waits for partitions
    /// that the document does not want any more.
    fn promises(&self, id: SourceId, known: &KnownSplits) -> Vec<Promise> {
        let is_unwanted = |name: &str| match &self.pipeline.source(id).kind {
            SourceKind::Kafka(input, _) if input.before.is_none() => {
                !kafka::source::is_split(&input.kafka, name)
            }
            _ => false,
        };
        let promise = |(name, (at, watermark)): (&String, &(Position, i64))| Promise {
            at: Position {
                is_end: at.is_end || is_unwanted(name),
                ..*at
            },
            watermark: *watermark,
        };
        known.iter().map(promise).collect()
    }

    pub(super) fn generated(
        &mut self,
        task: &TaskPlan,
        generator: &pipeline::Generator,
        format: Option<&pipeline::Format>,
        (new_turns, (known, metrics)): (&NewTurns, (&BTreeMap<String, Position>, &SourceMetrics)),
    ) -> Result<Vec<Feed>, JobError> {
        let splits = u64::from(generator.splits.max(1));
        self.splits.insert(task.id, generator.splits);
        let explain = |error| JobError::Build(readers::explain(&error));
        let computed = Arc::new(Generator::new(generator).map_err(explain)?);
        let each = (0..generator.splits.max(1)).map(|split| {
            let name = computed.split_name(split);
            let start = Position::start(split);
            let from = known.get(&*name).copied().unwrap_or(start);
            if let Some(rows) = computed.split_rows(split) {
                metrics.split(&name).measure(Extent::Rows(rows));
            }
            GeneratedSplit {
                turns: new_turns(&name, from),
                next: AtomicU64::new(0),
                first: from.rows,
            }
        });
        let pieces = Arc::new(each.collect());
        (0..task.parallelism)
            .map(|_| {
                let decoder = format.map(Decoder::new).transpose().map_err(explain)?;
                Ok(Feed::Generated(Generated {
                    generator: Arc::clone(&computed),
                    decoder: decoder.map(Box::new),
                    splits: Arc::clone(&pieces),
                    rate: generator.rate.map(|rate| rate.div_ceil(splits)),
                }))
            })
            .collect()
    }
}
