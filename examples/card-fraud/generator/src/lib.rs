//! Bank transactions with planted frauds, and the judge of what was found.
//!
//! [`Generator`] draws transactions from a seed: honest life with everything that looks like
//! fraud and is not, and five kinds of fraud, each incident with its [`Label`]. [`evaluate`]
//! holds alerts against the labels.

mod account;
pub mod agree;
mod calendar;
pub mod compare;
pub mod evaluate;
mod generator;
mod honest;
mod incident;
mod label;
mod market;
pub mod oracle;
mod past;
mod random;
pub mod row;
mod schedule;
pub mod topic;
pub mod training;
mod transaction;

pub use calendar::Writer;
pub use generator::{DELAY_MAX_US, Generator, Options, Row};
pub use incident::Kind;
pub use label::Label;
pub use transaction::{Channel, Transaction};
