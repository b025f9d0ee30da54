//! The wasmill runtime: it does what `wasmill-core` decides.

mod allocator;
pub mod api;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod connector;
pub mod crash_point;
pub mod dead_letter;
pub mod exchange;
pub mod feature;
pub mod format;
#[cfg(test)]
#[path = "../core/src/tests/golden.rs"]
mod golden;
pub mod inspection;
pub mod job;
pub mod join;
pub mod metrics;
pub mod operator;
pub mod plugin_store;
pub mod secret;
pub mod segment;
pub mod spawn;
pub mod state;
pub mod task;
pub mod wasm;
pub mod window;
