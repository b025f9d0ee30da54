//! Topics of Apache Kafka as a source.

use arrow_schema::{DataType, Field};

use super::Format;
use crate::data_type;
use crate::pipeline::TopicPattern;
use crate::pipeline::build::Builder;
use crate::pipeline::document::{FileSource, KafkaSource, KafkaStart, MessagePart};
use crate::tree::Path;

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
    /// Checks which topics are read, and how, at the path of the source.
    pub(super) fn kafka(
        &mut self,
        source: &Path,
        document: &KafkaSource,
        before: Option<&FileSource>,
        format: &Format,
    ) {
        let path = &source.key("kafka");
        self.brokers(&path.key("brokers"), &document.brokers);
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
            (None, Some(pattern)) => {
                if let Err(reason) = TopicPattern::new(pattern) {
                    let message = format!("`{pattern}` is no regular expression: {reason}");
                    let remedy = Some("for all topics whose names begin alike: `orders-.*`");
                    self.wrong(&path.key("topic-pattern"), &message, remedy);
                }
            }
        }
        if let KafkaStart::Timestamp(text) = &document.start
            && text.parse::<jiff::Timestamp>().is_err()
        {
            let message = format!("`{text}` is no time");
            let remedy = "write it as `2026-03-01T00:00:00Z`";
            self.wrong(&path.key("start").key("timestamp"), &message, Some(remedy));
        }
        for name in document.message.keys() {
            if format.fields().any(|field| field.name() == name) {
                let message = format!("the format has a column `{name}` already");
                let remedy = Some("choose another name");
                self.wrong(&path.key("message").key(name), &message, remedy);
            }
        }
        if before.is_some_and(|file| file.follow) {
            let remedy = Some("remove `follow`");
            let message = "the topic would never be read: files that are followed do not end";
            self.wrong(&source.key("file").key("follow"), message, remedy);
        }
        if before.is_some() && !document.message.is_empty() {
            let message = "the rows of files have nothing beside them";
            let remedy = Some("remove `message`, or read the files in a source of their own");
            self.wrong(&path.key("message"), message, remedy);
        }
        self.client_options(&path.key("options"), &document.options);
    }
}
