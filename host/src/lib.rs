//! The wasmill runtime: it does what `wasmill-core` decides.

pub mod clock;
pub mod spawn;
pub mod task;
