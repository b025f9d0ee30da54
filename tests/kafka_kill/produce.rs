//! Records for topics, of tests that do not need them to come by and by.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::client::{Record, config, create_with};

/// A record to be.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    /// Its time in milliseconds since 1970; now if not given.
    pub(crate) at: Option<i64>,
}

/// Writes records, and waits until all are there.
///
/// # Panics
///
/// If the broker does not take them.
pub(crate) fn produce(brokers: &str, topic: &str, records: impl IntoIterator<Item = New>) {
    let mut config = config(brokers);
    config
        .set("enable.idempotence", "true")
        .set("linger.ms", "2");
    let producer: BaseProducer = config.create().expect("a client");
    for new in records {
        let mut record = BaseRecord::to(topic).partition(new.partition);
        record = record.key(&new.key).payload(&new.value);
        if let Some(at) = new.at {
            record = record.timestamp(at);
        }
        while let Err((error, back)) = producer.send(record) {
            let is_full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, is_full, "the client takes records");
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer
        .flush(crate::PATIENCE)
        .expect("the broker takes them");
}

/// Makes a topic anew, with these records.
pub(crate) fn bring_back(brokers: &str, topic: &str, records: &[Record], with: &[(&str, &str)]) {
    let partitions = records.iter().map(|record| record.partition + 1).max();
    create_with(brokers, topic, partitions.unwrap_or(1) as i32, with);
    let new = |record: &Record| {
        let key = record.key.clone().unwrap_or_default();
        New {
            partition: record.partition as i32,
            key: String::from_utf8(key).expect("a key is text"),
            value: record.value.clone(),
            at: None,
        }
    };
    produce(brokers, topic, records.iter().map(new));
}
