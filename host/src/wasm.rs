//! Plugins: loading them, and calling into their sandbox. The only place that knows wasmtime.
//!
//! A guest is hostile. Its component passes a pre-pass before it is compiled, its instance runs
//! under limits, its
//! imports reach nothing outside, and what it returns is only bytes until
//! `wasmill_core::boundary` has checked it.

mod bindings;
mod cache;
mod call;
mod capability;
mod engine;
mod error;
mod guest;
mod instance;
mod limits;
mod log;
mod migration;
mod native;
mod plugin;
mod prepass;
mod record;
mod seeds;
mod store;
mod ticker;
mod wasi;

pub use bindings::Fault;
pub use call::{CallContext, StateQuestion, StateReader, block_on};
pub use engine::{Compiler, Engine, EngineOptions, compile_child};
pub use error::{CallError, PIECES, PluginError, TrapKind};
pub use instance::{Fold, Instance, InstanceOptions, RawOutput, World};
pub use limits::{Limit, Limits};
pub use log::{Level, LogLine};
pub use migration::{ByteStrings, Migrator, NewValues, OldValues};
pub use native::NativeOperator;
pub use plugin::Plugin;
pub use seeds::Seeds;

#[cfg(test)]
mod tests;
