//! Topics of Apache Kafka, as input and as output.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OneOrMore;
use crate::duration::DurationText;
use crate::secret::{SecretReference, TextOrSecret};

/// Options of the client by librdkafka's names, such as `security.protocol`. Secrets are said by
/// reference: `{ env: NAME }` or `{ file: PATH }`.
pub type ClientOptions = BTreeMap<String, TextOrSecret>;

/// Where brokers of a cluster listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Brokers {
    /// `HOST:PORT`.
    One(String),
    /// Several of them.
    More(Vec<String>),
    /// Where they are to be found, with commas between them. They are not secret.
    Elsewhere(SecretReference),
}

/// Columns of what stands beside a record's value, by their names.
pub type MessageParts = IndexMap<String, MessagePart>;

/// Topics to read; each partition is a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KafkaSource {
    /// Where brokers of the cluster listen: `HOST:PORT`, a list of such, or where it is to be
    /// found. One that answers is enough, it knows the others.
    pub brokers: Brokers,
    /// The topic, or a list of topics.
    pub topic: Option<OneOrMore>,
    /// A regular expression instead: the topics whose whole name it matches, also those that are
    /// made later.
    pub topic_pattern: Option<String>,
    /// Where a partition begins that no checkpoint knows; `earliest` if not given. Partitions that
    /// are made while the job runs begin with their oldest record.
    #[serde(default)]
    pub start: KafkaStart,
    /// Where the input ends; never if not given.
    pub stop: Option<KafkaStop>,
    /// A consumer group whose offsets show how far decided checkpoints have come, for tools that
    /// look at groups. Nothing is read from it, unless `start` says so.
    pub group: Option<String>,
    /// Columns of what stands beside a record's value, by their names; they come behind those of
    /// the format.
    #[serde(default)]
    pub message: MessageParts,
    /// How often new partitions and topics are looked for; 30s if not given.
    pub discover_every: Option<DurationText>,
    /// How long no broker may answer before the job fails; 10m if not given.
    pub give_up_after: Option<DurationText>,
    /// Options of the client.
    #[serde(default)]
    pub options: ClientOptions,
}

/// Where a partition begins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KafkaStart {
    /// With the oldest record that there is.
    #[default]
    Earliest,
    /// Behind the newest record that there is when the job first runs.
    Latest,
    /// With the first record that is not older: a time as in `2026-03-01T00:00:00Z`.
    Timestamp(String),
    /// Where a consumer group stands; a partition of which it knows nothing begins with its oldest
    /// record.
    Group(String),
    /// By topic and partition; a partition that is not named begins with its oldest record.
    Offsets(
        #[schemars(with = "BTreeMap<String, BTreeMap<String, u64>>")]
        BTreeMap<String, BTreeMap<u32, u64>>,
    ),
}

/// Where the input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KafkaStop {
    /// Where each partition ended when the job first ran: a batch.
    End,
}

/// What stands beside a record's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MessagePart {
    /// The record's key as text, type `string?`.
    Key,
    /// The record's key, type `bytes?`.
    KeyBytes,
    /// The record's time, type `timestamp`.
    Timestamp,
    /// The topic's name, type `string`.
    Topic,
    /// The partition's number, type `u32`.
    Partition,
    /// The record's offset, type `u64`.
    Offset,
    /// The last header of a name as text, type `string?`.
    Header(String),
}

/// A topic to write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KafkaSink {
    /// Where brokers of the cluster listen: `HOST:PORT`, a list of such, or where it is to be
    /// found. One that answers is enough, it knows the others.
    pub brokers: Brokers,
    /// The topic, or the column that holds the topic of each row.
    pub topic: TopicOfRow,
    /// The column that is the record's key, of type `string`, `bytes`, an integer or one of them
    /// that may be null; a record has no key if not given. Text and integers are written as text.
    pub key: Option<String>,
    /// The column that holds the number of the partition; if not given, the key decides as it does
    /// with Java's clients, and without a key any.
    pub partition: Option<String>,
    /// Headers, by name: the columns that hold them. Nulls are left out.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// The column that is the record's time, of type `timestamp`; the row's event time if not
    /// given, and the time of sending where it has none.
    pub timestamp: Option<String>,
    /// Takes a changelog: the newest row of a key is its value, and a deleted row is a record
    /// without a value, so that a compacted topic holds what is current. Needs a `key`.
    #[serde(default)]
    pub upsert: bool,
    /// The topic in which an `exactly-once` sink notes what is committed;
    /// `wasmill.markers.JOB.SINK` if not given. It is made if it is not there, has one partition
    /// and belongs to this sink alone: where it is deleted, nobody knows what is written.
    pub markers: Option<String>,
    /// Whether the sink's transactions decide the job's checkpoints, so that its rows are written
    /// once and not into the checkpoint too. One `exactly-once` sink of a job may.
    #[serde(default)]
    pub decides: bool,
    /// How long no broker may answer before the job fails; 10m if not given.
    pub give_up_after: Option<DurationText>,
    /// Options of the client.
    #[serde(default)]
    pub options: ClientOptions,
}

/// The topic of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TopicOfRow {
    /// The same for all rows.
    Topic(String),
    /// What a column says.
    Column(TopicColumn),
}

/// The column that holds the topic of each row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TopicColumn {
    /// Its name; of type `string`.
    pub column: String,
}
