//! Tasks: what runs on slots.

pub mod alignment;
pub mod chain;
pub mod chained;
pub mod gated;
pub mod idle;
mod image;
pub mod outbox;
pub mod sink;
pub mod slot;
pub mod sorter;
pub mod source;
