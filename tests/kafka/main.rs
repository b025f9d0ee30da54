//! A real Kafka behind the real program: topics are read from where the document says to where it
//! says, each record once, whoever is killed.

mod clusters;
mod dlq;
mod drift;
mod job;
mod kills;
mod login;
mod message;
mod registry;
mod sinks;
mod start;
mod topics;
mod trouble;
