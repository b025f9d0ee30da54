//! Which partitions there are, and where each goes on.

mod resolve;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer},
};
use wasmill_core::pipeline::{
    TopicPattern,
    document::{KafkaSource, OneOrMore},
};

use super::{
    super::{KafkaError, client::Cluster},
    Keep, Shared, Split,
    native::{Client, Queue, Topic},
    offsets::{ANSWER_WAIT, Asking, Place},
    reader::TopicsReader,
};
use crate::{
    connector::{
        ConnectorError, Position,
        sink::patience::{Patience, patiently},
    },
    metrics::Counter,
};

/// What may be set otherwise. A full local queue is looked at again soon (a second is the default),
/// and what lies there for each queue is bounded.
const DEFAULTS: &[(&str, &str)] = &[
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.min.bytes", "1"),
    ("queued.min.messages", "100000"),
    ("queued.max.messages.kbytes", "16384"),
    ("socket.nagle.disable", "true"),
];

/// What is the engine's: offsets are the checkpoint's, and nothing is ever reset.
const OWN: &[(&str, &str)] = &[
    ("isolation.level", "read_committed"),
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("allow.auto.create.topics", "false"),
];

/// So often a topic may be missing before it counts as deleted: a broker that has just come up may
/// not know all of them.
const GONE_LOOKS: u32 = 2;

/// How a source is opened.
pub struct Opening<'a> {
    /// What the document says.
    pub document: &'a KafkaSource,
    /// Where the partitions stood that a checkpoint knows, by name.
    pub known: BTreeMap<String, Position>,
    /// Whether there is a checkpoint: then what it does not know was made later.
    pub is_restored: bool,
    /// Numbers of splits below this one are taken.
    pub first_split: u32,
    /// What is kept of records.
    pub keep: Keep,
    /// Counts the records that are passed over.
    pub without_value: Arc<Counter>,
    /// How many readers share the partitions.
    pub readers: usize,
}

/// The topics of a source.
pub struct Topics {
    cluster: Cluster,
    document: KafkaSource,
    pattern: Option<TopicPattern>,
    shared: Arc<Shared>,
    queues: Vec<Arc<Queue>>,
    topics: BTreeMap<Arc<str>, (Topic, CString)>,
    next_split: u32,
    patience: Patience,
    /// How often a topic was missing of late.
    gone: u32,
    /// Tells the group how far decided checkpoints have come.
    group: Option<Client>,
    /// The splits that there are at the start, and where they go on.
    found: Vec<(Arc<Split>, Position)>,
}

impl Topics {
    /// Finds out which partitions there are and where they go on. Waits for the cluster if need be.
    ///
    /// # Errors
    /// If that cannot be found out, a topic is not there, or what is to be read is not there any
    /// more.
    pub fn open(opening: Opening<'_>) -> Result<Self, ConnectorError> {
        let document = opening.document;
        let cluster = Cluster::new(&document.brokers, &document.options);
        let is_bounded = document.stop.is_some();
        let mut own = OWN.to_vec();
        own.push((
            "enable.partition.eof",
            if is_bounded { "true" } else { "false" },
        ));
        let config = cluster.config(DEFAULTS, &own)?;
        let client: Client = config
            .create_with_context(cluster.context())
            .map_err(KafkaError::of_client)?;
        let client = Arc::new(client);
        let pattern = document.topic_pattern.as_deref().map(TopicPattern::new);
        let pattern = pattern
            .transpose()
            .map_err(|reason| KafkaError::Option { reason })?;
        let mut this = Self {
            shared: Arc::new(Shared {
                client: Arc::clone(&client),
                brokers: cluster.brokers.clone(),
                keep: opening.keep,
                without_value: opening.without_value.clone(),
                answered: AtomicBool::new(false),
                splits: Mutex::default(),
            }),
            queues: (0..opening.readers.max(1))
                .map(|_| Arc::new(Queue::new(&client)))
                .collect(),
            cluster,
            document: document.clone(),
            pattern,
            topics: BTreeMap::new(),
            next_split: opening.first_split,
            patience: Patience::default(),
            gone: 0,
            group: None,
            found: Vec::new(),
        };
        let mut patience = Patience::default();
        let found = patiently(&mut patience, || {
            let found = this.resolve(&opening);
            found.map_err(|error| this.away(error))
        })?;
        for (place, position) in found {
            this.add(place, position);
        }
        this.patience = patience;
        Ok(this)
    }

    /// The splits that there are at the start, and where they go on.
    pub fn found(&self) -> impl Iterator<Item = (&Split, Position)> {
        self.found.iter().map(|(split, from)| (&**split, *from))
    }

    /// One more than the greatest number of a split.
    pub fn next_split(&self) -> u32 {
        self.next_split
    }

    /// How often new partitions are looked for; none where the input ends.
    pub fn discover_every(&self) -> Option<Duration> {
        let every = self.document.discover_every_us().unsigned_abs();
        let is_endless = self.document.stop.is_none();
        is_endless.then(|| Duration::from_micros(every))
    }

    /// The readers, who share the partitions.
    pub fn readers(&self) -> Vec<TopicsReader> {
        let count = self.queues.len();
        let readers = self.queues.iter().enumerate().map(|(number, queue)| {
            let splits = self.found.iter().map(|(split, _)| &**split);
            let own: Vec<&Split> = splits
                .filter(|split| split.number as usize % count == number)
                .collect();
            let ending = self.document.stop.is_some().then_some(&own[..]);
            TopicsReader::new(Arc::clone(queue), Arc::clone(&self.shared), ending)
        });
        readers.collect()
    }

    /// Begins to read what was found at the start.
    ///
    /// # Errors
    /// If the client refuses.
    pub fn begin(&mut self) -> Result<(), ConnectorError> {
        for (split, _) in std::mem::take(&mut self.found) {
            if split.until.is_none_or(|until| split.from < until) {
                self.start(&split)?;
            }
        }
        Ok(())
    }

    /// Begins to read a split.
    ///
    /// # Errors
    /// If the client refuses.
    pub fn start(&mut self, split: &Split) -> Result<(), ConnectorError> {
        let refused = |error| {
            let what = format!("read `{}`", split.name);
            KafkaError::of(&self.cluster.brokers, what, &error, None)
        };
        if !self.topics.contains_key(&split.topic) {
            let topic = Topic::new(&self.shared.client, &split.topic).map_err(refused)?;
            let name = CString::new(&*split.topic).map_err(|error| refused(error.into()))?;
            self.topics.insert(Arc::clone(&split.topic), (topic, name));
        }
        let queue = &self.queues[split.number as usize % self.queues.len()];
        if let Some((topic, _)) = self.topics.get(&split.topic) {
            let from = i64::try_from(split.from).unwrap_or(i64::MAX);
            topic.start(split.partition, from, queue).map_err(refused)?;
        }
        Ok(())
    }

    /// Looks for partitions that are new; they begin with their oldest record. None where the
    /// cluster does not answer for now.
    ///
    /// # Errors
    /// If a topic is gone, or the cluster refuses or has been away for too long.
    pub fn discover(&mut self) -> Result<Vec<(Arc<Split>, Position)>, ConnectorError> {
        let found = self.look().and_then(|places| {
            let asking = self.asking();
            let new = places
                .into_iter()
                .filter(|(topic, partition)| self.shared.split(topic, *partition).is_none());
            let new: Vec<Place> = new.collect();
            let oldest = asking.oldest(&new)?;
            let at = |place: Place| oldest.get(&place).map(|at| (place, *at));
            Ok(new.into_iter().filter_map(at).collect::<Vec<_>>())
        });
        match found {
            Ok(found) => {
                self.is_back();
                for (place, offset) in found {
                    let position = Position {
                        rows: offset,
                        ..Position::start(self.next_split)
                    };
                    self.add(place, position);
                }
                Ok(std::mem::take(&mut self.found))
            }
            Err(error) => {
                self.bear(error)?;
                Ok(Vec::new())
            }
        }
    }

    /// What to do about an error: gives how long to wait until the cluster is asked again.
    fn bear(&mut self, error: KafkaError) -> Result<Duration, ConnectorError> {
        if matches!(error, KafkaError::TopicGone { .. }) && self.gone < GONE_LOOKS {
            self.gone += 1;
            return Ok(Duration::ZERO);
        }
        let error = self.away(error);
        self.patience.rest(error)
    }

    /// Takes in what the client has to say. Where it says that the cluster is away, asks it; gives
    /// how long to wait until the next time.
    ///
    /// # Errors
    /// If the cluster does not let us in, or has been away for too long.
    pub fn serve(&mut self) -> Result<Option<Duration>, ConnectorError> {
        let asking = self.asking();
        asking.serve();
        if self.shared.answered.swap(false, Ordering::Relaxed) {
            self.is_back();
        }
        if self.shared.client.context().trouble().is_none() {
            return Ok(None);
        }
        match self.look() {
            Ok(_) => {
                self.is_back();
                Ok(None)
            }
            Err(error) => Ok(Some(self.bear(error)?)),
        }
    }

    /// The offset behind the newest record of each split that is read, as far as is known, by name.
    pub fn ends(&self) -> Vec<(String, u64)> {
        let splits = self.shared.splits.lock();
        let ends = splits.values().filter_map(|split| {
            let (topic, name) = self.topics.get(&split.topic)?;
            let end = topic.end(name, split.partition)?;
            Some((split.name.clone(), split.until.unwrap_or(end)))
        });
        ends.collect()
    }

    /// Tells the group how far decided checkpoints have come, for those who look at groups. Nothing
    /// depends on it, so nothing fails with it.
    pub fn commit(&mut self, positions: &[(String, u64)]) {
        let Some(group) = &self.document.group else {
            return;
        };
        if self.group.is_none() {
            let config = self.cluster.config(
                &[],
                &[
                    ("group.id", group.as_str()),
                    ("enable.auto.commit", "false"),
                ],
            );
            let client = config
                .ok()
                .map(|config| config.create_with_context(self.cluster.context()));
            self.group = client.and_then(Result::ok);
        }
        let Some(client) = &self.group else { return };
        let asking = Asking {
            cluster: &self.cluster,
            client,
        };
        asking.serve();
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (name, offset) in positions {
            let place = name
                .rsplit_once('/')
                .filter(|_| is_split(&self.document, name));
            let place = place.and_then(|(topic, partition)| Some((topic, partition.parse().ok()?)));
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            if let Some((topic, partition)) = place
                && let Err(error) = list.add_partition_offset(topic, partition, offset)
            {
                tracing::debug!(%error, name, "an offset cannot be told to the group");
            }
        }
        if let Err(error) = client.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, group, "offsets cannot be told to the group");
        }
    }

    fn is_back(&mut self) {
        self.gone = 0;
        self.shared.client.context().is_well();
        self.patience.over();
    }

    fn asking(&self) -> Asking<'_> {
        Asking {
            cluster: &self.cluster,
            client: &self.shared.client,
        }
    }

    /// An error as the source has it.
    fn away(&self, error: KafkaError) -> ConnectorError {
        if !error.is_away() {
            return error.into();
        }
        let give_up_after = self.document.give_up_after_us().unsigned_abs();
        ConnectorError::Away {
            place: format!("the cluster `{}`", self.cluster.brokers),
            give_up_after: Duration::from_micros(give_up_after),
            cause: Box::new(error),
        }
    }

    fn add(&mut self, (topic, partition): Place, position: Position) {
        let topic: Arc<str> = topic.into();
        let split = Arc::new(Split {
            number: position.split,
            name: split_name(&topic, partition),
            topic: Arc::clone(&topic),
            partition,
            from: position.rows,
            until: position.until,
        });
        let mut splits = self.shared.splits.lock();
        splits.insert((topic, partition), Arc::clone(&split));
        drop(splits);
        self.next_split = self.next_split.max(position.split + 1);
        self.found.push((split, position));
    }

    /// The partitions that there are, in their order.
    fn look(&self) -> Result<Vec<Place>, KafkaError> {
        let asking = self.asking();
        asking.serve();
        let named: Vec<&str> = self
            .document
            .topic
            .iter()
            .flat_map(OneOrMore::iter)
            .collect();
        let mut places = Vec::new();
        for topic in &named {
            let found = self.partitions(&asking, Some(topic))?;
            if found.is_empty() {
                let brokers = self.cluster.brokers.clone();
                return Err(match self.shared.split(topic, 0) {
                    Some(split) => KafkaError::TopicGone {
                        split: split.name.clone(),
                        brokers,
                    },
                    None => KafkaError::NoTopic {
                        topic: (*topic).into(),
                        brokers,
                    },
                });
            }
            places.extend(found);
        }
        if self.pattern.is_some() {
            places = self.partitions(&asking, None)?;
        }
        Ok(places)
    }

    /// The partitions of one topic, or of those that the pattern matches.
    fn partitions(
        &self,
        asking: &Asking<'_>,
        topic: Option<&str>,
    ) -> Result<Vec<Place>, KafkaError> {
        let told = |error| asking.error("tell its topics", &error);
        let metadata = self.shared.client.fetch_metadata(topic, ANSWER_WAIT);
        let metadata = metadata.map_err(told)?;
        let mut places = BTreeSet::new();
        for found in metadata.topics() {
            let wanted = match (&self.pattern, topic) {
                (Some(pattern), None) => pattern.matches(found.name()),
                (_, topic) => Some(found.name()) == topic,
            };
            if !wanted {
                continue;
            }
            if let Some(error) = found.error() {
                let error = rdkafka::error::KafkaError::MetadataFetch(error.into());
                if error.rdkafka_error_code()
                    == Some(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition)
                {
                    continue;
                }
                return Err(told(error));
            }
            let numbers = found.partitions().iter().map(|partition| partition.id());
            places.extend(numbers.map(|number| (found.name().to_owned(), number)));
        }
        Ok(places.into_iter().collect())
    }
}

/// Whether a split of this name is a partition of topics that the document wants.
pub fn is_split(document: &KafkaSource, name: &str) -> bool {
    let Some((topic, partition)) = name.rsplit_once('/') else {
        return false;
    };
    let mut named = document.topic.iter().flat_map(OneOrMore::iter);
    let pattern = document.topic_pattern.as_deref().map(TopicPattern::new);
    let is_wanted = match pattern {
        Some(pattern) => pattern.is_ok_and(|pattern| pattern.matches(topic)),
        None => named.any(|named| named == topic),
    };
    is_wanted && partition.parse::<i32>().is_ok()
}

/// What people call a partition.
fn split_name(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}
