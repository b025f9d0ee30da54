//! Apache Kafka: what sources and sinks of it say alike.

use super::build::Builder;
use super::document::{
    Brokers, ClientOptions, KafkaSink, KafkaSource, OneOrMore, TopicColumn, TopicOfRow,
};
use crate::secret::{SecretReference, TextOrSecret};
use crate::tree::Path;

/// How long no broker may answer.
const GIVE_UP_AFTER_US: i64 = 600_000_000;
/// How often new partitions and topics are looked for.
const DISCOVER_EVERY_US: i64 = 30_000_000;

/// Notes of `exactly-once` sinks lie in topics of such names.
pub const MARKERS_PREFIX: &str = "wasmill.markers.";

impl KafkaSource {
    /// How long no broker may answer before the job fails, in microseconds.
    pub fn give_up_after_us(&self) -> i64 {
        self.give_up_after
            .map_or(GIVE_UP_AFTER_US, |time| time.as_us())
    }

    /// How often new partitions and topics are looked for, in microseconds.
    pub fn discover_every_us(&self) -> i64 {
        self.discover_every
            .map_or(DISCOVER_EVERY_US, |time| time.as_us())
    }

    /// The topics as people read them.
    pub fn told_topics(&self) -> String {
        let topics = self.topic.iter().flat_map(OneOrMore::iter);
        let pattern = self.topic_pattern.as_deref();
        topics.chain(pattern).collect::<Vec<_>>().join(", ")
    }
}

impl KafkaSink {
    /// How long no broker may answer before the job fails, in microseconds.
    pub fn give_up_after_us(&self) -> i64 {
        self.give_up_after
            .map_or(GIVE_UP_AFTER_US, |time| time.as_us())
    }

    /// The topic as people read it.
    pub fn told_topic(&self) -> String {
        match &self.topic {
            TopicOfRow::Topic(topic) => topic.clone(),
            TopicOfRow::Column(TopicColumn { column }) => format!("as `{column}` says"),
        }
    }

    /// The topic in which a sink of a job notes what is committed.
    pub fn marker_topic(&self, job: &str, sink: &str) -> String {
        let own = || format!("{MARKERS_PREFIX}{job}.{sink}");
        self.markers.clone().unwrap_or_else(own)
    }
}

impl Brokers {
    /// The addresses that stand in the document.
    pub fn written(&self) -> &[String] {
        match self {
            Self::One(broker) => std::slice::from_ref(broker),
            Self::More(brokers) => brokers,
            Self::Elsewhere(_) => &[],
        }
    }

    /// Where the addresses are to be found, if they do not stand in the document.
    pub fn reference(&self) -> Option<&SecretReference> {
        match self {
            Self::Elsewhere(reference) => Some(reference),
            _ => None,
        }
    }
}

/// Whether a text is the address of a broker: a host and a port.
pub fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    is_host && matches!(port.parse::<u16>(), Ok(1..))
}

/// Whether a text is a name as Kafka accepts it for a topic.
pub fn is_topic(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = (1..=249).contains(&text.len()) && text.bytes().all(is_plain);
    is_name && !matches!(text, "." | "..")
}

/// Options that the engine sets itself, and what to say instead of them.
const OWN: &[(&str, &str)] = &[
    ("bootstrap.servers", "say `brokers`"),
    ("metadata.broker.list", "say `brokers`"),
    ("group.id", "say `group`"),
    ("auto.offset.reset", "say `start`"),
    ("enable.auto.commit", "checkpoints hold the offsets"),
    ("enable.auto.offset.store", "checkpoints hold the offsets"),
    ("enable.partition.eof", "say `stop`"),
    ("isolation.level", "only committed records are read"),
    ("transactional.id", "say `delivery`"),
    ("enable.idempotence", "no record is sent twice"),
    ("acks", "all replicas in sync acknowledge each record"),
    (
        "request.required.acks",
        "all replicas in sync acknowledge each record",
    ),
];

/// Options whose values nobody else may read.
const SECRETS: &[&str] = &[
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.token",
    "ssl_key",
];

impl Builder<'_> {
    /// Addresses with a port each.
    pub(super) fn brokers(&mut self, path: &Path, brokers: &Brokers) {
        for broker in brokers.written().iter().filter(|it| !is_broker(it)) {
            let message = format!("`{broker}` is no address of a broker");
            let remedy = "write `HOST:PORT`, such as `localhost:9092`";
            self.wrong(path, &message, Some(remedy));
        }
    }

    /// A name as Kafka accepts it.
    pub(super) fn topic(&mut self, path: &Path, topic: &str) {
        if !is_topic(topic) {
            let message = format!("`{topic}` is no name of a topic");
            let remedy = "a topic has letters, digits, `.`, `_` and `-`";
            self.wrong(path, &message, Some(remedy));
        }
    }

    /// Options of the client: those that are the engine's are said elsewhere, and secrets by
    /// reference.
    pub(super) fn client_options(&mut self, path: &Path, options: &ClientOptions) {
        for (name, value) in options {
            let path = path.key(name);
            if let Some((_, remedy)) = OWN.iter().find(|(own, _)| own == name) {
                let message = format!("`{name}` is the engine's own");
                self.wrong(&path, &message, Some(remedy));
            }
            if SECRETS.contains(&name.as_str()) && matches!(value, TextOrSecret::Text(_)) {
                let message = format!("`{name}` is secret");
                let remedy = "say where it is to be found: `{ env: NAME }` or `{ file: PATH }`";
                self.wrong(&path, &message, Some(remedy));
            }
        }
    }
}
