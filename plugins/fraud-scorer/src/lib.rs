//! Scores payments by a neural net that runs inside the sandbox.

pub mod inputs;
pub mod model;
pub mod reasons;
