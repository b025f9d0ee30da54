//! Apache Kafka, through librdkafka. The only room that knows it.

mod client;
mod error;
mod sink;
pub mod source;

pub use error::KafkaError;
pub use sink::{KafkaDecider, KafkaFollower, KafkaPlain, verdict};
