//! Checkpoints and savepoints looked at from outside: what they hold, whether they are whole, and
//! the state in them as rows with typed columns. Nothing here writes to the store.
//!
//! Segments are read a stretch of key groups at a time, so that state may be larger than memory.

mod columns;
mod damage;
mod error;
mod export;
mod key;
mod log;
mod pending;
mod sql;
mod stretch;
mod table;
mod usage;
mod windows;

pub use damage::{Damage, Verified, Which, verify};
pub use error::InspectionError;
pub use export::{ExportFormat, Exporter};
pub use key::KeyColumns;
pub use log::{Listed, Log, Store, Target};
pub use sql::{Answer, Query};
pub use table::{KeptOf, KeyNames, KeyRow, Table, Tables};
pub use usage::{GroupUsage, StateUsage, usage};
