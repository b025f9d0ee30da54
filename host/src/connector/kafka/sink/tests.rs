//! Against a real broker: `cargo xtask test` starts one and names it in `KAFKA_BROKERS`.

mod follower;
mod plain;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_executor::block_on;
use parking_lot::Mutex;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError as ClientError,
    message::Headers as _,
};
use wasmill_core::{
    batch::Batch,
    lineage::{Ancestor, Lineage},
    pipeline::{
        self, EncodeSpec, SinkKind,
        document::{Brokers, Delivery, EncodeJson, KafkaSink, TopicOfRow},
    },
};

use super::told::Told;
use crate::{
    clock,
    connector::kafka::{KafkaError, client::Cluster},
    format::testing,
    spawn,
};

/// Has a transaction fail after so many steps.
#[derive(Debug, Clone)]
pub(super) struct Fuse(Arc<State>);

#[derive(Debug)]
struct State {
    steps: AtomicI64,
    /// Whether it has, and whether the transaction had ended by then.
    blown: Mutex<Option<bool>>,
}

impl Default for Fuse {
    fn default() -> Self {
        Self(Arc::new(State {
            steps: i64::MAX.into(),
            blown: Mutex::default(),
        }))
    }
}

impl Fuse {
    fn arm(&self, steps: u64) {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        self.0.steps.store(steps, Ordering::Relaxed);
        *self.0.blown.lock() = None;
    }

    /// Whether a transaction was left open.
    fn has_left_one_open(&self) -> bool {
        *self.0.blown.lock() == Some(false)
    }

    pub(super) fn step(&self, has_ended: bool) -> Result<(), KafkaError> {
        if self.0.steps.fetch_sub(1, Ordering::Relaxed) != 0 {
            return Ok(());
        }
        *self.0.blown.lock() = Some(has_ended);
        Err(KafkaError::Unsure {
            brokers: "the test".into(),
            reason: "the fuse has blown".into(),
        })
    }
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    partition: i32,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
    time_ms: Option<i64>,
    offset: i64,
}

/// A cluster with topics of the test's own.
struct Outside {
    target: KafkaSink,
    format: EncodeSpec,
    topic: String,
    spool: tempfile::TempDir,
    fuse: Fuse,
    /// What it has made.
    topics: Vec<String>,
}

fn cluster() -> Cluster {
    let brokers = std::env::var("KAFKA_BROKERS")
        .expect("run `cargo xtask test`, or set KAFKA_BROKERS to what `cargo xtask kafka up` says");
    Cluster::new(&Brokers::One(brokers), &Default::default())
}

impl Outside {
    /// A topic with so many partitions, and a sink into it.
    fn new(partitions: i32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let topic = format!("unit-sink-{}-{number}", std::process::id());
        let mut this = Self {
            target: KafkaSink {
                brokers: Brokers::One(cluster().brokers),
                topic: TopicOfRow::Topic(topic.clone()),
                key: None,
                partition: None,
                headers: Default::default(),
                timestamp: None,
                upsert: false,
                markers: Some(format!("{topic}-markers")),
                decides: false,
                give_up_after: None,
                options: Default::default(),
            },
            format: EncodeSpec::Json(EncodeJson::default()),
            topic: topic.clone(),
            spool: tempfile::tempdir().expect("a temporary folder"),
            fuse: Fuse::default(),
            topics: vec![format!("{topic}-markers")],
        };
        this.make(&topic, partitions, &[]);
        this
    }

    fn admin() -> AdminClient<Told> {
        let config = cluster().config(&[], &[]).expect("no secrets");
        AdminClient::from_config_and_context(&config, Told::new(&cluster())).expect("a client")
    }

    fn make(&mut self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let made = block_on(Self::admin().create_topics([&new], &AdminOptions::new()));
        made.expect("the broker answers")
            .remove(0)
            .expect("a topic");
        self.topics.push(topic.into());
    }

    fn delete(&self, topic: &str) {
        let gone = block_on(Self::admin().delete_topics(&[topic], &AdminOptions::new()));
        gone.expect("the broker answers").remove(0).expect("gone");
        let is_there = || {
            let client = Self::admin();
            let all = client.inner().fetch_metadata(None, Duration::from_secs(10));
            let all = all.expect("the broker answers");
            all.topics().iter().any(|found| found.name() == topic)
        };
        while is_there() {
            spawn::pause(Duration::from_millis(20));
        }
    }

    fn markers(&self) -> String {
        self.target.marker_topic("job", "sink")
    }

    fn sink(&self, delivery: Delivery) -> pipeline::Sink {
        pipeline::Sink {
            name: "sink".into(),
            kind: SinkKind::Kafka(Box::new(self.target.clone()), self.format.clone()),
            inputs: Vec::new(),
            include: Vec::new(),
            is_for_dead_letters: false,
            delivery,
        }
    }

    /// What a reader sees that waits until no transaction is on its way, unless one was left open.
    fn seen_in(&self, topic: &str) -> Vec<Seen> {
        let watermark = |isolation: &str| {
            let consumer = consumer(isolation);
            let ends = consumer.fetch_watermarks(topic, 0, Duration::from_secs(10));
            ends.expect("the broker answers").1
        };
        let began = clock::monotonic_us();
        while !self.fuse.has_left_one_open()
            && watermark("read_committed") < watermark("read_uncommitted")
        {
            assert!(
                clock::monotonic_us() - began < 30_000_000,
                "a transaction is open"
            );
        }
        read(topic)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen_in(&self.topic)
    }

    fn values(&self) -> Vec<String> {
        let seen = self.seen().into_iter();
        seen.map(|seen| seen.value.expect("a value")).collect()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let _ = block_on(Self::admin().delete_topics(&topics, &AdminOptions::new()));
    }
}

fn consumer(isolation: &str) -> BaseConsumer<Told> {
    let own = [
        ("group.id", "unit"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("isolation.level", isolation),
        ("enable.partition.eof", "true"),
        ("fetch.wait.max.ms", "10"),
    ];
    let config = cluster().config(&[], &own).expect("no secrets");
    BaseConsumer::from_config_and_context(&config, Told::new(&cluster())).expect("a client")
}

/// All committed records of a topic, by partition and offset.
fn read(topic: &str) -> Vec<Seen> {
    let consumer = consumer("read_committed");
    let found = consumer.fetch_metadata(Some(topic), Duration::from_secs(10));
    let found = found.expect("the broker answers");
    let partitions = found.topics()[0].partitions().len();
    let mut from = TopicPartitionList::new();
    for partition in 0..partitions {
        let added = from.add_partition_offset(topic, partition as i32, Offset::Beginning);
        added.expect("a partition");
    }
    consumer.assign(&from).expect("the partitions are there");
    let (mut seen, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => {
                let text = |bytes: Option<&[u8]>| {
                    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                let headers = message
                    .headers()
                    .into_iter()
                    .flat_map(|headers| headers.iter());
                seen.push(Seen {
                    partition: message.partition(),
                    key: text(message.key()),
                    value: text(message.payload()),
                    headers: headers
                        .map(|header| {
                            let value = text(header.value).unwrap_or_default();
                            (header.key.to_owned(), value)
                        })
                        .collect(),
                    time_ms: message.timestamp().to_millis(),
                    offset: message.offset(),
                });
            }
            Some(Err(ClientError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    seen.sort_by_key(|seen| (seen.partition, seen.offset));
    seen
}

fn batch(columns: &[(&str, &str)], text: &str) -> Batch {
    let rows = testing::json_rows(columns, text);
    let len = rows.num_rows();
    Batch::new(
        rows,
        Lineage::whole(Ancestor::Chunk(Default::default()), len),
    )
}
