//! Subtasks that read.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};

use wasmill_core::{
    checkpoint::{CheckpointId, SourceState},
    pipeline::{self, SourceId, SourceKind, StreamId},
    plan::TaskPlan,
    watermark::{self, SplitWatermark},
};

use super::{Builder, lane};
use crate::{
    checkpoint::{Progress, SourceBarriers, SplitTurns},
    connector::{Position, generator::Generator},
    exchange::turn::Turns,
    format::Decoder,
    job::{JobError, Subtask, readers, splits},
    metrics::{Extent, SourceMetrics},
    task::{
        idle::IdleWatch,
        source::{Feed, Generated, GeneratedSplit, Promise, SourceTask},
    },
};

/// Makes the turns of a split, by its name and where it goes on.
type NewTurns<'a> = &'a dyn Fn(&str, Position) -> Arc<SplitTurns>;

/// Where splits stood, and their watermarks, by name.
type KnownSplits = BTreeMap<String, (Position, i64)>;

impl Builder<'_> {
    pub(super) fn source(&mut self, task: &TaskPlan, id: SourceId) -> Result<(), JobError> {
        let stood = self.stood(id).cloned().unwrap_or_default();
        let barriers = SourceBarriers::going_on(task.parallelism, stood.splits);
        let barriers = Arc::new(barriers);
        let known = self.known_splits(id);
        let spec = self.pipeline.source(id);
        let metrics = Arc::new(SourceMetrics::default());
        self.watch(task, Some((spec.name.clone(), metrics.clone())));
        let feeds = self.feeds(task, id, (&barriers, &known, &metrics))?;
        let splits = self.splits.get(&task.id).copied().unwrap_or(1);
        let idle_after_us = spec.event_time.and_then(|time| time.idle_after_us);
        let idle = idle_after_us.map(|after_us| Arc::new(IdleWatch::new(after_us, splits)));
        let promises = known.values().map(|(at, watermark)| Promise {
            at: *at,
            watermark: *watermark,
        });
        let promises: Vec<Promise> = promises.collect();
        for Promise { at, watermark } in &promises {
            if let Some(idle) = &idle {
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
                idle: idle.clone(),
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
    fn stood(&self, id: SourceId) -> Option<&SourceState> {
        let manifest = self.attempt.as_ref()?.restored.manifest.as_ref()?;
        manifest.sources.get(&self.pipeline.source(id).name)
    }

    /// Where the splits stood that the restored checkpoint knows, with their watermarks.
    fn known_splits(&self, id: SourceId) -> KnownSplits {
        let splits = self.stood(id).into_iter().flat_map(|source| &source.splits);
        let known = splits.filter_map(|(name, split)| {
            let position = Position::from_json(&split.position)?;
            Some((name.clone(), (position, split.watermark)))
        });
        known.collect()
    }

    fn feeds(
        &mut self,
        task: &TaskPlan,
        id: SourceId,
        (barriers, known, metrics): (&Arc<SourceBarriers>, &KnownSplits, &Arc<SourceMetrics>),
    ) -> Result<Vec<Feed>, JobError> {
        let spec = self.pipeline.source(id);
        let disorder = spec.event_time.map_or(0, |time| time.out_of_orderness_us);
        let subtasks = task.parallelism;
        let (registry, watermarks) = (Arc::clone(barriers), known.clone());
        let watched = metrics.clone();
        let new_turns = move |name: &str, from: Position| {
            let reached = watermarks
                .get(name)
                .map_or(watermark::START, |known| known.1);
            let watermark = SplitWatermark::resumed(disorder, reached);
            let progress = Progress::new(watermark, from, watched.split(name));
            let turns = Arc::new(Turns::new(subtasks, progress));
            registry.open(name, &turns);
            turns
        };
        for (name, (position, _)) in known.iter().filter(|(_, (at, _))| at.is_end) {
            new_turns(name, *position);
        }
        let positions = known.iter().map(|(name, (at, _))| (name.clone(), *at));
        let format = match &spec.kind {
            SourceKind::Generator(generator, format) => {
                let known = positions.collect();
                let known = (&known, &**metrics);
                return self.generated(task, generator, format.as_ref(), (&new_turns, known));
            }
            SourceKind::File(_, format) | SourceKind::Stdin(format) => format,
            SourceKind::Kafka(_, format) => format,
        };
        let failed = |source| JobError::Open {
            name: spec.name.clone(),
            source,
        };
        let opened = match &spec.kind {
            SourceKind::File(file, _) => {
                let stopping = self.stop.flag.clone();
                let from = (self.folder, positions.collect());
                splits::files(file, format, (from, metrics), stopping).map_err(failed)?
            }
            SourceKind::Kafka(..) => todo!("the readers of Kafka"),
            _ => splits::stdin(format),
        };
        self.splits.insert(task.id, opened.count);
        let (sender, receiver) = readers::channel();
        let closer = receiver.clone();
        self.stop.cutters.push(Arc::new(move || {
            closer.close();
        }));
        let stopping = self.stop.flag.clone();
        readers::start(&spec.name, opened, new_turns, &sender, &stopping);
        (0..subtasks)
            .map(|_| {
                let decoder = Decoder::new(format)
                    .map_err(|error| JobError::Build(readers::explain(&error)))?;
                Ok(Feed::Chunks {
                    work: receiver.clone(),
                    decoder: Box::new(decoder),
                })
            })
            .collect()
    }

    fn generated(
        &mut self,
        task: &TaskPlan,
        generator: &pipeline::Generator,
        format: Option<&pipeline::Format>,
        (new_turns, (known, metrics)): (
            NewTurns<'_>,
            (&BTreeMap<String, Position>, &SourceMetrics),
        ),
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
