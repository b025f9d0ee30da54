#![doc = include_str!("../README.md")]

// The derives and the export macro name this crate as their users do.
extern crate self as wasmill_sdk;

mod aggregate;
#[doc(hidden)]
pub mod aggregating;
mod arena;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod buffer;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[allow(missing_docs, reason = "called by the export macro only")]
pub mod component;
mod config;
mod context;
mod decimal;
mod descriptor;
mod encode;
#[doc(hidden)]
pub mod engine;
mod error;
mod export;
mod field;
mod host;
#[doc(hidden)]
#[allow(missing_docs, reason = "called by macros only")]
pub mod migration;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod operator;
mod row;
mod rows;
mod state;
mod states;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time;
mod timer;

pub use aggregate::Aggregate;
pub use config::{Config, Setting};
pub use context::{Context, Emit, Level, Random};
pub use decimal::{Decimal, DecimalError};
pub use encode::{Encode, State};
pub use error::{Fault, Malformed, Reject, reject};
pub use field::{Field, Items};
pub use operator::{BatchRows, Operator, Order, Plugin, Start};
pub use row::{Input, Outputs, Row, WithBroadcast};
pub use state::{Aggregating, Broadcast, List, Map, OperatorState, Reducing, Value};
pub use states::{Key, States};
pub use time::{Date, EventTime, Timestamp};
pub use timer::Timers;
pub use wasmill_sdk_macros::{Config, Outputs, Row, State, States, Timers};

/// What an operator's file and its tests need: `use wasmill_sdk::prelude::*`.
pub mod prelude {
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::testing::{AggregateHarness, Harness};
    pub use crate::{
        Aggregate, Aggregating, BatchRows, Broadcast, Config, Context, Date, Decimal, EventTime,
        Fault, Items, Level, List, Map, Operator, OperatorState, Order, Outputs, Plugin, Reducing,
        Reject, Row, Start, State, States, Timers, Timestamp, Value, WithBroadcast, plugin, reject,
    };
}

/// What the macros need.
#[doc(hidden)]
pub mod private {
    pub use crate::arena::Put;
    pub use crate::buffer::{Batch, Binder};
    pub use crate::config::{annotate, choice, key, object, object_schema};
    pub use crate::encode::{Sink, width_sum};
    pub use crate::migration::{Migrates, NewValue, unknown_migration};
    pub use crate::row::{append_output, describe_output, output_shapes, read_output, type_of};
    pub use crate::rows::{Rows, Shape};
    pub use crate::states::{Create, CreateFolded, Handle, HandleOptions, Widths};
    pub use crate::timer::TimerSpec;
    pub use serde_json::{Map, Value as Json, json};

    /// Says at compile time that a type is an aggregate, also where nothing is exported.
    pub const fn is_aggregate<A: crate::Aggregate>() {}
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use wit_bindgen::rt as wit_bindgen_rt;
