//! Edges between tasks: bounded queues with credits that carry rows, watermarks and ends in band.

pub mod gate;
pub mod intake;
pub mod turn;
