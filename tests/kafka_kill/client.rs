//! What a test asks of Kafka itself: topics to be made and deleted, records to be read.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::PATIENCE;

/// Partitions of each topic.
pub(crate) const PARTITIONS: i32 = 4;
/// How long a reader waits for a record before it looks elsewhere.
const POLL: Duration = Duration::from_millis(50);

/// Settings for a client of a broker.
pub(crate) fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    // Brokers come and go here: whoever waits for an answer for a minute feeds or reads nothing.
    config.set("socket.timeout.ms", "5000");
    config.set("topic.metadata.refresh.interval.ms", "5000");
    config
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    config(brokers).create().expect("a client")
}

/// Makes a topic that keeps everything.
///
/// # Panics
///
/// If the broker does not.
pub(crate) fn create(brokers: &str, name: &str) {
    create_with(brokers, name, PARTITIONS, &[("retention.ms", "-1")]);
}

/// Makes a topic.
pub(crate) fn create_with(brokers: &str, name: &str, partitions: i32, with: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (name, value) in with {
        topic = topic.set(name, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let done = block_on(admin(brokers).create_topics([&topic], &options));
    let done = done.expect("the broker answers");
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    // A client that comes before everybody knows of it asks again much later.
    crate::wait("the topic is there", || {
        topics(brokers).contains(&name.to_owned())
    });
}

/// Deletes a topic, and waits until it is gone.
///
/// # Panics
///
/// If it was not there.
pub(crate) fn delete(brokers: &str, name: &str) {
    let admin = admin(brokers);
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let done = block_on(admin.delete_topics(&[name], &options)).expect("the broker answers");
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    crate::wait("the topic is gone", || {
        !topics(brokers).contains(&name.to_owned())
    });
}

/// Ends what a transactional id has begun, as its next producer would, and waits for that.
///
/// # Panics
///
/// If the broker does not.
pub(crate) fn end_transactions(brokers: &str, id: &str) {
    let mut config = config(brokers);
    let producer: BaseProducer = config
        .set("transactional.id", id)
        .create()
        .expect("a client");
    producer.init_transactions(PATIENCE).expect("an answer");
}

/// The names of all topics.
pub(crate) fn topics(brokers: &str) -> Vec<String> {
    let consumer: BaseConsumer = config(brokers).create().expect("a client");
    let metadata = consumer.fetch_metadata(None, PATIENCE).expect("an answer");
    let names = metadata
        .topics()
        .iter()
        .map(|topic| topic.name().to_owned());
    names.collect()
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: usize,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    /// The row's id, where the sink that wrote it tells it.
    pub(crate) row_id: Option<Vec<u8>>,
}

/// Reads all partitions of a topic from the beginning, and only what is committed.
pub(crate) struct Records {
    consumer: BaseConsumer,
    topic: String,
    /// Whether a partition has nothing more for now.
    is_at_end: Vec<bool>,
}

impl Records {
    pub(crate) fn of(brokers: &str, topic: &str, partitions: i32) -> Self {
        let mut config = config(brokers);
        config.set("group.id", "test");
        config.set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true");
        // That records are gone is what must not be.
        config.set("auto.offset.reset", "error");
        config.set("fetch.wait.max.ms", "100");
        config.set("reconnect.backoff.max.ms", "500");
        let consumer: BaseConsumer = config.create().expect("a client");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            let added = list.add_partition_offset(topic, partition, Offset::Offset(0));
            added.expect("an offset");
        }
        consumer.assign(&list).expect("its partitions");
        Self {
            consumer,
            topic: topic.into(),
            is_at_end: vec![false; partitions as usize],
        }
    }

    /// The next record, if there is one within a moment.
    ///
    /// # Panics
    ///
    /// If records that were there are gone.
    pub(crate) fn next(&mut self) -> Option<Record> {
        let record = match self.consumer.poll(POLL)? {
            Ok(message) => Record {
                partition: message.partition() as usize,
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().unwrap_or_default().to_vec(),
                row_id: message.headers().and_then(|headers| {
                    let mut headers = headers.iter();
                    let header = headers.find(|header| header.key == "wasmill-row-id")?;
                    header.value.map(<[u8]>::to_vec)
                }),
            },
            Err(KafkaError::PartitionEOF(partition)) => {
                self.is_at_end[partition as usize] = true;
                return None;
            }
            Err(error) => {
                let code = error.rdkafka_error_code();
                let is_gone = [
                    RDKafkaErrorCode::AutoOffsetReset,
                    RDKafkaErrorCode::OffsetOutOfRange,
                    RDKafkaErrorCode::UnknownPartition,
                ];
                let is_gone = code.is_some_and(|code| is_gone.contains(&code));
                assert!(!is_gone, "topic `{}`: {error}", self.topic);
                // The broker is away: it comes back.
                return None;
            }
        };
        self.is_at_end[record.partition] = false;
        Some(record)
    }

    /// All that is there by now.
    pub(crate) fn all(mut self) -> Vec<Record> {
        let mut all = Vec::new();
        crate::wait("the end of a topic", || {
            while !self.is_at_end.iter().all(|it| *it) {
                match self.next() {
                    Some(record) => all.push(record),
                    None if self.is_at_end.iter().all(|it| *it) => return true,
                    None => return false,
                }
            }
            true
        });
        all
    }
}

/// All committed records of a topic, as text.
pub(crate) fn texts(brokers: &str, topic: &str) -> Vec<String> {
    let records = Records::of(brokers, topic, PARTITIONS).all().into_iter();
    let texts = records.map(|record| String::from_utf8(record.value).expect("it is text"));
    texts.collect()
}

/// Waits for what a client promises.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Awake(Thread);
    impl Wake for Awake {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Awake(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
