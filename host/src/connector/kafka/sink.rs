//! Rows into topics.
//!
//! ```text
//! rows -- RecordEncoder --> records -- Producer --> cluster                at-least-once, early
//! rows -- RecordEncoder --> spool --> share of a checkpoint
//!                    share -- Producer: rows and marker, one transaction --> cluster
//! rows -- RecordEncoder --> Producer: an open transaction, verdict --> cluster         decides
//! ```

mod codes;
mod decider;
mod follower;
mod marker;
mod marker_topic;
mod native;
mod plain;
mod producer;
mod record;
mod redrive;
mod session;
mod told;

pub use decider::{KafkaDecider, verdict};
pub use follower::KafkaFollower;
pub use plain::KafkaPlain;
pub use redrive::{Redriven, redrive, would_redrive};

pub(super) use {producer::PATIENCE, told::Told};

use std::{ffi::CString, time::Duration};

use wasmill_core::pipeline::document::{KafkaSink, TopicOfRow};

use super::KafkaError;
use crate::connector::ConnectorError;

/// How long no broker may answer.
fn give_up_after(sink: &KafkaSink) -> Duration {
    Duration::from_micros(sink.give_up_after_us().unsigned_abs())
}

/// The topic of all rows, if it is one.
fn topic(sink: &KafkaSink) -> Option<&str> {
    match &sink.topic {
        TopicOfRow::Topic(topic) => Some(topic),
        TopicOfRow::Column(_) => None,
    }
}

/// The topics as people read them.
fn told(sink: &KafkaSink) -> String {
    match &sink.topic {
        TopicOfRow::Topic(topic) => format!("the topic `{topic}`"),
        TopicOfRow::Column(topic) => format!("the topics that `{}` names", topic.column),
    }
}

/// The topic of records that name none; empty where all do.
fn topic_of_all(topic: Option<&str>) -> CString {
    CString::new(topic.unwrap_or_default()).unwrap_or_default()
}

/// What is away may come back, and is tried again.
fn away(error: KafkaError, give_up_after: Duration) -> ConnectorError {
    match error {
        KafkaError::Away { ref brokers, .. } | KafkaError::Unsure { ref brokers, .. } => {
            ConnectorError::Away {
                place: format!("`{brokers}`"),
                give_up_after,
                cause: Box::new(error),
            }
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests;
