//! The decisions of wasmill, pure: what a pipeline means, how it is planned, what a batch is, how
//! time moves.
//!
//! Nothing here does IO, reads a clock or starts a thread; so the tests build in seconds and a
//! simulation can own time. `wasmill-host` does what this crate decides.
#![warn(missing_docs)]

pub mod batch;
pub mod boundary;
pub mod byte_size;
pub mod checkpoint;
pub mod data_type;
pub mod dead_letter;
pub mod descriptor;
pub mod duration;
pub mod encoding;
pub mod feature;
#[cfg(test)]
#[path = "tests/golden.rs"]
mod golden;
pub mod graph;
pub mod join;
pub mod json_schema;
pub mod key;
pub mod lineage;
pub mod paged;
pub mod pipeline;
pub mod plan;
pub mod restart;
pub mod secret;
pub mod spelling;
pub mod timer;
pub mod tree;
pub mod watermark;
pub mod window;
