//! Apache Kafka, through librdkafka. The only room that knows it.

mod client;
mod error;

pub use error::KafkaError;

use wasmill_core::{checkpoint::Verdict, pipeline::document::KafkaSink};

/// The newest verdict.
pub fn verdict(
    of: &super::sink::DecidingSink,
    kafka: &KafkaSink,
) -> Result<(String, Option<Verdict>), super::ConnectorError> {
    todo!("{of:?} {kafka:?}")
}
