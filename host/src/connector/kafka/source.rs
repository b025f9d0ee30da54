//! Topics as a source. One client reads all partitions of a source, each a split; which ones there
//! are and where each goes on is the checkpoint's to say and ours to find out, so that there is no
//! group that deals partitions out, and no coordinator to ask.

mod native;
mod offsets;
mod reader;
mod topics;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use parking_lot::Mutex;
use rdkafka::{TopicPartitionList, consumer::ConsumerContext, error::RDKafkaErrorCode as Code};

use self::native::Client;
use super::{KafkaError, client::Context, error::is_away};
use crate::metrics::Counter;

pub use reader::{Taken, TopicsReader};
pub use topics::{Opening, Topics, is_split};

impl ConsumerContext for Context {}

/// What is kept of records beside their values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keep {
    /// Their keys.
    pub keys: bool,
    /// Their times.
    pub times: bool,
    /// Their headers.
    pub headers: bool,
    /// Records without a value are rows; otherwise they are passed over and counted.
    pub nulls: bool,
}

impl Keep {
    fn is_anything(self) -> bool {
        self.keys || self.times || self.headers
    }
}

/// A partition as a split.
#[derive(Debug)]
pub struct Split {
    /// The split's number.
    pub number: u32,
    /// What people call it.
    pub name: String,
    topic: Arc<str>,
    partition: i32,
    /// The offset that it goes on from.
    from: u64,
    /// The offset that it ends before.
    until: Option<u64>,
}

/// Splits by topic and partition.
type Splits = BTreeMap<(Arc<str>, i32), Arc<Split>>;

/// What the readers of a source share.
struct Shared {
    client: Arc<Client>,
    brokers: String,
    keep: Keep,
    /// Records that were passed over.
    without_value: Arc<Counter>,
    /// Records have come since this was last asked.
    answered: AtomicBool,
    splits: Mutex<Splits>,
}

impl Shared {
    fn split(&self, topic: &str, partition: i32) -> Option<Arc<Split>> {
        let splits = self.splits.lock();
        splits.get(&(topic.into(), partition)).cloned()
    }

    fn pause(&self, split: &Split, is_paused: bool) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&split.topic, split.partition);
        native::pause(&self.client, &list, is_paused);
    }

    /// What befell a partition, unless it passes by itself.
    fn trouble(&self, split: &Split, code: Code, offset: u64) -> Option<KafkaError> {
        let brokers = self.brokers.clone();
        Some(match code {
            code if is_away(code) => return None,
            Code::AutoOffsetReset | Code::OffsetOutOfRange => KafkaError::OutOfRange {
                split: split.name.clone(),
                offset,
                brokers,
            },
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownTopicId
            | Code::UnknownPartition => KafkaError::TopicGone {
                split: split.name.clone(),
                brokers,
            },
            code => {
                let error = rdkafka::error::KafkaError::MessageConsumption(code);
                KafkaError::of(&brokers, format!("read `{}`", split.name), &error, None)
            }
        })
    }
}
