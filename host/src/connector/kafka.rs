//! Apache Kafka, through librdkafka. The only room that knows it.

mod client;
mod error;
mod letter;
mod sink;
pub mod source;

pub use client::{addresses, wrong_options};
pub use error::KafkaError;
pub use letter::{Letter, read as read_letters};
pub use sink::{
    KafkaDecider, KafkaFollower, KafkaPlain, Redriven, redrive, verdict, would_redrive,
};
