//! Operators: what is done with the rows of streams, by a plugin or by the engine itself.

use std::sync::Arc;

use arrow_schema::Field;

use super::document::{BatchDocument, LimitsDocument, OrderWord};
use super::{Policy, StreamId};
use crate::descriptor::{Descriptor, TimeDomain};
use crate::feature::Feature;
use crate::join::JoinSpec;
use crate::window::Windowing;

/// An operator that is known to be sound.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Its name: the uid of its states, and the name of its first output's stream.
    pub name: String,
    /// The streams it reads and how their columns become the plugin's; at least one.
    pub inputs: Vec<InputBinding>,
    /// The key columns, by name; empty if it has no key.
    pub key_by: Vec<String>,
    /// The order of a key's rows.
    pub order: OrderWord,
    /// How many rows it gets at once.
    pub batch: Batching,
    /// A stream for each of its outputs.
    pub outputs: Vec<StreamId>,
    /// Rows left out because they were late; with `order: event-time`, of windows, and of the left
    /// side of joins.
    pub late: Option<StreamId>,
    /// Those of the right side of a join.
    pub late_right: Option<StreamId>,
    /// What it does.
    pub kind: OperatorKind,
}

/// What an operator does.
#[derive(Debug, Clone)]
pub enum OperatorKind {
    /// Calls a plugin.
    Plugin(Box<PluginUse>),
    /// Aggregates each key's rows over windows, in the engine.
    Window(Box<Windowing>),
    /// Brings rows of two streams together, in the engine.
    Join(Box<JoinSpec>),
}

/// A plugin, and how an operator uses it.
#[derive(Debug, Clone)]
pub struct PluginUse {
    /// The plugin as the document names it.
    pub plugin: String,
    /// What the plugin says about itself.
    pub descriptor: Arc<Descriptor>,
    /// Its configuration, with defaults.
    pub config: serde_json::Value,
    /// The features that the engine computes for it: those of the pipeline and those that the
    /// plugin brings.
    pub features: Vec<Feature>,
    /// What happens to rows that fail.
    pub policy: OperatorPolicy,
    /// What one instance may use.
    pub limits: Limits,
}

impl Operator {
    /// The plugin that it calls; none if it is built in.
    pub fn plugin(&self) -> Option<&PluginUse> {
        match &self.kind {
            OperatorKind::Plugin(plugin) => Some(plugin),
            OperatorKind::Window(_) | OperatorKind::Join(_) => None,
        }
    }

    /// Whether it keeps something by key and stands behind an exchange by key. What is built in
    /// always does: without `key-by` all rows have one key, and one subtask.
    pub fn is_keyed(&self) -> bool {
        match &self.kind {
            OperatorKind::Plugin(_) => !self.key_by.is_empty(),
            OperatorKind::Window(_) | OperatorKind::Join(_) => true,
        }
    }

    /// Whether the rows of an input go to every subtask.
    pub fn is_broadcast(&self, input: &InputBinding) -> bool {
        self.plugin()
            .is_some_and(|plugin| plugin.descriptor.inputs[input.input].broadcast)
    }

    /// Its late rows: of all inputs, or of the sides of a join.
    pub fn late_streams(&self) -> impl Iterator<Item = StreamId> {
        self.late.into_iter().chain(self.late_right)
    }

    /// The features that the engine computes for it.
    pub fn features(&self) -> &[Feature] {
        self.plugin().map_or(&[], |plugin| &plugin.features)
    }

    /// What happens to a row that fails; in an operator that calls no plugin none does.
    pub fn on_error(&self) -> Policy {
        match &self.kind {
            OperatorKind::Plugin(plugin) => plugin.policy.on_error,
            OperatorKind::Window(windowing) => windowing.policy.on_error,
            OperatorKind::Join(_) => Policy::Fail,
        }
    }

    /// Whether it reads the event time of an input's rows, and the watermark as of each row.
    pub fn reads_time(&self, input: &InputBinding) -> (bool, bool) {
        match &self.kind {
            OperatorKind::Plugin(plugin) => {
                let descriptor = &plugin.descriptor;
                let follows = descriptor.uses_time(TimeDomain::Event);
                (descriptor.inputs[input.input].time || follows, follows)
            }
            OperatorKind::Window(_) => (true, true),
            OperatorKind::Join(join) => {
                let follows = join.kind.is_timed();
                (follows, follows)
            }
        }
    }
}

/// What happens to rows that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorPolicy {
    /// To the row.
    pub on_error: Policy,
    /// How many rows may fail before the job does, and among how many rows of a subtask (none: over
    /// the whole run).
    pub budget: Option<(u64, Option<u64>)>,
}

/// What one instance of a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory.
    pub memory_bytes_max: u64,
    /// CPU time of one call, in microseconds.
    pub cpu_us_max: u64,
    /// Rows that one call may emit.
    pub output_rows_max: u64,
    /// Bytes that one call may return.
    pub output_bytes_max: u64,
    /// Log lines of one call.
    pub log_lines_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 << 20,
            cpu_us_max: 1_000_000,
            output_rows_max: 1_000_000,
            output_bytes_max: 64 << 20,
            log_lines_max: 10_000,
        }
    }
}

impl From<&LimitsDocument> for Limits {
    fn from(document: &LimitsDocument) -> Self {
        let usual = Self::default();
        let cpu = document.cpu_per_batch.map(|cpu| cpu.as_us().unsigned_abs());
        Self {
            memory_bytes_max: document
                .memory
                .map_or(usual.memory_bytes_max, |size| size.0),
            cpu_us_max: cpu.unwrap_or(usual.cpu_us_max),
            output_rows_max: document.output_rows.unwrap_or(usual.output_rows_max),
            output_bytes_max: document
                .output_bytes
                .map_or(usual.output_bytes_max, |size| size.0),
            log_lines_max: document.log_lines.unwrap_or(usual.log_lines_max),
        }
    }
}

/// How many rows a plugin is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// At most so many rows a call.
    pub rows_max: u32,
    /// How long a lone row waits for company, in microseconds.
    pub linger_us: u64,
}

impl Batching {
    /// As the document says, or as is usual.
    pub fn of(document: Option<&BatchDocument>) -> Self {
        document.map_or_else(Self::default, Into::into)
    }
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            rows_max: 4096,
            linger_us: 0,
        }
    }
}

impl From<&BatchDocument> for Batching {
    fn from(document: &BatchDocument) -> Self {
        let linger = document.linger.map(|linger| linger.as_us().unsigned_abs());
        let usual = Self::default();
        Self {
            rows_max: document.rows_max.unwrap_or(usual.rows_max),
            linger_us: linger.unwrap_or(usual.linger_us),
        }
    }
}

/// How the columns of a stream become those of an input.
#[derive(Debug, Clone)]
pub struct InputBinding {
    /// The stream.
    pub stream: StreamId,
    /// The input's position in the descriptor.
    pub input: usize,
    /// A binding for each column of the descriptor's input, in its order.
    pub columns: Vec<ColumnBinding>,
    /// The key columns of this stream, in the order of `key-by`.
    pub key_columns: Vec<usize>,
    /// A binding for each of the descriptor's `keys`, in its order; their origins are columns of
    /// the stream.
    pub keys: Vec<ColumnBinding>,
}

impl InputBinding {
    /// The binding for rows of which only these columns of the stream are left, ascending.
    ///
    /// # Panics
    /// If a column that is bound is not among them.
    pub fn project(&self, columns: &[usize]) -> Self {
        let place = |at: usize| {
            columns
                .binary_search(&at)
                .expect("a bound column is carried")
        };
        let moved = |binding: &ColumnBinding| ColumnBinding {
            origin: match binding.origin {
                ColumnOrigin::Stream(at) => ColumnOrigin::Stream(place(at)),
                elsewhere => elsewhere,
            },
            ..binding.clone()
        };
        Self {
            stream: self.stream,
            input: self.input,
            columns: self.columns.iter().map(moved).collect(),
            key_columns: self.key_columns.iter().map(|at| place(*at)).collect(),
            keys: self.keys.iter().map(moved).collect(),
        }
    }
}

/// Where a column that the plugin reads comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnBinding {
    /// Where its values are.
    pub origin: ColumnOrigin,
    /// The name and type that the plugin declares; the values are widened to it where the origin is
    /// narrower.
    pub to: Field,
    /// Whether the origin has another type.
    pub widened: bool,
}

/// Where a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnOrigin {
    /// In this column of the stream.
    Stream(usize),
    /// In this feature of the operator.
    Feature(usize),
    /// Nowhere: they are null.
    Null,
}
