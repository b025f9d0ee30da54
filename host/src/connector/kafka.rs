//! Apache Kafka, through librdkafka. The only room that knows it.

mod client;
mod error;
pub mod source;

pub use error::KafkaError;
