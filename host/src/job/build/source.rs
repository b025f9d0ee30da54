//! Subtasks that read.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};

use arrow_schema::Field;
use wasmill_core::{
    checkpoint::{CheckpointId, SourceState},
    pipeline::{
        self, FormatKind, KafkaInput, Producer, SourceId, SourceKind, StreamId,
        document::{FileSource as FileDocument, MessagePart, MessageParts},
    },
    plan::TaskPlan,
    watermark::{self, SplitWatermark},
};

use super::{Builder, lane};
use crate::{
    checkpoint::{Progress, SourceBarriers},
    connector::{
        Position,
        generator::Generator,
        kafka::{
            self,
            source::{Keep, Opening, Topics},
        },
    },
    exchange::turn::Turns,
    format::{Decoder, Schemas},
    job::{
        JobError, Subtask,
        readers::{self, NewTurns, Pace, topics::Decided},
        splits,
    },
    metrics::{Extent, SourceMetrics},
    task::{
        alignment::Alignment,
        idle::IdleWatch,
        source::{Feed, Generated, GeneratedSplit, Promise, SourceTask},
    },
};

/// Threads that share the partitions of a source's topics.
const TOPIC_READERS_MAX: usize = 4;

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
    fn stood(&self, id: SourceId) -> Option<&SourceState> {
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

    fn feeds(
        &mut self,
        task: &TaskPlan,
        id: SourceId,
        pace: &Pace,
        (barriers, known, metrics): (&Arc<SourceBarriers>, &KnownSplits, &Arc<SourceMetrics>),
    ) -> Result<Vec<Feed>, JobError> {
        let spec = self.pipeline.source(id);
        let disorder = spec.event_time.map_or(0, |time| time.out_of_orderness_us);
        let subtasks = task.parallelism;
        let (registry, watermarks) = (Arc::clone(barriers), known.clone());
        let watched = metrics.clone();
        let new_turns: NewTurns = Arc::new(move |name: &str, from: Position| {
            let reached = watermarks
                .get(name)
                .map_or(watermark::START, |known| known.1);
            let watermark = SplitWatermark::resumed(disorder, reached);
            let progress = Progress::new(watermark, from, watched.split(name));
            let turns = Arc::new(Turns::new(subtasks, progress));
            registry.open(name, &turns);
            turns
        });
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
        let known: BTreeMap<String, Position> = positions.collect();
        let stopping = self.stop.flag.clone();
        let files = |file: &FileDocument, known| {
            let from = (self.folder, known);
            splits::files(file, format, (from, metrics), stopping.clone()).map_err(failed)
        };
        let (sender, receiver) = readers::channel();
        let closer = receiver.clone();
        self.stop.cutters.push(Arc::new(move || {
            closer.close();
        }));
        let count = match &spec.kind {
            SourceKind::Kafka(input, _) => {
                // Files and partitions share the numbers.
                let numbers = known.values().map(|at| at.split + 1);
                let taken = numbers.max().unwrap_or(0);
                let before = input.before.as_ref();
                let before = before.map(|file| files(file, known.clone())).transpose()?;
                let first_split = before
                    .as_ref()
                    .map_or(taken, |files| files.count.max(taken));
                let mut known = known;
                known.retain(|name, _| kafka::source::is_split(&input.kafka, name));
                let opening = Opening {
                    document: &input.kafka,
                    known,
                    is_restored: self.stood(id).is_some(),
                    first_split,
                    keep: self.keep(input, format),
                    without_value: self.sources[id.0].metrics.without_value.clone(),
                    readers: subtasks.clamp(1, TOPIC_READERS_MAX),
                };
                let topics = Topics::open(opening).map_err(failed)?;
                let count = topics.next_split();
                let before: Box<dyn FnOnce() -> bool + Send> = match before {
                    None => Box::new(|| true),
                    Some(files) => {
                        let over =
                            readers::start(&spec.name, files, &new_turns, pace, &sender, &stopping);
                        Box::new(|| over.wait())
                    }
                };
                readers::topics::start(readers::topics::Parts {
                    name: spec.name.clone(),
                    topics,
                    new_turns,
                    work: sender,
                    stopping,
                    metrics: metrics.clone(),
                    pace: pace.clone(),
                    decided: told(&spec.name, barriers),
                    before,
                });
                count
            }
            kind => {
                let opened = match kind {
                    SourceKind::File(file, _) => files(file, known)?,
                    _ => splits::stdin(format),
                };
                let count = opened.count;
                readers::start(&spec.name, opened, &new_turns, pace, &sender, &stopping);
                count
            }
        };
        self.splits.insert(task.id, count);
        let nothing = MessageParts::new();
        let beside = match &spec.kind {
            SourceKind::Kafka(input, _) => &input.kafka.message,
            _ => &nothing,
        };
        let explain = |error| JobError::Build(readers::explain(&error));
        let schemas = Schemas::of(format, self.folder).map_err(explain)?;
        let waiting = schemas.clone();
        self.stop.cutters.push(Arc::new(move || waiting.stop()));
        (0..subtasks)
            .map(|_| {
                let decoder = Decoder::with_message(format, &schemas, beside)
                    .map_err(|error| JobError::Build(readers::explain(&error)))?;
                Ok(Feed::Chunks {
                    work: receiver.clone(),
                    decoder: Box::new(decoder),
                })
            })
            .collect()
    }

    /// What is kept of a topic's records: what columns and dead letters ask for.
    fn keep(&self, input: &KafkaInput, format: &pipeline::Format) -> Keep {
        let mut streams = self.pipeline.streams.iter();
        let has_letters = streams.any(|it| matches!(it.producer, Producer::DeadLetters(_)));
        let has = |wanted: fn(&MessagePart) -> bool| {
            has_letters || input.kafka.message.values().any(wanted)
        };
        Keep {
            keys: has(|part| matches!(part, MessagePart::Key | MessagePart::KeyBytes)),
            times: has(|part| matches!(part, MessagePart::Timestamp)),
            headers: has(|part| matches!(part, MessagePart::Header(_))),
            nulls: format.kind == FormatKind::Raw && format.fields().all(Field::is_nullable),
        }
    }

    fn generated(
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

/// Where a source is told where decided checkpoints have its splits.
fn told(source: &str, barriers: &SourceBarriers) -> Decided {
    let decided = Decided::default();
    let told = Arc::clone(&decided);
    let take = move |state: &SourceState| {
        let splits = state.splits.iter().filter_map(|(name, split)| {
            let position = Position::from_json(&split.position)?;
            Some((name.clone(), position.rows))
        });
        *told.lock() = Some(splits.collect());
    };
    barriers.tell(source, Box::new(take));
    decided
}
