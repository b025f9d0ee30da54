//! Topics of a test's own at a real broker.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::job::{Running, some_time};

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// What readers see of what an exactly-once sink writes.
const COMMITTED: &str = "read_committed";
/// How often one looks for records that come within seconds.
const LOOKS: usize = 3_000;

/// A record to be written, or one that was read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) time_ms: Option<i64>,
}

impl Record {
    pub(crate) fn of(value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    fn read(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        let headers = headers.map(|header| {
            let value = header.value.expect("what is null is left out");
            (header.key.to_owned(), value.to_vec())
        });
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.collect(),
            time_ms: message.timestamp().to_millis(),
        }
    }

    /// The value as text.
    pub(crate) fn text(&self) -> &str {
        let value = self.value.as_deref().expect("a value");
        std::str::from_utf8(value).expect("text")
    }
}

/// Where the brokers of all tests are.
///
/// # Panics
///
/// If there are none: `cargo xtask test` starts one.
pub(crate) fn brokers() -> String {
    std::env::var("KAFKA_BROKERS")
        .expect("run `cargo xtask test`, or set KAFKA_BROKERS to what `cargo xtask kafka up` says")
}

/// A name that no other test has, nor this one in another run.
pub(crate) fn name(stem: &str) -> String {
    let number = RandomState::new().hash_one(stem);
    format!("{stem}-{number:016x}")
}

/// A topic, which is deleted with the test.
pub(crate) struct Topic {
    pub(crate) name: String,
    brokers: String,
    producer: BaseProducer,
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config.create().expect("a client")
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE))
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
        .set("linger.ms", "5")
        .set("enable.idempotence", "true");
    config
}

impl Topic {
    /// A topic with a name of the test's own.
    pub(crate) fn new(stem: &str, partitions: i32) -> Self {
        Self::named(name(stem), partitions)
    }

    pub(crate) fn named(name: String, partitions: i32) -> Self {
        Self::at(brokers(), name, partitions)
    }

    /// A topic at a broker of the test's own.
    pub(crate) fn at(brokers: String, name: String, partitions: i32) -> Self {
        // Records of a time long past are not to go while they are looked at.
        let topic =
            NewTopic::new(&name, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        let made = block_on(admin(&brokers).create_topics([&topic], &options()));
        made.expect("the broker answers")
            .remove(0)
            .expect("a new topic");
        let producer = config(&brokers).create().expect("a client");
        Self {
            name,
            brokers,
            producer,
        }
    }

    /// Adds partitions, up to so many.
    pub(crate) fn grow(&self, partitions: usize) {
        let wanted = NewPartitions::new(&self.name, partitions);
        let made = block_on(admin(&self.brokers).create_partitions([&wanted], &options()));
        made.expect("the broker answers")
            .remove(0)
            .expect("more partitions");
        // Until they have a leader, nothing can be written to them.
        while self.partitions() < partitions {
            std::thread::yield_now();
        }
    }

    fn partitions(&self) -> usize {
        let metadata = self
            .producer
            .client()
            .fetch_metadata(Some(&self.name), PATIENCE);
        let metadata = metadata.expect("the broker answers");
        metadata.topics()[0].partitions().len()
    }

    fn numbers(&self) -> std::ops::Range<i32> {
        0..i32::try_from(self.partitions()).expect("a few")
    }

    pub(crate) fn delete(&self) {
        let gone = block_on(admin(&self.brokers).delete_topics(&[&self.name], &options()));
        gone.expect("the broker answers")
            .remove(0)
            .expect("it was there");
    }

    /// Somebody of a group.
    fn member(&self, group: &str) -> BaseConsumer {
        let mut config = config(&self.brokers);
        config.set("group.id", group);
        config.set("enable.auto.commit", "false");
        config.create().expect("a client")
    }

    /// Somebody who reads what is committed, or all.
    fn reader(&self, isolation: &str) -> BaseConsumer {
        let mut config = config(&self.brokers);
        config.set("group.id", "reader");
        config.set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest");
        config.set("enable.partition.eof", "true");
        config.set("isolation.level", isolation);
        // The end of a partition is told no earlier.
        config.set("fetch.wait.max.ms", "10");
        config.create().expect("a client")
    }

    /// Has a group stand at an offset.
    pub(crate) fn commit(&self, group: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset))
            .expect("an offset");
        self.member(group)
            .commit(&list, CommitMode::Sync)
            .expect("the broker answers");
    }

    /// Where a group stands, by partition.
    pub(crate) fn committed(&self, group: &str) -> Vec<Option<i64>> {
        let mut list = TopicPartitionList::new();
        for partition in self.numbers() {
            list.add_partition(&self.name, partition);
        }
        let list = self.member(group).committed_offsets(list, PATIENCE);
        let list = list.expect("the broker answers");
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let elements = list.elements();
        elements.iter().map(|it| offset(it.offset())).collect()
    }

    /// Deletes the records of a partition before an offset.
    pub(crate) fn delete_before(&self, partition: i32, offset: i64) {
        let mut before = TopicPartitionList::new();
        before
            .add_partition_offset(&self.name, partition, Offset::Offset(offset))
            .expect("an offset");
        let gone = block_on(admin(&self.brokers).delete_records(&before, &options()));
        gone.expect("the broker answers");
    }

    /// How many committed records there are.
    pub(crate) fn count(&self) -> usize {
        self.records().len()
    }

    /// All committed records with their partitions, those of a partition in their order. Waits
    /// for the end of transactions: who asks for it has an answer before readers see it.
    pub(crate) fn records(&self) -> Vec<(i32, Record)> {
        for _ in 0..LOOKS {
            if self.ends_of(COMMITTED) == self.ends() {
                return self.read();
            }
            some_time(20);
        }
        panic!("`{}`: a transaction stays open", self.name);
    }

    /// What readers see now.
    fn read(&self) -> Vec<(i32, Record)> {
        let consumer = self.reader(COMMITTED);
        let mut list = TopicPartitionList::new();
        // A new client that is to ask where the beginning is does so half a second later.
        for partition in self.numbers() {
            list.add_partition_offset(&self.name, partition, Offset::Offset(0))
                .expect("an offset");
        }
        consumer.assign(&list).expect("partitions");
        let (mut records, mut ended) = (Vec::new(), BTreeSet::new());
        while ended.len() < list.count() {
            match consumer.poll(PATIENCE).expect("the broker answers") {
                Ok(message) => records.push((message.partition(), Record::read(&message))),
                Err(KafkaError::PartitionEOF(partition)) => {
                    ended.insert(partition);
                }
                Err(error) => panic!("{error}"),
            }
        }
        records.sort_by_key(|(partition, _)| *partition);
        records
    }

    /// The offset behind all that is written, by partition: what ends a transaction counts, too.
    pub(crate) fn ends(&self) -> Vec<i64> {
        self.ends_of("read_uncommitted")
    }

    fn ends_of(&self, isolation: &str) -> Vec<i64> {
        let reader = self.reader(isolation);
        let end = |partition| {
            let found = reader.fetch_watermarks(&self.name, partition, PATIENCE);
            found.expect("the broker answers").1
        };
        self.numbers().map(end).collect()
    }

    /// Waits until so many records are committed.
    pub(crate) fn wait_for(&self, running: &mut Running, records: usize) {
        for _ in 0..LOOKS {
            if self.read().len() >= records {
                return;
            }
            assert!(
                !running.has_ended(),
                "the job has ended before its output was there"
            );
            some_time(20);
        }
        let (found, name) = (self.read().len(), &self.name);
        panic!("`{name}` has {found} records, and is to have {records}");
    }

    /// Writes records, durably.
    pub(crate) fn write(&self, partition: i32, records: impl IntoIterator<Item = Record>) {
        self.send(partition, records);
        self.flush();
    }

    /// Sends records, which come at any time until [`Topic::flush`] is done.
    pub(crate) fn send(&self, partition: i32, records: impl IntoIterator<Item = Record>) {
        send(&self.producer, &self.name, partition, records);
    }

    pub(crate) fn flush(&self) {
        self.producer
            .flush(PATIENCE)
            .expect("the broker takes records");
    }

    /// Writes values, durably.
    pub(crate) fn values<T: Into<Vec<u8>>>(
        &self,
        partition: i32,
        values: impl IntoIterator<Item = T>,
    ) {
        self.write(partition, values.into_iter().map(Record::of));
    }

    /// Writes values in a transaction, and commits or aborts it.
    pub(crate) fn transaction(&self, partition: i32, values: &[String], commits: bool) {
        let mut config = config(&self.brokers);
        config.set("transactional.id", name("test"));
        let producer: BaseProducer = config.create().expect("a client");
        producer.init_transactions(PATIENCE).expect("a coordinator");
        producer.begin_transaction().expect("a transaction");
        let records = values.iter().map(|value| Record::of(value.as_str()));
        send(&producer, &self.name, partition, records);
        producer.flush(PATIENCE).expect("the broker takes records");
        match commits {
            true => producer.commit_transaction(PATIENCE).expect("a commit"),
            false => producer.abort_transaction(PATIENCE).expect("an abort"),
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // It may be gone.
        drop(block_on(
            admin(&self.brokers).delete_topics(&[&self.name], &options()),
        ));
    }
}

fn send(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    records: impl IntoIterator<Item = Record>,
) {
    for record in records {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        loop {
            let mut to = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
            if let Some(key) = &record.key {
                to = to.key(key);
            }
            if let Some(value) = &record.value {
                to = to.payload(value);
            }
            if let Some(time) = record.time_ms {
                to = to.timestamp(time);
            }
            if !record.headers.is_empty() {
                to = to.headers(headers.clone());
            }
            match producer.send(to) {
                Ok(()) => break,
                // The queue is full.
                Err(_) => {
                    producer.poll(Duration::from_millis(10));
                }
            }
        }
    }
}
