//! The wasmill runtime: it does what `wasmill-core` decides.

pub mod clock;
pub mod exchange;
pub mod spawn;
pub mod task;
pub mod wasm;
