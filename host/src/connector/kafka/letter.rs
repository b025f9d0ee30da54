//! Dead letters as a sink has written them into a topic, read back.

use std::collections::BTreeSet;

use rdkafka::{
    Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError as ClientError, RDKafkaErrorCode as Code},
    message::{BorrowedMessage, Headers as _},
};
use serde_json::{Map, Value as Json};
use wasmill_core::pipeline::{
    EncodeSpec,
    document::{KafkaSink, TimestampStyle, TopicOfRow},
};

use super::{
    KafkaError,
    client::Cluster,
    sink::{PATIENCE, Told},
};
use crate::{clock, format::base64};

/// A row that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// Where it stands in the topic of dead letters.
    pub place: (i32, i64),
    /// The source or operator where it failed.
    pub at: Option<String>,
    /// What became of it.
    pub kind: Option<String>,
    /// The message.
    pub reason: Option<String>,
    /// SHA-256 of the plugin.
    pub plugin: Option<String>,
    /// What the guest logged.
    pub log: Option<String>,
    /// CPU time of the call that failed, in microseconds.
    pub cpu_us: Option<u64>,
    /// The source split that it goes back to.
    pub split: Option<String>,
    /// The offset in that split.
    pub offset: Option<u64>,
    /// The original value.
    pub original: Option<Vec<u8>>,
    /// A row that an operator emitted, as JSON.
    pub row: Option<String>,
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The original time, in microseconds since 1970.
    pub time_us: Option<i64>,
}

impl Letter {
    /// What tells it from all others: where its row stands in its source. The same in every run.
    pub fn lineage(&self) -> Option<String> {
        Some(format!("{}@{}", self.split.as_deref()?, self.offset?))
    }

    /// The topic and the partition that its row was read from.
    pub fn origin(&self) -> Option<(&str, i32)> {
        let (topic, partition) = self.split.as_deref()?.rsplit_once('/')?;
        Some((topic, partition.parse().ok()?))
    }

    /// Takes in a column as a sink writes it.
    fn take(&mut self, column: &str, value: Vec<u8>, times: TimestampStyle) {
        let text = || String::from_utf8_lossy(&value).into_owned();
        match column {
            "at" => self.at = Some(text()),
            "kind" => self.kind = Some(text()),
            "reason" => self.reason = Some(text()),
            "plugin" => self.plugin = Some(text()),
            "log" => self.log = Some(text()),
            "cpu-us" => self.cpu_us = text().parse().ok(),
            "split" => self.split = Some(text()),
            "offset" => self.offset = text().parse().ok(),
            "original" | "original-bytes" => self.original = Some(value),
            "row" => self.row = Some(text()),
            "key" | "key-bytes" => self.key = Some(value),
            "headers" => self.headers = headers(&text()),
            "time" => self.time_us = time_us(&text(), times),
            _ => {}
        }
    }

    /// Takes in a row of JSON.
    fn take_json(&mut self, row: Map<String, Json>, times: TimestampStyle) {
        for (column, value) in row {
            let is_bytes = column.ends_with("-bytes");
            let bytes = match value {
                Json::Null => continue,
                Json::String(text) if is_bytes => match base64::decode(text.as_bytes()) {
                    Some(bytes) => bytes,
                    None => continue,
                },
                Json::String(text) => text.into_bytes(),
                other => other.to_string().into_bytes(),
            };
            self.take(&column, bytes, times);
        }
    }
}

/// Headers as dead letters hold them: a list of names with values.
fn headers(text: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let Ok(Json::Array(all)) = serde_json::from_str(text) else {
        return Vec::new();
    };
    let header = |header: Json| {
        let name = header.get("name")?.as_str()?.to_owned();
        let text = header.get("value").and_then(Json::as_str);
        let coded = header.get("value-base64").and_then(Json::as_str);
        let coded = coded.and_then(|coded| base64::decode(coded.as_bytes()));
        Some((name, text.map(|text| text.as_bytes().to_vec()).or(coded)))
    };
    all.into_iter().filter_map(header).collect()
}

/// A time as a sink writes it.
fn time_us(text: &str, style: TimestampStyle) -> Option<i64> {
    let number = |scale: f64| {
        text.parse::<f64>()
            .ok()
            .map(|it| (it * scale).round() as i64)
    };
    match style {
        TimestampStyle::Rfc3339 => text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(|it| it.as_microsecond()),
        TimestampStyle::Seconds => number(1e6),
        TimestampStyle::Milliseconds => number(1e3),
        TimestampStyle::Microseconds => text.parse().ok(),
    }
}

/// Hands on every committed letter of a sink's topic, partition by partition, up to its end.
///
/// # Errors
/// If the brokers are away, the topic is not there, or its records are no dead letters.
pub fn read(
    (sink, format): (&KafkaSink, &EncodeSpec),
    mut take: impl FnMut(Letter),
) -> Result<(), KafkaError> {
    let cluster = Cluster::new(&sink.brokers, &sink.options);
    let TopicOfRow::Topic(topic) = &sink.topic else {
        return Err(KafkaError::Letters {
            what: "go to topics that the rows name".into(),
            remedy: "give them a topic of their own",
        });
    };
    for_each(&cluster, topic, |message| {
        if message.payload().is_none() && message.key().is_none() {
            return Ok(());
        }
        let letter = letter(sink, format, message)?;
        take(letter);
        Ok(())
    })
}

/// A record as the letter that it was made of.
fn letter(
    sink: &KafkaSink,
    format: &EncodeSpec,
    message: &BorrowedMessage<'_>,
) -> Result<Letter, KafkaError> {
    let mut letter = Letter {
        place: (message.partition(), message.offset()),
        ..Letter::default()
    };
    let value = message.payload().unwrap_or_default();
    match format {
        EncodeSpec::Json(json) => match serde_json::from_slice(value) {
            Ok(Json::Object(row)) => letter.take_json(row, json.timestamps),
            _ => {
                let (partition, offset) = letter.place;
                return Err(KafkaError::Letters {
                    what: format!("partition {partition}, offset {offset}, holds no JSON object"),
                    remedy: "give them a topic of their own",
                });
            }
        },
        EncodeSpec::Raw(_) => letter.original = message.payload().map(<[u8]>::to_vec),
        _ => {
            return Err(KafkaError::Letters {
                what: "are written in a format that cannot be read back".into(),
                remedy: "write them as `json` or `raw`",
            });
        }
    }
    if let (Some(column), Some(key)) = (&sink.key, message.key()) {
        letter.take(column, key.to_vec(), TimestampStyle::default());
    }
    for header in message.headers().into_iter().flat_map(|all| all.iter()) {
        let column = sink.headers.get(header.key);
        if let (Some(column), Some(value)) = (column, header.value) {
            letter.take(column, value.to_vec(), TimestampStyle::default());
        }
    }
    if let EncodeSpec::Raw(_) = format {
        // Where no column holds it, the record's own time is that of the sink's choice.
        letter.time_us = letter.time_us.or_else(|| {
            let ms = message.timestamp().to_millis()?;
            sink.timestamp.as_deref().filter(|it| *it == "time")?;
            ms.checked_mul(1000)
        });
    }
    Ok(letter)
}

/// Hands on every committed record of a topic, up to the end of each partition.
pub(super) fn for_each(
    cluster: &Cluster,
    topic: &str,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<(), KafkaError>,
) -> Result<(), KafkaError> {
    let own = [
        // A consumer must be of a group; it is never joined, and nothing is committed.
        ("group.id", "wasmill"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "true"),
    ];
    let config = cluster.config(&[("fetch.wait.max.ms", "10")], &own)?;
    let consumer: BaseConsumer<Told> =
        BaseConsumer::from_config_and_context(&config, Told::new(cluster))
            .map_err(KafkaError::of_client)?;
    let failed = |error: &ClientError| {
        let trouble = consumer.context().0.trouble();
        let what = format!("read topic `{topic}`");
        KafkaError::of(&cluster.brokers, what, error, trouble.as_ref())
    };
    let found = consumer.fetch_metadata(Some(topic), PATIENCE);
    let found = found.map_err(|error| failed(&error))?;
    let partitions = found.topics().first().filter(|it| it.error().is_none());
    let mut left: BTreeSet<i32> = partitions
        .into_iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    if left.is_empty() {
        return Err(KafkaError::NoTopic {
            topic: topic.into(),
            brokers: cluster.brokers.clone(),
        });
    }
    let mut from = TopicPartitionList::new();
    for partition in &left {
        let added = from.add_partition_offset(topic, *partition, Offset::Offset(0));
        added.map_err(|error| failed(&error))?;
    }
    let assigned = consumer.assign(&from);
    assigned.map_err(|error| failed(&error))?;
    let mut moved_us = clock::monotonic_us();
    while !left.is_empty() {
        match consumer.poll(PATIENCE / 10) {
            Some(Ok(message)) => {
                take(&message)?;
                moved_us = clock::monotonic_us();
            }
            Some(Err(ClientError::PartitionEOF(partition))) => drop(left.remove(&partition)),
            Some(Err(error)) => {
                let error = failed(&error);
                if !error.is_away() {
                    return Err(error);
                }
            }
            None => {}
        }
        let waited = clock::monotonic_us()
            .saturating_sub(moved_us)
            .unsigned_abs();
        if u128::from(waited) > PATIENCE.as_micros() {
            return Err(failed(&ClientError::Global(Code::OperationTimedOut)));
        }
    }
    Ok(())
}
