//! The wasmill runtime: it does what `wasmill-core` decides.

pub mod cli;
pub mod clock;
pub mod connector;
pub mod exchange;
pub mod feature;
pub mod format;
pub mod plugin_store;
pub mod spawn;
pub mod state;
pub mod task;
pub mod wasm;
