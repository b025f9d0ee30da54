//! Where source subtasks get their rows: readers, started, and decoders of what they read.

use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::Field;
use wasmill_core::{
    checkpoint::SourceState,
    pipeline::{
        self, FormatKind, KafkaInput, Producer, Source, SourceId, SourceKind,
        document::{FileSource, MessagePart, MessageParts},
    },
    plan::TaskPlan,
    watermark::{self, SplitWatermark},
};

use super::{Builder, source::KnownSplits};
use crate::{
    checkpoint::{Progress, SourceBarriers},
    connector::{
        Position,
        kafka::{
            self,
            source::{Keep, Opening, Topics},
        },
    },
    exchange::turn::Turns,
    format::{Decoder, Schemas},
    job::{
        JobError,
        readers::{self, Handovers, NewTurns, Pace, topics::Decided},
        splits::{self, Splits},
    },
    metrics::SourceMetrics,
    task::source::Feed,
};

/// Threads that share the partitions of a source's topics.
const TOPIC_READERS_MAX: usize = 4;

/// What all readers of a source are given.
struct Readers<'a> {
    source: (SourceId, &'a Source),
    format: &'a pipeline::Format,
    /// Where splits go on that a checkpoint knows, by name.
    known: BTreeMap<String, Position>,
    new_turns: NewTurns,
    pace: &'a Pace,
    barriers: &'a Arc<SourceBarriers>,
    metrics: &'a Arc<SourceMetrics>,
    work: Handovers,
    /// Subtasks of the source.
    subtasks: usize,
}

impl Readers<'_> {
    fn failed(&self, source: crate::connector::ConnectorError) -> JobError {
        JobError::Open {
            name: self.source.1.name.clone(),
            source,
        }
    }
}

impl Builder<'_> {
    pub(super) fn feeds(
        &mut self,
        task: &TaskPlan,
        id: SourceId,
        pace: &Pace,
        (barriers, known, metrics): (&Arc<SourceBarriers>, &KnownSplits, &Arc<SourceMetrics>),
    ) -> Result<Vec<Feed>, JobError> {
        let pipeline = self.pipeline;
        let spec = pipeline.source(id);
        let subtasks = task.parallelism;
        let new_turns = new_turns(spec, subtasks, (barriers, known, metrics));
        for (name, (position, _)) in known.iter().filter(|(_, (at, _))| at.is_end) {
            new_turns(name, *position);
        }
        let positions = known.iter().map(|(name, (at, _))| (name.clone(), *at));
        let known: BTreeMap<String, Position> = positions.collect();
        let format = match &spec.kind {
            SourceKind::Generator(generator, format) => {
                let known = (&known, &**metrics);
                return self.generated(task, generator, format.as_ref(), (&new_turns, known));
            }
            SourceKind::File(_, format) | SourceKind::Stdin(format) => format,
            SourceKind::Kafka(_, format) => format,
        };
        let (work, receiver) = readers::channel();
        let closer = receiver.clone();
        self.stop.cutters.push(Arc::new(move || {
            closer.close();
        }));
        let readers = Readers {
            source: (id, spec),
            format,
            known,
            new_turns,
            pace,
            barriers,
            metrics,
            work,
            subtasks,
        };
        let count = match &spec.kind {
            SourceKind::Kafka(input, _) => self.read_topics(input, readers)?,
            SourceKind::File(file, _) => {
                let files = self.files(file, &readers)?;
                self.read(files, &readers).0
            }
            _ => self.read(splits::stdin(format), &readers).0,
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
        let feed = |_| {
            let decoder = Decoder::with_message(format, &schemas, beside).map_err(explain)?;
            Ok(Feed::Chunks {
                work: receiver.clone(),
                decoder: Box::new(decoder),
            })
        };
        (0..subtasks).map(feed).collect()
    }

    fn files(&self, file: &FileSource, readers: &Readers<'_>) -> Result<Splits, JobError> {
        let from = (self.folder, readers.known.clone());
        let stopping = self.stop.flag.clone();
        let files = splits::files(file, readers.format, (from, readers.metrics), stopping);
        files.map_err(|error| readers.failed(error))
    }

    /// Starts readers of splits; gives how many splits there are, and what tells their end.
    fn read(&self, splits: Splits, readers: &Readers<'_>) -> (u32, readers::Over) {
        let (count, name) = (splits.count, &readers.source.1.name);
        let over = readers::start(
            name,
            splits,
            &readers.new_turns,
            readers.pace,
            (&readers.work, &self.stop.flag),
        );
        (count, over)
    }

    /// Starts readers of topics, behind those of files if there are any.
    fn read_topics(&self, input: &KafkaInput, readers: Readers<'_>) -> Result<u32, JobError> {
        let (id, spec) = readers.source;
        // Files and partitions share the numbers.
        let numbers = readers.known.values().map(|at| at.split + 1);
        let taken = numbers.max().unwrap_or(0);
        let before = input.before.as_ref();
        let before = before.map(|file| self.files(file, &readers)).transpose()?;
        let files = before.as_ref().map_or(0, |files| files.count);
        let mut known = readers.known.clone();
        known.retain(|name, _| kafka::source::is_split(&input.kafka, name));
        if before.is_none() && known.len() < readers.known.len() {
            let left = readers
                .known
                .keys()
                .filter(|name| !known.contains_key(*name));
            let left: Vec<&str> = left.map(String::as_str).collect();
            left_behind(&spec.name, &left);
        }
        let opening = Opening {
            document: &input.kafka,
            known,
            is_restored: self.stood(id).is_some(),
            first_split: files.max(taken),
            keep: self.keep(input, readers.format),
            without_value: self.sources[id.0].metrics.without_value.clone(),
            readers: readers.subtasks.clamp(1, TOPIC_READERS_MAX),
        };
        let topics = Topics::open(opening).map_err(|error| readers.failed(error))?;
        let count = topics.next_split();
        let before: Box<dyn FnOnce() -> bool + Send> = match before {
            None => Box::new(|| true),
            Some(files) => {
                let (_, over) = self.read(files, &readers);
                Box::new(|| over.wait())
            }
        };
        readers::topics::start(readers::topics::Parts {
            name: spec.name.clone(),
            topics,
            decided: told(&spec.name, readers.barriers),
            new_turns: readers.new_turns,
            work: readers.work,
            stopping: self.stop.flag.clone(),
            metrics: readers.metrics.clone(),
            pace: readers.pace.clone(),
            before,
        });
        Ok(count)
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
}

/// Says that a document no longer names topics that a checkpoint knows: so what was not read of
/// them is left out, and another topic of the same rows begins where `start` says.
fn left_behind(source: &str, splits: &[&str]) {
    let splits = splits.join(", ");
    tracing::warn!(
        source,
        splits,
        "the checkpoint has these partitions, of topics that the document does not name now: they \
         are read no further"
    );
}

/// Makes the turns of a split, by its name and where it goes on.
fn new_turns(
    spec: &Source,
    subtasks: usize,
    (barriers, known, metrics): (&Arc<SourceBarriers>, &KnownSplits, &Arc<SourceMetrics>),
) -> NewTurns {
    let disorder = spec.event_time.map_or(0, |time| time.out_of_orderness_us);
    let (registry, known, metrics) = (Arc::clone(barriers), known.clone(), metrics.clone());
    Arc::new(move |name: &str, from: Position| {
        let reached = known.get(name).map_or(watermark::START, |known| known.1);
        let watermark = SplitWatermark::resumed(disorder, reached);
        let progress = Progress::new(watermark, from, metrics.split(name));
        let turns = Arc::new(Turns::new(subtasks, progress));
        registry.open(name, &turns);
        turns
    })
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
