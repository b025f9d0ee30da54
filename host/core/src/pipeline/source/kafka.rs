//! Topics of Apache Kafka as a source.

use arrow_schema::{DataType, Field};

use crate::data_type;
use crate::pipeline::build::Builder;
use crate::pipeline::document::{KafkaSource, KafkaStart, MessagePart};
use crate::secret::TextOrSecret;
use crate::tree::Path;

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
];

/// Options whose values nobody else may read.
const SECRETS: &[&str] = &[
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
];

impl MessagePart {
    /// The column that it becomes.
    pub fn field(&self, name: &str) -> Field {
        let (data_type, nullable) = match self {
            Self::Key | Self::Header(_) => (DataType::Utf8, true),
            Self::KeyBytes => (DataType::Binary, true),
            Self::Timestamp => (data_type::timestamp(), false),
            Self::Topic => (DataType::Utf8, false),
            Self::Partition => (DataType::UInt32, false),
            Self::Offset => (DataType::UInt64, false),
        };
        Field::new(name, data_type, nullable)
    }
}

impl Builder<'_> {
    /// Checks which topics are read, and how.
    pub(super) fn kafka(&mut self, path: &Path, document: &KafkaSource) {
        self.brokers(&path.key("brokers"), document.brokers.iter());
        match (&document.topic, &document.topic_pattern) {
            (Some(_), Some(_)) | (None, None) => {
                let remedy = "say one of `topic` and `topic-pattern`";
                self.wrong(path, "it must be clear which topics are read", Some(remedy));
            }
            (Some(topics), None) => {
                for topic in topics.iter() {
                    self.topic(&path.key("topic"), topic);
                }
            }
            (None, Some(_)) => {}
        }
        if let KafkaStart::Timestamp(text) = &document.start
            && text.parse::<jiff::Timestamp>().is_err()
        {
            let message = format!("`{text}` is no time");
            let remedy = "write it as `2026-03-01T00:00:00Z`";
            self.wrong(&path.key("start").key("timestamp"), &message, Some(remedy));
        }
        self.client_options(&path.key("options"), &document.options);
    }

    /// Addresses with a port each.
    pub(in crate::pipeline) fn brokers<'a>(
        &mut self,
        path: &Path,
        brokers: impl Iterator<Item = &'a str>,
    ) {
        for broker in brokers {
            let port = broker.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                let message = format!("`{broker}` is no address of a broker");
                self.wrong(path, &message, Some("write `HOST:PORT`, such as `localhost:9092`"));
            }
        }
    }

    /// A name as Kafka accepts it.
    pub(in crate::pipeline) fn topic(&mut self, path: &Path, topic: &str) {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=249).contains(&topic.len()) && topic.bytes().all(is_plain);
        if !is_name || matches!(topic, "." | "..") {
            let message = format!("`{topic}` is no name of a topic");
            let remedy = "a topic has letters, digits, `.`, `_` and `-`";
            self.wrong(path, &message, Some(remedy));
        }
    }

    /// Options of the client: those that are the engine's are said elsewhere, and secrets by
    /// reference.
    pub(in crate::pipeline) fn client_options<'a>(
        &mut self,
        path: &Path,
        options: impl IntoIterator<Item = (&'a String, &'a TextOrSecret)>,
    ) {
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
