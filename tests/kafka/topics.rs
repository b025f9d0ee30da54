//! Topics of a test's own at a real broker.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A record to be written.
#[derive(Debug, Default, Clone)]
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
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
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

    pub(crate) fn delete(&self) {
        let gone = block_on(admin(&self.brokers).delete_topics(&[&self.name], &options()));
        gone.expect("the broker answers")
            .remove(0)
            .expect("it was there");
    }

    /// Has a group stand at an offset.
    pub(crate) fn commit(&self, group: &str, partition: i32, offset: i64) {
        let mut config = config(&self.brokers);
        config.set("group.id", group);
        let consumer: BaseConsumer = config.create().expect("a client");
        let mut list = rdkafka::TopicPartitionList::new();
        let offset = rdkafka::Offset::Offset(offset);
        list.add_partition_offset(&self.name, partition, offset)
            .expect("an offset");
        consumer
            .commit(&list, CommitMode::Sync)
            .expect("the broker answers");
    }

    /// Deletes the records of a partition before an offset.
    pub(crate) fn delete_before(&self, partition: i32, offset: i64) {
        let mut before = rdkafka::TopicPartitionList::new();
        let offset = rdkafka::Offset::Offset(offset);
        before
            .add_partition_offset(&self.name, partition, offset)
            .expect("an offset");
        let gone = block_on(admin(&self.brokers).delete_records(&before, &options()));
        gone.expect("the broker answers");
    }

    /// How many committed records there are.
    pub(crate) fn count(&self) -> usize {
        let partitions = self.partitions();
        let mut config = config(&self.brokers);
        config.set("group.id", "count");
        config.set("enable.partition.eof", "true");
        config.set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create().expect("a client");
        let mut list = rdkafka::TopicPartitionList::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition).expect("a few");
            list.add_partition_offset(&self.name, partition, rdkafka::Offset::Beginning)
                .expect("an offset");
        }
        consumer.assign(&list).expect("partitions");
        let (mut count, mut ended) = (0, 0);
        while ended < partitions {
            match consumer.poll(PATIENCE).expect("the broker answers") {
                Ok(_) => count += 1,
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => panic!("{error}"),
            }
        }
        count
    }

    /// Writes records, durably.
    pub(crate) fn write(&self, partition: i32, records: impl IntoIterator<Item = Record>) {
        send(&self.producer, &self.name, partition, records);
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
