//! What a plugin says about itself (`docs/formats/descriptor.md`), checked: the document comes from
//! a stranger.

mod document;

use std::sync::Arc;

use arrow_schema::{Field, Schema as ArrowSchema, SchemaRef};
use sha2::{Digest, Sha256};

use crate::data_type;
use crate::feature::FeatureSpec;
use crate::json_schema::Schema as JsonSchema;

pub use document::{Kind, TimeDomain};

/// The longest descriptor.
pub const BYTES_MAX: usize = 256 << 10;

/// Everything that is wrong with a descriptor; at least one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plugin's descriptor is wrong: {}", .0.join("; "))]
pub struct DescriptorError(pub Vec<String>);

/// A plugin's description of itself, known to be consistent.
#[derive(Debug, Clone)]
pub struct Descriptor {
    /// The plugin's name.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// One paragraph for people.
    pub doc: String,
    /// What it reads; at least one.
    pub inputs: Vec<Input>,
    /// Key columns that the guest wants to see in the keys section.
    pub keys: Vec<Field>,
    /// Whether the pipeline must give `key-by`.
    pub keyed: bool,
    /// The order of a key's rows that it wants.
    pub order: Order,
    /// Its states, numbered as in buffers.
    pub states: Vec<State>,
    /// Its timers, numbered as in buffers.
    pub timers: Vec<Timer>,
    /// Features that it brings, by the name of their column.
    pub features: Vec<(String, FeatureSpec)>,
    /// What it emits; the first is the operator's own stream.
    pub outputs: Vec<Output>,
    /// What it aggregates with, if it is an aggregate for windows and no operator.
    pub aggregate: Option<Aggregate>,
    /// The schema of its configuration.
    pub config: JsonSchema,
    /// Uses of unstable parts of the contract, in words; empty for most plugins.
    pub unstable: Vec<String>,
}

/// The order in which a key's rows are processed.
pub type Order = crate::pipeline::document::OrderWord;

/// An input.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Whether rows carry their event time.
    pub time: bool,
    /// Whether updates and deletes are understood.
    pub changelog: bool,
    /// Whether its rows go to every subtask, where they write the states of kind broadcast.
    pub broadcast: bool,
    /// The columns that are read.
    pub schema: SchemaRef,
}

/// A state.
#[derive(Debug, Clone)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The type of the value, or of a list's item.
    pub value: Field,
    /// The type of a map's key.
    pub key: Option<Field>,
    /// The input column that a map's key is read from, by its position in the first input.
    pub column: Option<usize>,
    /// A longer list drops its front.
    pub items_max: Option<u32>,
    /// When values are forgotten.
    pub ttl: Option<Ttl>,
    /// Digest of the canonical form (`docs/formats/state.md`).
    pub schema_id: String,
    /// Older schemas from which the plugin brings values to this one, numbered as in calls.
    pub migrations: Vec<Migration>,
}

/// An older schema of a state, from which its values can be migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The type that the value, or a list's item, had.
    pub value: Field,
    /// The type that a map's key had.
    pub key: Option<Field>,
    /// The id of the older schema.
    pub schema_id: String,
}

/// When a state's value is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// Microseconds since the last write.
    pub after_us: i64,
    /// Measured by this clock.
    pub time: TimeDomain,
}

/// A timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Its name.
    pub name: String,
    /// The clock it follows.
    pub time: TimeDomain,
}

/// What an aggregate keeps and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// The type of an accumulator.
    pub accumulator: Field,
    /// The type of a result.
    pub result: Field,
    /// Whether accumulators can be merged.
    pub merges: bool,
    /// Digest of the accumulator's canonical form, as of a state of kind `aggregating`.
    pub schema_id: String,
}

/// An output.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The columns that are emitted.
    pub schema: SchemaRef,
}

impl Descriptor {
    /// Reads and checks what `describe` returned.
    pub fn parse(text: &str) -> Result<Self, DescriptorError> {
        if text.len() > BYTES_MAX {
            return Err(DescriptorError(vec!["it is longer than 256 KiB".into()]));
        }
        document::read(text).and_then(|document| document.check())
    }

    /// What follows event time, in words: the first timer, or the first state that expires by it.
    pub fn event_timed(&self) -> Option<String> {
        let mut timers = self.timers.iter();
        let timer = timers.find(|timer| timer.time == TimeDomain::Event);
        if let Some(timer) = timer {
            return Some(format!("the timer `{}`", timer.name));
        }
        let expires = |state: &&State| state.ttl.is_some_and(|ttl| ttl.time == TimeDomain::Event);
        let state = self.states.iter().find(expires)?;
        Some(format!("the `ttl` of state `{}`", state.name))
    }

    /// Whether any state or timer follows this clock, so that rows or keys must carry it.
    pub fn uses_time(&self, domain: TimeDomain) -> bool {
        let ttl = |state: &State| state.ttl.is_some_and(|ttl| ttl.time == domain);
        self.timers.iter().any(|timer| timer.time == domain) || self.states.iter().any(ttl)
    }
}

impl Kind {
    /// The kind's name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
            Self::Operator => "operator",
            Self::Broadcast => "broadcast",
        }
    }

    /// Whether each key has its own.
    pub fn is_keyed(self) -> bool {
        !matches!(self, Self::Operator | Self::Broadcast)
    }
}

/// The id of a state's schema: equal ids mean bytes that read alike.
pub fn schema_id(kind: Kind, key: Option<&Field>, value: &Field) -> String {
    let print = |field: &Field| data_type::print(field.data_type(), field.is_nullable());
    let key = key.map(|key| print(key) + " ").unwrap_or_default();
    let canonical = format!("wasmill-state-1 {} {key}{}", kind.name(), print(value));
    let digest = Sha256::digest(canonical.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a schema of named columns.
fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(ArrowSchema::new(fields))
}

#[cfg(test)]
mod tests;
