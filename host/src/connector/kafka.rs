//! Apache Kafka, through librdkafka. The only room that knows it.

mod client;
mod error;

pub use error::KafkaError;

use wasmill_core::{checkpoint::Notes, pipeline::document::KafkaSink};

/// The newest verdict.
pub fn verdict(
    of: &super::sink::DecidingSink,
    kafka: &KafkaSink,
) -> Result<(String, Notes), super::ConnectorError> {
    todo!("{of:?} {kafka:?}")
}
