//! A running job's private socket: what it answers, and who asks. `docs/api.md` is about it.
//!
//! The job's side reads counters and hands requests to the loop of checkpoints; it runs on the
//! runtime of the control plane and never touches what rows pass through. Only the same user may
//! connect.

pub mod address;
mod board;
pub mod client;
mod error;
mod routes;
mod sample;
mod server;
pub mod shape;

pub use board::{Board, Identity};
pub use error::ApiError;
pub use server::Server;
