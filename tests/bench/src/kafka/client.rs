//! Topics, producers and consumers of the benchmarks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use wasmill_host::{clock, spawn};

use super::batch::{Batches, Found};

/// Partitions of every topic but those of markers.
pub(crate) const PARTITIONS: i32 = 4;
/// So long the broker may take for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// While a producer's queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// How to read fast, as measured: a full local queue waits a second otherwise before it goes on.
pub(crate) const READ_FAST: &[(&str, &str)] = &[
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.min.bytes", "100000"),
    ("queued.min.messages", "500000"),
    ("fetch.message.max.bytes", "4194304"),
    ("check.crcs", "false"),
];
/// How to write fast.
pub(crate) const WRITE_FAST: &[(&str, &str)] = &[
    ("linger.ms", "20"),
    ("batch.size", "1000000"),
    ("queue.buffering.max.messages", "1000000"),
    ("queue.buffering.max.kbytes", "262144"),
];
/// How to read and write soon: without linger a busy broker answers later, not sooner.
pub(crate) const READ_SOON: &[(&str, &str)] = &[("fetch.wait.max.ms", "100")];
pub(crate) const WRITE_SOON: &[(&str, &str)] = &[("linger.ms", "1")];

/// The broker that `cargo xtask bench` started, or another.
pub(crate) fn brokers() -> Result<String> {
    std::env::var("KAFKA_BROKERS").context(
        "KAFKA_BROKERS names no broker: measure with `cargo xtask bench`, or set it to what \
         `cargo xtask kafka up` says",
    )
}

fn configuration(brokers: &str, options: &[(&str, &str)]) -> ClientConfig {
    let mut configuration = ClientConfig::new();
    configuration.set("bootstrap.servers", brokers);
    for (name, value) in options {
        configuration.set(*name, *value);
    }
    configuration
}

/// Topics that are gone with it.
pub(crate) struct Topics {
    brokers: String,
    names: Vec<String>,
}

impl Topics {
    pub(crate) fn new(brokers: &str) -> Self {
        Self {
            brokers: brokers.into(),
            names: Vec::new(),
        }
    }

    /// Makes a topic that nobody else has, named after what it is for.
    pub(crate) fn make(&mut self, what: &str) -> Result<String> {
        let name = self.name(what);
        make(&self.brokers, &name)?;
        Ok(name)
    }

    /// The name of a topic that somebody else makes.
    pub(crate) fn name(&mut self, what: &str) -> String {
        let name = format!(
            "wasmill-bench-{what}-{}-{}",
            std::process::id(),
            clock::wall_us()
        );
        self.names.push(name.clone());
        name
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        for name in &self.names {
            // One that was never made is none the less gone.
            remove(&self.brokers, name).ok();
        }
    }
}

/// Makes a topic and waits until it can be written.
pub(crate) fn make(brokers: &str, name: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = configuration(brokers, &[]).create()?;
    let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let made = block_on(admin.create_topics(&[topic], &options))??;
    for outcome in made {
        outcome.map_err(|(name, code)| anyhow::anyhow!("topic {name} cannot be made: {code}"))?;
    }
    until(&format!("topic {name} has no leaders"), || {
        let metadata = admin.inner().fetch_metadata(Some(name), PATIENCE)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        let partitions = topic.map_or(&[][..], |topic| topic.partitions());
        Ok(partitions.len() == PARTITIONS as usize && partitions.iter().all(|p| p.leader() >= 0))
    })
}

/// Deletes a topic and waits until it is gone.
pub(crate) fn remove(brokers: &str, name: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = configuration(brokers, &[]).create()?;
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    for outcome in block_on(admin.delete_topics(&[name], &options))?? {
        if let Err((name, code)) = outcome {
            bail!("topic {name} cannot be deleted: {code}");
        }
    }
    until(&format!("topic {name} does not go"), || {
        Ok(!is_there(&admin, name)?)
    })
}

fn is_there(admin: &AdminClient<DefaultClientContext>, name: &str) -> Result<bool> {
    let metadata = admin.inner().fetch_metadata(None, PATIENCE)?;
    Ok(metadata.topics().iter().any(|topic| topic.name() == name))
}

/// Offsets between the oldest and the next record of a topic, over its partitions; none if there is
/// no such topic.
pub(crate) fn offsets(brokers: &str, name: &str) -> Result<Option<u64>> {
    let admin: AdminClient<DefaultClientContext> = configuration(brokers, &[]).create()?;
    if !is_there(&admin, name)? {
        return Ok(None);
    }
    let mut count = 0;
    for partition in 0..PARTITIONS {
        let (first, next) = admin.inner().fetch_watermarks(name, partition, PATIENCE)?;
        count += (next - first).unsigned_abs();
    }
    Ok(Some(count))
}

fn until(complaint: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let since = clock::monotonic();
    while !is_so()? {
        ensure!(clock::monotonic() - since < PATIENCE, "{complaint}");
        spawn::pause(PAUSE);
    }
    Ok(())
}

fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(future))
}

/// A producer that counts what the broker refused.
pub(crate) struct Sender {
    producer: ThreadedProducer<Outcomes>,
    refused: Arc<AtomicU64>,
}

pub(crate) struct Outcomes {
    refused: Arc<AtomicU64>,
}

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sender {
    /// One whose records are there when it says so; with a transactional id, in transactions.
    pub(crate) fn new(
        brokers: &str,
        transactional_id: Option<&str>,
        options: &[(&str, &str)],
    ) -> Result<Self> {
        let mut configuration = configuration(brokers, options);
        configuration
            .set("acks", "all")
            .set("enable.idempotence", "true");
        configuration.set("partitioner", "murmur2_random");
        if let Some(id) = transactional_id {
            configuration.set("transactional.id", id);
        }
        let refused = Arc::new(AtomicU64::new(0));
        let outcomes = Outcomes {
            refused: Arc::clone(&refused),
        };
        let producer = ThreadedProducer::from_config_and_context(&configuration, outcomes)?;
        Ok(Self { producer, refused })
    }

    pub(crate) fn producer(&self) -> &ThreadedProducer<Outcomes> {
        &self.producer
    }

    /// Hands a record over; waits while the queue is full. The key decides about the partition,
    /// unless one is given.
    pub(crate) fn send(
        &self,
        (topic, partition): (&str, Option<i32>),
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        let mut record = BaseRecord::to(topic).key(key).payload(value);
        record.partition = partition;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    spawn::pause(FULL_PAUSE);
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until everything is there.
    pub(crate) fn finish(&self) -> Result<()> {
        self.producer.flush(PATIENCE)?;
        let refused = self.refused.load(Ordering::Relaxed);
        ensure!(refused == 0, "the broker refused {refused} records");
        Ok(())
    }
}

/// Reads some partitions of a topic from the beginning; ends are told.
pub(crate) fn reader(
    (brokers, topic): (&str, &str),
    partitions: impl Iterator<Item = i32>,
    isolation: &str,
    options: &[(&str, &str)],
) -> Result<Batches> {
    let mut configuration = configuration(brokers, options);
    configuration.set("group.id", format!("{topic}-{}", std::process::id()));
    configuration.set("enable.auto.commit", "false");
    configuration.set("enable.partition.eof", "true");
    configuration.set("isolation.level", isolation);
    let consumer: BaseConsumer = configuration.create()?;
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Batches::of(consumer)
}

/// Shows the value of each committed record of a topic; says how many they are.
pub(crate) fn committed(brokers: &str, topic: &str, mut each: impl FnMut(&[u8])) -> Result<u64> {
    let mut batches = reader((brokers, topic), 0..PARTITIONS, "read_committed", READ_FAST)?;
    let (mut records, mut ends, mut since) = (0, 0, clock::monotonic());
    while ends < PARTITIONS {
        let found = batches.read(PATIENCE / 60, |found| {
            match found {
                Found::Record(record) => {
                    each(record.value);
                    records += 1;
                }
                Found::End => ends += 1,
            }
            Ok(())
        })?;
        let now: Instant = clock::monotonic();
        if found > 0 {
            since = now;
        }
        ensure!(
            now - since < PATIENCE,
            "topic {topic} cannot be read to its end"
        );
    }
    Ok(records)
}
