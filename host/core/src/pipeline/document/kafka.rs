//! Topics of Apache Kafka.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OneOrMore;
use crate::duration::DurationText;
use crate::secret::TextOrSecret;

/// Topics to read; each partition is a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KafkaSource {
    /// Where brokers of the cluster listen: `HOST:PORT`, or a list of such. One that answers is
    /// enough, it knows the others.
    pub brokers: OneOrMore,
    /// The topic, or a list of topics.
    pub topic: Option<OneOrMore>,
    /// A regular expression instead: the topics whose whole name it matches, also those that are
    /// made later.
    pub topic_pattern: Option<String>,
    /// Where a partition begins that no checkpoint knows; `earliest` if not given.
    #[serde(default)]
    pub start: KafkaStart,
    /// Where the input ends; never if not given.
    pub stop: Option<KafkaStop>,
    /// A consumer group whose offsets show how far decided checkpoints have come, for tools that
    /// look at groups. Nothing is read from it, unless `start` says so.
    pub group: Option<String>,
    /// Columns of what stands beside a record's value, by their names.
    #[serde(default)]
    pub message: IndexMap<String, MessagePart>,
    /// How often new partitions and topics are looked for; 30s if not given.
    pub discover_every: Option<DurationText>,
    /// Options of the client by librdkafka's names, such as `security.protocol`. Secrets are said by
    /// reference: `{ env: NAME }` or `{ file: PATH }`.
    #[serde(default)]
    pub options: BTreeMap<String, TextOrSecret>,
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
    Offsets(BTreeMap<String, BTreeMap<u32, u64>>),
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
