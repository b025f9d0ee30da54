//! Topics of Apache Kafka: transactions go in, committed alerts come out.
#![allow(
    clippy::disallowed_methods,
    reason = "a client of a broker: it waits for what others do, by the machine's clock"
)]

use std::io::{BufRead, Error as IoError, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use serde::Deserialize;

/// Partitions of a topic.
const PARTITIONS: i32 = 4;
/// So long a broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Records between two looks at what became of others.
const SERVE_EVERY: u64 = 1_000;

/// Why a topic could not be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client says no.
    #[error("{0}")]
    Client(#[from] KafkaError),
    /// The broker refuses a topic.
    #[error("topic `{name}`: {code}")]
    Topic {
        /// Its name.
        name: String,
        /// What the broker says.
        code: RDKafkaErrorCode,
    },
    /// Something does not come about in time.
    #[error("{what} takes longer than {} s", PATIENCE.as_secs())]
    Late {
        /// What was waited for.
        what: String,
    },
    /// Records that are not there.
    #[error("the broker did not take {count} records")]
    Refused {
        /// How many.
        count: u64,
    },
    /// A file cannot be read or written.
    #[error("the file stopped in the middle")]
    File(#[from] IoError),
    /// A line is no transaction.
    #[error("line {line} is no transaction with an account")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What the decoder says.
        source: serde_json::Error,
    },
}

type Admin = AdminClient<DefaultClientContext>;

fn configuration(brokers: &str) -> ClientConfig {
    let mut configuration = ClientConfig::new();
    configuration.set("bootstrap.servers", brokers);
    configuration
}

fn outcomes(all: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<(), Error> {
    for outcome in all {
        outcome.map_err(|(name, code)| Error::Topic { name, code })?;
    }
    Ok(())
}

/// Makes topics and waits until they can be written.
///
/// # Errors
/// If the broker refuses one.
pub fn make(brokers: &str, names: &[&str]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let admin: Admin = configuration(brokers).create()?;
    // As many copies as the broker's own default is.
    let topic = |name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(-1));
    let topics = names.iter().copied().map(topic);
    let topics: Vec<NewTopic<'_>> = topics.collect();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    outcomes(block_on(admin.create_topics(&topics, &options))?)?;
    for name in names {
        until(&format!("topic `{name}`"), || {
            let metadata = admin.inner().fetch_metadata(Some(name), PATIENCE)?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == *name);
            let partitions = topic.map_or(&[][..], |topic| topic.partitions());
            let is_led = partitions.iter().all(|partition| partition.leader() >= 0);
            Ok(is_led && !partitions.is_empty())
        })?;
    }
    Ok(())
}

/// Deletes those of the topics that are there, and waits until they are gone.
///
/// # Errors
/// If the broker refuses.
pub fn remove(brokers: &str, names: &[&str]) -> Result<(), Error> {
    let admin: Admin = configuration(brokers).create()?;
    let there = known(&admin)?;
    let there = names
        .iter()
        .filter(|name| there.iter().any(|it| it == *name));
    let there: Vec<&str> = there.copied().collect();
    if there.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    outcomes(block_on(admin.delete_topics(&there, &options))?)?;
    until("deleting topics", || {
        let left = known(&admin)?;
        Ok(!left.iter().any(|name| there.contains(&name.as_str())))
    })
}

/// The first of the names that is a topic.
///
/// # Errors
/// If no broker answers.
pub fn first_of<'a>(brokers: &str, names: &[&'a str]) -> Result<Option<&'a str>, Error> {
    let there = known(&configuration(brokers).create()?)?;
    let mut names = names.iter().copied();
    Ok(names.find(|name| there.iter().any(|it| it == name)))
}

fn known(admin: &Admin) -> Result<Vec<String>, Error> {
    let metadata = admin.inner().fetch_metadata(None, PATIENCE)?;
    let names = metadata
        .topics()
        .iter()
        .map(|topic| topic.name().to_owned());
    Ok(names.collect())
}

fn until(what: &str, mut is_so: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
    let since = Instant::now();
    while !is_so()? {
        if since.elapsed() > PATIENCE {
            return Err(Error::Late { what: what.into() });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Counts what did not arrive.
struct Outcomes {
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

#[derive(Deserialize)]
struct Keyed {
    account: u64,
}

/// Sends each line to a topic, keyed by its account: payments of an account stay in order. Gives
/// how many there were, once all of them are there.
///
/// # Errors
/// If a line has no account, or the broker does not take a record.
pub fn produce((brokers, topic): (&str, &str), transactions: impl BufRead) -> Result<u64, Error> {
    let mut configuration = configuration(brokers);
    configuration
        .set("acks", "all")
        .set("enable.idempotence", "true");
    configuration
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20");
    configuration.set("batch.size", "1000000");
    let refused = Arc::new(AtomicU64::new(0));
    let context = Outcomes {
        refused: Arc::clone(&refused),
    };
    let producer = BaseProducer::from_config_and_context(&configuration, context)?;
    let mut count = 0;
    for text in transactions.lines() {
        let text = text?;
        count += 1;
        let keyed = serde_json::from_str(&text);
        let Keyed { account } = keyed.map_err(|source| Error::Line {
            line: count,
            source,
        })?;
        let key = account.to_string();
        let mut record = BaseRecord::to(topic).key(&key).payload(&text);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            producer.poll(PAUSE);
        }
        if count.is_multiple_of(SERVE_EVERY) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE)?;
    match refused.load(Ordering::Relaxed) {
        0 => Ok(count),
        count => Err(Error::Refused { count }),
    }
}

/// Writes the value of each committed record as a line, from the oldest to the newest that there
/// is; gives how many there were.
///
/// # Errors
/// If the topic is not there or cannot be read to its end.
pub fn consume((brokers, topic): (&str, &str), out: &mut impl Write) -> Result<u64, Error> {
    let mut configuration = configuration(brokers);
    configuration.set("group.id", "card-fraud-data");
    configuration.set("enable.auto.commit", "false");
    configuration.set("enable.partition.eof", "true");
    configuration.set("isolation.level", "read_committed");
    let consumer: BaseConsumer = configuration.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let mut list = TopicPartitionList::new();
    for found in metadata.topics() {
        for partition in found.partitions() {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        }
    }
    consumer.assign(&list)?;
    let (mut count, mut ends, mut since) = (0, 0, Instant::now());
    while ends < list.count() {
        match consumer.poll(PAUSE) {
            Some(Ok(record)) => {
                out.write_all(record.payload().unwrap_or_default())?;
                out.write_all(b"\n")?;
                count += 1;
                since = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(error)) => return Err(error.into()),
            None if since.elapsed() > PATIENCE => {
                let what = format!("reading topic `{topic}`");
                return Err(Error::Late { what });
            }
            None => {}
        }
    }
    Ok(count)
}
